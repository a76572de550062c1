/** The records of a bundle, by SAID: signed as their type demands; whether they are sealed stands beside. */

import type { Aid, Said } from '#kel/identifiers';
import type { EventReference } from '#kel/key-state/key-state';
import { isOfLaterVersion } from '#kel/record/errors';
import { parseRecord } from '#kel/record/parse';
import type {
  AnyRecord,
  ChrRecord,
  LogRecord,
  RvkRecord,
  TupRecord,
  Verified,
} from '#kel/record/record';
import { verifyRecord } from '#kel/record/verify';
import type { VerifySignature } from '#kel/state/key-signatures';
import { sha256 } from '#src/crypto/hash';
import { type Charter, charterChain, type SealedCharter } from '../../mesh/membership/charter.ts';
import type { KelEvidence } from './kel-evidence.ts';
import type { ProblemSection, Problems } from './report.ts';

export interface FoundRecord {
  readonly record: Verified<AnyRecord>;
  /** The event of its issuer that seals it. */
  readonly sealedIn: EventReference | undefined;
}

/** A revocation that its issuer's log commits to. */
export interface SealedRevocation {
  readonly record: Verified<RvkRecord>;
  readonly sealedIn: EventReference;
}

export class RecordEvidence {
  readonly #kels: KelEvidence;
  readonly #verifySignature: VerifySignature;
  /** Both ends of a tunnel log the same proof: it is verified once. */
  readonly #byDigest = new Map<string, Verified<AnyRecord>>();
  readonly #bySaid = new Map<Said, FoundRecord>();
  readonly #chains = new Map<Said, readonly Charter[]>();

  constructor(kels: KelEvidence, verifySignature: VerifySignature) {
    this.#kels = kels;
    this.#verifySignature = verifySignature;
  }

  /** Takes in one message. @returns the record, undefined when it does not verify, which is reported */
  async add(
    message: Uint8Array,
    section: ProblemSection,
    where: string,
    problems: Problems,
  ): Promise<Verified<AnyRecord> | undefined> {
    const digest = Buffer.from(sha256(message)).toString('latin1');
    const known = this.#byDigest.get(digest);
    if (known !== undefined) return known;
    try {
      const record = await verifyRecord(parseRecord(message), {
        establishment: async (aid, sn, said) => this.#kels.establishment(aid, sn, said),
        verifySignature: this.#verifySignature,
      });
      this.#bySaid.set(record.d, { record, sealedIn: this.#kels.sealOf(record.i, record.d) });
      this.#byDigest.set(digest, record);
      this.#chains.clear();
      return record;
    } catch (error) {
      const code = isOfLaterVersion(error) ? 'BUNDLE_RECORD_UNKNOWN' : 'BUNDLE_RECORD';
      problems.add(code, section, `${where}: ${(error as Error).message}`);
      return undefined;
    }
  }

  get(said: Said): FoundRecord | undefined {
    return this.#bySaid.get(said);
  }

  /** The sealed `log` records of `aid`. */
  announcements(aid: Aid): readonly LogRecord[] {
    return [...this.#bySaid.values()].flatMap(({ record, sealedIn }) =>
      record.t === 'log' && record.i === aid && sealedIn !== undefined ? [record] : [],
    );
  }

  tunnelProofs(): readonly Verified<TupRecord>[] {
    return [...this.#bySaid.values()].flatMap(({ record }) =>
      record.t === 'tup' ? [record as Verified<TupRecord>] : [],
    );
  }

  /** The sealed ones of the whole bundle; whether the issuer may say so is not looked at. */
  revocations(): readonly SealedRevocation[] {
    return [...this.#bySaid.values()].flatMap(({ record, sealedIn }) =>
      record.t === 'rvk' && sealedIn !== undefined
        ? [{ record: record as Verified<RvkRecord>, sealedIn }]
        : [],
    );
  }

  /** Sealed charters of `mesh` that are no version of {@link charters}: they follow none, or one that another follows. */
  chartersBeside(mesh: Said): readonly Verified<ChrRecord>[] {
    const inForce = new Set(this.charters(mesh).map(({ said }) => said));
    return this.#sealedCharters()
      .map(({ record }) => record)
      .filter(({ d, m }) => m === mesh && !inForce.has(d));
  }

  /** The versions of the charter of `mesh`, oldest first, as far as governors sealed each. */
  charters(mesh: Said): readonly Charter[] {
    const known = this.#chains.get(mesh);
    if (known !== undefined) return known;
    const chain = charterChain(mesh, this.#sealedCharters());
    this.#chains.set(mesh, chain);
    return chain;
  }

  /** What the latest charter that names `aid` calls it. */
  nameOf(aid: Aid): string | undefined {
    const meshes = [...this.#bySaid.values()].flatMap(({ record }) =>
      record.t === 'chr' && record.m === '' ? [record.d] : [],
    );
    for (const mesh of meshes) {
      const charter = this.charters(mesh).findLast(({ members }) => members.has(aid));
      if (charter !== undefined) return charter.members.get(aid)?.name;
    }
    return undefined;
  }

  #sealedCharters(): readonly SealedCharter[] {
    return [...this.#bySaid.values()].flatMap(({ record, sealedIn }): SealedCharter[] =>
      record.t === 'chr' && sealedIn !== undefined
        ? [{ record: record as Verified<ChrRecord>, sealedIn }]
        : [],
    );
  }
}
