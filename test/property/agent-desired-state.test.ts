import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  type DesiredView,
  desiredDevices,
  type OwnDevice,
  type PairState,
} from '#agent/tunnel/pairs/desired-state';
import type { Aid } from '#kel/identifiers';
import { Secret } from '#src/secret';
import { checkDesiredDevice } from '#src/wireguard/desired-device';
import { wireguardPublicKeyHex } from '#src/wireguard/static-key';
import type { Cidr, InterfaceName, UdpEndpoint, WireGuardKey } from '#src/wireguard/tunnel-driver';

const settings = { mtu: 1_420, addresses: ['fd00::1/128'], keepalive: 25, turn: 0 };
const psk = new Secret(new Uint8Array(32).fill(1));
const devices: readonly OwnDevice[] = [0, 1, 2, 3].map((slot) => ({
  slot,
  name: `km${slot}` as InterfaceName,
  privateKey: new Secret(new Uint8Array(32).fill(9 + (slot >> 1))),
  listenPort: 51_820 + slot,
}));

/** Few keys, the devices' own among them: members may claim what they like. */
const peerKey = fc.constantFrom(
  ...[1, 2, 3, 4, 5].map((n) => n.toString(16).padStart(64, '0') as WireGuardKey),
  ...devices.map((device) => wireguardPublicKeyHex(device.privateKey)),
);

const view: fc.Arbitrary<DesiredView> = fc.record({
  slot: fc.nat(4),
  peerKey,
  presharedKey: fc.constant(psk),
  endpoint: fc.constantFrom(undefined, '192.0.2.1:1' as UdpEndpoint),
});

const perhaps = fc.option(view, { nil: undefined });
const pairs: fc.Arbitrary<readonly PairState[]> = fc
  .array(
    fc.record({ active: perhaps, staged: perhaps, draining: fc.array(view, { maxLength: 2 }) }),
    { maxLength: 5 },
  )
  .map((states) =>
    states.map((state, n) => ({
      ...state,
      aid: `aid${n}` as Aid,
      route: `fd00::${n + 2}/128` as Cidr,
    })),
  );

describe('desired devices, whatever the pairs are in', () => {
  it('have one owner of a prefix per device at most, and one route to it in all', () => {
    fc.assert(
      fc.property(pairs, (states) => {
        const desired = desiredDevices(devices, states, settings);
        for (const { peers } of desired) {
          const prefixes = peers.flatMap(({ allowedIps }) => allowedIps);
          assert.equal(new Set(prefixes).size, prefixes.length);
        }
        const routes = desired.flatMap((device) => device.routes);
        assert.equal(new Set(routes).size, routes.length);
      }),
    );
  });

  it('are devices that the driver takes', () => {
    fc.assert(
      fc.property(pairs, (states) => {
        for (const desired of desiredDevices(devices, states, settings))
          checkDesiredDevice(desired);
      }),
    );
  });

  it('are the same for the same pairs, whatever their order', () => {
    const plain = (states: readonly PairState[]) =>
      desiredDevices(devices, states, settings).map(
        ({ privateKey: _, peers, routes, routesElsewhere, ...rest }) => ({
          ...rest,
          routes: routes.toSorted(),
          routesElsewhere: routesElsewhere?.toSorted(),
          peers: peers
            .map(({ presharedKey: __, ...peer }) => peer)
            .sort((a, b) => (a.publicKey < b.publicKey ? -1 : 1)),
        }),
      );
    fc.assert(
      fc.property(pairs, (states) => {
        assert.deepEqual(plain(states), plain(states));
        assert.deepEqual(plain(states), plain(states.toReversed()));
      }),
    );
  });

  it('take packets of a pair on every device on which it has a view, and keep none alive that drains', () => {
    fc.assert(
      fc.property(pairs, (states) => {
        for (const [slot, { peers }] of desiredDevices(devices, states, settings).entries()) {
          for (const { allowedIps, keepalive, endpoint } of peers) {
            const pair = states.find(({ route }) => route === allowedIps[0]);
            assert.ok(pair && allowedIps.length === 1);
            const isInUse = pair.active?.slot === slot || pair.staged?.slot === slot;
            if (keepalive > 0) assert.ok(endpoint !== undefined && isInUse);
          }
        }
      }),
    );
  });
});
