/**
 * Who has applied a revocation: each member that has taken the revoked party off its devices says so with a signed `ack`
 * record, and tells everybody. Who does not say so is shown with the time since when it is silent.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { RvkRecord, Verified } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import { type Clock, formatDateTime, parseDateTime } from '#src/clock';
import type { Journal } from '#src/journal';
import { SerialQueue } from '#src/serial-queue';
import type { RecordIntake } from '../../identity/records/record-intake.ts';
import type { RecordIssuer } from '../../identity/records/record-issuer.ts';
import type { Membership } from '../membership/membership.ts';
import type { Revocations } from '../membership/revocations.ts';

export interface AcknowledgementsDeps {
  readonly self: Aid;
  readonly records: RecordStore;
  readonly intake: RecordIntake;
  readonly issuer: RecordIssuer;
  readonly membership: Membership;
  readonly revocations: Revocations;
  /** Brings the devices to what the records say. */
  readonly apply: () => Promise<void>;
  readonly clock: Clock;
  readonly journal: Journal;
}

/** One revocation and how far it has come. */
export interface RevocationRow {
  readonly said: Said;
  /** The AID, or the SAID of the `tun` record. */
  readonly who: string;
  /** In the last charter that named it; empty for what none names. */
  readonly name: string;
  readonly kind: RvkRecord['k'];
  readonly reason: string;
  readonly by: Aid;
  readonly sealedAt: string;
  readonly applied: readonly { readonly node: Aid; readonly name: string; readonly at: string }[];
  readonly missing: readonly {
    readonly node: Aid;
    readonly name: string;
    /** When it was heard last; null: never. */
    readonly silentSince: string | null;
  }[];
}

export class Acknowledgements {
  readonly #deps: AcknowledgementsDeps;
  readonly #queue = new SerialQueue();

  constructor(deps: AcknowledgementsDeps) {
    this.#deps = deps;
  }

  /** Acknowledges what was there, and what arrives until `signal` aborts. */
  start(signal: AbortSignal): void {
    const check = () => {
      if (signal.aborted) return;
      void this.#queue
        .run(() => this.#acknowledge(signal))
        .catch((error: unknown) => {
          if (!signal.aborted) this.#deps.journal.failed('revocation.not-acknowledged', error);
        });
    };
    const off = this.#deps.intake.subscribe(({ t }) => {
      if (t === 'rvk' || t === 'tun') check();
    });
    signal.addEventListener('abort', off);
    check();
  }

  async #acknowledge(signal: AbortSignal): Promise<void> {
    const { records, self, membership, apply, issuer, clock, journal } = this.#deps;
    const done = new Set(records.list('ack', self).map(({ record }) => record.r));
    const open = inForce(this.#deps).filter(({ d }) => !done.has(d));
    if (open.length === 0 || !membership.isIn) return;
    // The charter that goes with it may be read a moment later.
    await membership.refresh();
    await apply();
    for (const { d, who, k } of open) {
      if (signal.aborted) return;
      const at = formatDateTime(clock.now());
      await issuer.issue({ type: 'ack', fields: { r: d, at } });
      journal.info('revocation.applied', { kind: k, who });
    }
  }
}

/** What the records say now, oldest first. @param heardAt milliseconds since the Unix epoch, of the last word of an AID */
export function revocationRows(
  deps: Pick<AcknowledgementsDeps, 'records' | 'membership' | 'revocations'>,
  heardAt: (aid: Aid) => number | undefined,
): readonly RevocationRow[] {
  const { records, membership } = deps;
  const members = membership.charter?.members ?? new Map();
  const nameOf = (aid: string) => membership.standing.everMember(aid as Aid)?.name ?? '';
  const acknowledged = records.list('ack').map(({ record }) => record);
  return inForce(deps)
    .toSorted((a, b) => (a.dt < b.dt ? -1 : 1))
    .map((record) => {
      const applied = acknowledged
        .filter(({ r, i }) => r === record.d && i !== record.who)
        .map(({ i, at }) => ({ node: i, name: nameOf(i), at: iso(at) }));
      const heard = new Set<string>([record.who, ...applied.map(({ node }) => node)]);
      return {
        said: record.d,
        who: record.who,
        name: nameOf(record.who),
        kind: record.k,
        reason: record.why,
        by: record.i,
        sealedAt: iso(record.dt),
        applied,
        missing: [...members.keys()]
          .filter((aid) => !heard.has(aid))
          .map((node) => {
            const endpoints = records.latest('end', node)?.record.dt;
            const last = heardAt(node) ?? (endpoints && parseDateTime(endpoints));
            const silentSince =
              last === undefined || last === '' ? null : new Date(last).toISOString();
            return { node, name: nameOf(node), silentSince };
          }),
      };
    });
}

/** By whoever may say so. */
function inForce({
  records,
  membership,
  revocations,
}: Pick<AcknowledgementsDeps, 'records' | 'membership' | 'revocations'>): Verified<RvkRecord>[] {
  return records
    .list('rvk')
    .map(({ record }) => record)
    .filter((record) => {
      if (record.k === 'organisation')
        return membership.charters.some(({ sealedBy }) => sealedBy === record.i);
      const found =
        record.k === 'epoch'
          ? revocations.ofEpoch(record.who as Said)
          : revocations.ofNode(record.who as Aid);
      return found !== undefined && found.i === record.i;
    });
}

function iso(dateTime: string): string {
  return new Date(parseDateTime(dateTime) ?? 0).toISOString();
}
