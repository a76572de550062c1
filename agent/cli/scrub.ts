/**
 * Makes a report fit to be shown to strangers: what looks like a key goes, and what says who and where gets a name of its own that is the
 * same throughout the report, so that it can still be read. Pure.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { isPrivateAddress } from '#src/net/private-address';

export type Plain =
  | string
  | number
  | boolean
  | null
  | readonly Plain[]
  | { readonly [key: string]: Plain };

const REMOVED = '[removed]';
/** Shorter names are replaced only where they are all of a text: they are parts of other words. */
const MIN_WORD = 3;

/** 32 bytes or more as hex or base64, with or without its padding: private and preshared keys in any of the forms of WireGuard. */
const KEYS = [/[0-9a-fA-F]{64,}/g, /[0-9A-Za-z+/]{42}[AEIMQUYcgkosw048]=/g];
/** Identifiers of KERI, and of libp2p. */
const IDENTIFIER =
  /(?<![0-9A-Za-z_-])(?:[A-Z][0-9A-Za-z_-]{43}|12D3KooW[1-9A-HJ-NP-Za-km-z]{44})(?![0-9A-Za-z_-])/g;
const MAC = /(?<![0-9a-fA-F:])(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}(?![0-9a-fA-F:])/g;
const IPV4 = /(?<![0-9.])\d{1,3}(?:\.\d{1,3}){3}(?![0-9.]*\d)/g;
const IPV6 = new RegExp(
  [
    '(?<![0-9A-Za-z:.])(?:[0-9a-fA-F]{0,4}:){2,7}\\d{1,3}(?:\\.\\d{1,3}){3}(?![0-9A-Za-z:.])',
    '(?<![0-9A-Za-z:.])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,8}(?![0-9A-Za-z:]|\\.\\d)',
  ].join('|'),
  'g',
);
const HOME = /(?<=\/home\/)[^/\s"',]+/g;

export interface Scrubbing {
  /** Of members, meshes, machines, users: what a person would know. */
  readonly names: Iterable<string>;
  /** Names, identifiers and addresses stay; what looks like a key goes all the same. */
  readonly isFull?: boolean;
}

export function scrub(value: Plain, { names, isFull = false }: Scrubbing): Plain {
  const aliases = new Aliases();
  const known = [...new Set(names)]
    .filter((name) => name !== '')
    .sort((a, b) => b.length - a.length);
  const words = known.filter((name) => name.length >= MIN_WORD);
  const pattern =
    words.length === 0
      ? undefined
      : new RegExp(`(?<![0-9A-Za-z_])(?:${words.map(escaped).join('|')})(?![0-9A-Za-z_])`, 'g');
  const whole = new Set(known);
  const text = (before: string): string => {
    const safe = KEYS.reduce((rest, key) => rest.replace(key, REMOVED), before);
    if (isFull) return safe;
    if (whole.has(safe)) return aliases.of('name', safe);
    return [
      [IDENTIFIER, (match: string) => aliases.of('id', match)],
      [MAC, (match: string) => aliases.of('mac', match.toLowerCase())],
      [IPV6, (match: string) => (isIPv6(match) ? aliases.ofAddress(match, 'v6') : match)],
      [IPV4, (match: string) => (isIPv4(match) ? aliases.ofAddress(match, 'v4') : match)],
      [HOME, (match: string) => aliases.of('user', match)],
      ...(pattern === undefined
        ? []
        : [[pattern, (match: string) => aliases.of('name', match)] as const]),
    ].reduce<string>(
      (rest, [expression, replace]) =>
        rest.replace(expression as RegExp, replace as (match: string) => string),
      safe,
    );
  };
  const walk = (part: Plain): Plain => {
    if (typeof part === 'string') return text(part);
    if (Array.isArray(part)) return part.map(walk);
    if (typeof part !== 'object' || part === null) return part;
    return Object.fromEntries(Object.entries(part).map(([key, inner]) => [text(key), walk(inner)]));
  };
  return walk(value);
}

class Aliases {
  readonly #given = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  of(kind: string, text: string): string {
    const known = this.#given.get(`${kind} ${text}`);
    if (known !== undefined) return known;
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    const alias = `${kind}-${count}`;
    this.#given.set(`${kind} ${text}`, alias);
    return alias;
  }

  /** Whether it is private is told; loopback and unspecified ones are everybody's. */
  ofAddress(address: string, family: 'v4' | 'v6'): string {
    if (/^(?:127\.|0\.0\.0\.0$|::1?$)/.test(address)) return address;
    return this.of(isPrivateAddress(address) ? `private-${family}` : family, address.toLowerCase());
  }
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
