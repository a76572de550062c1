/**
 * A federation in full mesh: real agents, real WireGuard, each in a network namespace of its own on one switch. How long
 * it takes until every tunnel is up and proven, until every tunnel of a node is on its new keys after a rotation of its log,
 * and until a revoked organisation is off every device.
 *
 *   node bench/full-mesh.ts [--nodes=20] [--away=1] [--drain=2] [--patience=300] [--logs=DIR]
 *
 * `--patience`: seconds that each step may take; what is missing then is printed, the run goes on and ends with 1. `--logs` keeps
 * the logs of the agents. `--away`: so many agents are killed before the revocation, which are to be listed as missing. Times of tunnels and
 * receipts are those of the audit logs of both ends: nothing is asked for them while they are measured. No baseline: how
 * busy the machine was stands beside each figure. Needs root, /dev/net/tun and wireguard-go.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { AuditLeaves } from './support/audit-leaves.ts';
import { type DeviceView, deviceNames, readDevices } from './support/devices.ts';
import { Federation, inTurn } from './support/federation.ts';
import { onGround } from './support/ground.ts';
import { BusyMeter, describeMachine } from './support/machine.ts';
import { type PeerRow, pause, type Site } from './support/site.ts';
import { median, seconds } from './support/stats.ts';

/** Agents are asked this often whether they are there: what is measured stands in their logs. */
const POLL_MS = 1_000;
const REVOKED_POLL_MS = 100;
/** An export anchors the audit log in the key event log, which is told to all. */
const SETTLE_MS = 3_000;
const REVOKED_PATIENCE_MS = 30_000;
const APPLIED_SOON_MS = 2_000;

const RECEIPTS = ['staged', 'warmed', 'flipped', 'drained'] as const;

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '20' },
    away: { type: 'string', default: '1' },
    drain: { type: 'string', default: '2' },
    patience: { type: 'string', default: '300' },
    logs: { type: 'string' },
  },
});
const nodes = Number(values.nodes);
const away = Number(values.away);
const patienceMs = Number(values.patience) * 1_000;
const pairs = (nodes * (nodes - 1)) / 2;
const options = {
  tag: `kf${process.pid % 100_000}`,
  nodes,
  dir: mkdtempSync(join(tmpdir(), 'kelmesh-mesh-')),
  drain: Number(values.drain),
  // Of one's own accord nothing changes meanwhile.
  epochSeconds: 86_400,
};
const busy = new BusyMeter();

await onGround(Federation.ground(options), async () => {
  console.log(`${nodes} nodes, ${pairs} tunnels; ${describeMachine()}`);
  const federation = await Federation.build(options);
  try {
    await measure(federation);
  } finally {
    if (values.logs !== undefined) for (const site of federation.sites) site.keepLog(values.logs);
  }
});

async function measure(federation: Federation): Promise<void> {
  await federation.knock();
  console.log(`${nodes} agents run and have knocked; busy ${busy.read()}`);
  const meshed = await mesh(federation);
  const rotated = await rotate(federation);
  await receipts(federation, meshed, rotated);
  await pause(SETTLE_MS);
  await revoke(federation);
  console.log(describeMachine());
}

/** @returns when the first was admitted */
async function mesh(federation: Federation): Promise<number> {
  const { sites } = federation;
  busy.read();
  const began = Date.now();
  await federation.admit();
  const admitted = Date.now();
  await everyone(sites, 'every tunnel is up and proven', isProven);
  const ended = Date.now();
  console.log(
    `mesh: ${nodes - 1} admitted one by one in ${seconds(admitted - began)}, all tunnels up and proven after ${seconds(ended - began)}; busy ${busy.read()}`,
  );
  const silent = await federation.unreachable(sites);
  console.log(
    `traffic: ${2 * pairs - silent.length} of ${2 * pairs} ways carry it${silent.length === 0 ? '' : `; not ${silent.join(', ')}`}`,
  );
  return began;
}

