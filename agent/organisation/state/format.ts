/**
 * The format of a state directory: a file `format` in it, of a line or two. Where there is a database and no such file, release 0.1
 * has made it: format 1.
 *
 * Format 2 is laid out as format 1 is. What it may hold that 0.1 does not know: records of version 2, receipts by place in the log,
 * the note of the last own event.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { utf8 } from '#src/bytes';
import { onFileSync } from '#src/files/errors';
import { readRegularFile } from '#src/files/regular-file';
import { StateError } from '../errors.ts';
import { damaged } from '../system-error.ts';

/** What this program makes, and the newest that it reads. */
export const STATE_FORMAT = 2;
/** Of release 0.1, which left no file. */
const UNMARKED = 1;

export const FORMAT_FILE = 'format';
/** A later format may say more behind its first line. */
const MAX_BYTES = 4_096;
const FIRST_LINE = /^kelmesh-state ([1-9]\d{0,5})\n/;
const SECOND_LINE = /^taken-over ([1-9]\d{0,5}) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)\n$/;

export interface StateFormat {
  readonly format: number;
  /** Absent where it was made in this format. */
  readonly takenOver?: {
    readonly from: number;
    /** RFC 3339, UTC, milliseconds. */
    readonly at: string;
  };
}

export function formatFile({ format, takenOver }: StateFormat): Uint8Array {
  const second = takenOver === undefined ? '' : `taken-over ${takenOver.from} ${takenOver.at}\n`;
  return utf8(`kelmesh-state ${format}\n${second}`);
}

/** Undefined: not of that form. Of a format that is newer than this program's its number alone is read. */
export function parseFormatFile(text: string): StateFormat | undefined {
  const [first, number] = FIRST_LINE.exec(text) ?? [];
  if (first === undefined) return undefined;
  const format = Number(number);
  const rest = text.slice(first.length);
  if (rest === '' || format > STATE_FORMAT) return { format };
  const [, from, at = ''] = SECOND_LINE.exec(rest) ?? [];
  if (from === undefined || Number(from) >= format || Number.isNaN(Date.parse(at)))
    return undefined;
  return { format, takenOver: { from: Number(from), at } };
}

/**
 * Of the state directory as it stands; undefined where there is no database yet.
 * @throws CONTROL_STATE_NEWER, CONTROL_STATE_DAMAGED, FILE_…
 */
export function readFormat(stateDir: string): StateFormat | undefined {
  const path = join(stateDir, FORMAT_FILE);
  const text = onFileSync(path, () =>
    existsSync(path) ? readRegularFile(path, MAX_BYTES).toString('latin1') : undefined,
  );
  if (text === undefined)
    return existsSync(join(stateDir, 'store')) ? { format: UNMARKED } : undefined;
  const read = parseFormatFile(text);
  if (read === undefined) throw damaged(path, 'it is not of the form `kelmesh-state NUMBER`');
  if (read.format > STATE_FORMAT)
    throw new StateError(
      'CONTROL_STATE_NEWER',
      `${stateDir} has format ${read.format}, this program reads formats up to ${STATE_FORMAT}: a newer version has used it`,
    );
  return read;
}
