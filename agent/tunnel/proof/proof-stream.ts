/** The messages of one exchange, in order and in time. */
import type { Clock } from '#src/clock';
import { withDeadline } from '#src/deadline';
import { ProofError } from './errors.ts';
import { decodeProofMessage, encodeProofMessage, type ProofMessage } from './messages.ts';
import type { OverlayStream } from './overlay.ts';

/** Each answer of the other end. */
const ANSWER_MS = 10_000;

export class ProofStream {
  readonly #stream: OverlayStream;
  readonly #clock: Clock;

  constructor(stream: OverlayStream, clock: Clock) {
    this.#stream = stream;
    this.#clock = clock;
  }

  async send(message: ProofMessage): Promise<void> {
    await this.#stream.send(encodeProofMessage(message));
  }

  /** Throws PROOF_UNREACHABLE, PROOF_BAD_MESSAGE. */
  async receive(): Promise<ProofMessage> {
    const bytes = await withDeadline(this.#clock, ANSWER_MS, this.#stream.receive(), () => {
      throw new ProofError('PROOF_UNREACHABLE', `no answer within ${ANSWER_MS} ms`);
    });
    if (bytes === undefined)
      throw new ProofError('PROOF_UNREACHABLE', 'the peer ended the exchange');
    return decodeProofMessage(bytes);
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
