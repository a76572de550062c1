/** Forked logs for tests. */
import { digestSeal, eventSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import { Organisation, type Step } from './key-log.ts';
import { digest } from './record-samples.ts';
import { approvesAll } from './store-kit.ts';

export interface Fork {
  readonly org: Organisation;
  /** Events before the fork, of delegators too. */
  readonly prefix: readonly Step[];
  readonly first: Step;
  readonly second: Step;
  readonly file: Uint8Array;
}

function forkOf(org: Organisation, prefix: readonly Step[], second: Step): Fork {
  const first = org.steps.at(-1) as Step;
  const file = Buffer.concat([...prefix, first, second].map(({ message }) => message));
  return { org, prefix, first, second, file };
}

export const seal = (letter: string) => digestSeal(digest(letter) as Said);

/** A log with a rotation, forked at an interaction. */
export function interactionFork(name = 'forked'): Fork {
  const org = new Organisation(name);
  org.incept({ keyCount: 3, signingThreshold: '2', nextThreshold: '2' });
  org.anchor([seal('D')]);
  org.rotate({ signingThreshold: '2', nextThreshold: '2' });
  const other = org.fork(3);
  org.anchor([seal('E')]);
  return forkOf(org, org.steps.slice(0, 3), other.anchor([seal('F')]));
}

export function rotationFork(name = 'forked'): Fork {
  const org = new Organisation(name);
  org.incept();
  const other = org.fork(1);
  org.rotate();
  return forkOf(org, org.steps.slice(0, 1), other.rotate({ anchors: [seal('F')] }));
}

export function delegatedFork(): Fork {
  const delegator = new Organisation('delegator');
  delegator.incept();
  const org = new Organisation('delegate');
  const dip = org.incept({ delegator: delegator.aid }, { delegator: approvesAll });
  const approving = delegator.anchor([eventSeal(dip)]);
  // As the store writes it: with the couple that names the approving event.
  const plain = org.steps[0] as Step;
  org.steps[0] = org.step(plain, org.keys(0), {
    delegator: approvesAll,
    sealSource: { sn: approving.sn, said: approving.said },
  });
  const other = org.fork(1);
  org.anchor([seal('E')]);
  return forkOf(org, [...delegator.steps, ...org.steps.slice(0, 1)], other.anchor([seal('F')]));
}
