/** Each way in which WireGuard passes nothing, made with real devices: what both count tells them apart. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { type EndSeen, type Signature, signatureOf } from '#agent/tunnel/path/signature';
import { chooseTunnelDriver } from '#src/wireguard/detect';
import type { PeerState, TunnelDriver } from '#src/wireguard/tunnel-driver';
import { parseInterfaceName } from '#src/wireguard/values';
import { deviceOf, peerOf, publicKeyOf } from '../support/kit/devices.ts';
import {
  createNamespaces,
  type Namespaces,
  namespacesUnavailable,
} from '../support/machines/namespace.ts';
import { skip } from '../support/skip.ts';

const TOOLS = new URL('../../.tools', import.meta.url).pathname;
/** Two tries of a handshake and a little. */
const WATCH_MS = 12_000;

interface Case {
  readonly name: string;
  readonly expected: Signature | undefined;
  /** UDP port of the other end; undefined: not known. */
  readonly port: number | undefined;
  readonly psk?: string;
  /** The other end has not got this one. */
  readonly isUnknown?: true;
  /** The key by which this end goes, where the other has another. */
  readonly key?: string;
  readonly allowedThere?: string;
}

const cases: readonly Case[] = [
  { name: 'fine', expected: undefined, port: 51_900 },
  { name: 'psk', expected: 'psk-mismatch', port: 51_901, psk: 'another' },
  { name: 'reply', expected: 'reply-blocked', port: 51_902 },
  { name: 'unknown', expected: 'key-unknown-there', port: 51_903, isUnknown: true },
  { name: 'former', expected: 'key-outdated-here', port: 51_904, key: 'former key' },
  { name: 'allowed', expected: 'allowed-ips-wrong', port: 51_905, allowedThere: 'fd00:9::77/128' },
  { name: 'closed', expected: 'udp-blocked', port: 9 },
  { name: 'nowhere', expected: 'no-endpoint', port: undefined },
];

const A = 'fd00:9::1';
const addressOf = (n: number) => `fd00:9::2:${n}`;
const nameOf = (n: number) => parseInterfaceName(`sigb${n}`);

describe('failure signatures of real devices', function () {
  this.timeout(120_000);
  let spaces: Namespaces | undefined;
  let stateDir = '';
  let [near, far]: (TunnelDriver | undefined)[] = [];

  before(async function () {
    const reason = namespacesUnavailable();
    if (reason !== undefined) skip(this, reason);
    stateDir = await mkdtemp(join(tmpdir(), 'kelmesh-signatures-'));
    spaces = await createNamespaces(['a', 'b'], { bridge: true });
    const driver = (space: string) =>
      chooseTunnelDriver({
        preference: 'userspace',
        stateDir: join(stateDir, space),
        toolsDir: TOOLS,
        namespace: spaces?.get(space).name ?? '',
      });
    [near, far] = await Promise.all([driver('a'), driver('b')]);
    const { address = '' } = spaces.get('b');
    const gone = 'ipproto 17 sport 51902 blackhole';
    await spaces.get('b').exec('ip', 'rule', 'add', 'pref', '10', ...gone.split(' '));
    for (const [n, { name, port, psk, isUnknown, allowedThere }] of cases.entries())
      await far.apply(
        deviceOf({
          name: nameOf(n),
          key: name,
          listenPort: port === undefined || port < 1_024 ? 51_950 + n : port,
          addresses: [`${addressOf(n)}/128`],
          peers: isUnknown
            ? []
            : [peerOf('a', { psk: psk ?? name, allowedIps: [allowedThere ?? `${A}/128`] })],
        }),
      );
    await near.apply(
      deviceOf({
        name: 'siga',
        key: 'a',
        listenPort: 51_899,
        addresses: [`${A}/128`],
        routes: cases.map((_, n) => `${addressOf(n)}/128`),
        peers: cases.map(({ name, port, key }, n) =>
          peerOf(key ?? name, {
            psk: name,
            ...(port === undefined ? {} : { endpoint: `${address}:${port}`, keepalive: 1 }),
            allowedIps: [`${addressOf(n)}/128`],
          }),
        ),
      }),
    );
  });

  after(async () => {
    const names = cases.map((_, n) => nameOf(n));
    for (const name of names) await far?.remove(name).catch(() => undefined);
    await near?.remove(parseInterfaceName('siga')).catch(() => undefined);
    await spaces?.destroy();
    await rm(stateDir, { recursive: true, force: true });
  });

  it('are told apart by what both ends count', async () => {
    assert.ok(near && far && spaces);
    // Packets for those that have shaken hands.
    const send = `const s = require('node:dgram').createSocket('udp6'); setInterval(() => { for (const to of ${JSON.stringify(
      cases.map((_, n) => addressOf(n)),
    )}) s.send(Buffer.alloc(200), 7, to, () => {}); }, 500); setTimeout(() => process.exit(0), ${WATCH_MS + 2_000});`;
    const sending = spaces.get('a').exec(process.execPath, '-e', send);
    const counts = async () => {
      const here = await near?.peers(parseInterfaceName('siga'));
      const there = await Promise.all(cases.map((_, n) => far?.peers(nameOf(n))));
      return cases.map(({ name, key }, n) => ({
        here: here?.get(publicKeyOf(key ?? name)),
        there: there[n]?.get(publicKeyOf('a')),
      }));
    };
    await sleep(1_000);
    const before = await counts();
    await sleep(WATCH_MS);
    const end = await counts();
    await sending;
    const seen = (
      own: string,
      peer: string | undefined,
      presharedKey: string,
      first: PeerState | undefined,
      last: PeerState | undefined,
    ): EndSeen => ({
      own,
      peer,
      presharedKey,
      counted: last && {
        handshakeAge: last.lastHandshake === 0 ? undefined : Date.now() - last.lastHandshake,
        rx: Number(last.rxBytes - (first?.rxBytes ?? 0n)),
        tx: Number(last.txBytes - (first?.txBytes ?? 0n)),
        hasEndpoint: last.endpoint !== undefined,
      },
    });
    const told = cases.map(({ name, psk, key, isUnknown, expected }, n) => {
      const here = seen('a', key ?? name, name, before[n]?.here, end[n]?.here);
      const knows = isUnknown ? undefined : 'a';
      const there = seen(name, knows, psk ?? name, before[n]?.there, end[n]?.there);
      // Nothing serves port 7 there: only a session that passes packets answers at all.
      const isAnswered = expected === undefined ? undefined : false;
      return `${name}: ${signatureOf(here, there, isAnswered)}`;
    });
    assert.deepEqual(
      told,
      cases.map(({ name, expected }) => `${name}: ${expected}`),
    );
  });
});
