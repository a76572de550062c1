import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { Secret } from '#src/secret';
import { diffDevice, isEmptyDifference } from '#src/wireguard/diff';
import { WireGuardError } from '#src/wireguard/errors';
import type { DesiredDevice, DeviceState, PeerState } from '#src/wireguard/tunnel-driver';
import {
  encodeGet,
  encodeSet,
  PeerMemory,
  parseGetReply,
  parseSetReply,
} from '#src/wireguard/uapi';
import { parseCidr, parseUdpEndpoint } from '#src/wireguard/values';
import { UapiDevice } from '../support/doubles/uapi-device.ts';
import { deviceOf, privateKeyOf, publicKeyOf } from '../support/kit/devices.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e'];
const PREFIXES = ['10.0.0.0/24', '10.0.1.0/24', '10.0.0.7/32', 'fd00::/64', 'fd00::1/128', '::/0'];

const endpoint = fc
  .tuple(
    fc.oneof(
      fc.ipV4(),
      fc.ipV6().map((text) => `[${text}]`),
    ),
    fc.integer({ min: 1, max: 65_535 }),
  )
  .map(([address, port]) => parseUdpEndpoint(`${address}:${port}`));

const presharedKey = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .filter((bytes) => bytes.some((byte) => byte !== 0))
  .map((bytes) => new Secret(bytes));

/** Peers with keys and allowed IPs of their own: each prefix is dealt to one of them, or to nobody. */
const desired: fc.Arbitrary<DesiredDevice> = fc
  .record({
    names: fc.uniqueArray(fc.constantFrom(...NAMES)),
    owners: fc.array(fc.constantFrom(...NAMES, ''), { minLength: 6, maxLength: 6 }),
    peers: fc.array(
      fc.record({
        presharedKey,
        endpoint: fc.option(endpoint, { nil: undefined }),
        keepalive: fc.integer({ min: 0, max: 65_535 }),
      }),
      { minLength: 5, maxLength: 5 },
    ),
    key: fc.constantFrom('device', 'device 2'),
    listenPort: fc.integer({ min: 1, max: 65_535 }),
  })
  .map(({ names, owners, peers, key, listenPort }) => ({
    ...deviceOf({ key, listenPort }),
    peers: names.map((name, i) => {
      const { endpoint: place, ...rest } = peers[i] as (typeof peers)[number];
      return {
        publicKey: publicKeyOf(name),
        ...rest,
        ...(place === undefined ? {} : { endpoint: place }),
        allowedIps: PREFIXES.filter((_, n) => owners[n] === name).map(parseCidr),
      };
    }),
  }));

function stateOf(device: UapiDevice): DeviceState {
  const { privateKey, listenPort, peers } = parseGetReply(device.exchange(encodeGet()));
  const label = ['device', 'device 2'].find((text) => privateKey?.equals(privateKeyOf(text)));
  const publicKey = publicKeyOf(label ?? 'none');
  return { ...deviceOf(), publicKey, listenPort, peers };
}

function applyTo(device: UapiDevice, wanted: DesiredDevice): void {
  const change = diffDevice(wanted, stateOf(device), new Map(), 1e12);
  parseSetReply(device.exchange(encodeSet(change)));
}

/** The reply in the order of wireguard-go. */
function formatReply(
  privateKey: Secret | undefined,
  listenPort: number,
  peers: Iterable<PeerState>,
): string {
  const hex = (secret: Secret) => Buffer.from(secret.expose()).toString('hex');
  const lines = privateKey ? [`private_key=${hex(privateKey)}`] : [];
  if (listenPort !== 0) lines.push(`listen_port=${listenPort}`);
  for (const peer of peers) {
    lines.push(`public_key=${peer.publicKey}`, `preshared_key=${hex(peer.presharedKey)}`);
    lines.push('protocol_version=1', ...(peer.endpoint ? [`endpoint=${peer.endpoint}`] : []));
    lines.push(`last_handshake_time_sec=${Math.floor(peer.lastHandshake / 1000)}`);
    lines.push(`last_handshake_time_nsec=${(peer.lastHandshake % 1000) * 1e6}`);
    lines.push(`tx_bytes=${peer.txBytes}`, `rx_bytes=${peer.rxBytes}`);
    lines.push(`persistent_keepalive_interval=${peer.keepalive}`);
    lines.push(...peer.allowedIps.map((prefix) => `allowed_ip=${prefix}`));
  }
  return `${[...lines, 'errno=0'].join('\n')}\n\n`;
}

