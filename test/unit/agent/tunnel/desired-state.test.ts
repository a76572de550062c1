import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  desiredDevices,
  type OwnDevice,
  type PairState,
  type PairView,
} from '#agent/tunnel/desired-state';
import type { Aid, Said } from '#kel/identifiers';
import { wireguardPublicKeyHex } from '#src/crypto/wireguard-key';
import { Secret } from '#src/secret';
import type { Cidr, InterfaceName, UdpEndpoint, WireGuardKey } from '#src/wireguard/tunnel-driver';

const key = (n: number) => n.toString(16).padStart(64, '0') as WireGuardKey;
const psk = (n: number) => new Secret(new Uint8Array(32).fill(n));
const endpoint = '192.0.2.1:51820' as UdpEndpoint;
const settings = { mtu: 1_420, addresses: ['fd00::1/128'], keepalive: 25 };
const OLD = 'old' as Said;
const NEW = 'new' as Said;

const device = (tunnelKey: Said, n: number): OwnDevice => ({
  tunnelKey,
  name: `km${n}` as InterfaceName,
  privateKey: psk(100 + n),
  listenPort: 51_820 + n,
});
const devices = [device(OLD, 0), device(NEW, 1)];
const view = (own: Said, peer: number, more: Partial<PairView> = {}): PairView => ({
  own,
  peer: `p${peer}` as Said,
  peerKey: key(peer),
  presharedKey: psk(peer),
  endpoint: undefined,
  ...more,
});
const pair = (more: Partial<PairState>, aid = 'bob'): PairState => ({
  aid: aid as Aid,
  route: `fd00::${aid.length}/128` as Cidr,
  active: undefined,
  target: undefined,
  parked: false,
  draining: undefined,
  ...more,
});

/** Per device: `key` of each peer, `+` when it owns the prefix, `*` with keepalive; then the routes. */
function shape(...pairs: readonly PairState[]): readonly string[] {
  return desiredDevices(devices, pairs, settings).map((it) => {
    const peers = it.peers.map(
      ({ publicKey, allowedIps, keepalive }) =>
        `${Number.parseInt(publicKey, 16)}${allowedIps.length > 0 ? '+' : ''}${keepalive > 0 ? '*' : ''}`,
    );
    return `${peers.join(' ')}|${it.routes.length}`;
  });
}

describe('desired devices', () => {
  it('carry the settings of the own end', () => {
    const [first, second] = desiredDevices(devices, [], settings);
    assert.deepEqual(
      { ...first, privateKey: undefined },
      {
        name: 'km0',
        privateKey: undefined,
        listenPort: 51_820,
        mtu: 1_420,
        addresses: ['fd00::1/128'],
        peers: [],
        routes: [],
      },
    );
    assert.equal(first?.privateKey, devices[0]?.privateKey);
    assert.equal(second?.listenPort, 51_821);
  });

  const table: Readonly<Record<string, readonly [PairState, readonly string[]]>> = {
    'nothing known of the peer': [pair({}), ['|0', '|0']],
    'nothing agreed yet: it stands there, and no route points to it': [
      pair({ target: view(OLD, 1) }),
      ['1+|0', '|0'],
    ],
    'parked for the first time': [pair({ target: view(OLD, 1), parked: true }), ['1+|1', '|0']],
    up: [pair({ active: view(OLD, 1) }), ['1+|1', '|0']],
    'up, and this end starts the handshakes': [
      pair({ active: view(OLD, 1, { endpoint }) }),
      ['1+*|1', '|0'],
    ],
    'this end rotates: staged': [
      pair({ active: view(OLD, 1), target: view(NEW, 1) }),
      ['1+|1', '1+|0'],
    ],
    'this end rotates: parked': [
      pair({ active: view(OLD, 1), target: view(NEW, 1), parked: true }),
      ['1+|0', '1+|1'],
    ],
    'this end has rotated: draining': [
      pair({ active: view(NEW, 1), draining: view(OLD, 1) }),
      ['1+|0', '1+|1'],
    ],
    'the peer rotates: staged without the prefix and without keepalive': [
      pair({ active: view(OLD, 1), target: view(OLD, 2, { endpoint }) }),
      ['1+ 2|1', '|0'],
    ],
    'the peer has rotated: the prefix has moved': [
      pair({ active: view(OLD, 2, { endpoint }), draining: view(OLD, 1) }),
      ['2+* 1|1', '|0'],
    ],
    'both rotate: staged': [pair({ active: view(OLD, 1), target: view(NEW, 2) }), ['1+|1', '2+|0']],
    'both have rotated': [pair({ active: view(NEW, 2), draining: view(OLD, 1) }), ['1+|0', '2+|1']],
    'rotated, and the next one is staged while the last one drains': [
      pair({ active: view(NEW, 1), target: view(NEW, 2), draining: view(OLD, 1) }),
      ['1+|0', '1+ 2|1'],
    ],
    'the same key staged that is active': [
      pair({ active: view(OLD, 1), target: view(OLD, 1) }),
      ['1+|1', '|0'],
    ],
    'parked without a target': [pair({ active: view(OLD, 1), parked: true }), ['1+|0', '|0']],
  };
  for (const [what, [state, expected]] of Object.entries(table)) {
    it(what, () => assert.deepEqual(shape(state), expected));
  }

  it('use the preshared key of each view', () => {
    const [first] = desiredDevices(
      devices,
      [pair({ active: view(OLD, 1), target: view(OLD, 2) })],
      settings,
    );
    assert.deepEqual(
      first?.peers.map(({ presharedKey }) => presharedKey.expose()[0]),
      [1, 2],
    );
  });

  it('leave a key that two members name to the one whose traffic runs under it', () => {
    const honest = pair({ active: view(OLD, 1) }, 'zoe');
    for (const eve of ['amy', 'zzzz']) {
      const copied = pair({ target: view(OLD, 1, { presharedKey: psk(9) }) }, eve);
      for (const pairs of [
        [honest, copied],
        [copied, honest],
      ]) {
        const [first] = desiredDevices(devices, pairs, settings);
        assert.deepEqual(
          first?.peers.map(({ allowedIps, presharedKey }) => [
            allowedIps,
            presharedKey.expose()[0],
          ]),
          [[[honest.route], 1]],
        );
      }
    }
  });

  it('leave a key that two members name and none uses to the lower AID, in any order', () => {
    const amy = pair({ target: view(OLD, 1) }, 'amy');
    const zoe = pair({ target: view(OLD, 1) }, 'zoeee');
    for (const pairs of [
      [amy, zoe],
      [zoe, amy],
    ]) {
      assert.deepEqual(
        desiredDevices(devices, pairs, settings)[0]?.peers.map(({ allowedIps }) => allowedIps),
        [[amy.route]],
      );
    }
  });

  it('never name the own key of the device as a peer', () => {
    const own = wireguardPublicKeyHex(psk(100));
    const eve = pair({ active: view(OLD, 1, { peerKey: own }) }, 'eve');
    assert.deepEqual(desiredDevices(devices, [eve], settings)[0]?.peers, []);
  });
});
