/** Exchanges of this project's machine with other programs, recorded with all randomness of this end from a seed: they can be played again. */
import assert from 'node:assert/strict';
import { ml_kem512 } from '@noble/post-quantum/ml-kem.js';
import type { Rng } from '#src/rng';
import type { EphemeralKem } from '#src/rosenpass/kem';
import { kyberSecret } from '#src/rosenpass/kyber512';
import { RosenpassMachine } from '#src/rosenpass/machine';
import type { RosenpassEffect } from '#src/rosenpass/peer-exchange';
import { Secret } from '#src/secret';
import { addressOf, machineOptions } from './rosenpass-pair.ts';

export interface TranscriptStep {
  /** Milliseconds since the start. */
  readonly at: number;
  /** Base64; absent: the machine was asked what is due. */
  readonly received?: string;
  /** Base64. */
  readonly sent: readonly string[];
}

export interface Transcript {
  readonly program: string;
  /** Of this project's end, which has the keys of A in `fixtures/rosenpass/v03`; the program has those of B. */
  readonly role: 'initiator' | 'responder';
  readonly version: 'V02';
  readonly seed: string;
  /** Base64. */
  readonly psk: string;
  readonly steps: readonly TranscriptStep[];
  /** What both ends put out, base64. */
  readonly key: string;
}

/** A machine whose every byte follows from the transcript's head. */
export class TranscriptEnd {
  readonly machine: RosenpassMachine;
  readonly steps: TranscriptStep[] = [];
  /** Base64. */
  readonly keys: string[] = [];

  constructor({ role, version, seed, psk }: Pick<Transcript, 'role' | 'version' | 'seed' | 'psk'>) {
    const address = role === 'initiator' ? { address: addressOf('other') } : {};
    const presharedKey = new Secret(Uint8Array.fromBase64(psk));
    const options = machineOptions('a', { ...address, presharedKey }, { version, seed });
    const kems = { ...options.kems, ephemeralKem: seededKyber(options.rng) };
    this.machine = new RosenpassMachine({ ...options, kems });
  }

  /** @returns what is to be sent */
  poll(at: number): readonly Uint8Array[] {
    return this.#step({ at }, this.machine.poll(at));
  }

  take(datagram: Uint8Array, at: number): readonly Uint8Array[] {
    const received = datagram.toBase64();
    return this.#step({ at, received }, this.machine.handle(datagram, addressOf('other'), at));
  }

  #step(
    head: Pick<TranscriptStep, 'at' | 'received'>,
    effects: readonly RosenpassEffect[],
  ): readonly Uint8Array[] {
    const sent = effects.flatMap((effect) => (effect.kind === 'send' ? [effect.datagram] : []));
    for (const effect of effects)
      if (effect.kind === 'key') {
        assert.equal(effect.reason, 'exchanged');
        this.keys.push(effect.key.expose().toBase64());
      }
    this.steps.push({ ...head, sent: sent.map((datagram) => datagram.toBase64()) });
    return sent;
  }
}

function seededKyber(rng: Rng): EphemeralKem {
  return {
    generate() {
      const { publicKey, secretKey } = ml_kem512.keygen(rng.bytes(64));
      return {
        publicKey,
        decapsulate: (ciphertext) =>
          kyberSecret(ml_kem512.decapsulate(ciphertext, secretKey), ciphertext),
        [Symbol.dispose]: () => undefined,
      };
    },
    encapsulate(publicKey) {
      const { cipherText, sharedSecret } = ml_kem512.encapsulate(publicKey, rng.bytes(32));
      return { ciphertext: cipherText, sharedSecret: kyberSecret(sharedSecret, cipherText) };
    },
  };
}
