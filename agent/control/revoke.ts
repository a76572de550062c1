/** Issues revocations: who may, what is sealed, and what takes the place of what went. */

import type { Aid, Said } from '#kel/identifiers';
import { isAid } from '#kel/record/qualified';
import type { RvkRecord } from '#kel/record/record';
import { formatDateTime } from '#src/clock';
import type { Draft } from '../identity/records/record-issuer.ts';
import { RevocationError } from '../mesh/revocation/errors.ts';
import type { Organisation } from '../organisation/organisation.ts';
import type { RunningParts } from '../organisation/running/agent.ts';

const MAX_REASON = 280;

/**
 * A node that this organisation has delegated, for ever: its AID gets no sync, agreement or tunnel any more.
 * Throws REVOKE_UNKNOWN, REVOKE_NOT_YOURS, REVOKE_ALREADY, REVOKE_BAD_REASON.
 */
export async function revokeNode(
  organisation: Pick<
    Organisation,
    'kel' | 'revocations' | 'membership' | 'identity' | 'issuer' | 'drivers'
  >,
  who: string,
  reason: string,
): Promise<Said> {
  const { kel, revocations, membership, identity } = organisation;
  const aid = membership.standing.member(who)?.aid ?? who;
  const state = isAid(aid) ? kel.state(aid as Aid) : undefined;
  if (state === undefined)
    throw new RevocationError('REVOKE_UNKNOWN', `no log of ${who.slice(0, 64)} is here`);
  if (state.delegator !== identity.aid)
    throw new RevocationError(
      'REVOKE_NOT_YOURS',
      `${state.aid} is ${state.delegator === undefined ? 'no node of anybody' : `a node of ${state.delegator}`}`,
    );
  if (revocations.ofNode(state.aid) !== undefined)
    throw new RevocationError('REVOKE_ALREADY', `${state.aid} is revoked already`);
  return issue(organisation, draftOf(organisation, 'node', state.aid, reason));
}

/**
 * A key epoch of this organisation or of a node of its: out of use at once, without overlap. The own current one is replaced
 * by the event that revokes it.
 * @param who SAID of the `tun` record, number of an own epoch, or `current`
 * Throws REVOKE_UNKNOWN, REVOKE_NOT_YOURS, REVOKE_ALREADY, REVOKE_BAD_REASON.
 */
export async function revokeEpoch(
  organisation: Pick<
    Organisation,
    'records' | 'kel' | 'revocations' | 'identity' | 'issuer' | 'drivers'
  >,
  agent: Pick<RunningParts, 'ownKeys' | 'renewTunnelKeys'>,
  who: string,
  reason: string,
): Promise<Said> {
  const { records, kel, revocations, identity } = organisation;
  const own = records.list('tun', identity.aid).map(({ record }) => record);
  const current = agent.ownKeys.currentRecord;
  const record =
    own.find(({ d, e }) => (who === 'current' ? d === current : d === who || String(e) === who)) ??
    records.list('tun').find(({ record: { d } }) => d === who)?.record;
  if (record === undefined)
    throw new RevocationError('REVOKE_UNKNOWN', `${who.slice(0, 64)} is no key epoch that is held`);
  if (record.i !== identity.aid && kel.state(record.i)?.delegator !== identity.aid)
    throw new RevocationError('REVOKE_NOT_YOURS', `${record.d} is a key epoch of ${record.i}`);
  if (revocations.ofEpoch(record.d) !== undefined)
    throw new RevocationError('REVOKE_ALREADY', `${record.d} is revoked already`);
  const draft = draftOf(organisation, 'epoch', record.d, reason);
  if (record.d !== current) return issue(organisation, draft);
  await agent.renewTunnelKeys([draft]);
  const revocation = revocations.ofEpoch(record.d);
  if (revocation === undefined)
    throw new RevocationError('REVOKE_UNKNOWN', `the revocation of ${record.d} was not issued`);
  return revocation.d;
}

/** A member of the charter; the same as `mesh remove`. Throws MESH_…, REVOKE_BAD_REASON. */
export async function revokeOrganisation(
  { governing, records, identity }: Pick<Organisation, 'governing' | 'records' | 'identity'>,
  who: string,
  reason: string,
): Promise<Said> {
  checkReason(reason);
  const { aid } = governing.find(who);
  await governing.remove(who, reason);
  const revocation = records
    .list('rvk', identity.aid)
    .findLast(({ record }) => record.k === 'organisation' && record.who === aid);
  if (revocation === undefined)
    throw new RevocationError('REVOKE_UNKNOWN', `the revocation of ${aid} was not issued`);
  return revocation.record.d;
}

async function issue({ issuer }: Pick<Organisation, 'issuer'>, draft: Draft): Promise<Said> {
  const [said] = await issuer.issueSealed([draft]);
  return said as Said;
}

function draftOf(
  { drivers }: Pick<Organisation, 'drivers'>,
  kind: RvkRecord['k'],
  who: string,
  reason: string,
): Draft {
  checkReason(reason);
  const from = formatDateTime(drivers.clock.now());
  return { type: 'rvk', fields: { k: kind, who, from, why: reason } };
}

/** @returns it. Throws REVOKE_BAD_REASON. */
export function checkReason(reason: string): string {
  if (reason.length === 0 || reason.length > MAX_REASON)
    throw new RevocationError(
      'REVOKE_BAD_REASON',
      `the reason has ${reason.length} characters, it takes 1 to ${MAX_REASON}`,
    );
  return reason;
}
