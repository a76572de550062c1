/** Two ends with software keys and a pair of joined streams for the agreement's tests. */

import type { MessageStream, PeerKey } from '#agent/network/network';
import type {
  AgreementDeps,
  AgreementEnds,
  LocalEnd,
  OtherEnd,
  VerifyPairSignatures,
} from '#agent/tunnel/agreement/agreement';
import type { AgreementPolicy } from '#agent/tunnel/agreement/policy';
import { requiredContributions } from '#agent/tunnel/agreement/policy';
import type { Aid, Said, VerificationKey } from '#kel/identifiers';
import { concatBytes } from '#src/bytes';
import type { CryptoSuite } from '#src/crypto/suite';
import { loadCryptoSuite } from '#src/crypto/suites';
import { Secret } from '#src/secret';
import { SeededRng } from '../doubles/seeded-rng.ts';

export const suites: readonly CryptoSuite[] = [
  await loadCryptoSuite('fast'),
  await loadCryptoSuite('portable'),
];
const suite = suites[0] as CryptoSuite;

export const mesh = `E${'m'.repeat(43)}`;
export const policy: AgreementPolicy = {
  contributions: requiredContributions,
  epochSeconds: 3600,
  baseEpoch: 490_000,
};

export interface End {
  readonly local: LocalEnd;
  readonly peer: OtherEnd;
}

/** An end named by one letter, with `keyCount` Ed25519 keys of which `threshold` must sign. */
export function makeEnd(letter: string, keyCount = 1, threshold = keyCount): End {
  const rng = new SeededRng(`end ${letter}`);
  const seeds = Array.from({ length: keyCount }, () => rng.bytes(32));
  const mlKemSeed = rng.bytes(64);
  const shared = {
    aid: `E${letter.repeat(43)}` as Aid,
    establishment: { sn: 3, said: `E${letter}${'e'.repeat(42)}` as Said },
    tunnelRecord: `E${letter}${'t'.repeat(42)}` as Said,
    keys: seeds.map((seed) => verificationKey(suite.ed25519.publicKey(seed))),
    signingThreshold: threshold.toString(16),
  };
  return {
    local: {
      ...shared,
      mlKemSeed: new Secret(mlKemSeed),
      sign: async (message) =>
        seeds.map((seed, index) => ({ index, raw: suite.ed25519.sign(message, seed) })),
    },
    peer: { ...shared, mlKemPublicKey: suite.mlKem1024.publicKey(mlKemSeed) },
  };
}

/** CESR code `D`: one lead byte whose six bits the code replaces. */
function verificationKey(publicKey: Uint8Array): VerificationKey {
  const text = Buffer.from(concatBytes(Uint8Array.of(0), publicKey)).toString('base64url');
  return `D${text.slice(1)}` as VerificationKey;
}

export const verifySignature: VerifyPairSignatures = (keys, threshold, message, signatures) => {
  const valid = new Set<number>();
  for (const { index, raw } of signatures) {
    const key = keys[index];
    if (key === undefined) return false;
    const publicKey = Buffer.from(`A${key.slice(1)}`, 'base64url').subarray(1);
    if (!suite.ed25519.verify(raw, message, publicKey)) return false;
    valid.add(index);
  }
  return valid.size >= Number.parseInt(threshold as string, 16);
};

export const a = makeEnd('a');
export const b = makeEnd('b');
export const aView: AgreementEnds = { mesh, local: a.local, peer: b.peer };
export const bView: AgreementEnds = { mesh, local: b.local, peer: a.peer };

export function depsOf(seed: string, chosen: CryptoSuite = suite): AgreementDeps {
  return { suite: chosen, rng: new SeededRng(seed), verifySignature };
}

/** What the path does to the `index`-th message of one direction: pass it, change it, or lose it. */
export type Path = (message: Uint8Array, index: number) => Uint8Array | undefined;

/** Two ends of one stream. */
export function joinedStreams(
  toResponder: Path = (message) => message,
  toInitiator: Path = (message) => message,
): readonly [TestStream, TestStream] {
  const one = new TestStream('one' as PeerKey, toResponder);
  const other = new TestStream('other' as PeerKey, toInitiator);
  one.join(other);
  other.join(one);
  return [one, other];
}

export class TestStream implements MessageStream {
  readonly peer: PeerKey;
  readonly sent: Uint8Array[] = [];
  aborted: Error | undefined;
  isClosed = false;
  readonly #path: Path;
  readonly #inbox: Uint8Array[] = [];
  #other: TestStream | undefined;
  #waiting:
    | { resolve(value: Uint8Array | undefined): void; reject(reason: Error): void }
    | undefined;

  constructor(peer: PeerKey, path: Path) {
    this.peer = peer;
    this.#path = path;
  }

  join(other: TestStream): void {
    this.#other = other;
  }

  async send(message: Uint8Array): Promise<void> {
    if (this.aborted !== undefined) throw this.aborted;
    const passed = this.#path(message, this.sent.length);
    this.sent.push(message);
    if (passed !== undefined) this.#other?.deliver(passed);
  }

  receive(): Promise<Uint8Array | undefined> {
    if (this.aborted !== undefined) return Promise.reject(this.aborted);
    const message = this.#inbox.shift();
    if (message !== undefined) return Promise.resolve(message);
    if (this.#other?.isClosed) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.#other?.deliver(undefined);
  }

  abort(reason: Error): void {
    if (this.aborted !== undefined) return;
    this.aborted = reason;
    this.#waiting?.reject(reason);
    this.#other?.abort(new Error('reset by the other end', { cause: reason }));
  }

  deliver(message: Uint8Array | undefined): void {
    if (this.#waiting !== undefined) {
      this.#waiting.resolve(message);
      this.#waiting = undefined;
    } else if (message !== undefined) {
      this.#inbox.push(message);
    }
  }
}
