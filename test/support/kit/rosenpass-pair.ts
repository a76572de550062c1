/** Two ends of Rosenpass with real keys and a wire between them on which a test lays its hands. */
import assert from 'node:assert/strict';
import type { Rng } from '#src/rng';
import type { RosenpassVersion } from '#src/rosenpass/keyed-hash';
import { kyber512 } from '#src/rosenpass/kyber512';
import { type MachineOptions, RosenpassMachine } from '#src/rosenpass/machine';
import { olderSecretKey } from '#src/rosenpass/mceliece/key-pair';
import { McEliece460896 } from '#src/rosenpass/mceliece/mceliece';
import type {
  RosenpassAddress,
  RosenpassEffect,
  RosenpassPeerOptions,
} from '#src/rosenpass/peer-exchange';
import { SeededRng } from '../doubles/seeded-rng.ts';
import { readRosenpassVector } from './rosenpass-vector.ts';

export interface RosenpassKeys {
  readonly secretKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** Two pairs of the older form, each made once: see `fixtures/README.md`. */
export function rosenpassKeys(): readonly [RosenpassKeys, RosenpassKeys] {
  const [aSecret, aPublic, bSecret, bPublic] = readRosenpassVector();
  assert.ok(aSecret && aPublic && bSecret && bPublic);
  return [
    { secretKey: olderSecretKey(aSecret), publicKey: aPublic },
    { secretKey: olderSecretKey(bSecret), publicKey: bPublic },
  ];
}

const [keysA, keysB] = rosenpassKeys();
const unused: Rng = { bytes: () => assert.fail('no randomness is drawn here') };
/** Preparing a decoder takes milliseconds; the machines of a file share them. */
const decoders = [keysA, keysB].map(
  ({ secretKey, publicKey }) => new McEliece460896(secretKey, () => publicKey, unused),
);

export function addressOf(name: string): RosenpassAddress {
  return { endpoint: name, source: name };
}

export type PairOptions = {
  readonly version?: RosenpassVersion;
  readonly seed?: string;
  /** Which of the two know the address of the other; @default A */
  readonly begin?: readonly ('a' | 'b')[];
} & Partial<Record<'a' | 'b', Partial<RosenpassPeerOptions>>>;

/** One end: its machine, and what it has put out. */
export class RosenpassEnd {
  readonly name: string;
  readonly machine: RosenpassMachine;
  /** Keys in hexadecimal with their reason. */
  readonly keys: string[] = [];

  constructor(name: string, options: MachineOptions) {
    this.name = name;
    this.machine = new RosenpassMachine(options);
  }

  /** Datagrams to send; keys are noted. */
  carryOut(effects: readonly RosenpassEffect[]): readonly Uint8Array[] {
    return effects.flatMap((effect) => {
      if (effect.kind === 'send') return [effect.datagram];
      if (effect.kind === 'trouble') throw effect.error;
      this.keys.push(`${effect.reason} ${effect.key.expose().toHex()}`);
      effect.key[Symbol.dispose]();
      return [];
    });
  }

  poll(now: number): readonly Uint8Array[] {
    return this.carryOut(this.machine.poll(now));
  }

  take(datagram: Uint8Array, from: string, now: number): readonly Uint8Array[] {
    return this.carryOut(this.machine.handle(datagram, addressOf(from), now));
  }

  /** What was refused, and how often. */
  get refused(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.machine.refused);
  }
}

export function machineOptions(
  own: 'a' | 'b',
  peer: Partial<RosenpassPeerOptions>,
  { version = 'V02', seed = 'pair' }: Pick<PairOptions, 'version' | 'seed'> = {},
): MachineOptions {
  const [mine, theirs] = own === 'a' ? [keysA, keysB] : [keysB, keysA];
  const rng = new SeededRng(`${seed}/${own}`);
  const decoder = decoders[own === 'a' ? 0 : 1] ?? assert.fail();
  const encoder = new McEliece460896(mine.secretKey, () => mine.publicKey, rng);
  return {
    kems: {
      staticKem: {
        ciphertextLength: decoder.ciphertextLength,
        encapsulate: (publicKey) => encoder.encapsulate(publicKey),
        decapsulate: (ciphertext) => decoder.decapsulate(ciphertext),
        [Symbol.dispose]: () => undefined,
      },
      ephemeralKem: kyber512,
    },
    ownPublicKey: mine.publicKey,
    peers: [{ version, publicKey: () => theirs.publicKey, ...peer }],
    rng,
  };
}

export interface RosenpassPair {
  readonly a: RosenpassEnd;
  readonly b: RosenpassEnd;
}

export function rosenpassPair(options: PairOptions = {}): RosenpassPair {
  const { begin = ['a'] } = options;
  const end = (own: 'a' | 'b', other: 'a' | 'b') => {
    const address = begin.includes(own) ? { address: addressOf(other) } : {};
    return new RosenpassEnd(own, machineOptions(own, { ...address, ...options[own] }, options));
  };
  return { a: end('a', 'b'), b: end('b', 'a') };
}

/** The four datagrams of a handshake that A begins, as they pass. */
export function handshake({ a, b }: RosenpassPair, now: number): readonly Uint8Array[] {
  const [hello = assert.fail('no InitHello')] = a.poll(now);
  const [answer = assert.fail('no RespHello')] = b.take(hello, 'a', now);
  const [confirmation = assert.fail('no InitConf')] = a.take(answer, 'b', now);
  const [data = assert.fail('no EmptyData')] = b.take(confirmation, 'a', now);
  assert.deepEqual(a.take(data, 'b', now), []);
  return [hello, answer, confirmation, data];
}
