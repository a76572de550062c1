import {
  type EvidenceReport,
  MAX_EVIDENCE_BYTES,
  verifyEvidence,
} from '#kel/duplicity/evidence-file';
import { PUBLIC, writeOutput } from '#src/files/atomic-file';
import { FileError } from '#src/files/errors';
import { ask } from '../ask.ts';
import { type Command, optionText } from '../command.ts';
import { exitCodes, note, print, printFile, printJson, table, UsageError } from '../io.ts';
import { readFile } from '../read-file.ts';
import { verifier } from '../verifier.ts';

export const idEvidenceList: Command = {
  name: 'id evidence list',
  summary: 'AIDs that signed two events for one place of their log, and whether they are suspended',
  async run(invocation) {
    const result = await ask(invocation, 'id.evidence.list', {});
    if (invocation.json) {
      printJson(invocation.io, result);
      return exitCodes.ok;
    }
    const { evidence: forks, dropped } = result;
    if (forks.length === 0) note(invocation.io, 'no evidence of duplicity is held');
    else
      print(
        invocation.io,
        table([
          ['aid', 'name', 'sn', 'known since', '', 'events'],
          ...forks.map((fork) => [
            fork.aid,
            fork.name ?? '-',
            String(fork.sn),
            fork.since,
            fork.suspends ? 'suspended' : `resolved ${fork.resolved?.at}: ${fork.resolved?.reason}`,
            fork.saids.join(' and '),
          ]),
        ]),
      );
    if (dropped > 0) note(invocation.io, `${dropped} further forks of these AIDs found no room`);
    return exitCodes.ok;
  },
};

export const idEvidenceExport: Command = {
  name: 'id evidence export',
  usage: 'AID',
  summary: 'the proof as one file: the log up to the fork and both events, signed',
  minPositionals: 1,
  options: {
    out: { type: 'string', short: 'o', value: 'FILE', does: 'write to FILE instead of stdout' },
    sn: {
      type: 'string',
      value: 'N',
      does: 'the fork at sequence number N; default: the earliest',
    },
  },
  async run(invocation) {
    const sn = optionText(invocation, 'sn');
    if (sn !== undefined && !/^\d{1,15}$/.test(sn)) throw new UsageError('--sn takes a number');
    const result = await ask(invocation, 'id.evidence.export', {
      aid: invocation.positionals[0] ?? '',
      sn: sn === undefined ? undefined : Number(sn),
    });
    const bytes = Buffer.from(result.cesr, 'base64');
    const out = optionText(invocation, 'out');
    if (out !== undefined) await writeOutput(out, bytes, { mode: PUBLIC });
    if (invocation.json) {
      const { cesr: _cesr, ...rest } = result;
      printJson(
        invocation.io,
        out === undefined ? result : { ...rest, file: out, bytes: bytes.length },
      );
    } else if (out === undefined) printFile(invocation.io, bytes);
    else
      note(
        invocation.io,
        `${bytes.length} bytes in ${out}; \`kelmesh id evidence verify ${out}\` checks them anywhere`,
      );
    return exitCodes.ok;
  },
};

export const idEvidenceVerify: Command = {
  name: 'id evidence verify',
  usage: 'FILE',
  summary: 'check evidence of duplicity, offline, with nothing but the file',
  details:
    'Exit code 0 only when the file proves that its AID signed two events for one place of its log.',
  minPositionals: 1,
  async run({ positionals, io, json }) {
    const [file = ''] = positionals;
    const report = verifyEvidence(read(file), await verifier());
    if (json) printJson(io, { schema: 'kelmesh.id-evidence-verify/1', ...reportJson(report) });
    else {
      const { verdict, fork, problems } = report;
      print(
        io,
        verdict === 'duplicity' && fork !== undefined
          ? `duplicity: ${fork.aid} signed two events ${fork.sn}: ${fork.saids.join(' and ')}`
          : 'none: the file does not prove duplicity',
      );
      for (const { code, message, offset } of problems)
        print(io, `problem: ${code}${offset === null ? '' : ` at byte ${offset}`}: ${message}`);
    }
    return report.verdict === 'duplicity' ? exitCodes.ok : exitCodes.failed;
  },
};

export const idEvidenceResolve: Command = {
  name: 'id evidence resolve',
  usage: 'AID|NAME',
  summary: 'trust an AID again whose log has forked; its tunnels may come up again',
  details: `The decision is this organisation's own: each member resolves for itself, and the audit log says who did and why. A
new fork under the keys in force suspends the AID again.`,
  minPositionals: 1,
  options: { reason: { type: 'string', value: 'TEXT', does: 'why; goes into the audit log' } },
  async run(invocation) {
    const reason = optionText(invocation, 'reason');
    if (reason === undefined || reason.trim() === '')
      throw new UsageError('kelmesh id evidence resolve needs --reason TEXT');
    const result = await ask(invocation, 'id.evidence.resolve', {
      aid: invocation.positionals[0] ?? '',
      reason,
    });
    if (invocation.json) printJson(invocation.io, result);
    else print(invocation.io, `${result.aid} is not suspended any more`);
    return exitCodes.ok;
  },
};

function reportJson({ verdict, fork, problems }: EvidenceReport) {
  return {
    verdict,
    aid: fork?.aid ?? null,
    sn: fork?.sn ?? null,
    saids: fork?.saids ?? [],
    problems,
  };
}

/** One byte more than is read at most, so that the report can say that it is too much. */
function read(file: string): Uint8Array {
  try {
    return readFile(file, MAX_EVIDENCE_BYTES);
  } catch (error) {
    if (error instanceof FileError && error.code === 'FILE_TOO_LARGE')
      return new Uint8Array(MAX_EVIDENCE_BYTES + 1);
    throw error;
  }
}
