/**
 * Tunnel proofs: right after the handshake the two ends sign, through the tunnel, one statement about it, and
 * each writes it to its audit log (DESIGN section 7). The lower AID begins.
 */
import type { Aid, Said } from '#kel/identifiers';
import { buildRecord, encodeSignedRecord } from '#kel/record/build';
import { parseRecord } from '#kel/record/parse';
import type { TupRecord, Verified } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import { Allowance } from '#src/allowance';
import { equalBytes } from '#src/bytes';
import { type Clock, formatDateTime } from '#src/clock';
import { failureOf, type Journal } from '#src/journal';
import { KeyedWork } from '#src/keyed-work';
import { SerialQueue } from '#src/serial-queue';
import type { StateTable } from '#src/store/state-table';
import { overlayAddress } from '../../mesh/membership/overlay-address.ts';
import { ProofError } from './errors.ts';
import type { Offer } from './messages.ts';
import type { Overlay, OverlayStream } from './overlay.ts';
import { ProofStream } from './proof-stream.ts';
import { TunnelStatement, type TunnelStatementDeps } from './tunnel-statement.ts';

/** Exchanges that one peer may begin. What they can leave behind is bounded besides: one proof per keys and agreement. */
const EXCHANGES = { burst: 64, perSecond: 1 / 15 };
const RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;

/** Holds the place of the own signature while the record is read: nothing is signed before it was checked. */
const UNSIGNED = { index: 0, raw: new Uint8Array(64), algorithm: 'ed25519' } as const;

export interface TunnelProofsDeps extends TunnelStatementDeps {
  readonly records: RecordStore;
  readonly overlay: Overlay;
  readonly clock: Clock;
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
  readonly #statement: TunnelStatement;
  #proving: KeyedWork<Aid> | undefined;
  readonly #asked: Allowance<Aid>;
  /** One at a time: whether a proof is known must not change before it is written. */
  readonly #recording = new SerialQueue();
  #listening: { readonly address: string; readonly server: AsyncDisposable } | undefined;

  constructor(deps: TunnelProofsDeps) {
    this.#deps = deps;
    this.#statement = new TunnelStatement(deps);
    this.#asked = new Allowance(deps.clock, EXCHANGES);
  }

  start(signal: AbortSignal): void {
    this.#proving = this.#work(signal);
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
    if (this.#deps.identity.aid < aid) this.#proving?.poke(aid);
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

  #work(signal: AbortSignal): KeyedWork<Aid> {
    const { clock, journal } = this.#deps;
    return new KeyedWork({
      clock,
      signal,
      run: async (aid) => {
        await this.listen();
        return (await this.#proveOnce(aid)) ? 'done' : 'again';
      },
      pauseMs: (failures) => Math.min(RETRY_MS * 2 ** (failures - 1), MAX_RETRY_MS),
      failed: (aid, error) => {
        // What only the own operator can mend is not for those alone who look closely.
        const level = failureOf(error).code === 'PROOF_PORT_IN_USE' ? 'warn' : 'debug';
        journal.failed('proof.retry', error, { aid }, level);
      },
    });
  }

  /** @returns whether nothing is left to do */
  async #proveOnce(aid: Aid): Promise<boolean> {
    const { membership, identity, overlay, table, clock } = this.#deps;
    const mesh = membership.mesh;
    const { view, agreed } = this.#statement.inUse(aid);
    if (mesh === undefined || view === undefined || agreed === undefined) return true;
    const key = `undelivered.${aid}`;
    const undelivered = table.get<Undelivered>(key);
    if (
      undelivered === undefined &&
      this.proofOf(aid, view.own, view.peer, agreed.th) !== undefined
    )
      return true;
    const own = undelivered === undefined ? await this.#statement.offer(aid) : undefined;
    const remote = overlayAddress(mesh, aid);
    const stream = await overlay.connect(overlayAddress(mesh, identity.aid), remote);
    const messages = new ProofStream(stream, clock);
    try {
      if (stream.remote !== remote)
        throw new ProofError('PROOF_WRONG_SOURCE', `${stream.remote} answers for ${remote}`);
      const message =
        own === undefined
          ? Buffer.from(undelivered?.message ?? '', 'base64')
          : await this.#negotiate(messages, aid, own);
      await table.put({ [key]: { message: Buffer.from(message).toString('base64') } });
      await this.#record(aid, message);
      await messages.send({ kind: 'deliver', message });
      await messages.expect('done');
      await table.put({ [key]: undefined });
      return own !== undefined;
    } finally {
      stream.close();
    }
  }

  /** @returns the statement, signed by both */
  async #negotiate(messages: ProofStream, aid: Aid, own: Offer): Promise<Uint8Array> {
    const { identity, rng, clock } = this.#deps;
    await messages.send(own);
    const theirs = await messages.expect('offer');
    this.#statement.checkEnd(theirs.end, aid);
    const { bytes } = buildRecord('tup', {
      aid: identity.aid,
      salt: rng.bytes(16),
      dt: formatDateTime(clock.now()),
      fields: this.#statement.fields(aid, own, theirs),
    });
    const signer = await identity.signerGroup(bytes);
    await messages.send({ kind: 'sign', record: bytes, signatures: signer.signatures });
    const answer = await messages.expect('sign');
    if (!equalBytes(answer.record, bytes))
      throw new ProofError('PROOF_MISMATCH', 'the peer signed another record');
    const message = encodeSignedRecord(bytes, [
      signer,
      { aid, sn: theirs.end.s, said: theirs.end.d, signatures: answer.signatures },
    ]);
    await this.#statement.verified(message);
    return message;
  }

