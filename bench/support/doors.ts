/**
 * Every parser and evaluator that a stranger's bytes reach, with the shapes that cost it most, and what a door says to each.
 * The bounds are those of the doors themselves: a size that is refused before anything is parsed counts as refused.
 */

import { verifyBundle } from '#agent/evidence/auditor/verify-bundle';
import { parseProposal } from '#agent/identity/custody/proposal';
import { delegatorsIn } from '#agent/identity/node/delegators';
import { decodeNodeRequest, nodeRequestLimits } from '#agent/identity/node/messages';
import { nodeRequest } from '#agent/identity/node/request';
import { decodeRequest, witnessLimits } from '#agent/identity/witness/messages';
import { decodeEvidenceMessage, evidenceLimits } from '#agent/mesh/duplicity/messages';
import { MAX_EVENT } from '#agent/mesh/sync/gossip';
import { MAX_STRANGER_LOG } from '#agent/mesh/sync/knocks';
import { decodeSyncMessage, syncLimits } from '#agent/mesh/sync/messages';
import { MAX_CONFIG_BYTES, parseConfig } from '#agent/organisation/config/config';
import { decodeProofMessage } from '#agent/tunnel/proof/messages';
import { MAX_OVERLAY_MESSAGE } from '#agent/tunnel/proof/overlay';
import { parseStream } from '#kel/cesr/stream';
import { claimedFork, verifyEvidence } from '#kel/duplicity/evidence-file';
import { KelError } from '#kel/errors';
import { buildInception } from '#kel/event/inception';
import { issuerOf } from '#kel/event/issuer-of';
import { parseKeyEvent } from '#kel/event/parse';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { encodeVerificationKey } from '#kel/event/verification-key';
import type { Aid } from '#kel/identifiers';
import { parseQuery } from '#kel/query/query';
import { parseRecord } from '#kel/record/parse';
import { parseReply } from '#kel/reply/reply';
import { LogVerifier } from '#kel/verify/log-verifier';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { parseNote } from '#src/audit/note';
import { decodeCbor } from '#src/cbor';
import { loadCryptoSuite } from '#src/crypto/suites';
import { parseCaBundle } from '#src/mtls/ca-certificate';
import {
  cborShapes,
  eventShapes,
  noteShapes,
  pemShapes,
  receiptsOf,
  recordShapes,
  type Shape,
  streamShapes,
  tomlShapes,
} from './hostile-shapes.ts';
import { slope } from './stats.ts';

export interface Door {
  readonly name: string;
  /** Bytes that are read at all. */
  readonly max: number;
  readonly shapes: Readonly<Record<string, Shape>>;
  /** What it does with bytes; a refusal by exception is an answer. */
  run(bytes: Uint8Array): unknown;
}

const { ed25519 } = await loadCryptoSuite();
const verifySignature = createSignatureVerifier(ed25519);
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

/** A stranger's own inception, signed: nothing of it is false. */
const ownInception = (fields: Readonly<Record<string, unknown>>) => {
  const seed = new Uint8Array(32).fill(9);
  const key = encodeVerificationKey('ed25519', ed25519.publicKey(seed), true);
  const { bytes, aid } = buildInception({
    keys: [key],
    nextDigests: [],
    witnesses: fields['b'] as readonly Aid[],
    witnessThreshold: Number.parseInt(fields['bt'] as string, 16),
    anchors: fields['a'] as never,
  });
  return { aid, message: encodeSignedEvent(bytes, [{ index: 0, raw: ed25519.sign(bytes, seed) }]) };
};

const logShapes: Readonly<Record<string, Shape>> = {
  ...streamShapes,
  ...eventShapes,
  'receipts of a waiting event': receiptsOf(ownInception),
};

function verifyLog(bytes: Uint8Array): unknown {
  const verifier = new LogVerifier(verifySignature);
  verifier.feed(bytes);
  return verifier.finish();
}

const STRANGER_SYNC = syncLimits.maxFromStranger ?? syncLimits.maxMessage;
const UNBOUNDED = Number.POSITIVE_INFINITY;

