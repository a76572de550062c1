/** What must hold in a simulated federation at every moment (DESIGN 10), and what must have become equal at the end. */
import type { Aid, Said } from '#kel/identifiers';
import type { WireGuardKey } from '#src/wireguard/tunnel-driver';
import type { SimulatedAgent, SimulatedFederation } from './simulated-agent.ts';
import type { SimulatedHandshake } from './simulated-tunnels.ts';

/** Time that a device has to follow the charter that its agent holds. */
const FOLLOW_MS = 1;
const MAX_DIFFERENCES = 12;

interface KeyOwner {
  readonly aid: Aid;
  /** The `tun` record. */
  readonly record: Said;
}

export class SimulatedInvariants {
  readonly #federation: SimulatedFederation;
  readonly #owners = new Map<WireGuardKey, KeyOwner>();
  readonly #waiting = new Set<string>();
  readonly #broken: string[] = [];
  #checks = 0;

  /** Watches from now on. */
  constructor(federation: SimulatedFederation) {
    this.#federation = federation;
    federation.tunnels.onApplied = (host) => this.#onApplied(host);
    federation.tunnels.onHandshake = (handshake) => this.#onHandshake(handshake);
  }

  /** Looks at devices and handshakes so far: a check that looked at nothing proves nothing. */
  get checks(): number {
    return this.#checks;
  }

  /** Throws with the first violations. */
  assertHeld(): void {
    if (this.#broken.length === 0) return;
    const { where } = this.#federation;
    throw new Error(
      `${where}: ${this.#broken.length} violations\n${this.#broken.slice(0, MAX_DIFFERENCES).join('\n')}\n${this.#federation.recent()}`,
    );
  }

  #onApplied(host: string): void {
    if (this.#waiting.has(host)) return;
    this.#waiting.add(host);
    this.#federation.clock.schedule(FOLLOW_MS, () => {
      this.#waiting.delete(host);
      const agent = this.#federation.agents.find(({ name }) => name === host);
      if (agent?.isRunning === true) this.#checkDevices(agent);
    });
  }

  /** Invariant 4: never for an AID that is not in the charter, never without a preshared key. */
  #checkDevices(agent: SimulatedAgent): void {
    const members = new Set(agent.organisation.membership.others().map(({ aid }) => aid));
    for (const device of this.#federation.tunnels.devicesOf(agent.name)) {
      for (const peer of device.peers.values()) {
        this.#checks += 1;
        const owner = this.#ownerOf(agent, peer.key);
        if (owner === undefined) this.#fail(`${agent.name}: ${device.name} has a peer of nobody's`);
        else if (!members.has(owner.aid))
          this.#fail(`${agent.name}: ${device.name} has ${owner.aid}, who is not in its charter`);
        if (!/^(?!0{64})[0-9a-f]{64}$/.test(peer.presharedKey))
          this.#fail(`${agent.name}: ${device.name} has a peer without a preshared key`);
      }
    }
  }

  /** Invariant 4: what came up has a confirmed agreement, the same at both ends. */
  #onHandshake({ initiator, responder }: SimulatedHandshake): void {
    this.#checks += 1;
    const ids = [
      this.#agreementOf(initiator.host, initiator.key, responder.key),
      this.#agreementOf(responder.host, responder.key, initiator.key),
    ];
    const [a, b] = ids;
    if (ids.includes('none'))
      this.#fail(
        `handshake ${initiator.host} to ${responder.host} without a confirmed agreement: ${ids.join(', ')}`,
      );
    else if (a !== undefined && b !== undefined && a !== b)
      this.#fail(`handshake ${initiator.host} to ${responder.host} under agreements ${a} and ${b}`);
  }

  /** Undefined while the agent does not run and cannot be asked. */
  #agreementOf(host: string, own: WireGuardKey, peer: WireGuardKey): string | undefined {
    const agent = this.#federation.agents.find(({ name }) => name === host);
    if (agent?.isRunning !== true) return undefined;
    const mine = this.#ownerOf(agent, own);
    const theirs = this.#ownerOf(agent, peer);
    if (mine === undefined || theirs === undefined) return 'none';
    const agreed = agent.running.agreements.agreed(theirs.aid, {
      own: mine.record,
      peer: theirs.record,
    });
    return agreed === undefined ? 'none' : Buffer.from(agreed.th).toString('hex').slice(0, 16);
  }

  #ownerOf(agent: SimulatedAgent, key: WireGuardKey): KeyOwner | undefined {
    if (!this.#owners.has(key)) {
      for (const { record } of agent.organisation.records.list('tun')) {
        this.#owners.set(Buffer.from(record.wg).toString('hex') as WireGuardKey, {
          aid: record.i,
          record: record.d,
        });
      }
    }
    return this.#owners.get(key);
  }

  #fail(what: string): void {
    this.#broken.push(`${new Date(this.#federation.clock.now()).toISOString()} ${what}`);
  }
}

