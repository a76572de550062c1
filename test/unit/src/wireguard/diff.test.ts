import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Secret } from '#src/secret';
import { diffDevice, isEmptyDifference, rememberEndpoints } from '#src/wireguard/diff';
import type { DesiredDevice, DesiredPeer, DeviceState } from '#src/wireguard/tunnel-driver';
import { parseUdpEndpoint } from '#src/wireguard/values';
import {
  deviceOf,
  peerOf,
  privateKeyOf,
  publicKeyOf,
  secretOf,
} from '../../../support/kit/devices.ts';

const NOW = 1_800_000_000_000;
const here = parseUdpEndpoint('192.0.2.1:51820');
const away = parseUdpEndpoint('192.0.2.9:4000');

/** The device exactly as desired, with a handshake of every peer `age` ms ago. */
function stateOf({ name, listenPort, peers, ...rest }: DesiredDevice, age = 1000): DeviceState {
  const { mtu, addresses, routes } = rest;
  const states = peers.map((peer) => ({
    ...peer,
    lastHandshake: NOW - age,
    rxBytes: 0n,
    txBytes: 0n,
  }));
  const publicKey = publicKeyOf('device');
  const map = new Map(states.map((peer) => [peer.publicKey, peer]));
  return { name, publicKey, listenPort, peers: map, mtu, addresses, routes };
}

const diff = (desired: DesiredDevice, actual: DeviceState, memory = new Map()) =>
  diffDevice(desired, actual, memory, NOW);

const bad = { code: 'WIREGUARD_BAD_DEVICE' };

