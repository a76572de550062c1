/** Replies that wait for a log or for more signatures: in memory, bounded, the oldest go first. */
import type { Aid } from '#kel/identifiers';
import type { EndorsedReply } from './evaluate.ts';

export interface WaitingReply {
  readonly endorsed: EndorsedReply;
  /** Whose log would decide. */
  readonly awaits: Aid;
}

const MAX_WAITING = 1024;
/** For one log: a stranger cannot push out what waits for others. */
const MAX_PER_AID = 32;
const MAX_BYTES = 16 * 1024;
const MAX_SIGNATURES = 64;

export class WaitingReplies {
  /** By SAID and establishment event, oldest first. */
  readonly #entries = new Map<string, WaitingReply>();

  /** @returns false when the reply is too large to wait */
  add(waiting: WaitingReply): boolean {
    if (waiting.endorsed.bytes.length > MAX_BYTES) return false;
    const sameAid = [...this.#entries].filter(([, { awaits }]) => awaits === waiting.awaits);
    const [first] = sameAid.length >= MAX_PER_AID ? sameAid : [];
    const gone = first?.[0] ?? (this.#entries.size >= MAX_WAITING ? this.#oldest() : undefined);
    if (gone !== undefined) this.#entries.delete(gone);
    this.#entries.set(keyOf(waiting.endorsed), waiting);
    return true;
  }

  /** With the signatures of the copy that waits. */
  joined(endorsed: EndorsedReply): EndorsedReply {
    const { endorsement } = endorsed;
    const earlier = this.#entries.get(keyOf(endorsed))?.endorsed.endorsement;
    if (earlier === undefined || !('signatures' in earlier) || !('signatures' in endorsement))
      return endorsed;
    const signatures = [...endorsement.signatures, ...earlier.signatures].slice(0, MAX_SIGNATURES);
    return { ...endorsed, endorsement: { ...endorsement, signatures } };
  }

  remove(endorsed: EndorsedReply): void {
    this.#entries.delete(keyOf(endorsed));
  }

  isAwaited(aid: Aid): boolean {
    return this.#entries.values().some(({ awaits }) => awaits === aid);
  }

  /** Takes out what waits for the log of `aid`. */
  takeFor(aid: Aid): readonly WaitingReply[] {
    const taken = [...this.#entries].filter(([, { awaits }]) => awaits === aid);
    for (const [key] of taken) this.#entries.delete(key);
    return taken.map(([, waiting]) => waiting);
  }

  #oldest(): string | undefined {
    const [key] = this.#entries.keys();
    return key;
  }
}

function keyOf({ reply, endorsement }: EndorsedReply): string {
  const under = 'establishment' in endorsement ? endorsement.establishment : undefined;
  return `${reply.said} ${endorsement.aid} ${under?.sn ?? ''} ${under?.said ?? ''}`;
}
