/**
 * C2SP tlog-checkpoint v1.0.0: the body is three lines (origin, tree size, root). Extension lines are refused:
 * no monitor can audit them.
 */
import { decodeBase64, encodeBase64 } from './base64.ts';
import { AuditError } from './errors.ts';
import { type NoteSigner, parseNote, signNote } from './note.ts';

export interface Checkpoint {
  /** Unique name of the log, without line feed. */
  readonly origin: string;
  readonly size: number;
  /** 32 bytes. */
  readonly root: Uint8Array;
}

/** The three lines, each ending in a line feed. */
export function formatCheckpoint(checkpoint: Checkpoint): string {
  return `${checkpoint.origin}\n${checkpoint.size}\n${encodeBase64(checkpoint.root)}\n`;
}

/** Inverse of {@link formatCheckpoint}. @throws AUDIT_BAD_CHECKPOINT */
export function parseCheckpoint(body: string): Checkpoint {
  const [, origin, sizeText, rootText] =
    /^([^\n]+)\n(0|[1-9]\d{0,15})\n([^\n]+)\n$/.exec(body) ?? [];
  if (origin === undefined || sizeText === undefined || rootText === undefined) {
    throw new AuditError(
      'AUDIT_BAD_CHECKPOINT',
      `expected the lines origin, size, root; got ${JSON.stringify(body.slice(0, 200))}`,
    );
  }
  const root = decodeBase64(rootText);
  if (root?.length !== 32) {
    throw new AuditError(
      'AUDIT_BAD_CHECKPOINT',
      `root of ${origin}: expected base64 of 32 bytes, got ${rootText.slice(0, 100)}`,
    );
  }
  const size = Number(sizeText);
  if (!Number.isSafeInteger(size)) {
    throw new AuditError(
      'AUDIT_BAD_CHECKPOINT',
      `size of ${origin}: ${sizeText} is beyond 2^53 - 1`,
    );
  }
  return { origin, size, root };
}

export function signCheckpoint(
  checkpoint: Checkpoint,
  signers: readonly NoteSigner[],
): Promise<string> {
  return signNote(formatCheckpoint(checkpoint), signers);
}

/** The checkpoint in a signed note; its signatures are not verified. @throws AUDIT_BAD_NOTE, AUDIT_BAD_CHECKPOINT */
export function checkpointOfNote(note: string): Checkpoint {
  return parseCheckpoint(parseNote(note).text);
}
