/**
 * Tunnel proofs: right after the handshake the two ends sign, through the tunnel, one statement about it, and
 * each writes it to its audit log (DESIGN section 7). The lower AID begins.
 */

import type { Aid, Said } from '#kel/identifiers';
import { buildRecord, encodeSignedRecord } from '#kel/record/build';
import { parseRecord } from '#kel/record/parse';
import type { TunnelEndFields, TunnelProofFields, TupRecord, Verified } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import { verifyRecord } from '#kel/record/verify';
import type { VerifySignature } from '#kel/state/key-signatures';
import type { KelStore } from '#kel/store/kel-store';
import { equalBytes } from '#src/bytes';
import { type Clock, formatDateTime } from '#src/clock';
import { withDeadline } from '#src/deadline';
import type { Rng } from '#src/rng';
import type { Identity } from '../identity/identity.ts';
import type { Journal } from '../journal.ts';
import type { Membership } from '../membership/membership.ts';
import { overlayAddress } from '../membership/overlay-address.ts';
import type { AuditKeeper } from '../provenance/audit-keeper.ts';
import type { StateTable } from '../state-table.ts';
import type { PairKeys } from '../tunnel/pair-keys.ts';
import type { TunnelStatus } from '../tunnel/tunnels.ts';
import { ProofError } from './errors.ts';
import {
  decodeProofMessage,
  encodeProofMessage,
  type Offer,
  type ProofMessage,
} from './messages.ts';
import type { Overlay, OverlayStream } from './overlay.ts';

/** Each answer of the other end. */
const ANSWER_MS = 10_000;
const RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;
/** Epochs by which the two clocks may differ at a boundary. */
const EPOCH_TOLERANCE = 1;

/** Holds the place of the own signature while the record is read: nothing is signed before it was checked. */
const UNSIGNED = { index: 0, raw: new Uint8Array(64), algorithm: 'ed25519' } as const;

export interface TunnelProofsDeps {
  readonly identity: Identity;
  readonly membership: Membership;
  readonly kel: KelStore;
  readonly records: RecordStore;
  readonly keeper: AuditKeeper;
  readonly pairKeys: PairKeys;
  readonly overlay: Overlay;
  readonly tunnels: () => Promise<readonly TunnelStatus[]>;
  readonly verifySignature: VerifySignature;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly table: StateTable;
  readonly journal: Journal;
}

/** A proof that the other end has not confirmed to hold. */
interface Undelivered {
  /** Base64. */
  readonly message: string;
}

export class TunnelProofs {
  readonly #deps: TunnelProofsDeps;
  readonly #running = new Set<Aid>();
  #signal: AbortSignal = AbortSignal.abort();
  #listening: { readonly address: string; readonly server: AsyncDisposable } | undefined;

  constructor(deps: TunnelProofsDeps) {
    this.#deps = deps;
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
  }

