/**
 * The pure decision on a reply. The newest wins: of a transferable signer the one under the later establishment
 * event, then the later date-time; of a non-transferable one the later date-time. Equal ones are ordered by
 * SAID, so that everybody ends with the same whatever came first.
 */
import { emptyAttachments } from '#kel/cesr/attachments';
import type { KelErrorCode } from '#kel/errors';
import type { Aid, Said } from '#kel/identifiers';
import type { EstablishedKeys } from '#kel/key-state/established-keys';
import type { KeyState } from '#kel/key-state/key-state';
import { type VerifySignature, verifyKeySignatures } from '#kel/state/key-signatures';
import { verifyWitnessSignatures } from '#kel/state/witness-signatures';
import type { Endorsement } from './endorsement.ts';
import { microsecondsOf } from './fields.ts';
import { type KeyStateReply, type Reply, signerOf } from './reply.ts';

export interface EndorsedReply {
  readonly reply: Reply;
  readonly bytes: Uint8Array;
  readonly endorsement: Endorsement;
}

export interface ReplyContext {
  readonly verifySignature: VerifySignature;
  /** Of the accepted log. */
  state(aid: Aid): KeyState | undefined;
  establishment(aid: Aid, sn: number, said: Said): EstablishedKeys | undefined;
  /** Whose key state notices about others count, besides those of their witnesses. */
  isWatcher(aid: Aid): boolean;
}

export type ReplyDecision =
  | { readonly kind: 'accept'; readonly endorsed: EndorsedReply; readonly rank: string }
  | { readonly kind: 'stale'; readonly reason: string }
  | {
      readonly kind: 'escrow';
      readonly code: KelErrorCode;
      readonly reason: string;
      /** With the signatures that may still count. */
      readonly endorsed: EndorsedReply;
      /** Whose log would decide. */
      readonly awaits: Aid;
    }
  | { readonly kind: 'reject'; readonly code: KelErrorCode; readonly reason: string };

/** Text that sorts as newest wins compares. @param endorsed verified or not */
export function rankOf({ reply, endorsement }: EndorsedReply): string {
  const sn = 'establishment' in endorsement ? endorsement.establishment.sn : 0;
  // Dates of four digits lie within 2^58 microseconds of the epoch.
  const moment = (microsecondsOf(reply.dateTime) + (1n << 58n)).toString(16).padStart(16, '0');
  return `${sn.toString(16).padStart(14, '0')} ${moment} ${reply.said}`;
}

/** @param current rank of the reply that stands in the same place */
export function evaluateReply(
  current: string | undefined,
  endorsed: EndorsedReply,
  context: ReplyContext,
): ReplyDecision {
  const { reply, endorsement } = endorsed;
  const signer = signerOf(reply.content);
  if (endorsement.aid !== signer)
    return reject(
      'KEL_WRONG_SIGNER',
      `reply ${reply.said}: expected the signature of ${signer}, got that of ${endorsement.aid}`,
    );
  const rank = rankOf(endorsed);
  if (current !== undefined && rank <= current)
    return { kind: 'stale', reason: `reply ${reply.said} is not newer than the one held` };
  if (reply.content.type === 'key-state') {
    const objection = judgeNotice(endorsed, reply.content, context);
    if (objection !== undefined) return objection;
  }
  return judgeSignature(endorsed, rank, context);
}

/** Anybody can sign a notice about anybody: the sources that count, and the log that is held, decide. */
function judgeNotice(
  endorsed: EndorsedReply,
  { source, notice: { state } }: KeyStateReply,
  context: ReplyContext,
): ReplyDecision | undefined {
  const { said } = endorsed.reply;
  const held = context.state(state.aid);
  if (source !== state.aid && !context.isWatcher(source)) {
    // The witnesses of the accepted log: those that the notice itself names prove nothing.
    if (held === undefined)
      return {
        kind: 'escrow',
        code: 'KEL_AWAITS_PRIOR',
        reason: `reply ${said}: the log of ${state.aid}, which names its witnesses, is not held`,
        endorsed,
        awaits: state.aid,
      };
    if (!held.witnesses.includes(source))
      return reject(
        'KEL_WRONG_SIGNER',
        `reply ${said}: ${source} is neither ${state.aid}, nor its witness, nor a watcher`,
      );
  }
  if (held === undefined || state.sn > held.sn) return undefined;
  if (state.sn < held.sn)
    return {
      kind: 'stale',
      reason: `reply ${said}: the log of ${state.aid} is held up to ${held.sn}, the notice says ${state.sn}`,
    };
  if (state.said === held.said) return undefined;
  return reject(
    'KEL_REPLY_CONTRADICTS',
    `reply ${said}: at ${state.sn} of ${state.aid} stands ${held.said}, the notice says ${state.said}`,
  );
}

function judgeSignature(
  endorsed: EndorsedReply,
  rank: string,
  context: ReplyContext,
): ReplyDecision {
  const { reply, bytes, endorsement } = endorsed;
  const { verifySignature } = context;
  const { aid } = endorsement;
  if ('signature' in endorsement) {
    const couple = { prefix: aid, signature: { ...endorsement.signature, soft: '' } };
    const attachments = { ...emptyAttachments(), receiptCouples: [couple] };
    return verifyWitnessSignatures(verifySignature, [aid], bytes, attachments).length > 0
      ? { kind: 'accept', endorsed, rank }
      : reject('KEL_BAD_SIGNATURE', `reply ${reply.said}: the signature of ${aid} does not verify`);
  }
  const { sn, said } = endorsement.establishment;
  const established = context.establishment(aid, sn, said);
  if (established === undefined) {
    const held = context.state(aid)?.sn ?? -1;
    return sn > held
      ? {
          kind: 'escrow',
          code: 'KEL_AWAITS_PRIOR',
          reason: `reply ${reply.said}: event ${sn} of ${aid}, under which it is signed, has not arrived`,
          endorsed,
          awaits: aid,
        }
      : reject(
          'KEL_WRONG_SIGNER',
          `reply ${reply.said}: ${said} is no establishment event at ${sn} of the log of ${aid}`,
        );
  }
  const { valid, isSatisfied } = verifyKeySignatures(
    verifySignature,
    established.keys,
    established.signingThreshold,
    bytes,
    endorsement.signatures,
  );
  const verified = { ...endorsed, endorsement: { ...endorsement, signatures: valid } };
  if (isSatisfied) return { kind: 'accept', endorsed: verified, rank };
  if (valid.length === 0)
    return reject(
      'KEL_BAD_SIGNATURE',
      `reply ${reply.said}: no signature of ${aid} under its event ${sn} verifies`,
    );
  return {
    kind: 'escrow',
    code: 'KEL_AWAITS_SIGNATURES',
    reason: `reply ${reply.said}: ${valid.length} signatures of ${aid} do not meet its threshold`,
    endorsed: verified,
    awaits: aid,
  };
}

function reject(code: KelErrorCode, reason: string): ReplyDecision {
  return { kind: 'reject', code, reason };
}
