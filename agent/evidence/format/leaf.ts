/**
 * A leaf of an organisation's audit log: a clear header and one salted commitment per field.
 *
 *   leaf       = CBOR {v: 1, t: type, dt: time, i: AID, n: sequence, c: [commitment, …] in the order of the type}
 *   commitment = SHA-256(label "leaf-field" ‖ type ‖ field name ‖ salt ‖ CBOR of the value)
 *   salt       = HMAC-SHA-256(leaf key, label "leaf-salt" ‖ field name), 32 bytes
 *
 * A field is opened by its salt and value, every field by the leaf key; who deletes the key has erased the leaf.
 */

import type { Aid, Said } from '#kel/identifiers';
import { equalBytes } from '#src/bytes';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import { parseDateTime } from '#src/clock';
import { hmacSha256, sha256 } from '#src/crypto/hash';
import { leafFieldLabel, leafSaltLabel } from '#src/crypto/labels';
import { ProvenanceError } from './errors.ts';
import { asBytes, asInteger, asList, asMap, asText } from './shape.ts';

/** What each leaf type says, by field. */
export interface LeafValues {
  /** `proof` is the `tup` record message, `handshake` the time as the own device saw it. */
  readonly 'tunnel-up': {
    readonly proof: Uint8Array;
    readonly peer: Aid;
    readonly epoch: number;
    readonly level: string;
    readonly handshake: string;
  };
  readonly 'tunnel-down': { readonly peer: Aid; readonly reason: string; readonly time: string };
  /** An event of the own key event log, after it was accepted. */
  readonly 'kel-event': { readonly sn: number; readonly said: Said };
  /** `th` is the 32-byte agreement id, `epoch` the first PSK epoch of the agreement. */
  readonly 'psk-agreed': { readonly peer: Aid; readonly th: Uint8Array; readonly epoch: number };
  /** A `tun` record of one's own; `digest` is the SHA-256 of its message, 32 bytes. */
  readonly 'tunnel-key': { readonly record: Said; readonly digest: Uint8Array };
  /** A charter version that took effect here. */
  readonly membership: {
    readonly charter: Said;
    readonly version: number;
    readonly change: string;
  };
  /** Two events of `peer` at one sequence number became known; it is suspended. `first` was seen first. */
  readonly duplicity: {
    readonly peer: Aid;
    readonly sn: number;
    readonly first: Said;
    readonly second: Said;
  };
  /** The operator trusts `peer` again, although its log has forked. */
  readonly resolution: { readonly peer: Aid; readonly reason: string };
  /**
   * A step of a change of tunnel keys at this end: `staged`, `warmed` (handshake), `flipped` (route) or
   * `drained`. `own` and `theirs` are the `tun` records that it is about, `rx` and `tx` the bytes that the own device
   * has counted for them, `rxDropped` and `txDropped` the packets that this device has dropped, of all its peers together.
   */
  readonly rotation: {
    readonly peer: Aid;
    readonly kind: string;
    readonly step: string;
    readonly own: Said;
    readonly theirs: Said;
    readonly generation: number;
    readonly rx: number;
    readonly tx: number;
    readonly rxDropped: number;
    readonly txDropped: number;
  };
  /** Time in which nothing could be recorded, and why. */
  readonly gap: { readonly reason: string };
  /** The leaf `leaf` was erased. */
  readonly erasure: { readonly leaf: number; readonly reason: string };
}

export type LeafType = keyof LeafValues;

type Kind = 'text' | 'bytes' | 'integer';

const fieldKinds: { readonly [T in LeafType]: { readonly [F in keyof LeafValues[T]]: Kind } } = {
  'tunnel-up': { proof: 'bytes', peer: 'text', epoch: 'integer', level: 'text', handshake: 'text' },
  'tunnel-down': { peer: 'text', reason: 'text', time: 'text' },
  'kel-event': { sn: 'integer', said: 'text' },
  'psk-agreed': { peer: 'text', th: 'bytes', epoch: 'integer' },
  'tunnel-key': { record: 'text', digest: 'bytes' },
  membership: { charter: 'text', version: 'integer', change: 'text' },
  duplicity: { peer: 'text', sn: 'integer', first: 'text', second: 'text' },
  resolution: { peer: 'text', reason: 'text' },
  rotation: {
    peer: 'text',
    kind: 'text',
    step: 'text',
    own: 'text',
    theirs: 'text',
    generation: 'integer',
    rx: 'integer',
    tx: 'integer',
    rxDropped: 'integer',
    txDropped: 'integer',
  },
  gap: { reason: 'text' },
  erasure: { leaf: 'integer', reason: 'text' },
};

export interface LeafHeader {
  readonly type: LeafType;
  /** Date-time of the writer's clock: a claim. */
  readonly time: string;
  readonly aid: Aid;
  /** Equals the index of the leaf in the log. */
  readonly sequence: number;
}

export interface Leaf extends LeafHeader {
  /** 32 bytes each, one per field of the type, in its order. */
  readonly commitments: readonly Uint8Array[];
}

