/** The node's side of delegation: the answer of the organisation, which makes its event count. */
import type { KelStore } from '#kel/store/kel-store';
import type { PendingEvent } from '../own/local-keys.ts';
import { delegatorsIn, withDelegators } from './delegators.ts';
import { NodeError } from './errors.ts';

/** Takes in the logs of the delegators, until the event that waits is approved. Throws NODE_BAD_ANSWER. @param stream attacker-controlled */
export async function takeApproval(
  kel: KelStore,
  { aid, said, message }: PendingEvent,
  stream: Uint8Array,
): Promise<void> {
  const request = Buffer.from(message, 'base64');
  const wanted = new Set([
    ...withDelegators([aid], kel),
    ...delegatorsIn(request, aid),
    ...delegatorsIn(stream, aid),
  ]);
  const outcomes = await kel.process(stream, { accepts: (other) => wanted.has(other) });
  const [own] = await kel.process(request, { accepts: (other) => other === aid });
  // Its witnesses are asked for their receipts next.
  const isApproved =
    own?.verdict === 'accepted' ||
    own?.verdict === 'duplicate' ||
    own?.code === 'KEL_AWAITS_WITNESSES';
  if (isApproved) return;
  const refusal = outcomes.find(({ verdict }) => verdict === 'refused');
  throw new NodeError(
    'NODE_BAD_ANSWER',
    `event ${said} of ${aid} is not approved: ${refusal?.reason ?? own?.reason ?? 'no log in the file'}`,
  );
}
