/**
 * Arguments of verbs, checked at the door: what a verb takes is declared once, as a small schema, and nothing else reaches it. The
 * schema is the type too, for the verb and for whoever asks it.
 */
import { isAbsolute } from 'node:path';
import type { Aid } from '#kel/identifiers';
import { isAid } from '#kel/record/qualified';
import { ControlError } from './errors.ts';
import type { Json } from './protocol.ts';

/** Characters of a text: names, AIDs, reasons; a path is no longer on Linux, in bytes. */
const MAX_TEXT = 4_096;
/** Of a line that one side prints and the other takes, in characters: no shorter than a request may be. */
const MAX_LINE = 64 * 1024;

/**
 * One argument. `Given` is what whoever asks may leave there, undefined where it may be absent; `Taken` is what the verb gets.
 */
export interface Argument<Given, Taken = Given> {
  /** Throws CONTROL_BAD_REQUEST, or an error of the verb's own subject. @param value attacker-controlled */
  take(name: string, value: Json | undefined): Taken;
  /** Never there: it carries the type. */
  readonly given?: (value: Given) => void;
}

// biome-ignore lint/suspicious/noExplicitAny: the types of each argument are its own, and this is any of them
export type Schema = Readonly<Record<string, Argument<any, any>>>;

export type Taken<S extends Schema> = {
  readonly [K in keyof S]: S[K] extends Argument<infer _, infer T> ? T : never;
};

type GivenOf<A> = A extends Argument<infer G, infer _> ? G : never;
type OptionalKeys<S extends Schema> = {
  [K in keyof S]: undefined extends GivenOf<S[K]> ? K : never;
}[keyof S];

export type Given<S extends Schema> = {
  readonly [K in Exclude<keyof S, OptionalKeys<S>>]: GivenOf<S[K]>;
} & { readonly [K in OptionalKeys<S>]?: GivenOf<S[K]> };

export type UntrustedArguments = Readonly<Record<string, Json | undefined>>;

/** Throws CONTROL_BAD_REQUEST, naming the argument that is unknown, missing or wrong. @param args attacker-controlled */
export function takeArguments<S extends Schema>(schema: S, args: UntrustedArguments): Taken<S> {
  for (const name of Object.keys(args))
    if (!Object.hasOwn(schema, name)) throw refused(`it takes no argument ${name.slice(0, 64)}`);
  const taken = Object.entries(schema).map(([name, argument]) => [
    name,
    argument.take(name, Object.hasOwn(args, name) ? args[name] : undefined),
  ]);
  return Object.fromEntries(taken);
}

/** A text that is there and not empty. */
export const text: Argument<string> = bounded(MAX_TEXT);

/** An invite or a request in one line. */
export const line: Argument<string> = bounded(MAX_LINE);

/** Of the machine on which the verb runs. */
export const absolutePath: Argument<string> = {
  take(name, value) {
    const path = text.take(name, value);
    if (isAbsolute(path)) return path;
    throw refused(`${name}: expected an absolute path, got ${path.slice(0, 256)}`);
  },
};

export const aid: Argument<string, Aid> = aidOr((value, name) =>
  refused(`${name}: ${value.slice(0, 64)} is not an AID`),
);

/** @param refusal what is said of a text that is none */
export function aidOr(refusal: (value: string, name: string) => Error): Argument<string, Aid> {
  return {
    take(name, value) {
      const named = text.take(name, value);
      if (isAid(named)) return named;
      throw refusal(named, name);
    },
  };
}

/** False when it is absent. */
export const flag: Argument<boolean | undefined, boolean> = {
  take(name, value) {
    if (value === undefined) return false;
    if (typeof value === 'boolean') return value;
    throw refused(`${name}: expected true or false`);
  },
};

/** A whole number of that range, both ends included. */
export function whole(least: number, most: number): Argument<number> {
  return {
    take(name, value) {
      if (
        typeof value === 'number' &&
        Number.isSafeInteger(value) &&
        value >= least &&
        value <= most
      )
        return value;
      throw refused(
        value === undefined
          ? `the request lacks ${name}`
          : `${name}: expected a whole number from ${least} to ${most}`,
      );
    },
  };
}

/** One of these words. */
export function oneOf<const W extends string>(...words: readonly W[]): Argument<W> {
  return {
    take(name, value) {
      const word = words.find((candidate) => candidate === value);
      if (word !== undefined) return word;
      throw refused(
        value === undefined
          ? `the request lacks ${name}`
          : `${name}: expected one of ${words.join(', ')}`,
      );
    },
  };
}

/** At most that many of a kind; an empty list is one. */
export function listOf<G, T>(
  each: Argument<G, T>,
  most: number,
): Argument<readonly G[], readonly T[]> {
  return {
    take(name, value) {
      if (value === undefined) throw refused(`the request lacks ${name}`);
      if (!Array.isArray(value) || value.length > most)
        throw refused(`${name}: expected a list of at most ${most}`);
      return value.map((item: Json) => each.take(name, item));
    },
  };
}

/** May be absent; an empty text counts as absent, as an option without a value does. */
export function optional<G, T>(argument: Argument<G, T>): Argument<G | undefined, T | undefined> {
  return {
    take: (name, value) =>
      value === undefined || value === '' ? undefined : argument.take(name, value),
  };
}

function bounded(most: number): Argument<string> {
  return {
    take(name, value) {
      if (value === undefined || value === '') throw refused(`the request lacks ${name}`);
      if (typeof value === 'string' && value.length <= most) return value;
      throw refused(`${name}: expected a text of at most ${most} characters`);
    },
  };
}

function refused(message: string): ControlError {
  return new ControlError('CONTROL_BAD_REQUEST', message);
}
