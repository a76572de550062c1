/**
 * Reply messages (`rpy`): where an endpoint is reached, who serves an AID in which role, and key state notices.
 *
 * ```
 * v t d dt r a      r = /loc/scheme      a = eid scheme url        (an empty url withdraws the location)
 *                       /end/role/add    a = cid role eid
 *                       /end/role/cut    a = cid role eid
 *                       /ksn/AID         a = key state record      (AID: the party that says so)
 * ```
 */
import { parseBody } from '#kel/cesr/body';
import type { BodyMap, BodyValue } from '#kel/cesr/body-value';
import { encodeWithSaid, verifySaid } from '#kel/cesr/said';
import { KelError } from '#kel/errors';
import { aidField, textField } from '#kel/event/fields';
import { type Aid, parseAid, type Said } from '#kel/identifiers';
import type { SerializationKind } from '#kel/key-state/key-state';
import { quote } from '#kel/quote';
import { dateTimeField, expectLabels, mapField } from './fields.ts';
import { type KeyStateNotice, noticeFields, parseNotice } from './key-state-notice.ts';

const SCHEMES = ['tcp', 'http', 'https'] as const;
export type Scheme = (typeof SCHEMES)[number];

const ROLES = [
  'controller',
  'witness',
  'registrar',
  'watcher',
  'judge',
  'juror',
  'peer',
  'mailbox',
  'agent',
] as const;
export type Role = (typeof ROLES)[number];

export interface Location {
  readonly type: 'location';
  /** The endpoint, which signs. */
  readonly eid: Aid;
  readonly scheme: Scheme;
  /** At most 2,048 characters; empty: not reached this way any more. */
  readonly url: string;
}

export interface EndRole {
  readonly type: 'end-role';
  /** The controller, which signs. */
  readonly cid: Aid;
  readonly role: Role;
  readonly eid: Aid;
  /** `/end/role/add`, or `cut`. */
  readonly isAllowed: boolean;
}

export interface KeyStateReply {
  readonly type: 'key-state';
  /** Who says so, and signs. */
  readonly source: Aid;
  readonly notice: KeyStateNotice;
}

export type ReplyContent = Location | EndRole | KeyStateReply;

export interface Reply {
  readonly said: Said;
  /** `YYYY-MM-DDTHH:MM:SS.ffffff+00:00` */
  readonly dateTime: string;
  readonly content: ReplyContent;
}

export interface BuiltReply {
  /** What the signatures go over. */
  readonly bytes: Uint8Array;
  readonly reply: Reply;
}

const MAX_URL = 2_048;
const NOTICE_ROUTE = '/ksn/';

/** @param bytes exactly one body  @throws KelError, every code `KEL_BAD_…` and `KEL_LIMIT` */
export function parseReply(bytes: Uint8Array): Reply {
  const { fields } = parseBody(bytes, 'KERI');
  expectLabels('rpy', fields, ['v', 't', 'd', 'dt', 'r', 'a']);
  if (fields.get('t') !== 'rpy')
    throw new KelError('KEL_BAD_SCHEMA', `expected rpy, got ${quote(fields.get('t'))}`);
  return {
    said: verifySaid(bytes, fields) as Said,
    dateTime: dateTimeField(fields, 'dt'),
    content: contentOf(textField(fields, 'r'), mapField(fields, 'a')),
  };
}

/** @param dateTime 32 characters  @throws KelError with the code that a reader would give */
export function buildReply(
  kind: SerializationKind,
  dateTime: string,
  content: ReplyContent,
): BuiltReply {
  const { bytes } = encodeWithSaid('KERI', kind, [
    ['t', 'rpy'],
    ['d', ''],
    ['dt', dateTime],
    ['r', routeOf(content)],
    ['a', attributesOf(content)],
  ]);
  return { bytes, reply: parseReply(bytes) };
}

/** Whose signature makes the reply count. */
export function signerOf(content: ReplyContent): Aid {
  switch (content.type) {
    case 'location':
      return content.eid;
    case 'end-role':
      return content.cid;
    case 'key-state':
      return content.source;
  }
}

