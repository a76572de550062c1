/** Custodians in one process: key stores in memory, files in a directory that goes with the test. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CustodianCard } from '#agent/identity/custody/card';
import { Custodian } from '#agent/identity/custody/custodian';
import { encodeProposal, type Proposal, parseProposal } from '#agent/identity/custody/proposal';
import { type Review, reviewProposal, signedMessage } from '#agent/identity/custody/review';
import type { VerifySignature } from '#kel/state/key-signatures';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { concatBytes } from '#src/bytes';
import { loadCryptoSuite } from '#src/crypto/suites';
import type { KeyStore } from '#src/keystore/key-store';
import { seededKeyStore } from '../doubles/seeded-key-store.ts';
import { SeededRng } from '../doubles/seeded-rng.ts';

export interface Member {
  readonly custodian: Custodian;
  readonly card: CustodianCard;
  readonly keyStore: KeyStore;
  readonly path: string;
}

export class Party implements AsyncDisposable {
  readonly verifySignature: VerifySignature;
  readonly directory: string;
  readonly members = new Map<string, Member>();

  private constructor(verifySignature: VerifySignature, directory: string) {
    this.verifySignature = verifySignature;
    this.directory = directory;
  }

  static async of(...names: readonly string[]): Promise<Party> {
    const { ed25519 } = await loadCryptoSuite();
    const directory = await mkdtemp(join(tmpdir(), 'kelmesh-custody-'));
    const party = new Party(createSignatureVerifier(ed25519), directory);
    for (const name of names) await party.join(name);
    return party;
  }

  async join(name: string): Promise<CustodianCard> {
    const keyStore = seededKeyStore(new SeededRng(`custodian ${name}`));
    const path = join(this.directory, name);
    const made = await Custodian.create(
      { keyStore, path, verifySignature: this.verifySignature },
      { name, algorithm: 'ed25519' },
    );
    this.members.set(name, { ...made, keyStore, path });
    return made.card;
  }

  get(name: string): Member {
    const member = this.members.get(name);
    if (member === undefined) throw new Error(`no custodian ${name}`);
    return member;
  }

  cards(...names: readonly string[]): readonly CustodianCard[] {
    return names.map((name) => this.get(name).card);
  }

  review(proposal: Proposal): Review {
    return reviewProposal(parseProposal(encodeProposal(proposal)), this.verifySignature);
  }

  /** Each signs what the one before has signed. */
  async sign(review: Review, ...names: readonly string[]): Promise<Review> {
    let signed = review;
    for (const name of names) signed = this.review(await this.get(name).custodian.sign(signed));
    return signed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { custodian } of this.members.values()) await custodian[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** The log with the event of a complete proposal behind it. */
export function logAfter(review: Review): Uint8Array {
  return concatBytes(review.proposal.log, signedMessage(review));
}