describe('difference of two device states', () => {
  const a = peerOf('a', { endpoint: here, allowedIps: ['10.0.0.1/32', '10.0.1.0/24'] });
  const b = peerOf('b', { allowedIps: ['10.0.0.2/32'] });
  const desired = deviceOf({ peers: [a, b] });

  it('is empty for equal states', () => {
    assert.ok(isEmptyDifference(diff(desired, stateOf(desired))));
  });

  it('names only the changed field of the changed peer', () => {
    const presharedKey = secretOf('new');
    const change = diff({ ...desired, peers: [{ ...a, presharedKey }, b] }, stateOf(desired));
    assert.deepEqual(change.peers, [
      {
        publicKey: a.publicKey,
        kind: 'update',
        presharedKey,
        replaceAllowedIps: false,
        allowedIps: [],
        desiredAllowedIps: a.allowedIps,
      },
    ]);
    assert.equal(change.listenPort, undefined);
    assert.equal(change.privateKey, undefined);
  });

  it('adds with all fields, and removes by key', () => {
    const change = diff({ ...desired, peers: [b] }, stateOf({ ...desired, peers: [a] }));
    assert.deepEqual(change.removedPeers, [a.publicKey]);
    const [added] = change.peers;
    assert.equal(added?.kind, 'add');
    assert.ok(added?.presharedKey?.equals(b.presharedKey));
    assert.equal(added?.keepalive, 0);
  });

  it('adds an allowed IP without touching the others', () => {
    const wider = peerOf('b', { allowedIps: ['10.0.0.2/32', '10.0.2.0/24'] });
    const [change] = diff({ ...desired, peers: [a, wider] }, stateOf(desired)).peers;
    assert.equal(change?.replaceAllowedIps, false);
    assert.deepEqual(change?.allowedIps, ['10.0.2.0/24']);
  });

  it('leaves the old owner of a moving allowed IP alone', () => {
    const from = peerOf('a', { endpoint: here, allowedIps: ['10.0.0.1/32'] });
    const to = peerOf('b', { allowedIps: ['10.0.0.2/32', '10.0.1.0/24'] });
    const change = diff({ ...desired, peers: [from, to] }, stateOf(desired));
    assert.deepEqual(
      change.peers.map(({ publicKey, allowedIps }) => ({ publicKey, allowedIps })),
      [{ publicKey: b.publicKey, allowedIps: ['10.0.1.0/24'] }],
    );
  });

  it('replaces the allowed IPs when one goes away for good', () => {
    const narrower = peerOf('a', { endpoint: here, allowedIps: ['10.0.0.1/32'] });
    const [change] = diff({ ...desired, peers: [narrower, b] }, stateOf(desired)).peers;
    assert.equal(change?.replaceAllowedIps, true);
    assert.deepEqual(change?.allowedIps, ['10.0.0.1/32']);
  });

  it('sets a private key when the public one differs, and a port when it differs', () => {
    const change = diff(
      { ...desired, privateKey: privateKeyOf('x'), listenPort: 4 },
      stateOf(desired),
    );
    assert.ok(change.privateKey?.equals(privateKeyOf('x')));
    assert.equal(change.listenPort, 4);
  });

  describe('endpoints', () => {
    const roamed = (age: number): DeviceState =>
      stateOf({ ...desired, peers: [{ ...a, endpoint: away }, b] }, age);
    const endpointOf = (change: ReturnType<typeof diff>) => change.peers[0]?.endpoint;

    it('leaves a roamed endpoint while the desired one stays the same', () => {
      const memory = new Map([[a.publicKey, here]]);
      assert.equal(endpointOf(diff(desired, roamed(1000), memory)), undefined);
      assert.equal(endpointOf(diff(desired, roamed(1e9), memory)), undefined);
    });

    it('writes a desired endpoint that has changed', () => {
      const memory = new Map([[a.publicKey, parseUdpEndpoint('192.0.2.2:1')]]);
      assert.equal(endpointOf(diff(desired, roamed(1000), memory)), here);
    });

    it('after a restart, leaves the endpoint of a live session and writes over a dead one', () => {
      assert.equal(endpointOf(diff(desired, roamed(179_999))), undefined);
      assert.equal(endpointOf(diff(desired, roamed(180_000))), here);
    });

    it('writes an endpoint where there is none, and never takes one away', () => {
      const { endpoint: _, ...without } = a;
      const none = { ...desired, peers: [without, b] };
      assert.equal(endpointOf(diff(desired, stateOf(none))), here);
      assert.ok(isEmptyDifference(diff(none, stateOf(desired))));
    });

    it('remembers what the device has had, and forgets what is no longer desired', () => {
      const empty = new Map();
      const left = diff(desired, roamed(1000));
      assert.equal(rememberEndpoints(desired, roamed(1000), left, empty).size, 0);
      const written = diff(desired, roamed(1e9));
      const memory = rememberEndpoints(desired, roamed(1e9), written, empty);
      assert.deepEqual([...memory], [[a.publicKey, here]]);
      const unchanged = diff(desired, roamed(1000), new Map(memory));
      assert.deepEqual(rememberEndpoints(desired, roamed(1000), unchanged, memory), memory);
      const gone = { ...desired, peers: [b] };
      assert.equal(
        rememberEndpoints(gone, stateOf(gone), diff(gone, stateOf(gone)), memory).size,
        0,
      );
    });
  });

  it('refuses a device that cannot be meant', () => {
    const zeroKey = { ...a, publicKey: '0'.repeat(64) as DesiredPeer['publicKey'] };
    const devices: [string, DesiredDevice][] = [
      ['port 0', { ...desired, listenPort: 0 }],
      ['port too large', { ...desired, listenPort: 65_536 }],
      ['small MTU', { ...desired, mtu: 1279 }],
      ['peer twice', { ...desired, peers: [a, { ...a, allowedIps: [] }] }],
      ['itself as a peer', { ...desired, peers: [peerOf('device')] }],
      ['zero public key', { ...desired, peers: [zeroKey] }],
      ['allowed IP twice', { ...desired, peers: [a, { ...b, allowedIps: a.allowedIps }] }],
      ['keepalive', { ...desired, peers: [{ ...a, keepalive: 65_536 }] }],
      ['address not canonical', { ...desired, addresses: ['FD00::1/128'] }],
    ];
    for (const [what, device] of devices)
      assert.throws(() => diff(device, stateOf(desired)), bad, what);
  });

  it('refuses a peer whose preshared key is missing, without saying the key', () => {
    for (const presharedKey of [
      new Secret(new Uint8Array(32)),
      new Secret(new Uint8Array(31).fill(7)),
    ])
      assert.throws(() => diff({ ...desired, peers: [{ ...a, presharedKey }] }, stateOf(desired)), {
        code: 'WIREGUARD_NO_PSK',
      });
  });
});
