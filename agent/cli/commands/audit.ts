import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { writeOutput } from '#src/files/atomic-file';
import type { AuditReport } from '../../provenance/audit/report.ts';
import { verifyBundle } from '../../provenance/audit/verify-bundle.ts';
import { mergeBundles } from '../../provenance/bundle.ts';
import { ProvenanceError } from '../../provenance/errors.ts';
import { ask } from '../ask.ts';
import { type Command, optionText } from '../command.ts';
import { exitCodes, type Io, note, print, printJson, table, UsageError } from '../io.ts';
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
    const part = join(dirname(file), `.${randomBytes(16).toString('hex')}.part`);
    try {
      const own = await ask(invocation, 'audit.export', { file: part }, { atRest: true });
      const bundle = mergeBundles([readFileSync(part), ...others]);
      await writeOutput(file, bundle);
      const result = { ...own, file, bytes: bundle.length };
      if (invocation.json) printJson(invocation.io, result);
      else
        print(
          invocation.io,
          `${file}: ${own['leaves']} leaves; \`kelmesh audit verify ${out}\` checks them anywhere`,
        );
    } finally {
      rmSync(part, { force: true });
    }
    return exitCodes.ok;
  },
};

export const auditVerify: Command = {
  name: 'audit verify',
  usage: 'BUNDLE',
  summary:
    'verify an evidence bundle, offline: which identity brought up which tunnel, when, under which keys',
  details: 'Reads the file and nothing else. Exit code 0 only when the verdict is clean.',
  minPositionals: 1,
  async run({ positionals, io, json }) {
    const report = await verifyBundle(readFile(positionals[0] ?? ''), {
      verifySignature: await verifier(),
    });
    if (json) printJson(io, report);
    else describe(io, report);
    return report.verdict === 'clean' ? exitCodes.ok : exitCodes.failed;
  },
};

/** Throws CONFIG_UNREADABLE, and BUNDLE_… with the name of the file. */
function readBundle(file: string): Uint8Array {
  const bytes = readFile(file);
  try {
    return mergeBundles([bytes]);
  } catch (error) {
    if (!(error instanceof ProvenanceError)) throw error;
    throw new ProvenanceError(error.code, `${file}: ${error.message}`, { cause: error });
  }
}

function describe(io: Io, report: AuditReport): void {
  const name = new Map(report.organisations.map((row) => [row.aid, row.name ?? row.aid]));
  print(io, `verdict: ${report.verdict}`);
  if (report.organisations.length > 0) {
    print(
      io,
      `\n${table([['organisation', 'log up to', 'leaves', 'aid'], ...report.organisations.map((row) => [row.name ?? '-', String(row.sn), String(row.leaves), row.aid])])}`,
    );
  }
  if (report.tunnels.length > 0) {
    const rows = report.tunnels.map(({ a, b, epoch, level, interval }) => [
      `${name.get(a.aid) ?? a.aid} (event ${a.sn})`,
      `${name.get(b.aid) ?? b.aid} (event ${b.sn})`,
      level,
      String(epoch),
      interval.from ?? 'unknown',
      interval.to ?? 'open',
    ]);
    print(
      io,
      `\n${table([['tunnel between', 'and', 'level', 'epoch', 'proven after', 'and before'], ...rows])}`,
    );
    note(io, 'the order of these entries is proven; their times are what the signers say');
  }
  for (const problem of report.problems)
    print(
      io,
      `\nproblem: ${problem.code} in ${problem.section}, ${problem.where}: ${problem.message}`,
    );
}