/** The log of the second node. @returns when it was asked */
async function rotate({
  sites,
}: Federation): Promise<{ readonly site: Site; readonly at: number }> {
  const site = sites[1] as Site;
  const former = new Map<string, PeerRow>();
  for (const other of sites)
    for (const row of await other.peers()) former.set(`${other.name} ${row.name}`, row);
  busy.read();
  const at = Date.now();
  await site.ask('id.rotate');
  const sealed = Date.now();
  const isNew = (at: Site, row: PeerRow) => {
    const before = former.get(`${at.name} ${row.name}`);
    return (
      isProven(row) &&
      row.generation > (before?.generation ?? 0) &&
      row.agreement !== before?.agreement
    );
  };
  await everyone(sites, `every tunnel of ${site.name} is on its new keys`, (row, at) =>
    at === site || row.name === site.name ? isNew(at, row) : isProven(row),
  );
  const ended = Date.now();
  const drainedBy = performance.now() + patienceMs;
  for (const other of sites)
    while (
      (await other.rotations()).some(({ kind }) => kind !== 'psk') &&
      performance.now() < drainedBy
    )
      await pause(POLL_MS);
  console.log(
    `rotation of the log of ${site.name}: sealed after ${seconds(sealed - at)}, its ${nodes - 1} tunnels seen on the new keys at both ends after ${seconds(ended - at)}, drained after ${seconds(Date.now() - at)}; busy ${busy.read()}`,
  );
  return { site, at };
}

/** The last node, by the governor. */
async function revoke({ sites, governor }: Federation): Promise<void> {
  const revoked = sites.at(-1) as Site;
  const gone = sites.slice(-1 - away, -1);
  const online = sites.slice(0, sites.length - 1 - away);
  const own = await readDevices(await deviceNames(revoked.interface));
  const keys = new Set(own.map(({ publicKey }) => publicKey));
  const watched = new Map<Site, readonly string[]>();
  for (const site of online) watched.set(site, await deviceNames(site.interface));
  await Promise.all(gone.map((site) => site.kill()));
  busy.read();
  const row = (await governor.ask('revoke.organisation', {
    who: revoked.name,
    reason: 'benchmark',
  })) as unknown as { readonly said: string; readonly sealedAt: string };
  const sealedAt = Date.parse(row.sealedAt);
  const removed = new Map<string, number>();
  const listed = new Map<string, number>();
  const carries = ({ peers }: DeviceView) => [...peers.keys()].some((key) => keys.has(key));
  const patience = sealedAt + REVOKED_PATIENCE_MS;
  const watchDevices = Promise.all(
    online.map(async (site) => {
      while (!removed.has(site.name) && Date.now() < patience) {
        if (!(await readDevices(watched.get(site) ?? [])).some(carries))
          removed.set(site.name, Date.now() - sealedAt);
        else await pause(REVOKED_POLL_MS);
      }
    }),
  );
  let missing: readonly { readonly name: string; readonly silentSince: string | null }[] = [];
  while (listed.size < online.length && Date.now() < patience) {
    const { revocations } = (await governor.ask('revoke.status')) as unknown as {
      readonly revocations: readonly {
        readonly said: string;
        readonly applied: readonly { readonly name: string }[];
        readonly missing: typeof missing;
      }[];
    };
    const status = revocations.find(({ said }) => said === row.said);
    for (const { name } of status?.applied ?? [])
      if (!listed.has(name)) listed.set(name, Date.now() - sealedAt);
    missing = status?.missing ?? [];
    if (listed.size < online.length) await pause(REVOKED_POLL_MS);
  }
  await watchDevices;
  console.log(
    `revocation of ${revoked.name}, ${online.length} nodes online, ${away} away; busy ${busy.read()}`,
  );
  describe('off the device', online, removed);
  describe('acknowledgement listed', online, listed);
  console.log(
    `  missing: ${missing.map(({ name, silentSince }) => `${name} (silent since ${silentSince ?? 'ever'})`).join(', ') || 'nobody'}`,
  );
}

