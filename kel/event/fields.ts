/** The wire labels of key events and the checks of single fields. Labels appear in this folder and nowhere else. */
import { type BodyMap, type BodyValue, isBodyList } from '#kel/cesr/body-value';
import { isDigestCode } from '#kel/cesr/digest';
import { checkMatter } from '#kel/cesr/matter';
import { KelError } from '#kel/errors';
import {
  type Aid,
  isNonTransferable,
  keyMaterial,
  parseAid,
  parseSaid,
  parseVerificationKey,
  type Said,
  type VerificationKey,
} from '#kel/identifiers';
import { quote } from '#kel/quote';

const INCEPTION = ['v', 't', 'd', 'i', 's', 'kt', 'k', 'nt', 'n', 'bt', 'b', 'c', 'a'];
const ROTATION = ['v', 't', 'd', 'i', 's', 'p', 'kt', 'k', 'nt', 'n', 'bt', 'br', 'ba', 'a'];

/** All required, no others, in this order. */
const FIELDS_BY_TYPE: ReadonlyMap<string, readonly string[]> = new Map([
  ['icp', INCEPTION],
  ['dip', [...INCEPTION, 'di']],
  ['rot', ROTATION],
  ['drt', ROTATION],
  ['ixn', ['v', 't', 'd', 'i', 's', 'p', 'a']],
  ['rct', ['v', 't', 'd', 'i', 's']],
]);

/** Keys or next digests of one event: each valid signature hashes the whole event. */
const MAX_LIST = 256;
/** Witnesses of one event: each receipt that arrives has its event judged again when it may be the last. */
const MAX_WITNESSES = 128;

/** @throws KEL_BAD_SCHEMA unless the fields are those of `type`, in order */
export function checkFields(type: string, fields: BodyMap): void {
  const expected = FIELDS_BY_TYPE.get(type);
  if (expected === undefined)
    throw new KelError('KEL_BAD_SCHEMA', `message type ${quote(type)} is not a key event`);
  let i = 0;
  for (const label of fields.keys()) {
    if (label !== expected[i++]) throw wrongFields(type, expected, fields);
  }
  if (i !== expected.length) throw wrongFields(type, expected, fields);
}

export function textField(fields: BodyMap, label: string): string {
  const value = fields.get(label);
  if (typeof value !== 'string') throw badField(label, 'expected text');
  return value;
}

export function aidField(fields: BodyMap, label: string): Aid {
  return parseAid(fields.get(label));
}

export function saidField(fields: BodyMap, label: string): Said {
  return parseSaid(fields.get(label));
}

export function listField(fields: BodyMap, label: string): readonly BodyValue[] {
  const value = fields.get(label);
  if (!isBodyList(value)) throw badField(label, 'expected a list');
  return value;
}

export function traitsField(fields: BodyMap): readonly string[] {
  return boundedList(fields, 'c').map((trait) => {
    if (typeof trait !== 'string') throw badField('c', 'expected a list of texts');
    return trait;
  });
}

/** Distinct: a key that stands twice would count twice, under whichever of its codes. */
export function keysField(fields: BodyMap): readonly VerificationKey[] {
  const keys = boundedList(fields, 'k').map(parseVerificationKey);
  if (keys.length === 0) throw new KelError('KEL_BAD_KEYS', 'field k: no keys');
  distinct('k', keys.map(keyMaterial));
  return keys;
}

export function digestsField(fields: BodyMap): readonly string[] {
  return distinct(
    'n',
    boundedList(fields, 'n').map((digest) => digestOf(digest)),
  );
}

/** Distinct and non-transferable: an index must name one witness, and its key must be its name. */
export function witnessesField(fields: BodyMap, label: string): readonly Aid[] {
  const witnesses = boundedList(fields, label, MAX_WITNESSES).map(parseAid);
  for (const witness of witnesses) {
    if (!isNonTransferable(witness))
      throw new KelError('KEL_BAD_WITNESSES', `field ${label}: witness ${witness} is transferable`);
  }
  if (new Set(witnesses).size !== witnesses.length)
    throw new KelError('KEL_BAD_WITNESSES', `field ${label}: a witness stands twice`);
  return witnesses;
}

/** 1 to the number of witnesses, or 0 for none. @throws KEL_BAD_WITNESSES */
export function checkWitnessThreshold(threshold: number, witnesses: number): void {
  if (threshold > witnesses || (threshold === 0 && witnesses > 0)) {
    throw new KelError(
      'KEL_BAD_WITNESSES',
      `witness threshold ${threshold} of ${witnesses} witnesses`,
    );
  }
}

function boundedList(fields: BodyMap, label: string, max = MAX_LIST): readonly BodyValue[] {
  const list = listField(fields, label);
  if (list.length > max)
    throw new KelError('KEL_LIMIT', `field ${label}: ${list.length} entries are above ${max}`);
  return list;
}

function distinct<T extends string>(label: string, list: readonly T[]): readonly T[] {
  if (list.length > 1 && new Set(list).size !== list.length)
    throw new KelError('KEL_BAD_KEYS', `field ${label}: an entry stands twice`);
  return list;
}

function digestOf(value: BodyValue): string {
  if (typeof value === 'string') {
    try {
      if (isDigestCode(checkMatter(value))) return value;
    } catch {
      // Reported below with the value.
    }
  }
  throw new KelError('KEL_BAD_IDENTIFIER', `field n: ${quote(value)} is not a digest`);
}

function badField(label: string, what: string): KelError {
  return new KelError('KEL_BAD_VALUE', `field ${label}: ${what}`);
}

function wrongFields(type: string, expected: readonly string[], fields: BodyMap): KelError {
  return new KelError(
    'KEL_BAD_SCHEMA',
    `${type}: expected fields ${expected.join(' ')}, got ${[...fields.keys()].join(' ').slice(0, 200)}`,
  );
}
