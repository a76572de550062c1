/**
 * The CA goes from one key to the next: RFC 4210 4.4 (CA key update), in SPIRE's words.
 *
 *   prepare    a successor with a key of its own, and its key signed with the former one: others can take both in
 *   activate   the successor issues; its certificates bring the cross certificate along
 *   retire     the former CA goes out of the bundle and its key is erased, once all that it issued has run out
 *
 * Each step is one replacement of one file: after a crash it is made or not, and the next call goes on from there.
 */
import { createCrossCertificate, createSuccessorCertificate } from '#src/mtls/certificate';
import { exportPrivateKey, generateKeyPair } from '#src/mtls/key-algorithm';
import type { Secret } from '#src/secret';
import { BACKDATE, checkDays, newSerial } from './ca.ts';
import { MAX_RETIRED, type RetiredGeneration, type RetirementReason } from './ca-file.ts';
import { onlyCertificate, stateOf } from './generation.ts';
import {
  type CaAccess,
  type CaContent,
  issuerOf,
  type KeyedGeneration,
  type OpenCa,
  withOpenCa,
} from './open-ca.ts';
import { type CaRotationRequest, type CaStep, planRotation } from './rotation-plan.ts';

export interface CaRotationOptions extends CaAccess, CaRotationRequest {
  /** Life of the successor in days, 1 to 3650; default: that of the CA that issues. */
  readonly days?: number;
  /** With `replace`: whoever has the old passphrase opens the file no more. */
  readonly newPassphrase?: Secret;
}

const DAY = 86_400_000;

/**
 * @returns the steps that were taken: none when nothing is due, or it is done already
 * @throws CA_NO_STEP, CA_NOT_DUE, CA_EXPIRED, CA_BAD_INPUT, CA_NOT_FOUND, CA_WRONG_PASSPHRASE, CA_CORRUPT, CA_LOCKED, CA_IO
 */
export async function rotateCa(options: CaRotationOptions): Promise<readonly CaStep[]> {
  if (options.days !== undefined) checkDays(options.days, 3650);
  return withOpenCa(options, async (ca) => {
    const { steps, obstacle } = planRotation(ca.content, options, options.clock.now());
    if (obstacle !== undefined) throw obstacle;
    for (const step of steps) await ca.write(await takers[step](ca, options));
    if (steps.length === 0) await ca.writeCertificates();
    return steps;
  });
}

type Taker = (ca: OpenCa, options: CaRotationOptions) => CaContent | Promise<CaContent>;

const takers: Readonly<Record<CaStep, Taker>> = {
  prepare: async (ca, options) => ({
    ...ca.content,
    generations: [...ca.content.generations, await newGeneration(ca, options, true)],
  }),
  activate: ({ content }, { clock }) => issueFrom(content, 1, clock.now()),
  retire: ({ content }, { clock, immediately = false }) =>
    retireFormer(content, immediately, clock.now()),
  undo: ({ content }, { clock }) =>
    stateOf(content) === 'activated'
      ? issueFrom(content, 0, 0)
      : {
          ...content,
          generations: content.generations.slice(0, 1),
          retired: withReceipts(content, content.generations.slice(1), 'undone', clock.now()),
        },
  replace: async (ca, options) => {
    const now = options.clock.now();
    if (options.newPassphrase !== undefined) await ca.changePassphrase(options.newPassphrase);
    return {
      issuing: 0,
      generations: [{ ...(await newGeneration(ca, options, false)), activatedAt: now }],
      retired: withReceipts(ca.content, ca.content.generations, 'now', now),
    };
  },
};

/** @param activatedAt of the successor; 0 when it is not any more */
function issueFrom(content: CaContent, issuing: number, activatedAt: number): CaContent {
  const generations = content.generations.map((generation, i) =>
    i === 1 ? { ...generation, activatedAt } : generation,
  );
  return { ...content, issuing, generations };
}

function retireFormer(content: CaContent, immediately: boolean, now: number): CaContent {
  const [former, current] = content.generations as readonly [KeyedGeneration, KeyedGeneration];
  return {
    issuing: 0,
    // A thief of the former key can sign such certificates too: then nobody is to rely on one.
    generations: [immediately ? { ...current, cross: '' } : current],
    retired: withReceipts(content, [former], immediately ? 'now' : 'due', now),
  };
}

function withReceipts(
  { retired }: CaContent,
  generations: readonly KeyedGeneration[],
  why: RetirementReason,
  retiredAt: number,
): readonly RetiredGeneration[] {
  const receipts = generations.map(({ number, certificate, preparedAt, activatedAt }) => ({
    number,
    fingerprint: onlyCertificate(certificate).fingerprint,
    preparedAt,
    activatedAt,
    retiredAt,
    why,
  }));
  return [...retired, ...receipts].slice(-MAX_RETIRED);
}

/** In days, as it was asked for. */
function lifeOf(certificate: string): number {
  const { notBefore, notAfter } = onlyCertificate(certificate);
  return (notAfter - notBefore - BACKDATE) / DAY;
}

/** @param isCrossed whether the key of the generation that issues speaks for it */
async function newGeneration(
  ca: OpenCa,
  { algorithm = ca.issuing.algorithm, days, clock, rng }: CaRotationOptions,
  isCrossed: boolean,
): Promise<KeyedGeneration> {
  const now = clock.now();
  const { certificate: former } = ca.issuing;
  const keys = await generateKeyPair(algorithm);
  const validity = { notBefore: now - BACKDATE, notAfter: now + (days ?? lifeOf(former)) * DAY };
  const certificate = await createSuccessorCertificate(
    former,
    { ...validity, serial: newSerial(rng) },
    algorithm,
    keys,
  );
  const cross = isCrossed
    ? await createCrossCertificate(issuerOf(ca.issuing), keys.publicKey, {
        ...validity,
        notAfter: Math.min(validity.notAfter, onlyCertificate(former).notAfter),
        serial: newSerial(rng),
      })
    : '';
  const { generations, retired } = ca.content;
  return {
    number: Math.max(...[...generations, ...retired].map(({ number }) => number)) + 1,
    algorithm,
    preparedAt: now,
    activatedAt: 0,
    issuedUntil: 0,
    certificate,
    cross,
    key: ca.keep(await exportPrivateKey(keys.privateKey)),
  };
}
