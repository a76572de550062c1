import { readSync } from 'node:fs';
import { LogVerifier } from '#kel/verify/log-verifier';
import { type LeftOutReport, reportOf } from '#kel/verify/report';
import { SignaturePool } from '#kel/verify/signature-pool';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { MeshError } from '#src/errors';
import { FileError } from '#src/files/errors';
import { regularFileChunks } from '#src/files/regular-file';
import type { Command } from '../command.ts';
import { exitCodes, type Io, note, print, printJson, table } from '../io.ts';
import { unreadable } from '../read-file.ts';
import { verifyingEd25519 } from '../verifier.ts';

const CHUNK = 1 << 20;
/** Of one file: a log of ten million events. */
const MAX_FILE_BYTES = 4 * 2 ** 30;

export const idVerify: Command = {
  name: 'id verify',
  usage: 'FILE...',
  summary: 'verify key event logs, offline, from CESR streams of any origin',
  details: `Reads the files (- is stdin) and nothing else. Exit code 0 when every event was accepted, 1 when any was
refused or waits for something that the files do not hold.`,
  minPositionals: 1,
  maxPositionals: 4_096,
  async run({ positionals, io, json }) {
    const ed25519 = await verifyingEd25519();
    using batchRunner = new SignaturePool(ed25519);
    const verifier = new LogVerifier(createSignatureVerifier(ed25519), {
      batchRunner,
      indexDigestSeals: false,
    });
    for (const file of positionals)
      for (const chunk of chunksOf(file)) verifier.feed(chunk, { file });
    const report = reportOf(verifier.finish());
    if (json) printJson(io, { schema: 'kelmesh.id-verify/1', ...report });
    else {
      if (report.aids.length > 0)
        print(
          io,
          table([
            ['aid', 'sn', 'said', 'kind'],
            ...report.aids.map((aid) => [aid.aid, String(aid.sn), aid.said, aid.kind]),
          ]),
        );
      explain(io, 'refused', report.refused);
      explain(io, 'waiting', report.waiting);
      for (const [kind, count] of Object.entries(report.dropped))
        if (count > 0) print(io, `not listed: ${count} more (${kind})`);
      if (report.aids.length + report.refused.length + report.waiting.length === 0)
        note(io, 'the files hold no key event');
    }
    const isWhole = Object.values(report.dropped).every((count) => count === 0);
    return isWhole && report.refused.length + report.waiting.length === 0
      ? exitCodes.ok
      : exitCodes.failed;
  },
};

function* chunksOf(file: string): Generator<Uint8Array> {
  try {
    if (file === '-') yield* standardInput();
    else yield* regularFileChunks(file, MAX_FILE_BYTES);
  } catch (error) {
    throw error instanceof MeshError ? error : unreadable(file, error);
  }
}

/** Whoever pipes something in wants it read: a pipe may be that, a stream without an end may not. */
function* standardInput(): Generator<Uint8Array> {
  for (let total = 0; total <= MAX_FILE_BYTES; ) {
    const buffer = Buffer.allocUnsafeSlow(CHUNK);
    const length = readSync(0, buffer);
    if (length === 0) return;
    total += length;
    yield buffer.subarray(0, length);
  }
  throw new FileError('FILE_TOO_LARGE', `standard input: more than ${MAX_FILE_BYTES} bytes`);
}

function explain(io: Io, word: string, rows: readonly LeftOutReport[]): void {
  for (const row of rows)
    print(
      io,
      `${word}: ${row.code} at byte ${row.offset}${row.file === null ? '' : ` of ${row.file}`}: ${row.reason}${row.said === null ? '' : ` (${row.said})`}`,
    );
}
