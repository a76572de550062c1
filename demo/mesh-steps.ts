/** Steps of the demonstration that make and change the mesh: keys, logs, membership, tunnels. */
import { type DemoFederation, NAMES, PAIRS } from './federation.ts';
import type { DemoFindings } from './report.ts';

/** What three inceptions at once take on a machine with two cores. */
const INCEPTION_MS = 6_000;

export async function build(federation: DemoFederation, work: string): Promise<string> {
  await federation.build(work);
  return federation.organisations
    .map(({ name, place }) => `${name} at ${place.address} in ${place.netns}`)
    .join(', ');
}

export async function incept(federation: DemoFederation): Promise<string> {
  const began = performance.now();
  await federation.each(async (organisation) => {
    const id = await organisation.kelmesh('init', '--generate-secret');
    organisation.aid = String(id['aid']);
  });
  federation.patience.calibrate(performance.now() - began, INCEPTION_MS);
  return `${federation.organisations.map(({ name, aid }) => `${name} is ${aid.slice(0, 12)}…`).join(', ')}; bravo's keys are in a SoftHSM token`;
}

export async function startAgents(
  federation: DemoFederation,
  findings: DemoFindings,
): Promise<string> {
  const result = await federation.of('alpha').kelmesh('mesh', 'create', 'demo');
  findings.mesh = (result['mesh'] as { mesh: string }).mesh;
  await federation.each((organisation) => organisation.start());
  const { driver } = await federation.of('alpha').status();
  return `mesh ${findings.mesh.slice(0, 12)}…, tunnels by ${driver}`;
}

export async function admit(federation: DemoFederation): Promise<string> {
  const alpha = federation.of('alpha');
  const { line } = await alpha.ask('mesh.invite');
  for (const name of ['bravo', 'charlie'] as const)
    await federation.of(name).ask('mesh.join', { line: String(line) });
  for (const name of ['bravo', 'charlie'] as const) {
    const { aid } = federation.of(name);
    await federation.patience.until(20_000, `${name} asks alpha to join`, async () =>
      (await alpha.status()).knocks.some((knock) => knock.aid === aid),
    );
    await alpha.ask('mesh.admit', { aid, name });
  }
  await federation.patience.until(20_000, 'all three are members of one charter', async () =>
    (await federation.statuses()).every(
      ({ mesh }) => mesh?.isMember === true && mesh.version === 2,
    ),
  );
  return 'charter version 2, signed and sealed by alpha, names the three';
}

export async function compareLogs(federation: DemoFederation): Promise<string> {
  await federation.patience.until(20_000, 'all logs are equal everywhere', async () => {
    const statuses = await federation.statuses();
    const heads = new Map(statuses.map(({ aid, said }) => [aid, said]));
    return statuses.every(
      ({ peers }) => peers.length === 2 && peers.every(({ aid, said }) => heads.get(aid) === said),
    );
  });
  const statuses = await federation.statuses();
  return `equal everywhere: ${statuses.map(({ sn }, i) => `${NAMES[i]} at event ${sn}`).join(', ')}`;
}

export async function agree(federation: DemoFederation): Promise<string> {
  await federation.patience.until(20_000, 'every pair has an agreement', async () =>
    (await federation.statuses()).every(({ peers }) =>
      peers.every(({ agreement }) => agreement !== null),
    ),
  );
  const epoch = (await federation.of('alpha').status()).peers[0]?.epoch;
  return `confirmed by both ends of all three pairs, key epoch ${epoch}`;
}

export async function bringTunnelsUp(federation: DemoFederation): Promise<string> {
  await federation.allUp();
  const keys = await comparePresharedKeys(federation);
  return `handshakes in all three, preshared keys equal at both ends (${keys} compared with wg show)`;
}

export async function remove(federation: DemoFederation): Promise<string> {
  const [alpha, charlie] = [federation.of('alpha'), federation.of('charlie')];
  const began = performance.now();
  await alpha.ask('mesh.remove', { who: 'charlie', reason: 'demonstration of a removal' });
  await federation.patience.until(20_000, 'alpha and bravo have no tunnel to charlie', async () =>
    (await Promise.all([alpha.status(), federation.of('bravo').status()])).every(({ peers }) =>
      peers.every(({ name }) => name !== 'charlie'),
    ),
  );
  const ms = Math.round(performance.now() - began);
  await federation.patience.until(20_000, 'charlie has taken its device down', async () => {
    const { mesh, interface: device } = await charlie.status();
    return mesh?.isMember === false && mesh.revoked !== null && device === null;
  });
  return `gone at alpha and bravo after ${ms} ms; charlie knows why and has taken its device down`;
}

export async function rejoin(federation: DemoFederation): Promise<string> {
  const [alpha, charlie] = [federation.of('alpha'), federation.of('charlie')];
  await federation.patience.until(30_000, 'charlie asks alpha again', async () =>
    (await alpha.status()).knocks.some(({ aid }) => aid === charlie.aid),
  );
  await alpha.ask('mesh.admit', { aid: charlie.aid, name: 'charlie', again: true });
  await federation.allUp();
  return 'three organisations and three proven tunnels again';
}

/** Independent of our own code: what `wg show` says at the two ends. @returns pairs compared */
async function comparePresharedKeys(federation: DemoFederation): Promise<number> {
  const held = await federation.each(async (organisation) => {
    const device = (await organisation.status()).interface ?? '';
    const { stdout } = await organisation.run(['wg', 'show', device, 'preshared-keys']);
    return stdout
      .trim()
      .split('\n')
      .map((line) => line.split('\t')[1] ?? '');
  });
  const counts = new Map<string, number>();
  for (const key of held.flat()) counts.set(key, (counts.get(key) ?? 0) + 1);
  if (counts.size !== PAIRS.length || [...counts.values()].some((count) => count !== 2))
    throw new Error('the preshared keys of the two ends of a tunnel differ');
  return counts.size;
}
