/** What a rotation of the CA would do next: from where it stands and the clock alone. */
import type { Clock } from '#src/clock';
import type { CertificateAlgorithm } from '#src/mtls/key-algorithm';
import type { CaFile } from './ca-file.ts';
import { CaError } from './errors.ts';
import { type CaState, onlyCertificate, stateOf } from './generation.ts';
import { readCa } from './open-ca.ts';

/** `replace`: a key was stolen; a fresh CA at once, for which nothing of the former ones speaks. */
export type CaStep = 'prepare' | 'activate' | 'retire' | 'undo' | 'replace';

export interface CaRotationRequest {
  /** Default: what is due. From `stable` that is prepare and activate, in `activated` it is retire, when it may be. */
  readonly step?: CaStep;
  /** With `retire`: without waiting, and no cross certificate is handed out any more. */
  readonly immediately?: boolean;
  /** Of the successor; default that of the CA. One that is prepared has its own. */
  readonly algorithm?: CertificateAlgorithm;
}

export interface CaRotationPlan {
  readonly state: CaState;
  /** In this order; none when nothing is due. */
  readonly steps: readonly CaStep[];
  /** When the former generation may be retired, milliseconds since the Unix epoch; undefined when there is none. */
  readonly deadline: number | undefined;
  /** Why it cannot be done now. */
  readonly obstacle: CaError | undefined;
}

type Standing = Pick<CaFile, 'issuing' | 'generations'>;
type Outcome = readonly CaStep[] | CaError;

/** Needs no passphrase, changes nothing. @throws CA_NOT_FOUND, CA_CORRUPT, CA_IO */
export async function planCaRotation(
  dir: string,
  request: CaRotationRequest,
  clock: Clock,
): Promise<CaRotationPlan> {
  return planRotation(await readCa(dir), request, clock.now());
}

export function planRotation(
  standing: Standing,
  request: CaRotationRequest,
  now: number,
): CaRotationPlan {
  const state = stateOf(standing);
  const outcome =
    request.step === 'replace' ? ['replace' as const] : outcomes[state](standing, request, now);
  return {
    state,
    steps: outcome instanceof CaError ? [] : outcome,
    deadline: deadlineOf(standing),
    obstacle: outcome instanceof CaError ? outcome : undefined,
  };
}

/** Not before the successor issues, and not before all that the former one issued has run out. */
function deadlineOf(standing: Standing): number | undefined {
  if (stateOf(standing) !== 'activated') return undefined;
  const [former, current] = standing.generations;
  return Math.max(former?.issuedUntil ?? 0, current?.activatedAt ?? 0);
}

const outcomes: Readonly<
  Record<CaState, (standing: Standing, request: CaRotationRequest, now: number) => Outcome>
> = { stable, prepared, activated };

function stable(standing: Standing, { step }: CaRotationRequest, now: number): Outcome {
  if (step === 'retire') return [];
  if (step === 'activate') return noStep('activate: no successor is prepared');
  if (step === 'undo') return noStep('undo: no rotation is under way');
  const ca = onlyCertificate(standing.generations[standing.issuing]?.certificate ?? '');
  // It could sign no cross certificate that anyone accepts.
  if (now >= ca.notAfter)
    return new CaError(
      'CA_EXPIRED',
      `CA ${ca.name}: valid until ${iso(ca.notAfter)}, now is ${iso(now)}`,
    );
  return step === 'prepare' ? ['prepare'] : ['prepare', 'activate'];
}

function prepared(
  { generations }: Standing,
  { step, algorithm }: CaRotationRequest,
  now: number,
): Outcome {
  const [, successor] = generations;
  if (step === 'retire') return noStep('retire: the successor is prepared, but does not issue yet');
  if (step !== 'undo') {
    if (algorithm !== undefined && algorithm !== successor?.algorithm)
      return noStep(
        `prepare: the successor has a key of ${successor?.algorithm}, not ${algorithm}: \`--undo\` lets it go`,
      );
    return step === 'prepare' ? [] : ['activate'];
  }
  const until = successor?.issuedUntil ?? 0;
  return now < until ? notDue('undo', successor?.number, until, now) : ['undo'];
}

function activated(standing: Standing, request: CaRotationRequest, now: number): Outcome {
  const { step } = request;
  if (step === 'undo') return ['undo'];
  if (step === 'activate') return [];
  if (step === 'prepare') return noStep('prepare: the CA before this one is not retired yet');
  const deadline = deadlineOf(standing) ?? 0;
  if (now >= deadline || request.immediately === true) return ['retire'];
  return step === 'retire' ? notDue('retire', standing.generations[0]?.number, deadline, now) : [];
}

function noStep(message: string): CaError {
  return new CaError('CA_NO_STEP', message);
}

function notDue(step: CaStep, generation: number | undefined, until: number, now: number): CaError {
  return new CaError(
    'CA_NOT_DUE',
    `${step}: certificates of generation ${generation} are valid until ${iso(until)}, now is ${iso(now)}`,
  );
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
