/** Steps of the demonstration that write down what happened and have it verified. */
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { AuditReport } from '#agent/evidence/auditor/report';
import { NODE_FLAGS } from '#src/confinement';
import { PUBLIC, writeOutput } from '#src/files/atomic-file';
import type { DemoFederation } from './federation.ts';
import type { DemoFindings } from './report.ts';

const execute = promisify(execFile);
const kelmesh = fileURLToPath(new URL('../agent/main.ts', import.meta.url));

export async function exportEvidence(federation: DemoFederation, out: string): Promise<string> {
  mkdirSync(join(out, 'logs'), { recursive: true });
  const files: string[] = [];
  for (const organisation of federation.organisations) {
    const file = join(organisation.dir, 'evidence.kmb');
    await organisation.kelmesh('audit', 'export', '--out', file);
    files.push(file);
  }
  await federation
    .of('alpha')
    .kelmesh('audit', 'export', ...files.slice(1), '--out', join(out, 'evidence.kmb'));
  for (const organisation of federation.organisations) {
    const { cesr } = await organisation.ask('id.export');
    await writeOutput(
      join(out, 'logs', `${organisation.name}.cesr`),
      Buffer.from(String(cesr), 'base64'),
      { mode: PUBLIC },
    );
  }
  return 'evidence.kmb, and each log as a CESR stream that KERIpy reads';
}

/** In a process of its own that gets the bundle and nothing else. */
export async function audit(
  federation: DemoFederation,
  findings: DemoFindings,
  out: string,
  say: (line: string) => void,
): Promise<string> {
  const bundle = join(out, 'evidence.kmb');
  const { stdout } = await execute(
    process.execPath,
    [...NODE_FLAGS, kelmesh, 'audit', 'verify', bundle, '--json'],
    { cwd: '/', env: { PATH: process.env['PATH'] }, maxBuffer: 64 << 20 },
  ).catch((error: { stdout?: string }) => ({ stdout: error.stdout ?? '{}' }));
  const report = JSON.parse(stdout) as AuditReport;
  findings.verdict = report.verdict;
  if (report.verdict !== 'clean')
    throw new Error(
      `verdict ${report.verdict}: ${report.problems
        .slice(0, 3)
        .map(({ code, section, where, message }) => `${code} in ${section}, ${where}: ${message}`)
        .join('; ')}`,
    );
  const names = new Map(federation.organisations.map(({ aid, name }) => [aid, name]));
  for (const { a, b, epoch, interval } of report.tunnels) {
    say(
      `        ${names.get(a.aid)} (event ${a.sn}) and ${names.get(b.aid)} (event ${b.sn}), key epoch ${epoch}, between ${interval.from} and ${interval.to}`,
    );
  }
  return `verdict clean: ${report.tunnels.length} tunnels, each with both identities, their events, epoch and interval`;
}
