/** An organisation in memory, as far as identity, records and membership go; it can crash and be opened again. */

import { Identity, type IdentityDeps } from '#agent/identity/own/identity';
import { RecordIntake } from '#agent/identity/records/record-intake';
import { RecordIssuer } from '#agent/identity/records/record-issuer';
import { Governing } from '#agent/mesh/membership/governing';
import { Membership } from '#agent/mesh/membership/membership';
import { Revocations } from '#agent/mesh/membership/revocations';
import { Suspensions } from '#agent/mesh/membership/suspensions';
import type { RecordFields } from '#kel/record/record';
import { RecordStore } from '#kel/record/record-store';
import { LevelKelStore } from '#kel/store/level-kel-store';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { loadCryptoSuite } from '#src/crypto/suites';
import type { KeyStore } from '#src/keystore/key-store';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { seededKeyStore } from '../doubles/seeded-key-store.ts';
import { SeededRng } from '../doubles/seeded-rng.ts';
import { SimulatedClock } from '../simulation/simulated-clock.ts';
import { MemoryLogFiles } from './audit-log.ts';
import { FailingLevel } from './failing-level.ts';

export const suite = await loadCryptoSuite();
export const verifySignature = createSignatureVerifier(suite.ed25519);

/** What survives a crash. */
export interface Disk {
  readonly db: FailingLevel;
  /** Of the audit log: where the last own event is noted. */
  readonly files: MemoryLogFiles;
  readonly keyStore: KeyStore;
  readonly clock: SimulatedClock;
  readonly rng: SeededRng;
}

export function newDisk(name: string, clock = new SimulatedClock()): Disk {
  const rng = new SeededRng(name);
  const files = new MemoryLogFiles();
  return { db: new FailingLevel(), files, keyStore: seededKeyStore(rng.fork('keys')), clock, rng };
}

export async function identityDeps({
  db,
  files,
  keyStore,
  clock,
  rng,
}: Disk): Promise<IdentityDeps & { readonly kel: LevelKelStore }> {
  const kel = await LevelKelStore.open(db as Database, { verifySignature, clock });
  const table = await StateTable.open(db as Database, 'identity');
  return { keyStore, kel, table, files, clock, rng };
}

export interface Party {
  readonly disk: Disk;
  readonly clock: SimulatedClock;
  readonly rng: SeededRng;
  readonly identity: Identity;
  readonly kel: IdentityDeps['kel'];
  readonly records: RecordStore;
  readonly intake: RecordIntake;
  readonly issuer: RecordIssuer;
  readonly suspensions: Suspensions;
  readonly membership: Membership;
  readonly governing: Governing;
}

/** A fresh organisation. */
export async function createParty(name: string, clock?: SimulatedClock): Promise<Party> {
  const disk = newDisk(name, clock);
  await Identity.create(await identityDeps(disk), { algorithm: 'ed25519', kind: 'CBOR' });
  return openParty(disk);
}

/** As after a start of the program. */
export async function openParty(disk: Disk): Promise<Party> {
  const { clock, rng } = disk;
  const db = disk.db as Database;
  const deps = await identityDeps(disk);
  const { kel } = deps;
  const identity = await Identity.open(deps);
  const records = await RecordStore.open(db);
  const intake = new RecordIntake({ kel, records, clock, verifySignature });
  const issuer = await RecordIssuer.open({
    identity,
    intake,
    table: await StateTable.open(db, 'issuer'),
  });
  const table = await StateTable.open(db, 'mesh');
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
    table,
    suspensions,
    revocations,
  });
  const governing = new Governing({ membership, records, issuer, clock });
  return {
    disk,
    clock,
    rng,
    identity,
    kel,
    records,
    intake,
    issuer,
    suspensions,
    membership,
    governing,
  };
}

/** Hands all of `from`'s own log to `to`. */
export async function giveLog(from: Party, to: Party): Promise<void> {
  await to.kel.process(await from.kel.export(from.identity.aid));
}

/** Fields of an `end` record under the current establishment event. */
export function endFields(
  party: Party,
  peer = '12D3KooWGRUVhYDu3nEjcPz8mGZVZ9xHBi1vPWGPWnS4cW9VsHGF',
): RecordFields['end'] {
  const { sn, said } = party.identity.state.establishment;
  return { es: { s: sn, d: said }, p: peer, la: ['/ip4/192.0.2.1/tcp/7400'], ue: [] };
}

/** `Promise.allSettled` of one: the code of the error, undefined without one. */
export async function codeOf(task: Promise<unknown>): Promise<string | undefined> {
  try {
    await task;
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code ?? (error as Error).message;
  }
}
