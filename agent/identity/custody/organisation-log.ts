/**
 * The log of an organisation with custodians, where it is kept: in a state directory of its own, without any key,
 * or in that of a node which runs an agent. Beside it the cards of its custodians, for their names.
 */
import type { Aid } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import type { VerifySignature } from '#kel/state/key-signatures';
import type { KelStore } from '#kel/store/kel-store';
import { concatBytes } from '#src/bytes';
import type { StateTable } from '#src/store/state-table';
import { type CustodianCard, parseCard } from './card.ts';
import { CustodyError } from './errors.ts';
import { type Review, signedMessage } from './review.ts';

/** Value: the cards in base64, in the order of the keys. */
const ORGANISATION = 'organisation.';

export interface OrganisationLogDeps {
  readonly kel: KelStore;
  /** `custody`. */
  readonly table: StateTable;
  readonly verifySignature: VerifySignature;
}

export interface OrganisationLog {
  readonly state: KeyState;
  /** The whole log as a CESR stream. */
  readonly log: Uint8Array;
  readonly cards: readonly CustodianCard[];
}

/**
 * Puts a complete event into the log, after the events before it that the proposal brings along.
 * Throws CUSTODY_REFUSED. @returns the verdict: accepted, a duplicate, or waiting for witnesses
 */
export async function submitEvent(
  { kel, table }: OrganisationLogDeps,
  review: Review,
): Promise<{
  readonly verdict: 'accepted' | 'duplicate' | 'waiting';
  readonly reason: string | null;
}> {
  const { event, proposal } = review;
  const stream = concatBytes(proposal.log, signedMessage(review));
  const outcomes = await kel.process(stream, { accepts: (aid) => aid === event.aid });
  const outcome = outcomes.find(({ said }) => said === event.said);
  if (outcome === undefined || outcome.verdict === 'refused')
    throw new CustodyError(
      'CUSTODY_REFUSED',
      `event ${event.sn} ${event.said}: ${outcome?.code} ${outcome?.reason}`,
    );
  // Again in force: only those of the newest establishment event are asked for.
  if (event.type !== 'ixn' && kel.state(event.aid)?.establishment.said === event.said)
    await table.put({
      [ORGANISATION + event.aid]: proposal.cards.map((card) =>
        Buffer.from(card).toString('base64'),
      ),
    });
  return { verdict: outcome.verdict, reason: outcome.reason ?? null };
}

/** @param named by default the only one. Throws CUSTODY_NO_LOG */
export async function organisationLog(
  deps: OrganisationLogDeps,
  named?: string,
): Promise<OrganisationLog> {
  const { kel, table, verifySignature } = deps;
  const aids = await organisations(table);
  const aid = named === undefined ? aids[0] : aids.find((one) => one === named);
  const state = aid === undefined ? undefined : kel.state(aid);
  if (aid === undefined || state === undefined)
    throw new CustodyError(
      'CUSTODY_NO_LOG',
      named === undefined
        ? 'no organisation with custodians is here'
        : `${named.slice(0, 64)} is not here`,
    );
  if (named === undefined && aids.length > 1)
    throw new CustodyError('CUSTODY_NO_LOG', `${aids.length} organisations are here`, {
      hint: `Name one with --aid: ${aids.join(', ')}`,
    });
  return {
    state,
    log: await kel.export(aid),
    cards: (table.get<readonly string[]>(ORGANISATION + aid) ?? []).map((card) =>
      parseCard(Buffer.from(card, 'base64'), verifySignature),
    ),
  };
}

async function organisations(table: StateTable): Promise<readonly Aid[]> {
  const aids: Aid[] = [];
  for await (const [key] of table.entries(ORGANISATION))
    aids.push(key.slice(ORGANISATION.length) as Aid);
  return aids;
}
