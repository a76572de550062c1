/**
 * An organisation at rest: its identity, its logs and records, its mesh, its audit log. Everything that needs
 * neither network nor privileges; commands use it alone, the running agent builds on it.
 */

import type { Aid } from '#kel/identifiers';
import type { SerializationKind } from '#kel/key-state/key-state';
import { RecordStore } from '#kel/record/record-store';
import { ReplyStore } from '#kel/reply/reply-store';
import type { VerifySignature } from '#kel/state/key-signatures';
import { LevelKelStore } from '#kel/store/level-kel-store';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { AuditLog } from '#src/audit/log';
import type { SigningAlgorithm } from '#src/keystore/key-store';
import { StateTable } from '#src/store/state-table';
import { AuditKeeper } from '../evidence/log/audit-keeper.ts';
import { ProvenanceLog } from '../evidence/log/provenance-log.ts';
import { takeApproval } from '../identity/node/approval.ts';
import { NodeDesk } from '../identity/node/node-desk.ts';
import { requestStream } from '../identity/node/request.ts';
import { Identity, type IdentityDeps, type RotationOptions } from '../identity/own/identity.ts';
import type { PendingEvent } from '../identity/own/local-keys.ts';
import { RecordIntake } from '../identity/records/record-intake.ts';
import { RecordIssuer } from '../identity/records/record-issuer.ts';
import { Witness } from '../identity/witness/witness.ts';
import { Governing } from '../mesh/membership/governing.ts';
import { Membership } from '../mesh/membership/membership.ts';
import { Revocations } from '../mesh/membership/revocations.ts';
import { Suspensions } from '../mesh/membership/suspensions.ts';
import { WatchList } from '../mesh/watch/watch-list.ts';
import type { LocalDrivers } from './drivers.ts';
import { forgetLostSecrets } from './lost-secrets.ts';

export interface Organisation {
  readonly drivers: LocalDrivers;
  readonly identity: Identity;
  readonly kel: LevelKelStore;
  readonly records: RecordStore;
  readonly intake: RecordIntake;
  readonly issuer: RecordIssuer;
  readonly suspensions: Suspensions;
  readonly revocations: Revocations;
  readonly membership: Membership;
  readonly governing: Governing;
  readonly watch: WatchList;
  /** What others have signed about where they are reached, by whom, and how far logs are. */
  readonly replies: ReplyStore;
  readonly provenance: ProvenanceLog;
  readonly keeper: AuditKeeper;
  /** Nodes that this organisation approves. */
  readonly desk: NodeDesk;
  /** Of other organisations. */
  readonly witness: Witness;
  readonly verifySignature: VerifySignature;
  /** Closes everything that opening has opened, drivers included. */
  close(): Promise<void>;
}

export interface InitOptions {
  readonly algorithm: SigningAlgorithm;
  readonly kind: SerializationKind;
}

/** Incepts a new organisation in an empty state directory, with its audit log. Throws IDENTITY_EXISTS. */
export async function createOrganisation(
  drivers: LocalDrivers,
  options: InitOptions,
): Promise<Organisation> {
  return open(drivers, (deps) => Identity.create(deps, options));
}

/**
 * Throws IDENTITY_MISSING, IDENTITY_KEYS_LOST, STORE_CORRUPT and what the drivers throw; IDENTITY_AWAITS_DELEGATOR for a
 * node that is not approved. @param approval what the organisation of a node has answered; attacker-controlled
 */
export async function openOrganisation(
  drivers: LocalDrivers,
  approval?: Uint8Array,
): Promise<Organisation> {
  return open(drivers, async (deps) => {
    const pending = Identity.pending(deps.table);
    if (approval !== undefined && pending !== undefined)
      await takeApproval(deps.kel, pending, approval);
    return Identity.open(deps);
  });
}

/**
 * As {@link openOrganisation} where the key store has lost all but the next keys, or the log was rotated elsewhere with keys
 * that are here: rotates first, and forgets what nobody can open any more. Throws as `Identity.recover`.
 * @param log the own log as a member holds it; attacker-controlled
 */
export async function recoverOrganisation(
  drivers: LocalDrivers,
  change: RotationOptions,
  log?: Uint8Array,
): Promise<Organisation> {
  return open(drivers, (deps) => Identity.recover(deps, change, log));
}

/**
 * As {@link openOrganisation}, by the operator's word that this state directory is the newest, whatever its stores say of each
 * other. @returns what they said. Throws as that.
 */
export async function confirmOrganisation(
  drivers: LocalDrivers,
): Promise<{ readonly organisation: Organisation; readonly against: string | undefined }> {
  const organisation = await open(drivers, (deps) => Identity.open(deps), { isConfirmed: true });
  return { organisation, against: await organisation.identity.confirmNewest() };
}

/** Begins a node of `delegator` in an empty state directory. Closes the drivers. @returns its request. Throws IDENTITY_EXISTS */
export function requestNode(
  drivers: LocalDrivers,
  options: InitOptions & { readonly delegator: Aid },
): Promise<PendingEvent> {
  return atRest(drivers, (deps) => Identity.request(deps, options));
}

/** What a node that is not approved yet, or rotates, waits for, and its request. Closes the drivers. */
export function pendingAtRest(
  drivers: LocalDrivers,
): Promise<{ readonly pending: PendingEvent; readonly stream: Uint8Array } | undefined> {
  return atRest(drivers, async ({ table, kel }) => {
    const pending = Identity.pending(table);
    return pending === undefined
      ? undefined
      : { pending, stream: await requestStream(kel, pending) };
  });
}

