/**
 * Where the system would send a packet now: what it answers when it is asked, rules, other routing tables and cached path MTUs
 * included, and not what somebody once wrote into a table. One process of `ip` answers for any number of addresses.
 */
import { parseIpAddress } from '../net/ip-address.ts';
import { expectSuccess, type RunCommand } from './command.ts';
import { WireGuardError } from './errors.ts';

/** The way of a packet to one address. */
export type Way =
  | {
      readonly kind: 'device';
      readonly device: string;
      /** Routing table that a rule leads to; absent: the main one. */
      readonly table?: string;
      /** Bytes of the largest packet, where the route or what routers said limits it below the device. */
      readonly mtu?: number;
    }
  /** An address of this machine itself. */
  | { readonly kind: 'local' }
  /** No route, or a route or rule that refuses. @param said the words of the system */
  | { readonly kind: 'none'; readonly said: string };

interface LinkLook {
  readonly isUp: boolean;
  readonly mtu: number;
}

export interface WaysLook {
  /** By name. */
  readonly links: ReadonlyMap<string, LinkLook>;
  /** By address, as it was asked for. */
  readonly ways: ReadonlyMap<string, Way>;
}

export interface Ways {
  /** @param addresses canonical IP addresses  @throws WIREGUARD_COMMAND_FAILED, WIREGUARD_NO_PROGRAM */
  look(addresses: readonly string[]): Promise<WaysLook>;
  /** Tells when a link, an address, a route or a rule has changed, until it is disposed. */
  watch(listener: () => void): WaysWatch;
}

export interface WaysWatch extends Disposable {
  /** What changes is told; else {@link Ways.look} has to be asked. */
  readonly isTelling: boolean;
}

/** Addresses that one process is asked for: its answer is read as a whole. */
const MAX_ADDRESSES = 4_096;

/** @param run with the `ip` of the network namespace that is meant */
export async function lookAtWays(run: RunCommand, addresses: readonly string[]): Promise<WaysLook> {
  const asked = addresses.filter((text) => parseIpAddress(text) !== undefined);
  let links: WaysLook['links'] = new Map();
  const ways = new Map<string, Way>();
  for (let at = 0; at === 0 || at < asked.length; at += MAX_ADDRESSES) {
    const look = await lookAtSome(run, asked.slice(at, at + MAX_ADDRESSES));
    links = look.links;
    for (const [address, way] of look.ways) ways.set(address, way);
  }
  return { links, ways };
}

async function lookAtSome(run: RunCommand, asked: readonly string[]): Promise<WaysLook> {
  const lines = ['link show', ...asked.map((address) => `route get ${address}`)];
  // A line that fails ends nothing: that there is no route is an answer.
  const result = await run('ip', ['-j', '-force', '-batch', '-'], {
    stdin: `${lines.join('\n')}\n`,
  });
  return parseWays(asked, result.stdout, result.stderr, () =>
    expectSuccess('ip -batch (link show, route get)', result),
  );
}

/**
 * @param stdout a JSON array for each line that succeeded, in their order
 * @param stderr what is wrong with each that failed, then `Command failed -:N`, from 1
 * @param failed throws what the program said
 */
function parseWays(
  asked: readonly string[],
  stdout: string,
  stderr: string,
  failed: () => unknown,
): WaysLook {
  const failures = failuresIn(stderr);
  const answers = stdout.split('\n').filter((line) => line.trim() !== '');
  if (failures.has(1) || answers.length + failures.size !== asked.length + 1) {
    failed();
    throw malformed(`${answers.length} answers and ${failures.size} failures`);
  }
  const [links = '[]', ...routes] = answers;
  const ways = new Map<string, Way>();
  for (const [at, address] of asked.entries()) {
    const said = failures.get(at + 2);
    ways.set(address, said === undefined ? wayOf(routes.shift() ?? '') : { kind: 'none', said });
  }
  return { links: linksIn(links), ways };
}

function failuresIn(stderr: string): ReadonlyMap<number, string> {
  const failures = new Map<number, string>();
  let said: string[] = [];
  for (const line of stderr.split('\n')) {
    const number = /^Command failed -:(\d+)$/.exec(line)?.[1];
    if (number === undefined) {
      if (line !== '') said.push(line.replace(/^(?:RTNETLINK answers|Error): /, ''));
      continue;
    }
    failures.set(Number(number), said.join('; ').slice(0, 200) || 'refused');
    said = [];
  }
  return failures;
}

function wayOf(json: string): Way {
  const [route] = objectsIn(json);
  const { type, dev, table, metrics } = route ?? {};
  if (type === 'local') return { kind: 'local' };
  if (typeof dev !== 'string') throw malformed(json);
  const [first] = Array.isArray(metrics) ? metrics : [];
  const mtu: unknown = first?.mtu;
  return {
    kind: 'device',
    device: dev,
    ...(typeof table === 'string' && table !== 'main' ? { table } : {}),
    ...(typeof mtu === 'number' ? { mtu } : {}),
  };
}

function linksIn(json: string): ReadonlyMap<string, LinkLook> {
  const links = new Map<string, LinkLook>();
  for (const { ifname, flags, mtu } of objectsIn(json)) {
    if (typeof ifname !== 'string' || typeof mtu !== 'number' || !Array.isArray(flags)) continue;
    links.set(ifname, { isUp: flags.includes('UP'), mtu });
  }
  return links;
}

function objectsIn(json: string): Record<string, unknown>[] {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw malformed(json);
  }
  if (!Array.isArray(value)) throw malformed(json);
  return value.filter((entry) => typeof entry === 'object' && entry !== null);
}

function malformed(got: string): WireGuardError {
  return new WireGuardError(
    'WIREGUARD_COMMAND_FAILED',
    `ip -j -batch: expected an answer for each line, got ${JSON.stringify(got.slice(0, 80))}`,
  );
}
