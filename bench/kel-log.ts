/** A single-signature log as an agent writes it, event by event: one rotation, then interactions that seal a digest. */
import { buildInception } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { keyDigest } from '#kel/event/key-digest';
import { parseKeyEvent } from '#kel/event/parse';
import { buildRotation } from '#kel/event/rotation';
import { digestSeal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { encodeVerificationKey } from '#kel/event/verification-key';
import type { KeyState, SerializationKind } from '#kel/key-state/key-state';
import { utf8 } from '#src/bytes';
import { sha256 } from '#src/crypto/hash';
import type { Ed25519 } from '#src/crypto/suite';

const EVENTS_PER_ROTATION = 10;

export interface LoggedEvent {
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
  readonly publicKey: Uint8Array;
  /** The event with its attachments. */
  readonly message: Uint8Array;
}

/** @param name distinct for distinct AIDs */
export function* singleSignatureLog(
  ed25519: Ed25519,
  events: number,
  kind: SerializationKind,
  name = 'bench',
): Generator<LoggedEvent> {
  const seedOf = (generation: number) => sha256(utf8(`${name}/${generation}`));
  const keyOf = (seed: Uint8Array) => {
    const publicKey = ed25519.publicKey(seed);
    return { seed, publicKey, key: encodeVerificationKey('ed25519', publicKey) };
  };
  let current = keyOf(seedOf(0));
  let next = keyOf(seedOf(1));
  let state: KeyState | undefined;
  for (let sn = 0; sn < events; sn++) {
    const isRotation = state !== undefined && sn % EVENTS_PER_ROTATION === 0;
    if (isRotation) {
      current = next;
      next = keyOf(seedOf(sn / EVENTS_PER_ROTATION + 1));
    }
    const keys = { keys: [current.key], nextDigests: [keyDigest(next.key)] };
    const event =
      state === undefined
        ? buildInception({ ...keys, kind })
        : isRotation
          ? buildRotation({ ...keys, prior: state })
          : buildInteraction({ prior: state, anchors: [digestSeal(state.said)] });
    const signature = ed25519.sign(event.bytes, current.seed);
    const { publicKey } = current;
    const message = encodeSignedEvent(event.bytes, [{ index: 0, raw: signature }]);
    yield { bytes: event.bytes, signature, publicKey, message };
    state = stateAfter(state, event, kind);
  }
}

/** As far as building the next event needs it; whether it is right, the verifier that is measured says. */
function stateAfter(
  before: KeyState | undefined,
  { bytes, sn, said }: { bytes: Uint8Array; sn: number; said: KeyState['said'] },
  kind: SerializationKind,
): KeyState {
  const event = parseKeyEvent(bytes);
  const shared = { aid: event.aid, sn, said, eventType: event.type, kind, delegator: undefined };
  const lists = { witnesses: [], witnessThreshold: 0, configTraits: [] };
  if (event.type === 'ixn') return { ...(before as KeyState), ...shared };
  const { keys, signingThreshold, nextDigests, nextThreshold } = event;
  const establishment = { sn, said };
  return { ...shared, ...lists, establishment, keys, signingThreshold, nextDigests, nextThreshold };
}
