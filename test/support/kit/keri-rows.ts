/** What the rows of a table of KERI verdicts are made of: messages that are right but for one thing. */
import { parseBody } from '#kel/cesr/body';
import type { BodyValue } from '#kel/cesr/body-value';
import { encodeCounter } from '#kel/cesr/counter';
import { encodeMatter } from '#kel/cesr/matter';
import { encodeWithSaid } from '#kel/cesr/said';
import type { BuiltEvent } from '#kel/event/built-event';
import { buildInception } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { keyDigest } from '#kel/event/key-digest';
import { buildRotation, type RotationInput } from '#kel/event/rotation';
import { eventSeal, type Seal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { KeyState } from '#kel/key-state/key-state';
import { concatBytes, utf8 } from '#src/bytes';
import { ed25519, Organisation, sign, type TestKey, testKey, witnessKey } from './key-log.ts';

export const key = testKey('a/0/0');
export const next = testKey('a/1/0');
export const witness = witnessKey('w');

export type Fields = readonly (readonly [string, BodyValue])[];

const INCEPTION: Fields = [
  ['t', 'icp'],
  ['d', ''],
  ['i', ''],
  ['s', '0'],
  ['kt', '1'],
  ['k', [key.key]],
  ['nt', '1'],
  ['n', [keyDigest(next.key)]],
  ['bt', '0'],
  ['b', []],
  ['c', []],
  ['a', []],
];

/** Of the inception of `key`, with other values in some. */
export function inceptionFields(changes: Readonly<Record<string, BodyValue>> = {}): Fields {
  return INCEPTION.map(([label, value]) => [
    label,
    Object.hasOwn(changes, label) ? (changes[label] as BodyValue) : value,
  ]);
}

export function inception(changes: Readonly<Record<string, BodyValue>> = {}): Uint8Array {
  return signedFields(inceptionFields(changes));
}

/** The same with its fields in another order, or other ones. */
export function inceptionWithFields(change: (fields: Fields) => Fields): Uint8Array {
  return signedFields(change(INCEPTION));
}

/** The plain inception as bytes that someone changes behind its signature, which no longer matters then. */
export function changedBody(
  kind: 'JSON' | 'CBOR',
  change: (body: Buffer) => Uint8Array,
): Uint8Array {
  const { bytes } = encodeWithSaid('KERI', kind, INCEPTION, ['d', 'i']);
  return change(Buffer.from(bytes));
}

/** The interaction after `org`'s last event with a sequence number in any form. */
export function interactionWithNumber(org: Organisation, s: BodyValue): Uint8Array {
  const fields: Fields = [
    ['t', 'ixn'],
    ['d', ''],
    ['i', org.aid],
    ['s', s],
    ['p', org.state.said],
    ['a', []],
  ];
  return signedFields(fields, ['d']);
}

/** Signed whatever they say. @param labels of the fields that hold the SAID */
export function signedFields(
  fields: Fields,
  labels: readonly string[] = ['d', 'i'],
  signers: readonly TestKey[] = [key],
): Uint8Array {
  return signed(encodeWithSaid('KERI', 'JSON', fields, labels), signers);
}

/** @param signers each signs at its place */
export function signed(
  { bytes }: { readonly bytes: Uint8Array },
  signers: readonly TestKey[] = [key],
): Uint8Array {
  return encodeSignedEvent(bytes, sign(bytes, signers));
}

export function started(
  input: Parameters<Organisation['incept']>[0] = {},
  options: Parameters<Organisation['incept']>[1] = {},
): Organisation {
  const org = new Organisation('a');
  org.incept(input, options);
  return org;
}

/** Rotation to the committed key, unless `change` says otherwise. */
export function rotation(org: Organisation, change: Partial<RotationInput> = {}): BuiltEvent {
  return buildRotation({ prior: org.state, keys: [next.key], nextDigests: [], ...change });
}

/** The event with another value in one field, which no builder would write. */
export function withField({ bytes }: BuiltEvent, label: string, value: BodyValue) {
  const { kind, fields } = parseBody(bytes, 'KERI');
  return encodeWithSaid('KERI', kind, new Map([...fields, [label, value]]));
}

export function interaction(prior: KeyState, anchors: readonly Seal[] = []): BuiltEvent {
  return buildInteraction({ prior, anchors });
}

/** Receipt of one witness as a couple, in a group of its own. */
export function couple({ aid, seed }: typeof witness, { bytes }: BuiltEvent): Uint8Array {
  return utf8(`${encodeCounter('C', 1)}${aid}${encodeMatter('0B', ed25519.sign(bytes, seed))}`);
}

/** Signed message with bare groups, to which others can be added. */
export function bare(
  message: Uint8Array,
  { bytes }: BuiltEvent,
  ...more: Uint8Array[]
): Uint8Array {
  return concatBytes(bytes, message.subarray(bytes.length + 4), ...more);
}

/** A delegator with one event, and an AID that it may approve. */
export function delegation() {
  const parent = new Organisation('delegator');
  parent.incept();
  const dip = buildInception({
    keys: [key.key],
    nextDigests: [keyDigest(next.key)],
    delegator: parent.aid,
  });
  const state = {
    ...parent.state,
    ...dip,
    keys: [key.key],
    nextDigests: [keyDigest(next.key)],
    delegator: parent.aid,
    establishment: { sn: 0, said: dip.said },
  };
  const seal = [...eventSeal(dip)] as [[string, string], [string, string], [string, string]];
  const drt = (anchors: readonly Seal[], after?: KeyState) =>
    buildRotation({
      prior: state,
      ...(after === undefined ? {} : { after }),
      keys: [next.key],
      nextDigests: [],
      anchors,
    });
  return { parent, dip, state: state as KeyState, seal, drt };
}
