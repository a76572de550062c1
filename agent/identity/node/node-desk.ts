/**
 * The organisation's side of delegation: requests of nodes, their approval by a seal, and what goes back to
 * them. A request is verified before it is kept, and kept in memory alone: whoever connects can send one, and a node asks
 * again until it is approved. Nothing of it is on disk before the operator has approved it.
 */
import { parseStream } from '#kel/cesr/stream';
import { eventSeal } from '#kel/event/seal';
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference, KeyState } from '#kel/key-state/key-state';
import { evaluate } from '#kel/state/evaluate';
import type { VerifySignature } from '#kel/state/key-signatures';
import type { KelStore } from '#kel/store/kel-store';
import { concatBytes } from '#src/bytes';
import type { Clock } from '#src/clock';
import { SerialQueue } from '#src/serial-queue';
import type { StateTable } from '#src/store/state-table';
import type { Identity } from '../own/identity.ts';
import { withDelegators } from './delegators.ts';
import { NodeError } from './errors.ts';
import { type NodeRequest, nodeRequest } from './request.ts';

export interface NodeDeskDeps {
  readonly identity: Identity;
  readonly kel: KelStore;
  readonly table: StateTable;
  readonly clock: Pick<Clock, 'now'>;
  readonly verifySignature: VerifySignature;
}

export interface NodeEntry {
  readonly aid: Aid;
  readonly name: string;
  /** Of its accepted log; undefined while its inception is not approved. */
  readonly state: KeyState | undefined;
  readonly delegator: Aid;
  /** The event of the delegator that approves its last establishment event. */
  readonly sealSource: EventReference | undefined;
  /** The event that waits for approval. */
  readonly request: (EventReference & { readonly at: number }) | undefined;
}

export interface Approval {
  readonly name: string;
  readonly aid: Aid;
  readonly event: EventReference;
  readonly sealSource: EventReference;
  /** CESR: logs of the delegators, then of the node. */
  readonly stream: Uint8Array;
}

interface WaitingRequest extends EventReference {
  readonly aid: Aid;
  readonly request: NodeRequest;
  /** Who brought it. */
  readonly from: string;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
}

/** Earlier versions kept requests on disk. */
const REQUEST = 'request.';
const NAME = 'name.';
/** Requests kept of nodes that are not known, and of these, of one peer: the oldest gives way, of whom it may ask again. */
const MAX_REQUESTS = 64;
const MAX_PER_PEER = 4;

export class NodeDesk {
  readonly #deps: NodeDeskDeps;
  readonly #queue = new SerialQueue();
  readonly #requests = new Map<Aid, WaitingRequest>();
  readonly #names = new Map<Aid, string>();
  #dropped = 0;

  private constructor(deps: NodeDeskDeps) {
    this.#deps = deps;
  }

  static async open(deps: NodeDeskDeps): Promise<NodeDesk> {
    const desk = new NodeDesk(deps);
    const earlier: Record<string, undefined> = {};
    for await (const [key] of deps.table.entries(REQUEST)) earlier[key] = undefined;
    if (Object.keys(earlier).length > 0) await deps.table.put(earlier);
    for await (const [key, name] of deps.table.entries<string>(NAME))
      desk.#names.set(key.slice(NAME.length) as Aid, name);
    return desk;
  }

  /** Requests that newer ones have pushed out, since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Takes in a request. @returns the approval when the event is approved already, undefined when it waits now.
   * Throws NODE_BAD_REQUEST, NODE_NOT_OURS. @param stream attacker-controlled  @param from who brings it
   */
  receive(asked: string, stream: Uint8Array, from: string): Promise<Approval | undefined> {
    return this.#queue.run(async () => {
      const request = nodeRequest(asked, stream);
      const { aid, sn, said } = request.event;
      const name = this.#names.get(aid) ?? asked;
      if (await this.#isApproved(request)) return this.#approvalOf(request);
      if (this.#requests.get(aid)?.said === said) return undefined;
      this.#requests.delete(aid);
      this.#makeRoom(aid, from);
      const at = this.#deps.clock.now();
      this.#requests.set(aid, { aid, sn, said, at, from, request: { ...request, name } });
      return undefined;
    });
  }

