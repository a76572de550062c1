/**
 * One pair agreement, CPU of both ends together, in memory, with software signing keys.
 * Baseline: the bare operations that it cannot do without, in the same run: 2 X25519 key pairs and 2 shared secrets,
 * 1 ML-KEM-1024 key pair, 3 encapsulations and 3 decapsulations, 2 Ed25519 signatures and 4 verifications (each end
 * checks the own signature too before it sends it).
 */
import { randomBytes } from 'node:crypto';
import type { AgreementDeps, LocalEnd, OtherEnd } from '#agent/tunnel/agreement/agreement';
import { Initiator, Responder } from '#agent/tunnel/agreement/machine';
import { requiredContributions } from '#agent/tunnel/agreement/policy';
import type { Aid, Said, VerificationKey } from '#kel/identifiers';
import type { CryptoSuite } from '#src/crypto/suite';
import { loadCryptoSuite } from '#src/crypto/suites';
import { x25519KeyPair, x25519SharedSecret } from '#src/crypto/x25519';
import { Secret } from '#src/secret';

const random = (length: number) => new Uint8Array(randomBytes(length));

function endOf(suite: CryptoSuite, letter: string): LocalEnd & OtherEnd {
  const signingSeed = random(32);
  const mlKemSeed = random(64);
  return {
    aid: `E${letter.repeat(43)}` as Aid,
    establishment: { sn: 0, said: `E${letter.repeat(43)}` as Said },
    tunnelRecord: `E${letter.repeat(43)}` as Said,
    keys: [Buffer.from(suite.ed25519.publicKey(signingSeed)).toString('hex') as VerificationKey],
    signingThreshold: '1',
    mlKemSeed: new Secret(mlKemSeed),
    mlKemPublicKey: suite.mlKem1024.publicKey(mlKemSeed),
    sign: async (message) => [{ index: 0, raw: suite.ed25519.sign(message, signingSeed) }],
  };
}

async function agree(
  deps: AgreementDeps,
  one: LocalEnd & OtherEnd,
  other: LocalEnd & OtherEnd,
): Promise<void> {
  const policy = { contributions: requiredContributions, epochSeconds: 3600, baseEpoch: 490_000 };
  const mesh = `E${'m'.repeat(43)}`;
  const initiator = new Initiator(deps, { mesh, local: one, peer: other }, policy);
  const responder = new Responder(deps, { mesh, local: other, peer: one }, policy);
  const { message3, agreement } = await initiator.receive2(
    await responder.receive1(initiator.start()),
  );
  const answer = await responder.receive3(message3);
  if (!answer.chain.equals(agreement.chain)) throw new Error('the two ends disagree');
}

function bareOperations(
  { ed25519, mlKem1024 }: CryptoSuite,
  signingSeed: Uint8Array,
  signingKey: Uint8Array,
): void {
  const pairs = [x25519KeyPair(random(32)), x25519KeyPair(random(32))] as const;
  x25519SharedSecret(pairs[0].privateKey.expose(), pairs[1].publicKey);
  x25519SharedSecret(pairs[1].privateKey.expose(), pairs[0].publicKey);
  const seed = random(64);
  const publicKey = mlKem1024.publicKey(seed);
  for (let i = 0; i < 3; i++)
    mlKem1024.decapsulate(mlKem1024.encapsulate(publicKey).ciphertext, seed);
  for (let i = 0; i < 2; i++) {
    const signature = ed25519.sign(seed, signingSeed);
    for (let j = 0; j < 2; j++) ed25519.verify(signature, seed, signingKey);
  }
}

/** Milliseconds of CPU of this process per call. */
async function cpuOf(count: number, task: () => unknown): Promise<number> {
  for (let i = 0; i < count / 10; i++) await task();
  const start = process.cpuUsage();
  for (let i = 0; i < count; i++) await task();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000 / count;
}

for (const [name, count] of [
  ['fast', 400],
  ['portable', 60],
] as const) {
  const suite = await loadCryptoSuite(name);
  const deps: AgreementDeps = {
    suite,
    rng: { bytes: random },
    verifySignature: (keys, _threshold, message, [signature]) =>
      signature !== undefined &&
      suite.ed25519.verify(signature.raw, message, Buffer.from(keys[0] as string, 'hex')),
  };
  const [one, other] = [endOf(suite, 'a'), endOf(suite, 'b')];
  const signingSeed = random(32);
  const signingKey = suite.ed25519.publicKey(signingSeed);
  const bare = await cpuOf(count, () => bareOperations(suite, signingSeed, signingKey));
  const whole = await cpuOf(count, () => agree(deps, one, other));
  console.log(`${name}: bare operations (baseline)  ${bare.toFixed(2)} ms CPU`);
  console.log(
    `${name}: agreement, both ends  ${whole.toFixed(2)} ms CPU  ${(whole / bare).toFixed(2)} x baseline`,
  );
}
