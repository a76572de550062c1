/** For every message that waits: what for, from whom, and what would release it. */

import type { EscrowedMessage } from '#kel/escrow/timed-escrow';
import type { Aid, Said } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import { decodeMessage } from '#kel/message/stored-message';
import type { EscrowCode } from '#kel/state/decision';
import { explainEarlyReceipt } from './early-receipt.ts';
import { explainOutOfOrder } from './out-of-order.ts';
import { explainPartiallyRotated } from './partially-rotated.ts';
import { explainPartiallySigned } from './partially-signed.ts';
import { explainPartiallyWitnessed } from './partially-witnessed.ts';
import type { Explanation, WaitingEvent } from './reason.ts';
import { explainUnapproved } from './unapproved.ts';

export interface WaitingReport extends Explanation {
  readonly aid: Aid;
  readonly sn: number;
  readonly said: Said;
  readonly code: EscrowCode;
  /** When it came and when it is dropped; milliseconds since the Unix epoch. */
  readonly since: number;
  readonly expires: number;
}

/** The accepted logs, as far as an explanation needs them. */
export interface HeldLogs {
  state(aid: Aid): KeyState | undefined;
  stateBefore(aid: Aid, sn: number): KeyState | undefined;
}

const reasons: { readonly [C in EscrowCode]: (waiting: WaitingEvent) => Explanation } = {
  KEL_AWAITS_PRIOR: explainOutOfOrder,
  KEL_AWAITS_SIGNATURES: explainPartiallySigned,
  KEL_AWAITS_NEXT_KEYS: explainPartiallyRotated,
  KEL_AWAITS_WITNESSES: explainPartiallyWitnessed,
  KEL_AWAITS_DELEGATOR: explainUnapproved,
};

export function explainWaiting(
  { message, aid, sn, said, code, since }: EscrowedMessage,
  expires: number,
  logs: HeldLogs,
): WaitingReport {
  const decoded = decodeMessage(message);
  const explanation =
    'event' in decoded
      ? reasons[code]({
          ...decoded,
          before: logs.stateBefore(aid, sn),
          head: logs.state(aid),
          delegator: (delegator) => logs.state(delegator),
        })
      : explainEarlyReceipt(decoded);
  return { aid, sn, said, code, since, expires, ...explanation };
}
