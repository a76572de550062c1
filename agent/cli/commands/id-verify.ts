import { closeSync, openSync, readSync } from 'node:fs';
import { LogVerifier } from '#kel/verify/log-verifier';
import { type LeftOutReport, reportOf } from '#kel/verify/report';
import { SignaturePool } from '#kel/verify/signature-pool';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { loadCryptoSuite } from '#src/crypto/suites';
import type { Command } from '../command.ts';
import { exitCodes, type Io, note, print, printJson, table } from '../io.ts';
import { unreadable } from '../read-file.ts';

const CHUNK = 1 << 20;

export const idVerify: Command = {
  name: 'id verify',
  usage: 'FILE...',
  summary: 'verify key event logs, offline, from CESR streams of any origin',
  details: `Reads the files (- is stdin) and nothing else. Exit code 0 when every event was accepted, 1 when any was
refused or waits for something that the files do not hold.`,
  minPositionals: 1,
  maxPositionals: 4_096,
  async run({ positionals, io, json }) {
    const { ed25519 } = await loadCryptoSuite();
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
  const fd = file === '-' ? 0 : open(file);
  try {
    while (true) {
      const buffer = Buffer.allocUnsafe(CHUNK);
      const length = readOf(fd, file, buffer);
      if (length === 0) return;
      yield buffer.subarray(0, length);
    }
  } finally {
    if (fd !== 0) closeSync(fd);
  }
}

function open(file: string): number {
  try {
    return openSync(file, 'r');
  } catch (error) {
    throw unreadable(file, error);
  }
}

function readOf(fd: number, file: string, buffer: Uint8Array): number {
  try {
    return readSync(fd, buffer);
  } catch (error) {
    throw unreadable(file, error);
  }
}

function explain(io: Io, word: string, rows: readonly LeftOutReport[]): void {
  for (const row of rows)
    print(
      io,
      `${word}: ${row.code} at byte ${row.offset}${row.file === null ? '' : ` of ${row.file}`}: ${row.reason}${row.said === null ? '' : ` (${row.said})`}`,
    );
}
