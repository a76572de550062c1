/**
 * The base of every error that Kelmesh raises on purpose.
 *
 * Each folder has one subclass and one table of codes. The table maps a code to its cure: what the
 * operator does about it. `docs/errors.md` lists the same codes, and a test holds the two together.
 */

/** Code to cure. Codes are upper case with the folder as prefix (`KEL_…`); cures are sentences without a final period. */
export type ErrorTable = Readonly<Record<string, string>>;

/** Data that belongs to the error; never a secret. */
export type ErrorFields = Readonly<Record<string, string | number | bigint | boolean | undefined>>;

export interface ErrorDetails {
  /** The error underneath, kept whole. */
  readonly cause?: unknown;
  /** Replaces the table's cure where this occurrence knows a better one. */
  readonly hint?: string;
  readonly fields?: ErrorFields;
}

export abstract class MeshError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly hint: string;
  readonly fields: ErrorFields;

  /** @param message lower case, names the thing and both values: `expected 32 bytes, got 31` */
  constructor(code: Code, message: string, cures: ErrorTable, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.hint = details.hint ?? cures[code] ?? '';
    this.fields = details.fields ?? {};
  }
}

/** The `default:` of an exhaustive switch: a new variant breaks the compile here. */
export function unreachable(value: never): never {
  throw new TypeError(`unreachable variant: ${String(value)}`);
}
