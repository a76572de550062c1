/**
 * Asking to join, from both sides. A newcomer that was refused as a stranger says what it would like to be called, and
 * learns whether the governor has heard of it; a member at which somebody knocks passes that on to the governor.
 */
import type { Aid } from '#kel/identifiers';
import { Allowance } from '#src/allowance';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import {
  type Conversation,
  converse,
  type Manners,
  serveConversations,
} from '../../network/conversation.ts';
import type { Network, PeerKey } from '../../network/network.ts';
import type { Membership } from '../membership/membership.ts';
import type { Dialler } from './dialler.ts';
import { SyncError } from './errors.ts';
import { syncFailure } from './failure.ts';
import {
  decodeKnockMessage,
  encodeKnockMessage,
  isNameOrNone,
  type KnockMessage,
  knockLimits,
  knockProtocol,
} from './knock-messages.ts';
import type { Knock } from './knocks.ts';
import type { PeerDirectory } from './peer-directory.ts';
import type { Sync } from './sync.ts';

/** Knocks that one member may pass on, and names that one newcomer may give. */
const PASSED = { burst: 16, perSecond: 1 / 30 } as const;
const NAMED = { burst: 4, perSecond: 1 / 10 } as const;

const manners: Manners = {
  protocol: knockProtocol,
  limits: knockLimits,
  messageMs: 10_000,
  // A member passes it on meanwhile.
  wholeMs: 30_000,
  failure: syncFailure,
};

export interface KnockingDeps {
  readonly network: Network;
  readonly directory: PeerDirectory;
  readonly membership: Pick<
    Membership,
    'isIn' | 'governor' | 'door' | 'charter' | 'maySync' | 'inviteAddresses'
  >;
  readonly sync: Pick<Sync, 'knocks' | 'takePassedOn' | 'onRefused' | 'onBound'>;
  readonly dialler: Pick<Dialler, 'failedDial'>;
  readonly self: Aid;
  /** What this organisation would like to be called; undefined: it proposes nothing. */
  readonly name: string | undefined;
  readonly clock: Clock;
  readonly journal: Journal;
}

/** How far the wish to join has come. */
export interface Admission {
  /**
   * `not-reached`: nobody of the invite line answers; `asked`: the governor has heard it; `passed-on`: a member has told the
   * governor; `door-only`: a member has heard it and does not reach the governor.
   */
  readonly state: 'not-reached' | 'asked' | 'passed-on' | 'door-only';
  readonly by: Aid | undefined;
  /** Milliseconds since the Unix epoch. */
  readonly since: number | undefined;
  readonly reason: string;
}

interface Heard {
  readonly by: Aid;
  readonly governs: boolean;
  readonly isPassedOn: boolean;
  readonly since: number;
}

export class Knocking {
  readonly #deps: KnockingDeps;
  /** Where this organisation has knocked, per connection. */
  readonly #heard = new Map<PeerKey, Heard>();
  readonly #passed: Allowance<PeerKey>;
  readonly #named: Allowance<PeerKey>;

  constructor(deps: KnockingDeps) {
    this.#deps = deps;
    this.#passed = new Allowance(deps.clock, PASSED);
    this.#named = new Allowance(deps.clock, NAMED);
  }