export const doors: readonly Door[] = [
  {
    name: 'CBOR of every frame',
    max: 1 << 20,
    shapes: cborShapes,
    run: (bytes) => decodeCbor(bytes),
  },
  { name: 'gossip of events', max: MAX_EVENT, shapes: logShapes, run: issuerOf },
  { name: 'sync, from a stranger', max: STRANGER_SYNC, shapes: cborShapes, run: decodeSyncMessage },
  {
    name: "a stranger's log",
    max: MAX_STRANGER_LOG,
    shapes: logShapes,
    run: (bytes) => [delegatorsIn(bytes, 'E' as Aid), verifyLog(bytes)],
  },
  {
    name: 'node, a frame',
    max: nodeRequestLimits.maxFromStranger ?? 0,
    shapes: cborShapes,
    run: decodeNodeRequest,
  },
  {
    name: 'node, a request',
    max: nodeRequestLimits.maxFromStranger ?? 0,
    shapes: logShapes,
    run: (bytes) => nodeRequest('a', bytes),
  },
  {
    name: 'witness, a frame',
    max: witnessLimits.maxMessage,
    shapes: cborShapes,
    run: decodeRequest,
  },
  { name: 'witness, an event', max: witnessLimits.maxMessage, shapes: logShapes, run: issuerOf },
  {
    name: 'evidence, a frame',
    max: evidenceLimits.maxMessage,
    shapes: cborShapes,
    run: decodeEvidenceMessage,
  },
  {
    name: 'evidence, a file',
    max: UNBOUNDED,
    shapes: logShapes,
    run: (bytes) => [claimedFork(bytes), verifyEvidence(bytes, verifySignature)],
  },
  {
    name: 'proof through the tunnel',
    max: MAX_OVERLAY_MESSAGE,
    shapes: cborShapes,
    run: decodeProofMessage,
  },
  { name: 'a key event', max: UNBOUNDED, shapes: eventShapes, run: parseKeyEvent },
  {
    name: 'a stream',
    max: UNBOUNDED,
    shapes: logShapes,
    run: (bytes) => [...parseStream(bytes)].length,
  },
  { name: 'id verify', max: UNBOUNDED, shapes: logShapes, run: verifyLog },
  { name: 'a query', max: 64 * 1024, shapes: eventShapes, run: parseQuery },
  { name: 'a reply', max: UNBOUNDED, shapes: eventShapes, run: parseReply },
  {
    name: 'a record',
    max: UNBOUNDED,
    shapes: { ...eventShapes, ...recordShapes },
    run: parseRecord,
  },
  {
    name: 'audit verify',
    max: UNBOUNDED,
    shapes: cborShapes,
    run: (bytes) => verifyBundle(bytes, { verifySignature }),
  },
  { name: 'a proposal of custodians', max: UNBOUNDED, shapes: cborShapes, run: parseProposal },
  {
    name: 'a checkpoint',
    max: UNBOUNDED,
    shapes: noteShapes,
    run: (bytes) => parseNote(text(bytes)),
  },
  {
    name: 'a CA of others',
    max: UNBOUNDED,
    shapes: pemShapes,
    run: (bytes) => parseCaBundle(text(bytes)),
  },
  {
    name: 'a configuration',
    max: MAX_CONFIG_BYTES,
    shapes: tomlShapes,
    run: (bytes) => parseConfig(text(bytes), '/etc/kelmesh.toml'),
  },
];

/** Growth of work with size: what is measured of one door and shape. */
export interface Growth {
  /** Milliseconds by size; `refused` from the size on at which the door does not parse. */
  readonly ms: readonly (number | 'refused')[];
  /** Slope of log time over log size between the sizes that are read; NaN for fewer than two. */
  readonly exponent: number;
}

const ROUNDS = 3;
/** Below this a measurement is one of the clock: the run is repeated until it takes as long. */
const LEAST_MS = 4;

/** Best of {@link ROUNDS}: whatever else the machine does makes it longer and never shorter. */
export async function measure(door: Door, shape: Shape, sizes: readonly number[]): Promise<Growth> {
  const ms: (number | 'refused')[] = [];
  for (const size of sizes) {
    const bytes = made(shape, size);
    ms.push(bytes === undefined || bytes.length > door.max ? 'refused' : await best(door, bytes));
  }
  const points = sizes.flatMap((size, i) => {
    const taken = ms[i];
    return typeof taken === 'number' ? [{ x: Math.log(size), y: Math.log(taken) }] : [];
  });
  return { ms, exponent: points.length < 2 ? Number.NaN : slope(points) };
}

/** Undefined where no message of this shape and size can be: its version string, or a builder, knows the bound. */
function made(shape: Shape, size: number): Uint8Array | undefined {
  try {
    return shape(size);
  } catch (error) {
    if (error instanceof KelError || error instanceof RangeError) return undefined;
    throw error;
  }
}

async function best(door: Door, bytes: Uint8Array): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.cpuUsage();
    const began = performance.now();
    let runs = 0;
    do {
      await attempt(door, bytes);
      runs += 1;
    } while (performance.now() - began < LEAST_MS);
    const { user, system } = process.cpuUsage(begin);
    least = Math.min(least, (user + system) / 1_000 / runs);
  }
  return Math.max(least, 0.001);
}

async function attempt(door: Door, bytes: Uint8Array): Promise<void> {
  try {
    await door.run(bytes);
  } catch {
    // An answer like any other.
  }
}