describe('UAPI, for all devices', () => {
  it('one change leads from any device to any other, and a second is empty', () => {
    fc.assert(
      fc.property(desired, desired, (first, second) => {
        const device = new UapiDevice();
        applyTo(device, first);
        applyTo(device, second);
        const state = stateOf(device);
        assert.ok(isEmptyDifference(diffDevice(second, state, new Map(), 1e12)));
        assert.equal(state.peers.size, second.peers.length);
        for (const peer of second.peers) {
          const actual = state.peers.get(peer.publicKey);
          assert.ok(actual?.presharedKey.equals(peer.presharedKey));
          assert.deepEqual([...(actual?.allowedIps ?? [])].sort(), [...peer.allowedIps].sort());
        }
      }),
    );
  });

  it('a reply reads the same whether or not an earlier one is remembered', () => {
    const written = (
      { peers, listenPort }: DesiredDevice,
      order: number,
      traffic: bigint,
    ): string =>
      formatReply(
        privateKeyOf('device'),
        listenPort,
        (order % 2 === 0 ? peers : peers.toReversed()).map((peer, i) => ({
          ...peer,
          lastHandshake: i * 1_000,
          rxBytes: i % 2 === 0 ? traffic : 0n,
          txBytes: 0n,
        })),
      );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(desired, fc.nat(1), fc.bigInt({ min: 0n, max: 3n })), {
          minLength: 1,
          maxLength: 4,
        }),
        fc.array(
          fc.tuple(fc.nat(2_000), fc.constantFrom('', 'x', '0', '\n', 'allowed_ip=10.0.0.0/8\n')),
          { maxLength: 2 },
        ),
        (devices, changes) => {
          using memory = new PeerMemory();
          for (const [device, order, traffic] of devices) {
            let text = written(device, order, traffic);
            for (const [at, noise] of changes)
              if (at % 3 === 0) text = text.slice(0, at) + noise + text.slice(at + 1);
            const read = (remembered?: PeerMemory): unknown => {
              try {
                const { privateKey: _, ...rest } = parseGetReply(
                  Buffer.from(text, 'latin1'),
                  remembered,
                );
                return {
                  ...rest,
                  peers: [...rest.peers].map(([key, peer]) => [
                    key,
                    { ...peer, presharedKey: peer.presharedKey.expose().toHex() },
                  ]),
                };
              } catch (error) {
                return (error as WireGuardError).message;
              }
            };
            assert.deepEqual(read(memory), read());
          }
        },
      ),
    );
  });

  it('the peers of an unchanged reply are not read again, and changed ones are', () => {
    using memory = new PeerMemory();
    const peers = NAMES.map((name) => ({
      publicKey: publicKeyOf(name),
      presharedKey: new Secret(new Uint8Array(32).fill(1)),
      allowedIps: [],
      keepalive: 0,
      lastHandshake: 0,
      rxBytes: 0n,
      txBytes: 0n,
    }));
    const read = (list: Iterable<PeerState>) =>
      parseGetReply(Buffer.from(formatReply(undefined, 1, list), 'latin1'), memory).peers;
    const first = read(peers);
    const second = read(
      peers.toReversed().map((peer, i) => (i === 2 ? { ...peer, rxBytes: 7n } : peer)),
    );
    const same = NAMES.filter(
      (name) => first.get(publicKeyOf(name)) === second.get(publicKeyOf(name)),
    );
    assert.deepEqual(
      same,
      NAMES.filter((_, i) => i !== 2),
    );
    assert.equal(second.get(publicKeyOf(NAMES[2] ?? ''))?.rxBytes, 7n);
  });

  it('a reply that parses is written back to the same bytes', () => {
    const peer = fc.record({
      endpoint,
      presharedKey,
      keepalive: fc.integer({ min: 0, max: 65_535 }),
      lastHandshake: fc.integer({ min: 0, max: 2 ** 43 }),
      rxBytes: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      txBytes: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      allowedIps: fc.uniqueArray(fc.constantFrom(...PREFIXES.map(parseCidr))),
    });
    const peers = fc.dictionary(fc.constantFrom(...NAMES), peer);
    fc.assert(
      fc.property(
        fc.option(presharedKey, { nil: undefined }),
        fc.nat(65_535),
        peers,
        (key, port, map) => {
          const all = Object.entries(map).map(([name, rest]) => ({
            publicKey: publicKeyOf(name),
            ...rest,
          }));
          const text = formatReply(key, port, all);
          const device = parseGetReply(Buffer.from(text));
          assert.equal(
            formatReply(device.privateKey, device.listenPort, device.peers.values()),
            text,
          );
        },
      ),
    );
  });

  it('a damaged reply is read or refused with a code, never anything else', () => {
    const base = new UapiDevice();
    applyTo(base, deviceOf({ peers: [] }));
    const good = Buffer.from(
      formatReply(privateKeyOf('device'), 51820, [
        {
          publicKey: publicKeyOf('a'),
          presharedKey: privateKeyOf('psk'),
          endpoint: parseUdpEndpoint('192.0.2.1:51820'),
          allowedIps: [parseCidr('fd00::/64')],
          keepalive: 25,
          lastHandshake: 1_700_000_000_000,
          rxBytes: 1n,
          txBytes: 2n,
        },
      ]),
    );
    const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), {
      minLength: 1,
      maxLength: 3,
    });
    fc.assert(
      fc.property(damage, fc.nat(good.length), (edits, length) => {
        const bytes = Buffer.from(good);
        for (const [at, byte] of edits) bytes[at] = byte;
        for (const reply of [bytes, bytes.subarray(0, length)])
          try {
            parseGetReply(reply);
          } catch (error) {
            assert.ok(error instanceof WireGuardError, String(error));
          }
      }),
      { numRuns: 300 },
    );
  });
});
