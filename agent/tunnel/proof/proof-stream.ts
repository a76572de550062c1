/** The messages of one exchange, in order and in time. */
import type { Clock } from '#src/clock';
import { Conversation, failuresAs } from '../../network/conversation.ts';
import { ProofError } from './errors.ts';
import { decodeProofMessage, encodeProofMessage, type ProofMessage } from './messages.ts';
import type { OverlayStream } from './overlay.ts';

/** Each answer of the other end. */
const ANSWER_MS = 10_000;

const proofFailure = failuresAs(
  {
    unreachable: 'PROOF_UNREACHABLE',
    silent: 'PROOF_UNREACHABLE',
    ended: 'PROOF_UNREACHABLE',
    refused: 'PROOF_BAD_MESSAGE',
    malformed: 'PROOF_BAD_MESSAGE',
  },
  (...failure) => new ProofError(...failure),
);

export class ProofStream {
  readonly #conversation: Conversation<OverlayStream>;

  constructor(stream: OverlayStream, clock: Clock) {
    const manners = { messageMs: ANSWER_MS, failure: proofFailure };
    this.#conversation = new Conversation(stream, clock, manners, stream.remote);
  }

  async send(message: ProofMessage): Promise<void> {
    await this.#conversation.send(encodeProofMessage(message));
  }

  /** Throws PROOF_UNREACHABLE, PROOF_BAD_MESSAGE. */
  async receive(): Promise<ProofMessage> {
    return decodeProofMessage(await this.#conversation.receive());
  }

  /** As {@link receive}, of one kind. */
  async expect<K extends ProofMessage['kind']>(
    kind: K,
  ): Promise<Extract<ProofMessage, { kind: K }>> {
    const message = await this.receive();
    if (message.kind !== kind)
      throw new ProofError('PROOF_BAD_MESSAGE', `expected ${kind}, got ${message.kind}`);
    return message as Extract<ProofMessage, { kind: K }>;
  }
}
