/**
 * When the charter has moved the mesh to records of version 2, the own tunnel keys follow: the next key epoch, whose record proves
 * possession. An ordinary rotation of the tunnel keys, so no packet is lost. Node and endpoints are announced anew elsewhere.
 */
import type { RecordStore } from '#kel/record/record-store';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import type { Rng } from '#src/rng';
import type { Membership } from '../../mesh/membership/membership.ts';

/** All members hear of the charter at one time, and each rotation moves all tunnels of its member: they spread by so much for each. */
const SPREAD_MS = 500;
const MAX_SPREAD_MS = 5 * 60_000;
const AGAIN_MS = 60_000;

export interface NewerRecordsDeps {
  readonly self: Parameters<RecordStore['list']>[1];
  readonly membership: Pick<Membership, 'isIn' | 'others' | 'recordVersion'>;
  readonly records: Pick<RecordStore, 'list'>;
  /** As `RotationSequence.tunnelKeys`. */
  readonly rotateTunnelKeys: () => Promise<unknown>;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly journal: Journal;
  readonly signal: AbortSignal;
}

export class NewerRecords {
  readonly #deps: NewerRecordsDeps;
  #following: Promise<void> | undefined;

  constructor(deps: NewerRecordsDeps) {
    this.#deps = deps;
  }

  /** Called whenever a charter may have come; what is on its way already is not begun again. */
  follow(): Promise<void> {
    if (!this.#isBehind) return Promise.resolve();
    this.#following ??= this.#follow().finally(() => {
      this.#following = undefined;
    });
    return this.#following;
  }

  get #isBehind(): boolean {
    const { self, membership, records } = this.#deps;
    const newest = records.list('tun', self).at(-1)?.record;
    if (!membership.isIn || newest === undefined) return false;
    return (newest.x !== undefined) !== membership.recordVersion > 1;
  }

  async #follow(): Promise<void> {
    const { membership, rotateTunnelKeys, clock, rng, journal, signal } = this.#deps;
    const spread = Math.min(MAX_SPREAD_MS, membership.others().length * SPREAD_MS);
    const [byte = 0] = rng.bytes(1);
    await clock.sleep((spread * byte) / 255, signal);
    while (this.#isBehind && !signal.aborted) {
      try {
        await rotateTunnelKeys();
      } catch (error) {
        // Without its witnesses, say, the node stays as it is: what it has is good until then.
        journal.failed('records.not-moved', error);
        await clock.sleep(AGAIN_MS, signal);
      }
    }
  }
}