/** What opens one field. */
export interface Opening {
  /** 32 bytes. */
  readonly salt: Uint8Array;
  /** CBOR of the value. */
  readonly value: Uint8Array;
}

/** Openings by field name. */
export type Openings = ReadonlyMap<string, Opening>;

/**
 * @param leafKey 32 random bytes, never used for another leaf
 * @returns the bytes of the leaf and the openings of all its fields
 * @throws PROVENANCE_BAD_VALUE
 */
export function sealLeaf<T extends LeafType>(
  header: LeafHeader & { readonly type: T },
  values: LeafValues[T],
  leafKey: Uint8Array,
): { readonly leaf: Uint8Array; readonly openings: Openings } {
  const openings = new Map<string, Opening>();
  for (const [name, kind] of fieldsOf(header.type)) {
    const value = (values as Readonly<Record<string, CborValue>>)[name];
    if (value === undefined || !isKind(value, kind)) {
      throw new ProvenanceError(
        'PROVENANCE_BAD_VALUE',
        `field ${name} of a ${header.type} leaf: expected ${kind}`,
      );
    }
    const salt = hmacSha256(leafKey, leafSaltLabel(name));
    openings.set(name, { salt, value: encodeCbor(value) });
  }
  const commitments = [...openings].map(([name, opening]) =>
    commitment(header.type, name, opening),
  );
  return { leaf: encodeLeaf({ ...header, commitments }), openings };
}

function encodeLeaf(leaf: Leaf): Uint8Array {
  return encodeCbor(
    new Map<string, CborValue>([
      ['v', 1],
      ['t', leaf.type],
      ['dt', leaf.time],
      ['i', leaf.aid],
      ['n', leaf.sequence],
      ['c', leaf.commitments],
    ]),
  );
}

/** Parses exactly what {@link sealLeaf} makes; the AID is not looked at. @throws PROVENANCE_BAD_LEAF */
export function parseLeaf(bytes: Uint8Array): Leaf {
  try {
    const map = asMap(decodeCbor(bytes), 'leaf', 'v', 't', 'dt', 'i', 'n', 'c');
    const type = asText(map.get('t'), 'type');
    const time = asText(map.get('dt'), 'time');
    if (map.get('v') !== 1 || !isLeafType(type) || parseDateTime(time) === undefined) {
      throw new ProvenanceError(
        'PROVENANCE_BAD_LEAF',
        `leaf of type ${type}, version ${map.get('v')}, time ${time}`,
      );
    }
    const list = asList(map.get('c'), 'commitments', fieldsOf(type).length);
    return {
      type,
      time,
      aid: asText(map.get('i'), 'AID') as Aid,
      sequence: asInteger(map.get('n'), 'sequence'),
      commitments: list.map((item) => asBytes(item, 'commitment', 32)),
    };
  } catch (cause) {
    if (cause instanceof ProvenanceError) throw cause;
    throw new ProvenanceError('PROVENANCE_BAD_LEAF', 'not a leaf', { cause });
  }
}

/** The names of the fields of `leaf` whose opening in `openings` does not fit, or that the leaf does not have. */
export function wrongOpenings(leaf: Leaf, openings: Openings): readonly string[] {
  const names = fieldsOf(leaf.type).map(([name]) => name);
  return [...openings].flatMap(([name, opening]) => {
    const expected = leaf.commitments[names.indexOf(name)];
    const fits =
      expected !== undefined && equalBytes(commitment(leaf.type, name, opening), expected);
    return fits && openedValue(leaf.type, name, opening) !== undefined ? [] : [name];
  });
}

/** The values of a leaf whose fields are all opened, or undefined; the openings were checked with {@link wrongOpenings}. */
export function openedValues<T extends LeafType>(
  type: T,
  openings: Openings,
): LeafValues[T] | undefined {
  const values: Record<string, CborValue> = {};
  for (const [name] of fieldsOf(type)) {
    const opening = openings.get(name);
    const value = opening === undefined ? undefined : openedValue(type, name, opening);
    if (value === undefined) return undefined;
    values[name] = value;
  }
  return values as unknown as LeafValues[T];
}

function openedValue(type: LeafType, name: string, opening: Opening): CborValue | undefined {
  const kind = fieldsOf(type).find(([field]) => field === name)?.[1];
  try {
    const value = decodeCbor(opening.value);
    return kind !== undefined && isKind(value, kind) ? value : undefined;
  } catch {
    return undefined;
  }
}

function commitment(type: LeafType, name: string, { salt, value }: Opening): Uint8Array {
  return sha256(leafFieldLabel(type, name, salt, value));
}

function fieldsOf(type: LeafType): readonly (readonly [string, Kind])[] {
  return Object.entries(fieldKinds[type]);
}

function isLeafType(type: string): type is LeafType {
  return Object.hasOwn(fieldKinds, type);
}

function isKind(value: CborValue, kind: Kind): boolean {
  switch (kind) {
    case 'text':
      return typeof value === 'string';
    case 'bytes':
      return value instanceof Uint8Array;
    default:
      return typeof value === 'number' && value >= 0;
  }
}
