/** Evidence of duplicity as a file, in and out of the store (`kel/duplicity/evidence-file.ts`). */
import { parseStream } from '#kel/cesr/stream';
import { DuplicityError } from '#kel/duplicity/errors';
import { MAX_EVIDENCE_BYTES } from '#kel/duplicity/evidence-file';
import type { Aid } from '#kel/identifiers';
import { concatBytes } from '#src/bytes';
import { encodeMessage, toMessage } from '../message/stored-message.ts';
import type { DuplicityCase, DuplicityEvidence } from './duplicity-evidence.ts';
import type { KelStore } from './kel-store.ts';

type Logs = Pick<KelStore, 'state' | 'export'>;

/**
 * Keeps the case that the file proves. @param file verified  @param now ms since the epoch
 * @returns false when it is known or there is no room
 */
export function keepEvidenceFile(
  evidence: DuplicityEvidence,
  file: Uint8Array,
  now: number,
): boolean {
  const pair = [...parseStream(file)].slice(-2).flatMap((item) => {
    const message = item.type === 'message' ? toMessage(item.body, item.attachments) : undefined;
    return message !== undefined && 'event' in message ? [message] : [];
  });
  const [first, second] = pair;
  if (first === undefined || second === undefined) return false;
  const messages = [
    encodeMessage(first.bytes, first.attachments),
    encodeMessage(second.bytes, second.attachments),
  ] as const;
  const { said } = first.event;
  if (!evidence.add(second, said, messages, now)) return false;
  const { aid, sn } = second.event;
  const found = evidence.find(aid, sn, [said, second.event.said]);
  // Without room for the whole file the case still counts here; others may be able to export it.
  if (found !== undefined) evidence.addProof(found, file);
  return true;
}

/** The case as a file that proves itself. @throws DUPLICITY_NONE, DUPLICITY_TOO_LARGE */
export async function buildEvidenceFile(
  evidence: DuplicityEvidence,
  logs: Logs,
  found: DuplicityCase,
): Promise<Uint8Array> {
  const { aid, sn, accepted, conflicting } = found;
  const known = evidence.find(aid, sn, [accepted, conflicting]);
  if (known === undefined)
    throw new DuplicityError('DUPLICITY_NONE', `no evidence of a fork of ${aid} at ${sn} here`);
  const file = evidence.proofOf(known) ?? (await joinEvidence(evidence, logs, known));
  if (file.length > MAX_EVIDENCE_BYTES)
    throw new DuplicityError(
      'DUPLICITY_TOO_LARGE',
      `evidence of ${aid} at ${sn}: ${file.length} bytes, at most ${MAX_EVIDENCE_BYTES}`,
    );
  return file;
}

async function joinEvidence(
  evidence: DuplicityEvidence,
  logs: Logs,
  found: DuplicityCase,
): Promise<Uint8Array> {
  const prefix = evidence.prefixOf(found);
  if (prefix === undefined)
    throw new DuplicityError(
      'DUPLICITY_NONE',
      `the log of ${found.aid} before the fork at ${found.sn} is not held`,
    );
  const delegators: Uint8Array[] = [];
  const seen = new Set<Aid>();
  for (let at = logs.state(found.aid)?.delegator; at !== undefined && !seen.has(at); ) {
    seen.add(at);
    delegators.unshift(await logs.export(at));
    at = logs.state(at)?.delegator;
  }
  return concatBytes(...delegators, ...prefix, ...evidence.messagesOf(found));
}
