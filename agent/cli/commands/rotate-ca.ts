import type { Secret } from '#src/secret';
import { systemClock, systemRng } from '../../compose.ts';
import { type CaDescription, describeGenerations } from '../../inner/ca/ca.ts';
import { refreshCertificates } from '../../inner/ca/open-ca.ts';
import { rotateCa } from '../../inner/ca/rotation.ts';
import {
  type CaRotationPlan,
  type CaRotationRequest,
  type CaStep,
  planCaRotation,
} from '../../inner/ca/rotation-plan.ts';
import { readSecretFile } from '../../organisation/config/secrets.ts';
import { ask } from '../ask.ts';
import {
  algorithmOption,
  caDirectory,
  caPassphrase,
  daysOption,
  dirOption,
  isoOrNull,
  keyAlgorithm,
  lifeInDays,
  secretOption,
} from '../ca-options.ts';
import { type Command, type Invocation, optionText } from '../command.ts';
import { confirm, yesOption } from '../confirm.ts';
import { exitCodes, note, print, printJson, table, UsageError } from '../io.ts';
import { peerOption, planOption } from './rotate.ts';

const explanations: Readonly<Record<CaStep, string>> = {
  prepare:
    'a successor key and certificate, and its key signed by the present CA; `ca export` has all',
  activate: 'the successor issues; its certificates bring the cross certificate along',
  retire: 'the former CA leaves the bundle, and its key is erased',
  undo: 'one step back: a successor that is active is prepared again, one that is prepared goes',
  replace:
    'a fresh CA; every former one leaves the bundle, its key is erased, and nothing speaks for the fresh one',
};

export const rotateCaCommand: Command = {
  name: 'rotate ca',
  summary: 'the inner CA goes to its next key: takes the steps that are due',
  details: `Without --step: prepare and activate, and when the former CA may go, retire. In between both are valid, and services that
trust the former one alone accept certificates of the next. It works on the directory, whether an agent runs or not.
--now is for a key that was stolen: the CA is replaced at once. Every certificate that it issued is refused where the new
one is taken in, no cross certificate is handed out, and all others must take in the new CA with
\`ca trust FILE --fingerprint SHA256\`.`,
  options: {
    ...dirOption,
    ...secretOption,
    step: {
      type: 'string',
      value: 'STEP',
      does: 'only this step: prepare, activate or retire',
    },
    undo: { type: 'boolean', does: 'one step back, until the former CA is retired' },
    now: {
      type: 'boolean',
      does: 'replace the CA at once; with --step retire: retire the former one without waiting',
    },
    'new-secret-file': {
      type: 'string',
      value: 'FILE',
      does: 'with --now: file (mode 0600) with the passphrase from then on, when the old one may be known',
    },
    ...algorithmOption('of the next key: p384, p256 or ed25519; default: as before'),
    ...daysOption('that of the present CA'),
    peer: peerOption,
    plan: planOption,
    yes: yesOption,
  },
  async run(invocation) {
    const request = { ...requestOf(invocation), ...keyAlgorithm(invocation) };
    using newPassphrase = newSecret(invocation, request);
    await checkPeer(invocation);
    const dir = caDirectory(invocation);
    const plan = await planCaRotation(dir, request, systemClock);
    if (invocation.options['plan'] === true) return showPlan(invocation, plan);
    if (plan.obstacle !== undefined) throw plan.obstacle;
    if (plan.steps.length === 0) {
      // The last call may have been killed before it came to this.
      await refreshCertificates(dir);
      return show(invocation, dir, []);
    }
    if (!(await confirm(invocation, question(plan.steps, request)))) return exitCodes.ok;
    using passphrase = await caPassphrase(invocation, false);
    const steps = await rotateCa({
      dir,
      passphrase,
      ...request,
      ...lifeInDays(invocation),
      ...(newPassphrase === undefined ? {} : { newPassphrase }),
      clock: systemClock,
      rng: systemRng,
    });
    return show(invocation, dir, steps);
  },
};

