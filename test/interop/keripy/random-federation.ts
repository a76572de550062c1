/** Organisations with logs of random shape, equal for equal seeds. */
import type { BodyValue } from '#kel/cesr/body-value';
import type { IndexedSignatureInput } from '#kel/cesr/indexer';
import { digestSeal, eventSeal, rootSeal, type Seal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import type { SerializationKind, ThresholdForm } from '#kel/state/key-state';
import { SeededRng } from '../../support/seeded-rng.ts';
import { Organisation, sign, type TestKey, witnessKey } from '../../unit/kel/organisation.ts';

export function randomFederation(
  seed: number,
  kind: SerializationKind,
  count: number,
): readonly Organisation[] {
  const dice = new Dice(seed);
  return Array.from({ length: count }, (_, i) => randomLog(dice, `${seed}/${kind}/${i}`, kind));
}

function randomLog(dice: Dice, name: string, kind: SerializationKind): Organisation {
  const org = new Organisation(name);
  let witnesses = Array.from({ length: dice.pick([0, 0, 1, 3]) }, (_, i) =>
    witnessKey(`${name}/w${i}`),
  );
  const keyCount = dice.between(1, 4);
  const nextCount = dice.between(1, 4);
  org.incept(
    {
      kind,
      keyCount,
      nextCount,
      signingThreshold: threshold(dice, keyCount),
      nextThreshold: threshold(dice, nextCount),
      witnesses: witnesses.map(({ aid }) => aid),
      configTraits: dice.pick([[], ['DND']]),
    },
    { witnesses },
  );
  for (let i = dice.between(2, 6); i > 0; i--) {
    if (dice.pick([true, false])) {
      org.anchor(seals(dice, org), { witnesses });
      continue;
    }
    const next = org.state.nextDigests.length;
    const added = dice.pick([0, 0, 1]);
    const cut = witnesses.length > 0 && dice.pick([true, false]) ? 1 : 0;
    const addedWitness = dice.pick([[], [witnessKey(`${name}/w+${i}`)]]);
    const cuts = witnesses.slice(0, cut).map(({ aid }) => aid);
    witnesses = [...witnesses.slice(cut), ...addedWitness];
    const coming = dice.between(1, 4);
    org.rotate(
      {
        keyCount: next + added,
        nextCount: coming,
        signingThreshold: threshold(dice, next + added),
        nextThreshold: threshold(dice, coming),
        witnessCuts: cuts,
        witnessAdds: addedWitness.map(({ aid }) => aid),
      },
      { witnesses, signatures: (bytes) => augmented(bytes, rotatedKeys(org, next + added), next) },
    );
  }
  return org;
}

/** The keys of the rotation that is being built: the organisation counts its generations itself. */
function rotatedKeys(org: Organisation, count: number): readonly TestKey[] {
  return org.keys(org.generation, count);
}

/** Keys beyond the committed ones sign for the current threshold only. */
function augmented(
  bytes: Uint8Array,
  keys: readonly TestKey[],
  committed: number,
): IndexedSignatureInput[] {
  return sign(bytes, keys).map((signature, i) =>
    i < committed ? signature : { ...signature, currentOnly: true },
  );
}

function threshold(dice: Dice, count: number): ThresholdForm {
  const form = dice.pick(['number', 'weights', 'clauses']);
  if (form === 'number' || count === 1) return dice.between(1, count).toString(16);
  if (form === 'weights')
    return Array.from({ length: count }, () => dice.pick(['1/2', '2/3', '1']));
  return count > 2 ? [['1'], Array.from({ length: count - 1 }, () => '1/2')] : [['1'], ['1']];
}

function seals(dice: Dice, org: Organisation): readonly Seal[] {
  const said: Said = org.state.said;
  const nested = new Map<string, BodyValue>([
    ['text', 'ünïcode \u2028 "quoted" \\ \n'],
    ['2', [1, -300, 70_000, 2 ** 40, true, null]],
    ['1', new Map<string, BodyValue>()],
  ]);
  return dice.pick([[], [digestSeal(said)], [rootSeal(said), eventSeal(org.state)], [nested]]);
}

class Dice {
  readonly #rng: SeededRng;

  constructor(seed: number) {
    this.#rng = new SeededRng(seed);
  }

  between(least: number, most: number): number {
    return least + ((this.#rng.bytes(1)[0] ?? 0) % (most - least + 1));
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.between(0, choices.length - 1)] as T;
  }
}