  /** The higher AID's side. */
  async #answer(stream: OverlayStream): Promise<void> {
    const messages = new ProofStream(stream, this.#deps.clock);
    const aid = this.#aidAt(stream.remote);
    try {
      if (aid === undefined)
        throw new ProofError('PROOF_WRONG_SOURCE', "the source address is no member's");
      if (!this.#asked.take(aid))
        throw new ProofError('PROOF_TOO_MANY', `${aid} asks for proofs too often`);
      const first = await messages.receive();
      if (first.kind === 'offer') await this.#countersign(messages, aid, first);
      const delivered = first.kind === 'offer' ? await messages.expect('deliver') : first;
      if (delivered.kind !== 'deliver')
        throw new ProofError('PROOF_BAD_MESSAGE', `expected deliver, got ${delivered.kind}`);
      await this.#record(aid, delivered.message);
      await messages.send({ kind: 'done' });
    } catch (error) {
      this.#deps.journal.failed('proof.refused', error, { aid: aid ?? 'unknown' }, 'debug');
    } finally {
      stream.close();
    }
  }

  async #countersign(messages: ProofStream, aid: Aid, theirs: Offer): Promise<void> {
    const { identity } = this.#deps;
    if (identity.aid < aid)
      throw new ProofError('PROOF_BAD_MESSAGE', 'the higher AID does not begin');
    this.#statement.checkEnd(theirs.end, aid);
    const { view, agreed } = this.#statement.inUse(aid);
    if (view !== undefined && agreed !== undefined)
      this.#expectNone(aid, view.own, view.peer, agreed.th);
    const own = await this.#statement.offer(aid);
    await messages.send(own);
    const asked = await messages.expect('sign');
    const { record } = parseRecord(
      encodeSignedRecord(asked.record, [
        { aid, sn: theirs.end.s, said: theirs.end.d, signatures: asked.signatures },
        { aid: identity.aid, sn: own.end.s, said: own.end.d, signatures: [UNSIGNED] },
      ]),
    );
    this.#statement.checkRecord(record as TupRecord, aid, theirs, own);
    const signer = await identity.signerGroup(asked.record);
    await messages.send({ kind: 'sign', record: asked.record, signatures: signer.signatures });
  }

  /** Throws PROOF_KNOWN: of one tunnel under one agreement there is one proof. */
  #expectNone(aid: Aid, own: Said, theirs: Said, th: Uint8Array): void {
    const known = this.proofOf(aid, own, theirs, th);
    if (known === undefined) return;
    throw new ProofError('PROOF_KNOWN', `${known.d} proves the tunnel to ${aid} already`);
  }

  /** Leaf first, then the record that says that the leaf is there. A proof that is known is not written twice, and no second one of the same. */
  async #record(aid: Aid, message: Uint8Array): Promise<void> {
    const { identity } = this.#deps;
    const record = await this.#statement.verified(message);
    const own = record.a.i === identity.aid ? record.a : record.b;
    const theirs = own === record.a ? record.b : record.a;
    if (own.i !== identity.aid || theirs.i !== aid)
      throw new ProofError('PROOF_MISMATCH', 'the proof is of another pair');
    await this.#recording.run(() => this.#recordOnce(aid, record, message));
  }

  async #recordOnce(aid: Aid, record: Verified<TupRecord>, message: Uint8Array): Promise<void> {
    const { identity, records, keeper, journal } = this.#deps;
    if (records.get(record.d) !== undefined) return;
    const [own, theirs] = record.a.i === identity.aid ? [record.a, record.b] : [record.b, record.a];
    this.#expectNone(aid, own.t, theirs.t, record.th);
    await keeper.record('tunnel-up', {
      proof: message,
      peer: aid,
      epoch: record.ep,
      level: record.lv,
      handshake: own.hs,
    });
    await records.put(record, message);
    // As long as the leaf: one that was forgotten could be delivered again, for another leaf.
    await records.retain([record.d]);
    journal.info('tunnel.proven', { aid, epoch: record.ep, record: record.d });
  }

  #aidAt(address: string): Aid | undefined {
    return this.#deps.membership.standing.otherAt(address)?.aid;
  }
}