  /** Answers on the own overlay address once a device carries it; called again it does nothing. */
  async listen(): Promise<void> {
    const { membership, identity, overlay } = this.#deps;
    if (membership.mesh === undefined || !membership.isIn) return;
    const address = overlayAddress(membership.mesh, identity.aid);
    if (this.#listening?.address === address) return;
    await this.stop();
    this.#listening = {
      address,
      server: await overlay.listen(address, (stream) => this.#answer(stream)),
    };
  }

  async stop(): Promise<void> {
    const listening = this.#listening;
    this.#listening = undefined;
    await listening?.server[Symbol.asyncDispose]();
  }

  /** Proves the tunnel that is active now, unless it is proven already; the higher AID waits to be asked. */
  prove(aid: Aid): void {
    if (this.#signal.aborted || this.#running.has(aid) || this.#deps.identity.aid > aid) return;
    this.#running.add(aid);
    void this.#proveUntilDone(aid).finally(() => this.#running.delete(aid));
  }

  /** The newest proof of a tunnel to `aid` with these keys under this agreement. @param th agreement id, 32 bytes */
  proofOf(aid: Aid, own: Said, peer: Said, th: Uint8Array): Verified<TupRecord> | undefined {
    const lower = this.#deps.identity.aid < aid ? this.#deps.identity.aid : aid;
    return this.#deps.records
      .list('tup', lower)
      .map(({ record }) => record)
      .findLast((record) => {
        const [mine, theirs] = record.a.i === aid ? [record.b, record.a] : [record.a, record.b];
        return theirs.i === aid && mine.t === own && theirs.t === peer && equalBytes(record.th, th);
      });
  }

  async #proveUntilDone(aid: Aid): Promise<void> {
    const { clock, journal } = this.#deps;
    for (let failures = 0; !this.#signal.aborted; failures++) {
      try {
        await this.listen();
        if (await this.#proveOnce(aid)) return;
      } catch (error) {
        if (this.#signal.aborted) return;
        journal.debug('proof.retry', {
          aid,
          code: (error as { code?: string }).code ?? 'none',
          message: (error as Error).message,
        });
      }
      await clock
        .sleep(Math.min(RETRY_MS * 2 ** failures, MAX_RETRY_MS), this.#signal)
        .catch(() => undefined);
    }
  }

  /** @returns whether nothing is left to do */
  async #proveOnce(aid: Aid): Promise<boolean> {
    const { membership, identity, overlay, table } = this.#deps;
    const mesh = membership.mesh;
    const status = await this.#statusOf(aid);
    const { view, agreed } = status ?? {};
    if (mesh === undefined || view === undefined || agreed === undefined) return true;
    const key = `undelivered.${aid}`;
    const undelivered = table.get<Undelivered>(key);
    if (
      undelivered === undefined &&
      this.proofOf(aid, view.own, view.peer, agreed.th) !== undefined
    )
      return true;
    const remote = overlayAddress(mesh, aid);
    const stream = await overlay.connect(overlayAddress(mesh, identity.aid), remote);
    try {
      if (stream.remote !== remote)
        throw new ProofError('PROOF_WRONG_SOURCE', `${stream.remote} answers for ${remote}`);
      const message =
        undelivered === undefined
          ? await this.#negotiate(stream, aid)
          : Buffer.from(undelivered.message, 'base64');
      await table.put({ [key]: { message: Buffer.from(message).toString('base64') } });
      await this.#record(aid, message);
      await this.#send(stream, { kind: 'deliver', message });
      await this.#expect(stream, 'done');
      await table.put({ [key]: undefined });
      return undelivered === undefined;
    } finally {
      stream.close();
    }
  }

  /** @returns the statement, signed by both */
  async #negotiate(stream: OverlayStream, aid: Aid): Promise<Uint8Array> {
    const { identity, rng, clock } = this.#deps;
    const own = await this.#offer(aid);
    await this.#send(stream, own);
    const theirs = await this.#expect(stream, 'offer');
    await this.#checkEnd(theirs.end, aid);
    const { bytes } = buildRecord('tup', {
      aid: identity.aid,
      salt: rng.bytes(16),
      dt: formatDateTime(clock.now()),
      fields: await this.#fields(aid, own, theirs),
    });
    const signer = await identity.signerGroup(bytes);
    await this.#send(stream, { kind: 'sign', record: bytes, signatures: signer.signatures });
    const answer = await this.#expect(stream, 'sign');
    if (!equalBytes(answer.record, bytes))
      throw new ProofError('PROOF_MISMATCH', 'the peer signed another record');
    const message = encodeSignedRecord(bytes, [
      signer,
      { aid, sn: theirs.end.s, said: theirs.end.d, signatures: answer.signatures },
    ]);
    await this.#verified(message);
    return message;
  }

  /** The higher AID's side. */
  async #answer(stream: OverlayStream): Promise<void> {
    const aid = this.#aidAt(stream.remote);
    try {
      if (aid === undefined)
        throw new ProofError('PROOF_WRONG_SOURCE', "the source address is no member's");
      const first = await this.#receive(stream);
      if (first.kind === 'offer') await this.#countersign(stream, aid, first);
      const delivered = first.kind === 'offer' ? await this.#expect(stream, 'deliver') : first;
      if (delivered.kind !== 'deliver')
        throw new ProofError('PROOF_BAD_MESSAGE', `expected deliver, got ${delivered.kind}`);
      await this.#record(aid, delivered.message);
      await this.#send(stream, { kind: 'done' });
    } catch (error) {
      this.#deps.journal.debug('proof.refused', {
        aid: aid ?? 'unknown',
        code: (error as { code?: string }).code ?? 'none',
        message: (error as Error).message,
      });
    } finally {
      stream.close();
    }
  }

  async #countersign(stream: OverlayStream, aid: Aid, theirs: Offer): Promise<void> {
    const { identity } = this.#deps;
    if (identity.aid < aid)
      throw new ProofError('PROOF_BAD_MESSAGE', 'the higher AID does not begin');
    await this.#checkEnd(theirs.end, aid);
    const own = await this.#offer(aid);
    await this.#send(stream, own);
    const asked = await this.#expect(stream, 'sign');
    const { record } = parseRecord(
      encodeSignedRecord(asked.record, [
        { aid, sn: theirs.end.s, said: theirs.end.d, signatures: asked.signatures },
        { aid: identity.aid, sn: own.end.s, said: own.end.d, signatures: [UNSIGNED] },
      ]),
    );
    await this.#checkRecord(record as TupRecord, aid, theirs, own);
    const signer = await identity.signerGroup(asked.record);
    await this.#send(stream, { kind: 'sign', record: asked.record, signatures: signer.signatures });
  }

  async #offer(aid: Aid): Promise<Offer> {
    const { identity, keeper, rng } = this.#deps;
    const status = await this.#statusOf(aid);
    if (status?.view === undefined || (status.peer?.lastHandshake ?? 0) === 0)
      throw new ProofError('PROOF_MISMATCH', 'the own device has seen no handshake yet');
    const { establishment } = identity.state;
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
      nonce: this.#nonce(rng),
    };
  }

  #nonce(rng: Rng): Uint8Array {
    return rng.bytes(32);
  }

  /** What the other end says of itself agrees with its log and with the own device. */
  async #checkEnd(end: TunnelEndFields, aid: Aid): Promise<void> {
    const state = this.#deps.kel.state(aid);
    const view = (await this.#statusOf(aid))?.view;
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
  }

  async #fields(aid: Aid, a: Offer, b: Offer): Promise<TunnelProofFields> {
    const { membership, pairKeys } = this.#deps;
    const status = await this.#statusOf(aid);
    const { charter } = membership;
    const view = status?.view;
    const agreed = view === undefined ? undefined : pairKeys.agreed(aid, view);
    if (charter === undefined || view === undefined || agreed === undefined)
      throw new ProofError('PROOF_MISMATCH', 'the tunnel has gone meanwhile');
    return {
      a: a.end,
      b: b.end,
      m: charter.mesh,
      ch: charter.said,
      ep: pairKeys.epoch(),
      th: agreed.th,
      lv: 'A',
      g: view.generation,
      na: a.nonce,
      nb: b.nonce,
    };
  }

  /** Every field that this end can know is compared; the rest is the other end's own claim. */
  async #checkRecord(record: TupRecord, aid: Aid, theirs: Offer, own: Offer): Promise<void> {
    const expected = await this.#fields(aid, theirs, own);
    const sameEnd = (x: TunnelEndFields, y: TunnelEndFields) =>
      x.i === y.i &&
      x.s === y.s &&
      x.d === y.d &&
      x.t === y.t &&
      x.hs === y.hs &&
      x.c.o === y.c.o &&
      x.c.n === y.c.n &&
      equalBytes(x.c.r, y.c.r);
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

  async #verified(message: Uint8Array): Promise<Verified<TupRecord>> {
    const { kel, verifySignature } = this.#deps;
    const verified = await verifyRecord(parseRecord(message), {
      establishment: (who, sn, said) => kel.establishment(who, sn, said),
      verifySignature,
    });
    if (verified.t !== 'tup')
      throw new ProofError('PROOF_BAD_MESSAGE', `expected a tunnel proof, got ${verified.t}`);
    return verified as Verified<TupRecord>;
  }

  /** Leaf first, then the record that says that the leaf is there. A proof that is known is not written twice. */
  async #record(aid: Aid, message: Uint8Array): Promise<void> {
    const { identity, records, keeper, journal } = this.#deps;
    const record = await this.#verified(message);
    const own = record.a.i === identity.aid ? record.a : record.b;
    const theirs = own === record.a ? record.b : record.a;
    if (own.i !== identity.aid || theirs.i !== aid)
      throw new ProofError('PROOF_MISMATCH', 'the proof is of another pair');
    if (records.get(record.d) !== undefined) return;
    await keeper.record('tunnel-up', {
      proof: message,
      peer: aid,
      epoch: record.ep,
      level: record.lv,
      handshake: own.hs,
    });
    await records.put(record, message);
    journal.info('tunnel.proven', { aid, epoch: record.ep, record: record.d });
  }

  async #statusOf(aid: Aid): Promise<TunnelStatus | undefined> {
    return (await this.#deps.tunnels()).find((status) => status.aid === aid);
  }

  #aidAt(address: string): Aid | undefined {
    const { membership } = this.#deps;
    const { mesh } = membership;
    return mesh === undefined
      ? undefined
      : membership.others().find(({ aid }) => overlayAddress(mesh, aid) === address)?.aid;
  }

  async #send(stream: OverlayStream, message: ProofMessage): Promise<void> {
    await stream.send(encodeProofMessage(message));
  }

  async #receive(stream: OverlayStream): Promise<ProofMessage> {
    const bytes = await withDeadline(this.#deps.clock, ANSWER_MS, stream.receive(), () => {
      throw new ProofError('PROOF_UNREACHABLE', `no answer within ${ANSWER_MS} ms`);
    });
    if (bytes === undefined)
      throw new ProofError('PROOF_UNREACHABLE', 'the peer ended the exchange');
    return decodeProofMessage(bytes);
  }

  async #expect<K extends ProofMessage['kind']>(
    stream: OverlayStream,
    kind: K,
  ): Promise<Extract<ProofMessage, { kind: K }>> {
    const message = await this.#receive(stream);
    if (message.kind !== kind)
      throw new ProofError('PROOF_BAD_MESSAGE', `expected ${kind}, got ${message.kind}`);
    return message as Extract<ProofMessage, { kind: K }>;
  }
}
