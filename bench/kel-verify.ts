/**
 * Verification of a single-signature log from bytes to key state, in memory, one thread.
 * Best of several rounds. Baseline: the bare Ed25519 verification of sodium-native over the same events, in the same run.
 */
import sodium from 'sodium-native';
import { parseStream } from '#kel/cesr/stream';
import { buildInception } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { keyDigest } from '#kel/event/key-digest';
import { parseKeyEvent } from '#kel/event/parse';
import { buildRotation } from '#kel/event/rotation';
import { digestSeal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { encodeVerificationKey } from '#kel/event/verification-key';
import { evaluate } from '#kel/state/evaluate';
import type { KeyState, SerializationKind } from '#kel/state/key-state';
import { LogVerifier } from '#kel/verify/log-verifier';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { utf8 } from '#src/bytes';
import { sha256 } from '#src/crypto/hash';
import { loadCryptoSuite } from '#src/crypto/suites';

const EVENTS = 4000;
/** One rotation, then interactions that seal a digest: how an agent's log looks. */
const EVENTS_PER_ROTATION = 10;
const ROUNDS = 5;

const { ed25519 } = await loadCryptoSuite();
const verifySignature = createSignatureVerifier(ed25519);

interface SignedEvent {
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
  readonly publicKey: Uint8Array;
}

function makeLog(kind: SerializationKind): { stream: Uint8Array; events: SignedEvent[] } {
  const seed = (n: number) => sha256(utf8(`bench/${n}`));
  const key = (n: number) => encodeVerificationKey('ed25519', ed25519.publicKey(seed(n)));
  const events: SignedEvent[] = [];
  const messages: Uint8Array[] = [];
  let state: KeyState | undefined;
  let generation = 0;
  for (let sn = 0; sn < EVENTS; sn++) {
    if (state !== undefined && sn % EVENTS_PER_ROTATION === 0) generation++;
    const keys = { keys: [key(generation)], nextDigests: [keyDigest(key(generation + 1))] };
    const event =
      state === undefined
        ? buildInception({ ...keys, kind })
        : sn % EVENTS_PER_ROTATION === 0
          ? buildRotation({ ...keys, prior: state })
          : buildInteraction({ prior: state, anchors: [digestSeal(state.said)] });
    const signature = ed25519.sign(event.bytes, seed(generation));
    const message = encodeSignedEvent(event.bytes, [{ index: 0, raw: signature }]);
    const [item] = parseStream(message);
    if (item?.type !== 'message') throw new Error('the bench made a bad message');
    const decision = evaluate(
      state,
      { event: parseKeyEvent(event.bytes), bytes: event.bytes, attachments: item.attachments },
      { verifySignature, saidAt: () => undefined, stateAt: () => undefined },
    );
    if (decision.kind !== 'accept') throw new Error('the bench made a bad event');
    state = decision.state;
    events.push({ bytes: event.bytes, signature, publicKey: ed25519.publicKey(seed(generation)) });
    messages.push(message);
  }
  return { stream: Buffer.concat(messages), events };
}

/** Events per second of this thread's CPU time: other work on the machine stays out of the figure. */
function rate(run: () => void): number {
  const start = process.threadCpuUsage();
  run();
  const { user, system } = process.threadCpuUsage(start);
  return (EVENTS / (user + system)) * 1e6;
}

for (const kind of ['CBOR', 'JSON'] as const) {
  const { stream, events } = makeLog(kind);
  const bare = () => {
    for (const { bytes, signature, publicKey } of events) {
      const valid = sodium.crypto_sign_verify_detached(
        Buffer.from(signature.buffer, signature.byteOffset, signature.length),
        Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
        Buffer.from(publicKey.buffer, publicKey.byteOffset, publicKey.length),
      );
      if (!valid) throw new Error('a signature of the bench does not verify');
    }
  };
  const whole = () => {
    const verifier = new LogVerifier(verifySignature);
    verifier.feed(stream);
    const { aids, refused } = verifier.finish();
    if (aids[0]?.sn !== EVENTS - 1 || refused.length > 0)
      throw new Error('the log was not accepted');
  };
  // Alternating, so that other work on the machine meets both alike.
  const rates = Array.from({ length: ROUNDS }, () => [rate(bare), rate(whole)] as const);
  const best = (which: 0 | 1) => Math.max(...rates.map((pair) => pair[which]));
  console.log(`Ed25519 alone, ${kind} events (baseline)  ${best(0).toFixed(0)} events/s`);
  console.log(
    `${kind} log, bytes to key state  ${best(1).toFixed(0)} events/s  ${(best(1) / best(0)).toFixed(2)} x baseline`,
  );
}
