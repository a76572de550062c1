import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  type DesiredView,
  desiredDevices,
  type OwnDevice,
  type PairState,
} from '#agent/tunnel/pairs/desired-state';
import type { Aid } from '#kel/identifiers';
import { Secret } from '#src/secret';
import { wireguardPublicKeyHex } from '#src/wireguard/static-key';
import type { Cidr, InterfaceName, UdpEndpoint, WireGuardKey } from '#src/wireguard/tunnel-driver';

const key = (n: number) => n.toString(16).padStart(64, '0') as WireGuardKey;
const psk = (n: number) => new Secret(new Uint8Array(32).fill(n));
const endpoint = '192.0.2.1:51820' as UdpEndpoint;
const settings = { mtu: 1_420, addresses: ['fd00::1/128'], keepalive: 25, turn: 0 };

const device = (slot: number): OwnDevice => ({
  slot,
  name: `km${slot}` as InterfaceName,
  privateKey: psk(100 + slot),
  listenPort: 51_820 + slot,
});
const devices = [device(0), device(1)];
const view = (slot: number, peer: number, more: Partial<DesiredView> = {}): DesiredView => ({
  slot,
  peerKey: key(peer),
  presharedKey: psk(peer),
  endpoint: undefined,
  ...more,
});
const pair = (more: Partial<PairState>, aid = 'bob'): PairState => ({
  aid: aid as Aid,
  route: `fd00::${aid.length}/128` as Cidr,
  active: undefined,
  staged: undefined,
  draining: [],
  ...more,
});

/** Per device: `key` of each peer, `*` with keepalive; then the number of routes. */
function shape(state: PairState, keepalive = settings.keepalive): readonly string[] {
  return desiredDevices(devices, [state], { ...settings, keepalive }).map((it) => {
    const peers = it.peers.map((peer) => {
      assert.deepEqual(peer.allowedIps, [state.route]);
      return `${Number.parseInt(peer.publicKey, 16)}${peer.keepalive > 0 ? '*' : ''}`;
    });
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
        routesElsewhere: [],
      },
    );
    assert.equal(first?.privateKey, devices[0]?.privateKey);
    assert.equal(second?.listenPort, 51_821);
  });

  const table: Readonly<Record<string, readonly [PairState, readonly string[]]>> = {
    'nothing known of the peer': [pair({}), ['|0', '|0']],
    'staged for the first time: no route points to it': [
      pair({ staged: view(0, 1) }),
      ['1|0', '|0'],
    ],
    up: [pair({ active: view(0, 1) }), ['1|1', '|0']],
    'up, and this end starts the handshakes': [
      pair({ active: view(0, 1, { endpoint }) }),
      ['1*|1', '|0'],
    ],
    'a change: the next view beside the active one': [
      pair({ active: view(0, 1, { endpoint }), staged: view(1, 2, { endpoint }) }),
      ['1*|1', '2*|0'],
    ],
    'flipped: the former one takes packets, and does not keep itself alive': [
      pair({ active: view(1, 2, { endpoint }), draining: [view(0, 1, { endpoint })] }),
      ['1|0', '2*|1'],
    ],
    'one view per device: the active one before the staged one': [
      pair({ active: view(0, 1), staged: view(0, 2) }),
      ['1|1', '|0'],
    ],
    'one view per device: the staged one before the former one': [
      pair({ staged: view(0, 2), draining: [view(0, 1)] }),
      ['2|0', '|0'],
    ],
    'a view on a device that is not there': [pair({ active: view(3, 1) }), ['|0', '|0']],
  };
  for (const [what, [state, expected]] of Object.entries(table)) {
    it(what, () => assert.deepEqual(shape(state), expected));
  }

  it('ask for the first handshake of a staged view also where nothing is kept alive', () => {
    const state = pair({ active: view(0, 1, { endpoint }), staged: view(1, 2, { endpoint }) });
    assert.deepEqual(shape(state, 0), ['1|1', '2*|0']);
  });

  it('use the preshared key of each view', () => {
    const both = pair({ active: view(0, 1), staged: view(1, 2) });
    assert.deepEqual(
      desiredDevices(devices, [both], settings).map(
        ({ peers }) => peers[0]?.presharedKey.expose()[0],
      ),
      [1, 2],
    );
  });

  it('leave a key that two members name to the one whose traffic runs under it', () => {
    const honest = pair({ active: view(0, 1) }, 'zoe');
    const eves = ['amy', 'zzzz'].flatMap((eve) => {
      const copy = view(0, 1, { presharedKey: psk(9) });
      const setAside = pair({ draining: [{ ...copy, isSetAside: true }] }, eve);
      return [pair({ staged: copy }, eve), setAside];
    });
    for (const copied of eves) {
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

  it('give a key that two members name and none uses to each in turn, in any order', () => {
    const amy = pair({ staged: view(0, 1) }, 'amy');
    const zoe = pair({ staged: view(0, 1, { presharedKey: psk(9) }) }, 'zoeee');
    for (const pairs of [
      [amy, zoe],
      [zoe, amy],
    ]) {
      const turns = [0, 1, 2, 3].map((turn) =>
        desiredDevices(devices, pairs, { ...settings, turn })[0]?.peers.map(
          ({ allowedIps, presharedKey }) => [allowedIps[0], presharedKey.expose()[0]],
        ),
      );
      assert.deepEqual(turns, [
        [[amy.route, 1]],
        [[zoe.route, 9]],
        [[amy.route, 1]],
        [[zoe.route, 9]],
      ]);
    }
  });

  it('leave a key that two members name to the one whose record proves it, whoever has shaken hands', () => {
    const amy = pair({ active: view(0, 1) }, 'amy');
    const zoe = pair({ staged: view(0, 1, { possession: 'proven' }) }, 'zoeee');
    const eve = pair({ staged: view(0, 1, { possession: 'refuted' }) }, 'eve');
    for (const turn of [0, 1, 2]) {
      const peersOf = (...pairs: PairState[]) =>
        desiredDevices(devices, pairs, { ...settings, turn })[0]?.peers.map(
          ({ allowedIps }) => allowedIps[0],
        );
      assert.deepEqual(peersOf(amy, zoe, eve), [zoe.route]);
      assert.deepEqual(peersOf(eve, pair({ staged: view(0, 1) }, 'amy')), [amy.route]);
    }
  });

  it('never name the own key of the device as a peer', () => {
    const own = wireguardPublicKeyHex(psk(100));
    const eve = pair({ active: view(0, 1, { peerKey: own }) }, 'eve');
    assert.deepEqual(desiredDevices(devices, [eve], settings)[0]?.peers, []);
  });
});
