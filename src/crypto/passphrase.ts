/** A key out of a passphrase, by Argon2id (RFC 9106): slow on purpose, and no slower than a file may ask for. */
import { argon2 } from 'node:crypto';
import { promisify } from 'node:util';
import { Secret } from '../secret.ts';

export interface PassphraseCost {
  /** KiB: 8 per lane at least, 2 GiB at most. */
  readonly memory: number;
  /** 1 to 64. */
  readonly passes: number;
  /** 1 to 16. */
  readonly lanes: number;
}

/** RFC 9106 section 4, second recommended option: 64 MiB, about 0.2 s on one server core. */
export const defaultPassphraseCost: PassphraseCost = { memory: 65_536, passes: 3, lanes: 4 };

const KEY_LENGTH = 32;
const MAX_MEMORY = 2 * 1024 * 1024;
const MAX_PASSES = 64;
const MAX_LANES = 16;

const deriveKey = promisify(argon2);

/** The reason why a cost is out of bounds, or undefined. */
export function costProblem({ memory, passes, lanes }: PassphraseCost): string | undefined {
  if (!between(lanes, 1, MAX_LANES)) return `lanes: expected 1 to ${MAX_LANES}, got ${lanes}`;
  if (!between(passes, 1, MAX_PASSES)) return `passes: expected 1 to ${MAX_PASSES}, got ${passes}`;
  if (!between(memory, 8 * lanes, MAX_MEMORY))
    return `memory: expected ${8 * lanes} to ${MAX_MEMORY} KiB, got ${memory}`;
  return undefined;
}

/** @param salt 16 bytes  @param cost within bounds  @returns 32 bytes */
export async function keyOfPassphrase(
  passphrase: Secret,
  salt: Uint8Array,
  { memory, passes, lanes }: PassphraseCost,
): Promise<Secret> {
  return Secret.take(
    await deriveKey('argon2id', {
      message: passphrase.expose(),
      nonce: salt,
      memory,
      passes,
      parallelism: lanes,
      tagLength: KEY_LENGTH,
    }),
  );
}

function between(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}