  start(): void {
    const { network, sync, clock } = this.#deps;
    serveConversations({ network, clock }, manners, (conversation) => this.#answer(conversation));
    network.listen({
      connected: () => undefined,
      disconnected: (peer) => this.#heard.delete(peer),
    });
    sync.onRefused((by, code) => {
      if (code === 'SYNC_NOT_A_MEMBER') this.#quietly(this.#ask(by));
    });
    sync.onBound((aid) => {
      if (aid !== this.#deps.membership.governor) return;
      for (const knock of sync.knocks.list())
        if (knock.via === undefined) this.#quietly(this.#passOn(knock));
    });
  }

  /** Undefined: this organisation is a member, or wants to be nowhere. */
  admission(): Admission | undefined {
    const { membership, dialler, self } = this.#deps;
    const { governor, door } = membership;
    if (membership.isIn || governor === undefined || governor === self) return undefined;
    const heard = [...this.#heard.values()];
    const best =
      heard.find(({ governs }) => governs) ??
      heard.find(({ isPassedOn }) => isPassedOn) ??
      heard[0];
    if (best !== undefined) {
      const { by, since } = best;
      if (best.governs)
        return {
          state: 'asked',
          by,
          since,
          reason: 'the governor has been asked and has not admitted it yet',
        };
      if (best.isPassedOn)
        return {
          state: 'passed-on',
          by,
          since,
          reason: 'a member has told the governor, which has not admitted it yet',
        };
      return {
        state: 'door-only',
        by,
        since,
        reason: 'a member was reached, which does not reach the governor now',
      };
    }
    const failed = [governor, ...(door === undefined ? [] : [door.aid])]
      .map((aid) => dialler.failedDial(aid))
      .filter((dial) => dial !== undefined);
    const tried = failed.flatMap(({ addresses }) => addresses);
    const places =
      tried.length > 0 ? tried : [...membership.inviteAddresses, ...(door?.addresses ?? [])];
    return {
      state: 'not-reached',
      by: undefined,
      since: undefined,
      reason: `${failed.length > 0 ? 'no answer' : 'no answer yet'} at ${places.join(', ') || 'any address'}`,
    };
  }

  /** The other end has bound: it is who the invite names, and what it says is its own. */
  async #ask(by: Aid): Promise<void> {
    const { directory, membership, name, clock } = this.#deps;
    const peer = directory.peerOf(by);
    if (peer === undefined || membership.isIn) return;
    const governs = by === membership.governor;
    const since = this.#heard.get(peer)?.since ?? clock.now();
    // One of version 0.1 says no more than its refusal did.
    if (!this.#heard.has(peer)) this.#heard.set(peer, { by, governs, isPassedOn: false, since });
    const answer = await this.#exchange(peer, {
      kind: 'name',
      name: isNameOrNone(name) ? name : '',
    });
    if (directory.peerOf(by) !== peer) return;
    this.#heard.set(peer, { by, governs, isPassedOn: answer.isPassedOn, since });
  }

  async #answer(conversation: Conversation): Promise<void> {
    const { stream } = conversation;
    const { sync, membership, directory, self } = this.#deps;
    const aid = directory.aidOf(stream.peer);
    const isMember = aid !== undefined && membership.charter?.members.has(aid) === true;
    // Who may ask is known before anything is read.
    if (!(isMember ? this.#passed : this.#named).take(stream.peer))
      throw new SyncError('SYNC_NOT_A_MEMBER', 'more knocks than its share');
    const governs = membership.charter?.governors[0] === self;
    const message = decodeKnockMessage(await conversation.receive());
    let isPassedOn = false;
    if (message.kind === 'name') {
      const knock = sync.knocks.ofPeer(stream.peer);
      if (knock === undefined)
        throw new SyncError('SYNC_NOT_A_MEMBER', 'a name of somebody who has not knocked');
      const named = message.name === '' ? knock : { ...knock, name: message.name };
      if (message.name !== '') sync.knocks.note(knock.aid, { name: message.name });
      if (!governs) isPassedOn = await this.#passOn(named).catch(() => false);
    } else if (message.kind === 'pass') {
      if (!governs || !isMember || !membership.maySync(aid))
        throw new SyncError(
          'SYNC_NOT_A_MEMBER',
          'only a member passes knocks on, and to the governor',
        );
      await sync.takePassedOn(aid, message.log, message.endpoints, message.name || undefined);
    } else throw new SyncError('SYNC_BAD_MESSAGE', 'expected name or pass, got heard');
    await conversation.send(encodeKnockMessage({ kind: 'heard', governs, isPassedOn }));
  }

  /** @returns whether the governor has heard of it */
  async #passOn(knock: Knock): Promise<boolean> {
    const { membership, directory, sync, self } = this.#deps;
    const { governor } = membership;
    if (!membership.isIn || governor === undefined || governor === self) return false;
    const peer = directory.peerOf(governor);
    if (peer === undefined) return false;
    const { log, endpoints, name = '' } = knock;
    const answer = await this.#exchange(peer, { kind: 'pass', name, log, endpoints });
    sync.knocks.note(knock.aid, { isPassedOn: answer.governs });
    return answer.governs;
  }

  #exchange(
    peer: PeerKey,
    message: KnockMessage,
  ): Promise<Extract<KnockMessage, { kind: 'heard' }>> {
    return converse(this.#deps, manners, peer, async (conversation) => {
      await conversation.send(encodeKnockMessage(message));
      const answer = decodeKnockMessage(await conversation.receive());
      if (answer.kind === 'heard') return answer;
      throw new SyncError('SYNC_BAD_MESSAGE', `expected heard, got ${answer.kind}`);
    });
  }

  #quietly(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#deps.journal.failed('knock.failed', error, {}, 'debug'));
  }
}
