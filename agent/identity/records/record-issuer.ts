/**
 * Issues own records so that a crash loses none: signed and in the outbox, then sealed in the log, then
 * stored. What the outbox still holds at the next start is stored if the log sealed it, dropped if not.
 */
import { digestSeal, type Seal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import type { Grown } from '#kel/record/build';
import type { RecordFields, RecordType } from '#kel/record/record';
import { SerialQueue } from '#src/serial-queue';
import type { StateTable } from '#src/store/state-table';
import { IdentityError } from '../own/errors.ts';
import type { Identity, SignedRecord } from '../own/identity.ts';
import type { RecordIntake } from './record-intake.ts';

const OUTBOX = 'outbox';

export type Draft = {
  readonly [T in RecordType]: { readonly type: T; readonly fields: RecordFields[T] } & Grown<T>;
}[RecordType];

export interface RecordIssuerDeps {
  readonly identity: Identity;
  readonly intake: RecordIntake;
  readonly table: StateTable;
}

interface OutboxEntry {
  readonly said: Said;
  /** Base64 of the message. */
  readonly message: string;
}

export class RecordIssuer {
  readonly #deps: RecordIssuerDeps;
  readonly #queue = new SerialQueue();

  private constructor(deps: RecordIssuerDeps) {
    this.#deps = deps;
  }

  static async open(deps: RecordIssuerDeps): Promise<RecordIssuer> {
    const issuer = new RecordIssuer(deps);
    await issuer.#settle();
    return issuer;
  }

  /** Signs, seals in one event (together with `seals`) and stores. @returns the SAIDs, in the order of `drafts` */
  issueSealed(drafts: readonly Draft[], seals: readonly Seal[] = []): Promise<readonly Said[]> {
    return this.#queue.run(async () => {
      const { identity, table } = this.#deps;
      // What an earlier write that failed has left: its event may be in the log all the same, or wait for receipts.
      if (table.get(OUTBOX) !== undefined) await identity.resume();
      await this.#settle();
      if (table.get(OUTBOX) !== undefined)
        throw new IdentityError(
          'IDENTITY_AWAITS_WITNESSES',
          'the event that seals the last records is not final yet',
        );
      const records: SignedRecord[] = [];
      for (const { type, fields, ...grown } of drafts)
        records.push(await identity.record(type, fields, grown));
      await table.put({ [OUTBOX]: records.map(toEntry) });
      await identity.anchor([...records.map(({ said }) => digestSeal(said)), ...seals]);
      await this.#settle();
      return records.map(({ said }) => said);
    });
  }

  /** Signs and stores a record whose type needs no seal. */
  issue({ type, fields, ...grown }: Draft): Promise<SignedRecord> {
    return this.#queue.run(async () => {
      const record = await this.#deps.identity.record(type, fields, grown);
      await this.#store(record.said, record.message);
      return record;
    });
  }

  /** Stores the records whose event has become final meanwhile. */
  settle(): Promise<void> {
    return this.#queue.run(() => this.#settle());
  }

  async #settle(): Promise<void> {
    const { table, identity, intake } = this.#deps;
    const entries = table.get<readonly OutboxEntry[]>(OUTBOX);
    // An event that waits may be the one that seals them.
    if (entries === undefined || identity.pending !== undefined) return;
    for (const { said, message } of entries) {
      if ((await intake.sealedIn(identity.aid, said)) !== undefined)
        await this.#store(said, Buffer.from(message, 'base64'));
    }
    await table.put({ [OUTBOX]: undefined });
  }

  async #store(said: Said, message: Uint8Array): Promise<void> {
    const verdict = await this.#deps.intake.take(message, () => true);
    if (verdict.kind === 'refused' || verdict.kind === 'unknown')
      throw new IdentityError('IDENTITY_EVENT_REFUSED', `own record ${said}: ${verdict.code}`);
  }
}

function toEntry({ said, message }: SignedRecord): OutboxEntry {
  return { said, message: Buffer.from(message).toString('base64') };
}