  /** A request that has arrived here. Throws NODE_UNKNOWN, NODE_AMBIGUOUS. @param who AID or name */
  find(who: string): NodeRequest {
    const all = [...this.#requests.values()].map(({ request }) => request);
    const byAid = all.find(({ event }) => event.aid === who);
    if (byAid !== undefined) return byAid;
    const [found, ...more] = all.filter(({ name }) => name === who);
    if (found === undefined)
      throw new NodeError('NODE_UNKNOWN', `no request of ${who.slice(0, 64)} waits here`);
    const namesakes = [...this.#names].filter(
      ([aid, name]) => name === who && aid !== found.event.aid,
    );
    if (more.length + namesakes.length === 0) return found;
    const lines = [
      ...[found, ...more].map(
        ({ event }) => `${event.aid} asks with the key ${event.keys.join(', ')}`,
      ),
      ...namesakes.map(([aid]) => `${aid} is a node of that name`),
    ];
    throw new NodeError('NODE_AMBIGUOUS', `${who}: ${lines.join('; ')}`);
  }

  /** Seals the event; approving it twice seals it once. Throws NODE_… and what {@link Identity.anchor} throws. */
  approve(request: NodeRequest): Promise<Approval> {
    return this.#queue.run(async () => {
      const { identity, table } = this.#deps;
      if (identity.state.configTraits.includes('DND'))
        throw new NodeError('NODE_NO_DELEGATION', `the log of ${identity.aid} has trait DND`);
      const { aid } = request.event;
      if (!(await this.#isApproved(request))) {
        // The name first: a node that is approved is never without one.
        await table.put({ [NAME + aid]: request.name });
        this.#names.set(aid, request.name);
        await identity.anchor([eventSeal(request.event)]);
        if (!(await this.#isApproved(request)))
          throw new NodeError(
            'NODE_BAD_REQUEST',
            `event ${request.event.said} is sealed and was not accepted`,
          );
      }
      this.#requests.delete(aid);
      return this.#approvalOf(request);
    });
  }

  /** The own nodes and requests; on a node its organisation's, as far as known here. */
  async list(): Promise<readonly NodeEntry[]> {
    const { identity, kel } = this.#deps;
    const above = new Set([identity.aid, ...chainOf(identity.state, kel)]);
    const entries: NodeEntry[] = [];
    for (const aid of kel.aids()) {
      const state = kel.state(aid);
      if (state?.delegator === undefined || !above.has(state.delegator)) continue;
      entries.push({
        aid,
        name: this.#names.get(aid) ?? '',
        state,
        delegator: state.delegator,
        sealSource: await this.#sealSource(aid, state.establishment),
        request: this.#requests.get(aid),
      });
    }
    for (const waiting of this.#requests.values()) {
      if (kel.state(waiting.aid) !== undefined) continue;
      const { aid, request } = waiting;
      const { name } = request;
      entries.push({
        aid,
        name,
        state: undefined,
        delegator: identity.aid,
        sealSource: undefined,
        request: waiting,
      });
    }
    return entries;
  }

  /** Throws NODE_BAD_REQUEST, NODE_NOT_OURS unless the event lacks nothing but the own seal, or nothing. */
  async #isApproved({ event, stream }: NodeRequest): Promise<boolean> {
    const { identity, kel } = this.#deps;
    const { aid, said } = event;
    const delegator = 'delegator' in event ? event.delegator : kel.state(aid)?.delegator;
    if (delegator !== identity.aid)
      throw new NodeError(
        'NODE_NOT_OURS',
        delegator === undefined
          ? `no node ${aid} is known here`
          : `${aid} is delegated by ${delegator}, not by ${identity.aid}`,
      );
    if (kel.state(aid) === undefined && !this.#names.has(aid)) {
      this.#expectWhole({ name: '', message: stream, stream, event });
      return false;
    }
    const outcomes = await kel.process(stream, { accepts: (other) => other === aid });
    const outcome = outcomes.at(-1);
    if (outcome?.verdict === 'accepted' || outcome?.verdict === 'duplicate') return true;
    // A delegate's own witnesses come after its delegator.
    if (outcome?.code === 'KEL_AWAITS_WITNESSES') return true;
    if (outcome?.code === 'KEL_AWAITS_DELEGATOR') return false;
    throw new NodeError(
      'NODE_BAD_REQUEST',
      `event ${said} of ${aid}: ${outcome?.code ?? 'none'} ${outcome?.reason ?? ''}`,
    );
  }

  /** An inception of which nobody here has approved anything, judged in memory. Throws NODE_BAD_REQUEST unless it lacks the own seal alone. */
  #expectWhole({ event, stream }: NodeRequest): void {
    const { identity, verifySignature } = this.#deps;
    const [item] = parseStream(stream);
    if (item?.type !== 'message') throw new TypeError('a request without an event');
    const { body: bytes, attachments } = item;
    const decision = evaluate(
      undefined,
      { event, bytes, attachments },
      {
        verifySignature,
        saidAt: () => undefined,
        stateAt: () => undefined,
        delegator: () => ({
          configTraits: identity.state.configTraits,
          approvalOf: () => undefined,
        }),
      },
    );
    if (decision.kind === 'escrow' && decision.code === 'KEL_AWAITS_DELEGATOR') return;
    const { code, reason } =
      'code' in decision ? decision : { code: 'none', reason: 'it needs no approval' };
    throw new NodeError(
      'NODE_BAD_REQUEST',
      `event ${event.said} of ${event.aid}: ${code} ${reason}`,
    );
  }

  /** Nodes that are known have a place each; of others the oldest goes, first of all the oldest of the same peer. */
  #makeRoom(aid: Aid, from: string): void {
    if (this.#deps.kel.state(aid) !== undefined) return;
    const strangers = [...this.#requests.values()].filter(
      (waiting) => this.#deps.kel.state(waiting.aid) === undefined,
    );
    const own = strangers.filter((waiting) => waiting.from === from);
    const [gone] = own.length >= MAX_PER_PEER ? own : strangers;
    if (own.length < MAX_PER_PEER && strangers.length < MAX_REQUESTS) return;
    if (gone === undefined) return;
    this.#requests.delete(gone.aid);
    this.#dropped += 1;
  }

  async #approvalOf({ name, event }: NodeRequest): Promise<Approval> {
    const { identity, kel } = this.#deps;
    const { aid, sn, said } = event;
    const source = (await this.#sealSource(aid, { sn, said })) ?? {
      sn: identity.state.sn,
      said: identity.state.said,
    };
    const chain = [...withDelegators([identity.aid], kel)].reverse();
    const logs = await Promise.all([...chain, aid].map((each) => kel.export(each)));
    return {
      name,
      aid,
      event: { sn, said },
      sealSource: source,
      stream: concatBytes(...logs),
    };
  }

  async #sealSource(aid: Aid, { sn }: EventReference): Promise<EventReference | undefined> {
    const [item] = parseStream(await this.#deps.kel.export(aid, sn, 1));
    const source = item?.type === 'message' ? item.attachments.sealSources[0] : undefined;
    return source === undefined ? undefined : { sn: source.sn, said: source.said as Said };
  }
}

function chainOf({ delegator }: KeyState, kel: KelStore): Iterable<Aid> {
  return delegator === undefined ? [] : withDelegators([delegator], kel);
}
