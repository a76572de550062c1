/** Steps of the demonstration that send something through the tunnels, or at them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemRng } from '#agent/compose';
import { eventTopic } from '#agent/mesh/sync/gossip';
import { buildInteraction } from '#kel/event/interaction';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { Said } from '#kel/identifiers';
import { LogVerifier } from '#kel/verify/log-verifier';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { loadCryptoSuite } from '#src/crypto/suites';
import { type DemoFederation, NAMES, type Name, PAIRS } from './federation.ts';
import type { DemoFindings } from './report.ts';

const PROBE_PORT = 7_420;
const INNER_PORT = 7_443;
const STREAM_PER_SECOND = 1_000;

export async function measureTraffic(
  federation: DemoFederation,
  findings: DemoFindings,
): Promise<string> {
  const addresses = new Map(
    await Promise.all(NAMES.map(async (name) => [name, await federation.overlay(name)] as const)),
  );
  const stops = await Promise.all(
    (['bravo', 'charlie'] as const).map((name) =>
      federation.serve(name, { do: 'serve', address: addresses.get(name), port: PROBE_PORT }),
    ),
  );
  for (const [a, b] of PAIRS) {
    const { rttMs, mbps } = (await federation.probe(a, {
      do: 'measure',
      address: addresses.get(b),
      port: PROBE_PORT,
    })) as { rttMs?: number; mbps: number };
    if (rttMs === undefined) throw new Error(`no answer through the tunnel from ${a} to ${b}`);
    const peer = (await federation.of(a).status()).peers.find(({ name }) => name === b);
    findings.tunnels.push({
      a,
      b,
      epoch: peer?.epoch ?? 0,
      level: peer?.level ?? 'none',
      rttMs: round(rttMs),
      throughputMbps: round(mbps),
    });
  }
  await Promise.all(stops.map((stop) => stop()));
  return findings.tunnels
    .map(({ a, b, rttMs, throughputMbps }) => `${a}-${b} ${rttMs} ms, ${throughputMbps} Mb/s`)
    .join('; ');
}

export async function callInside(federation: DemoFederation): Promise<string> {
  const dirs = new Map<Name, string>();
  await federation.each(async (organisation) => {
    const secret = join(organisation.dir, 'ca-secret');
    writeFileSync(secret, `${Buffer.from(systemRng.bytes(24)).toString('base64url')}\n`, {
      mode: 0o600,
    });
    await organisation.kelmesh('ca', 'init', '--secret-file', secret);
    await organisation.kelmesh('ca', 'issue', 'records', '--secret-file', secret);
    const { pem } = await organisation.kelmesh('ca', 'export');
    writeFileSync(join(organisation.dir, 'ca.pem'), String(pem));
    dirs.set(organisation.name as Name, join(organisation.dir, 'state', 'ca'));
  });
  // Trust is given by hand and one by one: alpha and bravo to each other; charlie trusts bravo, bravo does not trust charlie.
  for (const [who, whom] of [
    ['alpha', 'bravo'],
    ['bravo', 'alpha'],
    ['charlie', 'bravo'],
  ] as const) {
    await federation.of(who).kelmesh('ca', 'trust', join(federation.of(whom).dir, 'ca.pem'));
  }
  const address = await federation.overlay('bravo');
  const stop = await federation.serve('bravo', {
    do: 'inner-serve',
    address,
    port: INNER_PORT,
    dir: dirs.get('bravo'),
    service: 'records',
  });
  const call = (from: Name) =>
    federation.probe(from, {
      do: 'inner-call',
      address,
      port: INNER_PORT,
      dir: dirs.get(from),
      service: 'records',
      serverName: 'records.bravo.kelmesh.internal',
    });
  const answered = (await call('alpha')) as {
    reply?: string;
    refused?: string;
    server?: { group?: string; keyAgreement?: string };
  };
  const refused = (await call('charlie')) as { reply?: string; refused?: string };
  await stop();
  if (answered.reply === undefined)
    throw new Error(`the call of alpha was refused: ${answered.refused}`);
  if (refused.reply !== undefined)
    throw new Error('a client of a CA that bravo does not trust was served');
  return `TLS 1.3 with X25519MLKEM768, answer "${answered.reply}"; charlie, whose CA bravo does not trust: refused (${refused.refused})`;
}

export async function rotate(federation: DemoFederation, findings: DemoFindings): Promise<string> {
  const address = await federation.overlay('bravo');
  const stop = await federation.serve('bravo', { do: 'serve', address, port: PROBE_PORT });
  const seconds = 6;
  const stream = federation.probe('alpha', {
    do: 'stream',
    address,
    port: PROBE_PORT,
    perSecond: STREAM_PER_SECOND,
    seconds,
  });
  const before = await federation.of('bravo').status();
  await pause(500);
  const after = await federation.of('bravo').ask('id.rotate');
  await federation.patience.until(20_000, 'the tunnels of bravo are on its new keys', async () =>
    (await federation.of('bravo').status()).peers.every(
      ({ generation, state }) => generation >= 2 && state === 'up',
    ),
  );
  const { sent, lost } = (await stream) as { sent: number; lost: number };
  await stop();
  findings.rotation = { sent, lost };
  await federation.allUp();
  return `event ${before.sn} to ${after['sn']}; both tunnels moved to the new keys; ${lost} of ${sent} packets lost`;
}

export async function forge(federation: DemoFederation, findings: DemoFindings): Promise<string> {
  const [alpha, charlie] = [federation.of('alpha'), federation.of('charlie')];
  const before = await alpha.status();
  const known = before.peers.find(({ aid }) => aid === charlie.aid);
  const event = await forgedEvent(await charlie.ask('id.export'));
  await federation.probe('charlie', {
    do: 'forge',
    listen: `/ip4/${charlie.place.address}/tcp/0`,
    victim: before.addresses,
    topic: eventTopic(findings.mesh as Said),
    event: Buffer.from(event).toString('base64'),
  });
  const after = await alpha.status();
  const refused =
    (after.counters.gossip['refused'] ?? 0) - (before.counters.gossip['refused'] ?? 0);
  if (refused < 1) throw new Error('the forged event did not reach alpha, or was not refused');
  if (after.peers.find(({ aid }) => aid === charlie.aid)?.said !== known?.said)
    throw new Error('the forged event changed a log');
  return 'refused and counted by alpha; the log of charlie is unchanged';
}

/** The next event of a real log, well formed in every field, signed with a key that the log does not name. */
async function forgedEvent(exported: Readonly<Record<string, unknown>>): Promise<Uint8Array> {
  const { ed25519 } = await loadCryptoSuite();
  const verifier = new LogVerifier(createSignatureVerifier(ed25519));
  verifier.feed(Buffer.from(String(exported['cesr']), 'base64'));
  const [prior] = verifier.finish().aids;
  if (prior === undefined) throw new Error('there is no log to forge');
  const event = buildInteraction({ prior, anchors: [] });
  return encodeSignedEvent(event.bytes, [
    { index: 0, raw: ed25519.sign(event.bytes, systemRng.bytes(32)), algorithm: 'ed25519' },
  ]);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