/** Where `members` do not agree yet, in words; empty when all of them see and carry the same. */
export function differences(
  federation: SimulatedFederation,
  members: readonly SimulatedAgent[],
): readonly string[] {
  const found: string[] = [];
  const down = members.filter((member) => !member.isRunning);
  if (down.length > 0) return down.map(({ name }) => `${name} is down`);
  const charter = federation.governor.organisation.membership.charter?.said;
  const aids = new Set(members.map(({ aid }) => aid));
  for (const member of members) {
    const { membership, kel } = member.organisation;
    const held = membership.charter;
    if (held?.said !== charter)
      found.push(`${member.name}: charter ${held?.version} is not the governor's`);
    if ([...(held?.members.keys() ?? [])].some((aid) => !aids.has(aid)))
      found.push(`${member.name}: names others than the members`);
    for (const other of members) {
      const { sn, said } = other.organisation.identity.state;
      const state = kel.state(other.aid);
      if (state?.sn !== sn || state.said !== said)
        found.push(`${member.name}: ${other.name} at sn ${state?.sn}, it is at ${sn}`);
    }
    found.push(...peerDifferences(federation, member, aids));
    if (member.running.tunnels.isRotating) found.push(`${member.name}: tunnels still change over`);
  }
  for (const [at, a] of members.entries()) {
    for (const b of members.slice(at + 1)) found.push(...pairDifferences(federation, a, b));
    if (found.length > 4 * MAX_DIFFERENCES) break;
  }
  return found;
}

/** The devices hold keys of all other members and of nobody else. */
function peerDifferences(
  federation: SimulatedFederation,
  member: SimulatedAgent,
  members: ReadonlySet<Aid>,
): readonly string[] {
  const owners = new Map<string, Aid>();
  for (const { record } of member.organisation.records.list('tun')) {
    owners.set(Buffer.from(record.wg).toString('hex'), record.i);
  }
  const present = new Set<Aid | undefined>([member.aid]);
  for (const { peers } of federation.tunnels.devicesOf(member.name)) {
    for (const key of peers.keys()) present.add(owners.get(key));
  }
  const missing = [...members].filter((aid) => !present.has(aid));
  const outside = [...present].filter((aid) => aid === undefined || !members.has(aid));
  return [
    ...missing.map((aid) => `${member.name}: no peer for ${aid}`),
    ...outside.map((aid) => `${member.name}: a peer of ${aid ?? 'nobody'}, who is not a member`),
  ];
}

function pairDifferences(
  { tunnels }: SimulatedFederation,
  a: SimulatedAgent,
  b: SimulatedAgent,
): readonly string[] {
  const found: string[] = [];
  const epochs = [a.running.epochKeys.epoch(), b.running.epochKeys.epoch()];
  if (epochs[0] !== epochs[1]) found.push(`${a.name}–${b.name}: epochs ${epochs.join(' and ')}`);
  const keys = [tunnels.presharedKey(a.name, b.name), tunnels.presharedKey(b.name, a.name)];
  if (keys[0] === undefined || keys[0] !== keys[1])
    found.push(
      `${a.name}–${b.name}: preshared keys ${keys.map((key) => key?.slice(0, 8)).join(' and ')}`,
    );
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    const passage = tunnels.passage(from.name, to.name);
    if (passage !== 'passes') found.push(`${from.name} to ${to.name}: ${passage}`);
  }
  return found;
}

export function summary(found: readonly string[]): string {
  return `${found.length} differences\n${found.slice(0, MAX_DIFFERENCES).join('\n')}`;
}