function describe(what: string, online: readonly Site[], times: ReadonlyMap<string, number>): void {
  const after = [...times.values()];
  const soon = after.filter((ms) => ms <= APPLIED_SOON_MS).length;
  const not = online.filter(({ name }) => !times.has(name)).map(({ name }) => name);
  console.log(
    `  ${what}: ${soon} of ${online.length} within ${seconds(APPLIED_SOON_MS)}, median ${seconds(median(after))}, last ${seconds(Math.max(...after))}${not.length === 0 ? '' : `, never ${not.join(', ')}`}`,
  );
}

/** What the audit logs say about the mesh and the rotation. */
async function receipts(
  { sites }: Federation,
  meshed: number,
  rotated: { readonly site: Site; readonly at: number },
): Promise<void> {
  const logs = new Map(
    await inTurn(sites, async (site) => [site, await AuditLeaves.of(site)] as const),
  );
  const aids = new Map<Site, string>();
  for (const site of sites) aids.set(site, String((await site.ask('id.show'))['aid']));
  const proven = new Map<string, number>();
  for (const [site, log] of logs)
    for (const { at, values } of log.list('tunnel-up')) {
      const pair = [aids.get(site), values.peer].sort().join(' ');
      if (at < rotated.at && !proven.has(pair)) proven.set(pair, at - meshed);
    }
  const times = [...proven.values()];
  console.log(
    `audit logs of ${sites.length}: ${times.length} tunnels proven, median after ${seconds(median(times))}, last after ${seconds(Math.max(...times))}`,
  );
  const others = sites.filter((site) => site !== rotated.site);
  for (const step of RECEIPTS) {
    const ends: number[] = [];
    const both: number[] = [];
    for (const peer of others) {
      const found = [
        [rotated.site, peer],
        [peer, rotated.site],
      ].map(
        ([own, theirs]) =>
          logs
            .get(own as Site)
            ?.list('rotation')
            .find(
              ({ at, values }) =>
                at >= rotated.at &&
                values.step === step &&
                values.peer === aids.get(theirs as Site),
            )?.at,
      );
      const written = found.filter((at) => at !== undefined).map((at) => at - rotated.at);
      ends.push(...written);
      if (written.length === 2) both.push(Math.max(...written));
    }
    console.log(
      `  receipts of the rotation, ${step}: ${ends.length} of ${2 * others.length}, at both ends of ${both.length} pairs, median after ${seconds(median(both))}, last after ${seconds(Math.max(...both))}`,
    );
  }
}

function isProven({ state, proof }: PeerRow): boolean {
  return state === 'up' && proof !== null;
}

/**
 * Until `holds` was true once of every row at every site, each site asked one after the other. Says who is missing when
 * patience ends.
 */
async function everyone(
  sites: readonly Site[],
  what: string,
  holds: (row: PeerRow, site: Site) => boolean,
): Promise<void> {
  const end = performance.now() + patienceMs;
  const missing: string[] = [];
  for (const site of sites) {
    const isLeft = async () => {
      const rows = await site.peers();
      const left = rows.filter((row) => !holds(row, site)).map((row) => describeRow(site, row));
      return rows.length < sites.length - 1
        ? [...left, `${site.name}: ${rows.length} peers`]
        : left;
    };
    let left = await isLeft();
    for (; left.length > 0 && performance.now() < end; left = await isLeft()) await pause(POLL_MS);
    missing.push(...left);
  }
  if (missing.length === 0) return;
  console.log(`NOT within ${seconds(patienceMs)}: ${what}`);
  for (const line of missing) console.log(`  ${line}`);
  process.exitCode = 1;
}

function describeRow(site: Site, row: PeerRow): string {
  const { name, state, reason, proof, connected, agreement, generation } = row;
  return `${site.name} to ${name}: ${state}${reason === null ? '' : `, ${reason}`}, ${proof === null ? 'not proven' : 'proven'}, ${connected ? '' : 'not '}connected, agreement ${agreement}, generation ${generation}`;
}