/** What a newer reply takes the place of: text, unique for the signer. */
export function subjectOf(content: ReplyContent): string {
  switch (content.type) {
    case 'location':
      return `loc.${content.scheme}`;
    case 'end-role':
      return `end.${content.role}.${content.eid}`;
    case 'key-state':
      return `ksn.${content.notice.state.aid}`;
  }
}

function contentOf(route: string, attributes: BodyMap): ReplyContent {
  switch (route) {
    case '/loc/scheme':
      return location(attributes);
    case '/end/role/add':
    case '/end/role/cut':
      return endRole(attributes, route === '/end/role/add');
  }
  if (!route.startsWith(NOTICE_ROUTE))
    throw new KelError(
      'KEL_BAD_VALUE',
      `field r: expected /loc/scheme, /end/role/add, /end/role/cut or /ksn/AID, got ${quote(route)}`,
    );
  const source = parseAid(route.slice(NOTICE_ROUTE.length));
  return { type: 'key-state', source, notice: parseNotice(attributes) };
}

function location(fields: BodyMap): Location {
  expectLabels('/loc/scheme', fields, ['eid', 'scheme', 'url']);
  const scheme = oneOf('scheme', SCHEMES, textField(fields, 'scheme'));
  const url = textField(fields, 'url');
  if (url !== '') checkUrl(scheme, url);
  return { type: 'location', eid: aidField(fields, 'eid'), scheme, url };
}

function endRole(fields: BodyMap, isAllowed: boolean): EndRole {
  expectLabels('/end/role', fields, ['cid', 'role', 'eid']);
  return {
    type: 'end-role',
    cid: aidField(fields, 'cid'),
    role: oneOf('role', ROLES, textField(fields, 'role')),
    eid: aidField(fields, 'eid'),
    isAllowed,
  };
}

/**
 * Printable, without a user, and with the host written as it is dialled: it will stand in lists that people read, and two readers
 * must not take two hosts from it (`http://a\\@b/`, `http://0x7f.1/`).
 */
function checkUrl(scheme: Scheme, url: string): void {
  const parsed = URL.parse(url);
  const authority = /^[a-z]+:\/\/([^/?#]*)/.exec(url)?.[1]?.toLowerCase();
  const fits =
    url.length <= MAX_URL &&
    /^[!-~]+$/.test(url) &&
    !url.includes('\\') &&
    url.startsWith(`${scheme}://`) &&
    parsed !== null &&
    parsed.hostname !== '' &&
    // A port that the scheme has anyway is not in `host`.
    authority?.replace(/:\d*$/, '') === parsed.hostname.toLowerCase();
  if (!fits)
    throw new KelError(
      'KEL_BAD_VALUE',
      `field url: expected an address ${scheme}://… without a user and of at most ${MAX_URL} characters, got ${quote(url)}`,
    );
}

function oneOf<T extends string>(label: string, allowed: readonly T[], text: string): T {
  if (allowed.includes(text as T)) return text as T;
  throw new KelError(
    'KEL_BAD_VALUE',
    `field ${label}: expected one of ${allowed.join(', ')}, got ${quote(text)}`,
  );
}

function routeOf(content: ReplyContent): string {
  switch (content.type) {
    case 'location':
      return '/loc/scheme';
    case 'end-role':
      return content.isAllowed ? '/end/role/add' : '/end/role/cut';
    case 'key-state':
      return NOTICE_ROUTE + content.source;
  }
}

function attributesOf(content: ReplyContent): BodyMap {
  switch (content.type) {
    case 'location':
      return new Map<string, BodyValue>([
        ['eid', content.eid],
        ['scheme', content.scheme],
        ['url', content.url],
      ]);
    case 'end-role':
      return new Map<string, BodyValue>([
        ['cid', content.cid],
        ['role', content.role],
        ['eid', content.eid],
      ]);
    case 'key-state':
      return noticeFields(content.notice);
  }
}
