/**
 * What came first: a tunnel, or another entry of the bundle.
 *
 * Proven is the order in which one log holds its entries, and that a proof is younger than what it names. Where no
 * log holds both, there is only what the signers say of the time, and clocks of honest organisations differ.
 */
import type { Aid } from '#kel/identifiers';
import type { TunnelEndFields } from '#kel/record/record';
import { parseDateTime } from '#src/clock';
import type { Evidence, TunnelProof } from './evidence.ts';

/** Clocks of honest organisations differ by less, and a proof reaches both logs within this time; milliseconds. */
export const CLOCK_TOLERANCE_MS = 60_000;

/** Of the tunnel, against the other entry. */
export type Order = 'before' | 'unclear' | 'after';

/** An event of a key event log. */
export interface EventPlace {
  readonly aid: Aid;
  readonly sn: number;
}

/** The latest moment that the proof claims for itself, against the date-time `time`. */
export function claimedOrder({ record }: TunnelProof, time: string): Order {
  return orderOf(Math.max(...claimedTimes(record)), time);
}

/** The same for the earliest. */
export function claimedStart({ record }: TunnelProof, time: string): Order {
  return orderOf(Math.min(...claimedTimes(record)), time);
}

function claimedTimes({ dt, a, b }: TunnelProof['record']): readonly number[] {
  return [dt, a.hs, b.hs].map((time) => parseDateTime(time) ?? 0);
}

function orderOf(at: number, time: string): Order {
  const other = parseDateTime(time) ?? 0;
  if (at > other + CLOCK_TOLERANCE_MS) return 'after';
  return at > other ? 'unclear' : 'before';
}

/** Whether the tunnel is shown to be younger than `event` by the order of a log alone. */
export function isProvenAfter(proof: TunnelProof, event: EventPlace, evidence: Evidence): boolean {
  return [proof.record.a, proof.record.b].some(
    (end) => end.i === event.aid && event.sn <= lastEventBefore(end, proof, evidence),
  );
}

/** The last event of the log of `end` that is shown to precede the tunnel: the proof names it, or what it sealed, or the leaf follows it. */
function lastEventBefore(
  end: TunnelEndFields,
  { leaves }: TunnelProof,
  { records, dossiers }: Evidence,
): number {
  const log = dossiers.get(end.i)?.log;
  const index = leaves.get(end.i)?.index ?? end.c.n;
  const anchored = log?.anchorBefore(Math.max(index, end.c.n))?.anchor?.sn;
  return Math.max(end.s, records.get(end.t)?.sealedIn?.sn ?? 0, anchored ?? 0);
}
