/** What a rotation makes weaker than it is in force: fewer signatures that suffice, now or for what comes next, fewer receipts. */
import type { RotationEvent } from '#kel/event/key-event';
import type { KeyState, ThresholdForm } from '#kel/key-state/key-state';
import { satisfies } from '#kel/key-state/threshold';
import { thresholdWords } from './threshold-text.ts';

/** Up to as many keys every group is tried: 4,096. */
const MAX_TRIED = 12;

/** Over how many keys a threshold stands. */
interface Quorum {
  readonly threshold: ThresholdForm;
  readonly count: number;
}

/** @param names of the keys and of the next keys  @returns a line each; none: nothing is weaker than before */
export function lowerings(
  event: RotationEvent,
  prior: KeyState,
  names: { readonly signing: readonly string[]; readonly next: readonly string[] },
): readonly string[] {
  const lines: string[] = [];
  const compare = (what: string, before: Quorum, after: Quorum, words: readonly string[]) => {
    if (!isLower(before, after)) return;
    const old = thresholdWords(before.threshold, numbered(before.count));
    lines.push(`${what}: ${thresholdWords(after.threshold, words)}, before ${old}`);
  };
  compare(
    'who can sign everyday events',
    { threshold: prior.signingThreshold, count: prior.keys.length },
    { threshold: event.signingThreshold, count: event.keys.length },
    names.signing,
  );
  if (event.nextDigests.length > 0)
    compare(
      'who can rotate next',
      { threshold: prior.nextThreshold, count: prior.nextDigests.length },
      { threshold: event.nextThreshold, count: event.nextDigests.length },
      names.next,
    );
  const cut = event.witnessCuts.length;
  const witnesses = prior.witnesses.length - cut + event.witnessAdds.length;
  const isFewerReceipts =
    event.witnessThreshold < prior.witnessThreshold ||
    event.witnessThreshold * prior.witnesses.length < prior.witnessThreshold * witnesses;
  if (isFewerReceipts)
    lines.push(
      `receipts that make an event final: ${event.witnessThreshold} of ${witnesses}, before ${prior.witnessThreshold} of ${prior.witnesses.length}`,
    );
  return lines;
}

/** Some group suffices that did not before; where the number of keys changes, a smaller one or a smaller share. */
function isLower(before: Quorum, after: Quorum): boolean {
  if (before.count === after.count && after.count <= MAX_TRIED)
    return groups(after.count).some(
      (group) => satisfies(after.threshold, group) && !satisfies(before.threshold, group),
    );
  const [old, now] = [smallestGroup(before), smallestGroup(after)];
  return now < old || now * before.count < old * after.count;
}

function groups(count: number): readonly (readonly number[])[] {
  return Array.from({ length: 2 ** count }, (_, bits) =>
    Array.from({ length: count }, (_, i) => i).filter((i) => (bits >> i) % 2 === 1),
  );
}

/** Of how many keys the smallest group is that suffices. */
function smallestGroup({ threshold }: Quorum): number {
  if (typeof threshold === 'string') return Number.parseInt(threshold, 16);
  const clauses = (Array.isArray(threshold[0]) ? threshold : [threshold]) as readonly string[][];
  return clauses.reduce((sum, clause) => {
    const heaviest = clause.map((_, i) => i).sort((a, b) => weight(clause[b]) - weight(clause[a]));
    // The more of the heaviest, the heavier: a search by halves, as a log of strangers may have a thousand.
    let [few, enough] = [0, heaviest.length];
    while (enough - few > 1) {
      const half = (few + enough) >> 1;
      if (satisfies(clause, heaviest.slice(0, half))) enough = half;
      else few = half;
    }
    return sum + enough;
  }, 0);
}

function weight(text = '0'): number {
  const [numerator = 0, denominator = 1] = text.split('/').map(Number);
  return numerator / denominator;
}

function numbered(count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => `key ${i + 1}`);
}
