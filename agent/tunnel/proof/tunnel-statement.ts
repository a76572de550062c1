/** The statement about a tunnel: what this end says of itself, and what it accepts of the other end. */
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference } from '#kel/key-state/key-state';
import { parseRecord } from '#kel/record/parse';
import type { TunnelEndFields, TunnelProofFields, TupRecord, Verified } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import { verifyRecord } from '#kel/record/verify';
import type { VerifySignature } from '#kel/state/key-signatures';
import type { KelStore } from '#kel/store/kel-store';
import { equalBytes } from '#src/bytes';
import { formatDateTime } from '#src/clock';
import type { Rng } from '#src/rng';
import type { AuditKeeper } from '../../evidence/log/audit-keeper.ts';
import type { Identity } from '../../identity/own/identity.ts';
import type { Membership } from '../../mesh/membership/membership.ts';
import { levelOf } from '../../mesh/membership/policy/contribution.ts';
import type { EpochKeys } from '../pairs/epoch-keys.ts';
import type { Agreed, PairKeys } from '../pairs/pair-keys.ts';
import type { Tunnels } from '../pairs/tunnels.ts';
import { ProofError } from './errors.ts';
import type { Offer } from './messages.ts';

/** Epochs by which the two clocks may differ at a boundary. */
const EPOCH_TOLERANCE = 1;

export interface TunnelStatementDeps {
  readonly identity: Identity;
  readonly membership: Membership;
  readonly kel: KelStore;
  readonly records: Pick<RecordStore, 'get'>;
  readonly keeper: AuditKeeper;
  readonly pairKeys: Pick<PairKeys, 'agreed'>;
  readonly epochKeys: Pick<EpochKeys, 'epoch'>;
  readonly tunnels: Pick<Tunnels, 'activeView' | 'status'>;
  readonly verifySignature: VerifySignature;
  readonly rng: Rng;
}

export class TunnelStatement {
  readonly #deps: TunnelStatementDeps;

  constructor(deps: TunnelStatementDeps) {
    this.#deps = deps;
  }

  /** The own end of the tunnel, as device, log and audit log show it now. Throws PROOF_MISMATCH before a handshake under the agreement. */
  async offer(aid: Aid): Promise<Offer> {
    const { identity, keeper, rng, tunnels } = this.#deps;
    const status = (await tunnels.status()).find((one) => one.aid === aid);
    // A session from before the agreement runs under another preshared key.
    if (!status?.view || !status.agreed || (status.peer?.lastHandshake ?? 0) <= status.agreed.at)
      throw new ProofError(
        'PROOF_MISMATCH',
        'the own device has seen no handshake under this agreement yet',
      );
    const { establishment } = identity.state;
    this.#requireKeyOf(status.view.own, establishment);
    const { origin, size, root } = await keeper.checkpoint();
    return {
      kind: 'offer',
      end: {
        i: identity.aid,
        s: establishment.sn,
        d: establishment.said,
        t: status.view.own,
        hs: formatDateTime(status.peer?.lastHandshake ?? 0),
        c: { o: origin, n: size, r: root },
      },
      nonce: rng.bytes(32),
    };
  }

  /** What the other end says of itself agrees with its log and with the own device. */
  checkEnd(end: TunnelEndFields, aid: Aid): void {
    const state = this.#deps.kel.state(aid);
    const { view } = this.inUse(aid);
    if (end.i !== aid || end.s !== state?.establishment.sn || end.d !== state.establishment.said) {
      throw new ProofError(
        'PROOF_MISMATCH',
        `the peer speaks as ${end.i} at ${end.s}, its log here is ${aid} at ${state?.establishment.sn}`,
      );
    }
    if (view === undefined || end.t !== view.peer)
      throw new ProofError(
        'PROOF_MISMATCH',
        'the peer names another tunnel key than the one in use here',
      );
    this.#requireKeyOf(end.t, { sn: end.s, said: end.d });
  }

  /** A tunnel key is proven under the establishment event that it derives from: after a rotation the change of keys comes first. */
  #requireKeyOf(tunnelKey: Said, { sn, said }: EventReference): void {
    const record = this.#deps.records.get(tunnelKey)?.record;
    if (record?.t !== 'tun' || record.es.s !== sn || record.es.d !== said)
      throw new ProofError(
        'PROOF_MISMATCH',
        `tunnel key ${tunnelKey} does not derive from event ${sn} of its log, which signs now`,
      );
  }

  /** What both ends sign. @param a the offer of the lower AID */
  fields(aid: Aid, a: Offer, b: Offer): TunnelProofFields {
    const { membership, epochKeys } = this.#deps;
    const { charter } = membership;
    const { view, agreed } = this.inUse(aid);
    if (charter === undefined || view === undefined || agreed === undefined)
      throw new ProofError('PROOF_MISMATCH', 'the tunnel has gone meanwhile');
    return {
      a: a.end,
      b: b.end,
      m: charter.mesh,
      ch: charter.said,
      ep: epochKeys.epoch(),
      th: agreed.th,
      lv: levelOf(agreed.sources),
      g: view.generation,
      na: a.nonce,
      nb: b.nonce,
    };
  }

  /** Every field that this end can know is compared; the rest is the other end's own claim. */
  checkRecord(record: TupRecord, aid: Aid, theirs: Offer, own: Offer): void {
    const expected = this.fields(aid, theirs, own);
    const wrong = [
      record.t !== 'tup' && 'type',
      !sameEnd(record.a, expected.a) && 'a',
      !sameEnd(record.b, expected.b) && 'b',
      record.m !== expected.m && 'mesh',
      record.ch !== expected.ch && 'charter',
      Math.abs(record.ep - expected.ep) > EPOCH_TOLERANCE && 'epoch',
      !equalBytes(record.th, expected.th) && 'agreement',
      record.lv !== expected.lv && 'level',
      !equalBytes(record.na, theirs.nonce) && 'nonce',
      !equalBytes(record.nb, own.nonce) && 'own nonce',
    ].filter((field) => field !== false);
    if (wrong.length > 0)
      throw new ProofError(
        'PROOF_MISMATCH',
        `the record does not say what both ends see: ${wrong.join(', ')}`,
      );
  }

  /** Signed by both, with keys that their logs name. */
  async verified(message: Uint8Array): Promise<Verified<TupRecord>> {
    const { kel, verifySignature } = this.#deps;
    const verified = await verifyRecord(parseRecord(message), {
      establishment: (who, sn, said) => kel.establishment(who, sn, said),
      verifySignature,
    });
    if (verified.t !== 'tup')
      throw new ProofError('PROOF_BAD_MESSAGE', `expected a tunnel proof, got ${verified.t}`);
    return verified as Verified<TupRecord>;
  }

  /** The keys and the agreement of the tunnel to a member in good standing; no device is asked. */
  inUse(aid: Aid): {
    readonly view?: ReturnType<Tunnels['activeView']>;
    readonly agreed?: Agreed | undefined;
  } {
    const { membership, pairKeys, tunnels } = this.#deps;
    if (membership.standing.other(aid) === undefined) return {};
    const view = tunnels.activeView(aid);
    return { view, agreed: view && pairKeys.agreed(aid, view) };
  }
}

function sameEnd(x: TunnelEndFields, y: TunnelEndFields): boolean {
  return (
    x.i === y.i &&
    x.s === y.s &&
    x.d === y.d &&
    x.t === y.t &&
    x.hs === y.hs &&
    x.c.o === y.c.o &&
    x.c.n === y.c.n &&
    equalBytes(x.c.r, y.c.r)
  );
}
