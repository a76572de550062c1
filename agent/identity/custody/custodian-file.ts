/**
 * What a custodian's machine remembers: which keys of its key store are the custodian's, what they have signed,
 * and how far it has seen the log. No secret. `kelmesh.custodian/1`, deterministic CBOR, replaced as a whole.
 */
import { readFile } from 'node:fs/promises';
import type { Aid, Said } from '#kel/identifiers';
import { parseAid, parseSaid } from '#kel/identifiers';
import { type CborValue, encodeCbor } from '#src/cbor';
import { type AtomicFileSteps, replaceFile } from '#src/files/atomic-file';
import type { KeyId } from '#src/keystore/key-store';
import { CustodyError } from './errors.ts';
import { expectLabels, listOf, malformed, numberOf, readMap, textOf } from './fields.ts';

export interface SignedEvent {
  readonly aid: Aid;
  readonly sn: number;
  readonly said: Said;
}

export interface CustodianState {
  readonly name: string;
  /** Oldest first: the one that signs now or an older one, the one committed to, and those of cards made since. */
  readonly keys: readonly KeyId[];
  /** Signed, and not yet seen in the log. */
  readonly signed: readonly SignedEvent[];
  /** Newest establishment event seen in each log: it can never be another. */
  readonly seen: readonly SignedEvent[];
}

const FILE = 'kelmesh.custodian/1';
const MAX_FILE_BYTES = 1 << 20;
const MAX_EVENTS = 1_024;
/** One more with each rotation that was not signed here. */
const MAX_KEYS = 256;

/** Undefined when there is none. Throws CUSTODY_MALFORMED */
export async function readCustodian(path: string): Promise<CustodianState | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return parseCustodian(bytes);
}

/** Durable when it resolves. The caller holds a lock. */
export async function writeCustodian(
  path: string,
  state: CustodianState,
  steps?: AtomicFileSteps,
): Promise<void> {
  await replaceFile(path, encodeCustodian(state), { steps });
}

export function encodeCustodian({ name, keys, signed, seen }: CustodianState): Uint8Array {
  return encodeCbor(
    new Map<string, CborValue>([
      ['type', FILE],
      ['name', name],
      ['keys', keys],
      ['signed', signed.map(eventValue)],
      ['seen', seen.map(eventValue)],
    ]),
  );
}

/** Throws CUSTODY_MALFORMED */
export function parseCustodian(bytes: Uint8Array): CustodianState {
  const map = readMap(bytes, {
    type: FILE,
    labels: ['name', 'keys', 'signed', 'seen'],
    max: MAX_FILE_BYTES,
  });
  const keys = listOf(map, 'keys', MAX_KEYS).map((id) => {
    if (typeof id !== 'string' || !/^[0-9a-f]{32}$/.test(id)) throw malformed('keys: no key id');
    return id as KeyId;
  });
  if (keys.length < 2) throw malformed(`keys: expected at least 2, got ${keys.length}`);
  return {
    name: textOf(map, 'name'),
    keys,
    signed: listOf(map, 'signed', MAX_EVENTS).map(eventOf),
    seen: listOf(map, 'seen', MAX_EVENTS).map(eventOf),
  };
}

/** Throws CUSTODY_SIGNED_OTHER when there is no room to remember one more. */
export function remembered(
  events: readonly SignedEvent[],
  event: SignedEvent,
): readonly SignedEvent[] {
  const others = events.filter(({ aid, said }) => aid !== event.aid || said !== event.said);
  if (others.length >= MAX_EVENTS)
    throw new CustodyError(
      'CUSTODY_SIGNED_OTHER',
      `${others.length} signed events have not been seen in a log`,
      { hint: 'Give the log as it stands to `kelmesh id custodian next --log FILE`' },
    );
  return [...others, event];
}

function eventValue({ aid, sn, said }: SignedEvent): CborValue {
  return new Map<string, CborValue>([
    ['aid', aid],
    ['sn', sn],
    ['said', said],
  ]);
}

function eventOf(value: CborValue): SignedEvent {
  const map = expectLabels(value, ['aid', 'sn', 'said']);
  try {
    return {
      aid: parseAid(textOf(map, 'aid')),
      sn: numberOf(map, 'sn'),
      said: parseSaid(textOf(map, 'said')),
    };
  } catch (cause) {
    if (cause instanceof CustodyError) throw cause;
    throw malformed((cause as Error).message);
  }
}
