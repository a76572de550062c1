/**
 * Query messages (`qry`): what a party asks another about a log.
 *
 * ```
 * v t d dt r rr q     r = logs    q = i src [s] [a]     the log of i, from sequence number s; a: a seal that it must hold
 *                         ksn     q = i src             the key state of i
 * ```
 * `src` is the party that is asked. A transferable party signs under its last establishment event (`-H`).
 */

import { parseBody } from '#kel/cesr/body';
import { type BodyMap, type BodyValue, isBodyMap } from '#kel/cesr/body-value';
import { COUNTER_MAX_SMALL, encodeCounter } from '#kel/cesr/counter';
import { encodeIndexedSignature, type IndexedSignatureInput } from '#kel/cesr/indexer';
import { parseHexNumber } from '#kel/cesr/number';
import { encodeWithSaid, verifySaid } from '#kel/cesr/said';
import { KelError } from '#kel/errors';
import { aidField, textField } from '#kel/event/fields';
import { type SealedEvent, sealedEvent } from '#kel/event/seal';
import type { Aid, Said } from '#kel/identifiers';
import type { SerializationKind } from '#kel/key-state/key-state';
import { quote } from '#kel/quote';
import { dateTimeField, expectLabels, mapField } from '#kel/reply/fields';
import { concatBytes, utf8 } from '#src/bytes';

export type QueryContent =
  | {
      readonly route: 'logs';
      readonly aid: Aid;
      readonly source: Aid;
      /** First sequence number; undefined: the whole log. */
      readonly from: number | undefined;
      /** The log must hold this seal. */
      readonly anchor: SealedEvent | undefined;
    }
  | { readonly route: 'ksn'; readonly aid: Aid; readonly source: Aid };

export interface Query {
  readonly said: Said;
  /** `YYYY-MM-DDTHH:MM:SS.ffffff+00:00` */
  readonly dateTime: string;
  /** For what the asking party hands the answer to; at most 256 characters, often empty. */
  readonly replyRoute: string;
  readonly content: QueryContent;
}

const MAX_ROUTE = 256;

/** @param bytes exactly one body  @throws KelError, every code `KEL_BAD_…` and `KEL_LIMIT` */
export function parseQuery(bytes: Uint8Array): Query {
  const { fields } = parseBody(bytes, 'KERI');
  expectLabels('qry', fields, ['v', 't', 'd', 'dt', 'r', 'rr', 'q']);
  if (fields.get('t') !== 'qry')
    throw new KelError('KEL_BAD_SCHEMA', `expected qry, got ${quote(fields.get('t'))}`);
  const replyRoute = textField(fields, 'rr');
  if (replyRoute.length > MAX_ROUTE)
    throw new KelError('KEL_LIMIT', `field rr: ${replyRoute.length} characters, at most 256`);
  return {
    said: verifySaid(bytes, fields) as Said,
    dateTime: dateTimeField(fields, 'dt'),
    replyRoute,
    content: contentOf(textField(fields, 'r'), mapField(fields, 'q')),
  };
}

/** @returns the body, to be signed  @throws KelError with the code that a reader would give */
export function buildQuery(
  kind: SerializationKind,
  dateTime: string,
  content: QueryContent,
): Uint8Array {
  const { bytes } = encodeWithSaid('KERI', kind, [
    ['t', 'qry'],
    ['d', ''],
    ['dt', dateTime],
    ['r', content.route],
    ['rr', ''],
    ['q', parametersOf(content)],
  ]);
  parseQuery(bytes);
  return bytes;
}

/** @param signatures of the last establishment event of `aid`, over `body` */
export function encodeSignedQuery(
  body: Uint8Array,
  aid: Aid,
  signatures: readonly IndexedSignatureInput[],
): Uint8Array {
  const items = signatures.map(encodeIndexedSignature);
  const group = encodeCounter('H', 1) + aid + encodeCounter('A', items.length) + items.join('');
  const quadlets = group.length / 4;
  const frame = quadlets > COUNTER_MAX_SMALL ? '' : encodeCounter('V', quadlets);
  return concatBytes(body, utf8(frame + group));
}

function contentOf(route: string, fields: BodyMap): QueryContent {
  const labels = [...fields.keys()];
  if (route === 'logs') {
    const optional = ['s', 'a'].filter((label) => fields.has(label));
    const own = labels.filter((label) => label !== 's' && label !== 'a');
    // KERIpy puts the optional ones first, others last: the order says nothing here.
    if (own.length !== 2 || labels.length !== 2 + optional.length || !hasBoth(fields))
      throw wrongParameters('logs', 'i src, and s or a where wanted', labels);
    return {
      route,
      aid: aidField(fields, 'i'),
      source: aidField(fields, 'src'),
      from: fields.has('s') ? parseHexNumber('field s', fields.get('s')) : undefined,
      anchor: fields.has('a') ? anchorOf(fields.get('a')) : undefined,
    };
  }
  if (route === 'ksn') {
    if (labels.length !== 2 || !hasBoth(fields)) throw wrongParameters('ksn', 'i src', labels);
    return { route, aid: aidField(fields, 'i'), source: aidField(fields, 'src') };
  }
  throw new KelError('KEL_BAD_VALUE', `field r: expected logs or ksn, got ${quote(route)}`);
}

function hasBoth(fields: BodyMap): boolean {
  return fields.has('i') && fields.has('src');
}

function anchorOf(value: BodyValue | undefined): SealedEvent {
  const seal = isBodyMap(value) ? sealedEvent(value) : undefined;
  if (seal !== undefined) return seal;
  throw new KelError('KEL_BAD_VALUE', 'field a: expected a seal with i, s and d');
}

function wrongParameters(route: string, expected: string, got: readonly string[]): KelError {
  return new KelError(
    'KEL_BAD_SCHEMA',
    `${route}: expected ${expected}, got ${got.join(' ').slice(0, 200)}`,
  );
}

function parametersOf(content: QueryContent): BodyMap {
  const fields = new Map<string, BodyValue>([
    ['i', content.aid],
    ['src', content.source],
  ]);
  if (content.route !== 'logs') return fields;
  const { from, anchor } = content;
  if (from !== undefined) fields.set('s', from.toString(16));
  if (anchor !== undefined)
    fields.set(
      'a',
      new Map([
        ['i', anchor.aid],
        ['s', anchor.sn],
        ['d', anchor.said],
      ]),
    );
  return fields;
}
