import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { writeOutput } from '#src/files/atomic-file';
import { onFile } from '#src/files/errors';
import { resolveDirectory } from '#src/files/trust';
import type { Verdict } from '../../evidence/auditor/verdict.ts';
import { verifyBundle } from '../../evidence/auditor/verify-bundle.ts';
import { MAX_BUNDLE_BYTES, mergeBundles } from '../../evidence/format/bundle.ts';
import { ProvenanceError } from '../../evidence/format/errors.ts';
import { ask } from '../ask.ts';
import { describeAudit } from '../audit-text.ts';
import { type Command, optionText } from '../command.ts';
import { exitCodes, print, printJson, UsageError } from '../io.ts';
import { readFile } from '../read-file.ts';
import { verifier } from '../verifier.ts';

export const auditExport: Command = {
  name: 'audit export',
  usage: '[BUNDLE...]',
  summary: 'the own evidence as one file, merged with bundles of others when they are named',
  details: 'Anchors the audit log first, so that everything up to now can be proven.',
  maxPositionals: 256,
  options: { out: { type: 'string', short: 'o', value: 'FILE', does: 'the bundle to write' } },
  async run(invocation) {
    const out = optionText(invocation, 'out');
    if (out === undefined) throw new UsageError('audit export needs --out FILE');
    const file = resolve(out);
    const others = invocation.positionals.map(readBundle);
    // Beside its place: the agent writes there, maybe as another user. Nobody can guess the name.
    await onFile(file, () => resolveDirectory(dirname(file)));
    const part = join(dirname(file), `.${randomBytes(16).toString('hex')}.part`);
    try {
      const own = await ask(invocation, 'audit.export', { file: part });
      const bundle = mergeBundles([readFileSync(part), ...others]);
      await writeOutput(file, bundle);
      const result = { ...own, file, bytes: bundle.length };
      if (invocation.json) printJson(invocation.io, result);
      else
        print(
          invocation.io,
          `${file}: ${own.leaves} leaves; \`kelmesh audit verify ${out}\` checks them anywhere`,
        );
    } finally {
      rmSync(part, { force: true });
    }
    return exitCodes.ok;
  },
};

const exitOf: Readonly<Record<Verdict, number>> = {
  clean: exitCodes.ok,
  failed: exitCodes.failed,
  incomplete: exitCodes.incomplete,
};

export const auditVerify: Command = {
  name: 'audit verify',
  usage: 'BUNDLE',
  summary:
    'verify an evidence bundle, offline: which identity brought up which tunnel, when, under which keys',
  details:
    'Reads the file and nothing else. Exit code 0 when the verdict is clean, 1 when it is failed, 6 when it is incomplete.',
  minPositionals: 1,
  async run({ positionals, io, json }) {
    const report = await verifyBundle(readFile(positionals[0] ?? '', MAX_BUNDLE_BYTES), {
      verifySignature: await verifier(),
    });
    if (json) printJson(io, report);
    else describeAudit(io, report);
    return exitOf[report.verdict];
  },
};

/** Throws CONFIG_UNREADABLE, and BUNDLE_… with the name of the file. */
function readBundle(file: string): Uint8Array {
  const bytes = readFile(file, MAX_BUNDLE_BYTES);
  try {
    return mergeBundles([bytes]);
  } catch (error) {
    if (!(error instanceof ProvenanceError)) throw error;
    throw new ProvenanceError(error.code, `${file}: ${error.message}`, { cause: error });
  }
}
