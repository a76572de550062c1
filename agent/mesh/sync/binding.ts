/**
 * The proof that a network peer belongs to an AID: the AID's log, and an `end` record signed with its keys
 * that names the peer which the connection itself has authenticated.
 */
import type { Aid } from '#kel/identifiers';
import type { EstablishedKeys } from '#kel/key-state/established-keys';
import type { EventReference } from '#kel/key-state/key-state';
import type { Signer } from '#kel/record/attachment';
import { parseRecord } from '#kel/record/parse';
import type { EndRecord, Verified } from '#kel/record/record';
import { verifyRecord } from '#kel/record/verify';
import type { VerifySignature } from '#kel/state/key-signatures';
import type { KelStore } from '#kel/store/kel-store';
import { LogVerifier } from '#kel/verify/log-verifier';
import { type Clock, parseDateTime } from '#src/clock';
import { delegatorsIn } from '../../identity/node/delegators.ts';
import type { PeerKey } from '../../network/network.ts';
import { SyncError } from './errors.ts';
import type { LogHead } from './messages.ts';

/** The `end` record is dated within this of now, or a recorded one of long ago would bind again. */
const MAX_AGE_MS = 48 * 3_600_000;
const MAX_FUTURE_MS = 5 * 60_000;

type Lookup = (
  aid: Aid,
  sn: number,
  said: EstablishedKeys['said'],
) => Promise<EstablishedKeys | undefined>;

export interface BindingDeps {
  readonly verifySignature: VerifySignature;
  readonly clock: Pick<Clock, 'now'>;
  /** Where it differs from the clock, one of the two was set: what is dated well by either is. */
  readonly time: Pick<Clock, 'now'>;
  readonly kel: Pick<KelStore, 'state'>;
}

/** Throws SYNC_NOT_BOUND. @param message attacker-controlled `end` record */
export async function verifyEndpoints(
  deps: BindingDeps,
  aid: Aid,
  peer: PeerKey,
  message: Uint8Array,
  establishment: Lookup,
): Promise<Verified<EndRecord>> {
  try {
    const parsed = parseRecord(message);
    const { record } = parsed;
    if (record.t !== 'end')
      throw new SyncError('SYNC_NOT_BOUND', `expected an end record, got ${record.t}`);
    if (record.i !== aid)
      throw new SyncError(
        'SYNC_NOT_BOUND',
        `the end record is of ${record.i}, the hello of ${aid}`,
      );
    if (record.p !== peer)
      throw new SyncError(
        'SYNC_NOT_BOUND',
        `the end record names peer ${record.p}, the connection is of ${peer}`,
      );
    expectCurrent(deps.kel.state(aid)?.establishment, record.es, parsed.signers[0]);
    const age = deps.clock.now() - (parseDateTime(record.dt) ?? 0);
    const steadyAge = deps.time.now() - (parseDateTime(record.dt) ?? 0);
    if (!isDatedWell(age) && !isDatedWell(steadyAge))
      throw new SyncError(
        'SYNC_NOT_BOUND',
        `the end record is dated ${record.dt}, ${Math.round(age / 1000)} s from here`,
        { hint: 'Set the clocks of both ends: they differ by more than is safe' },
      );
    return (await verifyRecord(parsed, {
      establishment,
      verifySignature: deps.verifySignature,
    })) as Verified<EndRecord>;
  } catch (error) {
    if (error instanceof SyncError) throw error;
    throw new SyncError('SYNC_NOT_BOUND', `the end record of ${aid} does not verify`, {
      cause: error,
    });
  }
}

function isDatedWell(ageMs: number): boolean {
  return ageMs <= MAX_AGE_MS && ageMs >= -MAX_FUTURE_MS;
}

/** A key that was rotated away binds nothing: it may be in other hands, that is what rotation is for. */
function expectCurrent(
  current: EventReference | undefined,
  named: EndRecord['es'],
  signer: Signer,
): void {
  const isCurrent =
    current !== undefined &&
    named.s === current.sn &&
    named.d === current.said &&
    signer.sn === current.sn &&
    signer.said === current.said;
  if (!isCurrent)
    throw new SyncError(
      'SYNC_NOT_BOUND',
      `the end record is signed under event ${signer.sn} ${signer.said}, the log stands at ${current?.sn} ${current?.said}`,
    );
}

/** A stranger's binding, checked in memory: nothing of it touches the store. */
export async function verifyStranger(
  deps: Omit<BindingDeps, 'kel'>,
  head: LogHead,
  peer: PeerKey,
  log: Uint8Array,
  endpoints: Uint8Array,
): Promise<Verified<EndRecord>> {
  const verifier = new LogVerifier(deps.verifySignature);
  verifier.feed(log);
  const { aids } = verifier.finish();
  const above = delegatorsIn(log, head.aid);
  const isOfHead = aids.some(({ aid }) => aid === head.aid);
  if (!isOfHead || aids.some(({ aid }) => aid !== head.aid && !above.includes(aid)))
    throw new SyncError('SYNC_NOT_BOUND', `the log sent is not the log of ${head.aid}`);
  return verifyEndpoints(
    { ...deps, kel: verifier },
    head.aid,
    peer,
    endpoints,
    async (aid, sn, said) => verifier.establishment(aid, sn, said),
  );
}