function requestOf(invocation: Invocation): CaRotationRequest {
  const step = optionText(invocation, 'step');
  const isNow = invocation.options['now'] === true;
  if (step !== undefined && step !== 'prepare' && step !== 'activate' && step !== 'retire')
    throw new UsageError(`--step takes prepare, activate or retire, got ${step}`);
  if (invocation.options['undo'] === true) {
    if (step !== undefined || isNow) throw new UsageError('--undo goes with no other step');
    return { step: 'undo' };
  }
  if (!isNow) return step === undefined ? {} : { step };
  if (step === undefined) return { step: 'replace' };
  if (step !== 'retire') throw new UsageError('--now goes with --step retire, or with no step');
  return { step, immediately: true };
}

function newSecret(invocation: Invocation, { step }: CaRotationRequest): Secret | undefined {
  const file = optionText(invocation, 'new-secret-file');
  if (file === undefined) return undefined;
  // Under the same keys it would protect no copy that is out already.
  if (step !== 'replace') throw new UsageError('--new-secret-file goes with --now, and no step');
  return readSecretFile(file);
}

/** Whether the peer is there to follow is known to the agent; the CA is no affair of it. */
async function checkPeer(invocation: Invocation): Promise<void> {
  const peer = optionText(invocation, 'peer');
  if (peer !== undefined) await ask(invocation, 'rotate.ca', { peer });
}

function question(steps: readonly CaStep[], { immediately }: CaRotationRequest): string {
  if (steps.includes('replace'))
    return 'replace the inner CA at once? Certificates of the former one are refused, and everybody must compare the new fingerprint.';
  if (immediately === true)
    return 'retire the former CA without waiting? Its certificates that are still in use are refused.';
  return `inner CA: ${steps.join(' and ')}?`;
}

function showPlan(invocation: Invocation, plan: CaRotationPlan): number {
  const { state, steps, deadline, obstacle } = plan;
  if (invocation.json)
    printJson(invocation.io, {
      schema: 'kelmesh.rotate-plan/1',
      kind: 'ca',
      state,
      obstacle: obstacle?.message ?? null,
      steps: steps.map((step) => ({ step, does: explanations[step] })),
      deadline: isoOrNull(deadline),
      pairs: [],
    });
  else if (steps.length > 0)
    print(invocation.io, table(steps.map((step) => [step, explanations[step]])));
  else print(invocation.io, 'nothing is due');
  if (obstacle !== undefined) note(invocation.io, `not now: ${obstacle.message}`);
  else if (deadline !== undefined && !steps.includes('retire'))
    note(invocation.io, `the former CA may be retired from ${new Date(deadline).toISOString()}`);
  return exitCodes.ok;
}

async function show(
  invocation: Invocation,
  dir: string,
  steps: readonly CaStep[],
): Promise<number> {
  const description = await describeGenerations(dir);
  const { deadline } = await planCaRotation(dir, {}, systemClock);
  const { state, generations } = description;
  if (invocation.json) {
    printJson(invocation.io, {
      schema: 'kelmesh.rotate/1',
      kind: 'ca',
      dir,
      step: steps.at(-1) ?? null,
      steps,
      state,
      fingerprints: fingerprints(description),
      deadline: isoOrNull(deadline),
    });
    return exitCodes.ok;
  }
  print(
    invocation.io,
    table([
      ['done', steps.join(', ') || 'nothing was due'],
      ...generations.map(({ role, number, ca }) => [
        role,
        `generation ${number}, SHA-256 ${ca.fingerprint}`,
      ]),
    ]),
  );
  note(invocation.io, `next: ${next(state, steps, deadline)}`);
  return exitCodes.ok;
}

function fingerprints({ generations }: CaDescription) {
  const of = (wanted: string) =>
    generations.find(({ role }) => role === wanted)?.ca.fingerprint ?? null;
  return { former: of('former'), current: of('current'), successor: of('successor') };
}

function next(
  state: CaDescription['state'],
  steps: readonly CaStep[],
  deadline: number | undefined,
): string {
  if (state === 'prepared')
    return 'give `kelmesh ca export` to the others, then `kelmesh rotate ca` activates the successor';
  if (state === 'activated')
    return `issue anew with \`kelmesh ca issue\`, give \`kelmesh ca export\` to the others; from ${new Date(deadline ?? 0).toISOString()} on \`kelmesh rotate ca\` retires the former CA`;
  if (steps.includes('replace'))
    return 'issue everything anew with `kelmesh ca issue`; the others need `kelmesh ca export`, and the fingerprint by another way for `kelmesh ca trust FILE --fingerprint SHA256`';
  return 'give `kelmesh ca export` to the others: with it the former CA leaves their trust';
}
