/**
 * The organisation's side of delegation: requests of nodes, their approval by a seal, and what goes back to
 * them. A request is verified before it is kept; what strangers can send is bounded.
 */
import { parseStream } from '#kel/cesr/stream';
import { eventSeal } from '#kel/event/seal';
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference, KeyState } from '#kel/state/key-state';
import type { KelStore } from '#kel/store/kel-store';
import { concatBytes } from '#src/bytes';
import type { Clock } from '#src/clock';
import { SerialQueue } from '#src/serial-queue';
import type { Identity } from '../identity/identity.ts';
import type { StateTable } from '../state-table.ts';
import { withDelegators } from './delegators.ts';
import { NodeError } from './errors.ts';
import { type NodeRequest, nodeRequest } from './request.ts';

export interface NodeDeskDeps {
  readonly identity: Identity;
  readonly kel: KelStore;
  readonly table: StateTable;
  readonly clock: Pick<Clock, 'now'>;
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

interface StoredRequest extends EventReference {
  readonly aid: Aid;
  readonly name: string;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
  /** Base64. */
  readonly message: string;
}

const REQUEST = 'request.';
const NAME = 'name.';
/** Requests kept; the oldest gives way. */
const MAX_REQUESTS = 64;

export class NodeDesk {
  readonly #deps: NodeDeskDeps;
  readonly #queue = new SerialQueue();
  readonly #requests = new Map<Aid, StoredRequest>();
  readonly #names = new Map<Aid, string>();
  #dropped = 0;

  private constructor(deps: NodeDeskDeps) {
    this.#deps = deps;
  }

  static async open(deps: NodeDeskDeps): Promise<NodeDesk> {
    const desk = new NodeDesk(deps);
    for await (const [, request] of deps.table.entries<StoredRequest>(REQUEST))
      desk.#requests.set(request.aid, request);
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
   * Throws NODE_BAD_REQUEST, NODE_NOT_OURS. @param stream attacker-controlled
   */
  receive(asked: string, stream: Uint8Array): Promise<Approval | undefined> {
    return this.#queue.run(async () => {
      const request = nodeRequest(asked, stream);
      const name = this.#names.get(request.event.aid) ?? asked;
      if (await this.#isApproved(request)) return this.#approvalOf(request);
      const { aid, sn, said } = request.event;
      if (this.#requests.get(aid)?.said === said) return undefined;
      const at = this.#deps.clock.now();
      const message = Buffer.from(request.message).toString('base64');
      const stored: StoredRequest = { aid, name, sn, said, at, message };
      const others = [...this.#requests.keys()].filter((other) => other !== aid);
      const gone = others.slice(0, Math.max(0, others.length + 1 - MAX_REQUESTS));
      await this.#deps.table.put({
        ...Object.fromEntries(gone.map((other) => [REQUEST + other, undefined])),
        [REQUEST + aid]: stored,
      });
      for (const other of gone) this.#requests.delete(other);
      this.#dropped += gone.length;
      this.#requests.delete(aid);
      this.#requests.set(aid, stored);
      return undefined;
    });
  }

  /** A request that has arrived here. Throws NODE_UNKNOWN. @param who AID or name */
  find(who: string): NodeRequest {
    for (const { aid, name, message } of this.#requests.values())
      if (aid === who || name === who) return nodeRequest(name, Buffer.from(message, 'base64'));
    throw new NodeError('NODE_UNKNOWN', `no request of ${who.slice(0, 64)} waits here`);
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
      await table.put({ [REQUEST + aid]: undefined });
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
    for (const request of this.#requests.values()) {
      if (kel.state(request.aid) !== undefined) continue;
      const { aid, name } = request;
      entries.push({
        aid,
        name,
        state: undefined,
        delegator: identity.aid,
        sealSource: undefined,
        request,
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
