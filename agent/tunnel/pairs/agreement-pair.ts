/** A pair as its agreement names it, and keys and epochs after it. */
import type { Aid } from '#kel/identifiers';
import type { RecordStore } from '#kel/record/record-store';
import type { Identity } from '../../identity/own/identity.ts';
import type { Membership } from '../../mesh/membership/membership.ts';
import { type AgreementPair, pairOf } from '../agreement/terms.ts';
import type { TunnelView } from './view.ts';

export interface AgreementPairDeps {
  readonly membership: Pick<Membership, 'mesh'>;
  readonly identity: Pick<Identity, 'aid'>;
  readonly records: Pick<RecordStore, 'get'>;
}

/** @param aid of the other end */
export function agreementPair(
  { membership, identity, records }: AgreementPairDeps,
  aid: Aid,
  view: TunnelView,
): AgreementPair {
  const end = (who: Aid, said: TunnelView['own']) => {
    const record = records.get(said)?.record;
    const establishment =
      record?.t === 'tun' ? { sn: record.es.s, said: record.es.d } : { sn: 0, said };
    return { aid: who, establishment, tunnelRecord: said };
  };
  return pairOf(membership.mesh ?? '', end(identity.aid, view.own), end(aid, view.peer));
}