async function atRest<T>(
  { clock, rng, db, keyStore, suite, logFiles: files }: LocalDrivers,
  task: (deps: IdentityDeps) => Promise<T>,
): Promise<T> {
  await using stack = new AsyncDisposableStack();
  stack.defer(() => keyStore.close());
  stack.defer(() => db.close());
  const verifySignature = createSignatureVerifier(suite.ed25519);
  const kel = await LevelKelStore.open(db, { verifySignature, clock });
  stack.defer(() => kel.close());
  const table = await StateTable.open(db, 'identity');
  return await task({ keyStore, kel, table, files, clock, rng });
}

async function open(
  drivers: LocalDrivers,
  identify: (deps: IdentityDeps) => Promise<Identity>,
  { isConfirmed = false }: { readonly isConfirmed?: boolean } = {},
): Promise<Organisation> {
  const { clock, rng, db, keyStore, suite, journal, logFiles } = drivers;
  await using stack = new AsyncDisposableStack();
  stack.defer(() => keyStore.close());
  stack.defer(() => db.close());
  const verifySignature = createSignatureVerifier(suite.ed25519);
  const kel = await LevelKelStore.open(db, { verifySignature, clock });
  const records = await RecordStore.open(db);
  const table = await StateTable.open(db, 'identity');
  const identity = await identify({ keyStore, kel, table, files: logFiles, clock, rng });
  await forgetLostSecrets(db, keyStore, table);
  await endWayBack(drivers, kel, identity);
  const intake = new RecordIntake({ kel, records, clock, verifySignature, self: identity.aid });
  const issuer = await RecordIssuer.open({
    identity,
    intake,
    table: await StateTable.open(db, 'issuer'),
  });
  const suspensions = new Suspensions({
    kel,
    table: await StateTable.open(db, 'suspension'),
    clock,
  });
  const revocations = new Revocations({ records, kel, intake });
  const membership = await Membership.open({
    self: identity.aid,
    records,
    intake,
    table: await StateTable.open(db, 'mesh'),
    suspensions,
    revocations,
  });
  const governing = new Governing({ membership, records, issuer, clock });
  const replies = await ReplyStore.open(db, {
    kel,
    verifySignature,
    isWatcher: (aid) => membership.names(aid),
  });
  kel.subscribe(({ aid }) => {
    replies.release(aid).catch((error: unknown) => {
      journal.failed('reply.failed', error, { aid }, 'error');
    });
  });
  const log = await AuditLog.open(AuditKeeper.originOf(identity.aid), logFiles);
  stack.use(log);
  const provenance = await ProvenanceLog.open(
    identity.aid,
    { log, db, rng, clock },
    { isConfirmed },
  );
  if (provenance.storeIsOlder && !isConfirmed)
    await identity.doubt(
      `the audit log of ${log.size} leaves is newer than the database, which had never seen the last of them`,
    );
  if (identity.stepBack !== undefined && !isConfirmed)
    journal.error('identity.stepped-back', {
      code: 'IDENTITY_AWAITS_CONFIRMATION',
      message: identity.stepBack,
    });
  const keeper = await AuditKeeper.open({
    identity,
    issuer,
    records,
    provenance,
    table: await StateTable.open(db, 'audit'),
    clock,
    rng,
    ed25519: suite.ed25519,
    journal,
  });
  await recordOwnEvents(identity, keeper, await StateTable.open(db, 'progress'));
  const witness = await Witness.open({
    keyStore,
    kel,
    table: await StateTable.open(db, 'witness'),
    clock,
    journal,
    algorithm: identity.state.keys[0]?.startsWith('1AAJ') === true ? 'p256' : 'ed25519',
    isMember: (aid) => membership.names(aid),
  });
  const desk = await NodeDesk.open({
    identity,
    kel,
    table: await StateTable.open(db, 'nodes'),
    clock,
    verifySignature,
  });
  const owned = stack.move();
  return {
    drivers,
    identity,
    kel,
    records,
    intake,
    issuer,
    suspensions,
    revocations,
    membership,
    governing,
    watch: await WatchList.open(await StateTable.open(db, 'watch'), clock),
    replies,
    provenance,
    keeper,
    desk,
    witness,
    verifySignature,
    close: () => owned.disposeAsync(),
  };
}

/** With an own event the copy of what an earlier version left is a way nowhere, and holds keys that are retired or will be. */
async function endWayBack(
  { former, journal }: LocalDrivers,
  kel: LevelKelStore,
  { aid, state }: Identity,
): Promise<void> {
  if (former === undefined) return;
  const drop = async () => {
    await former.drop();
    journal.info('state.way-back-ended', { aid });
  };
  if (former.head !== undefined && state.said !== former.head?.said) return drop();
  const stop = kel.subscribe((event) => {
    if (event.aid !== aid) return;
    stop();
    drop().catch((error: unknown) => journal.failed('state.failed', error, {}, 'error'));
  });
}

/** The audit log names every establishment event of the own log; one that a crash left out is added now. */
export async function recordOwnEvents(
  identity: Identity,
  keeper: AuditKeeper,
  progress: StateTable,
): Promise<void> {
  const { sn, said } = identity.state.establishment;
  if (progress.get<string>('establishment') === said) return;
  await keeper.record('kel-event', { sn, said });
  await progress.put({ establishment: said });
}
