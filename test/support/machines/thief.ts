/** Somebody who holds a copy of the current signing key of a machine, and nothing else of it that is secret. */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemRng } from '#agent/compose';
import { buildInteraction } from '#kel/event/interaction';
import { keyDigest } from '#kel/event/key-digest';
import { buildRotation } from '#kel/event/rotation';
import { digestSeal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { encodeVerificationKey } from '#kel/event/verification-key';
import type { Aid } from '#kel/identifiers';
import type { EventReference, KeyState } from '#kel/key-state/key-state';
import { LogVerifier } from '#kel/verify/log-verifier';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { loadCryptoSuite } from '#src/crypto/suites';
import type { KeyId, SigningKey } from '#src/keystore/key-store';
import { SealedFileKeyStore } from '#src/keystore/sealed-file';
import { Secret } from '#src/secret';
import type { Machine } from './federation.ts';

export class Thief {
  readonly #directory: string;
  readonly #keyStore: SealedFileKeyStore;
  readonly #key: KeyId;
  readonly #state: KeyState;

  private constructor(
    directory: string,
    keyStore: SealedFileKeyStore,
    key: KeyId,
    state: KeyState,
  ) {
    this.#directory = directory;
    this.#keyStore = keyStore;
    this.#key = key;
    this.#state = state;
  }

  /** Copies the key store file and opens it with the passphrase of the machine; of its keys only the current one stays. */
  static async of(machine: Machine): Promise<Thief> {
    const state = await stateOf(machine);
    const directory = mkdtempSync(join(tmpdir(), 'kelmesh-thief-'));
    const file = join(directory, 'keys.sealed');
    copyFileSync(machine.path('/var/lib/kelmesh/keys.sealed'), file);
    using secret = new Secret(Buffer.from(machine.read('/var/lib/kelmesh/secret').trim()));
    const keyStore = await SealedFileKeyStore.open(file, secret, systemRng);
    let current: KeyId | undefined;
    for (const { id, kind } of await keyStore.list()) {
      const isCurrent =
        kind === 'signing' && textOf(await keyStore.signingKey(id)) === state.keys[0];
      if (isCurrent) current = id;
      else await keyStore.destroy(id);
    }
    if (current === undefined)
      throw new Error(`${machine.name}: its current key is not in ${file}`);
    return new Thief(directory, keyStore, current, state);
  }

  /** The key state at the time of the theft. */
  get state(): KeyState {
    return this.#state;
  }

  /** An interaction after `after`, signed. @returns the event as a file, and where it stands */
  async interaction(
    after: EventReference = this.#state,
  ): Promise<EventReference & { readonly message: Uint8Array }> {
    const { sn, said, bytes } = buildInteraction({
      prior: { ...this.#state, sn: after.sn, said: after.said },
      anchors: [digestSeal(this.#state.said)],
    });
    return { sn, said, message: await this.#signed(bytes, [this.#key]) };
  }

  /** A rotation to keys of the thief, after the event at which it stole the key. */
  async rotation(): Promise<Uint8Array> {
    const own = await this.#keyStore.generateSigningKey();
    const { bytes } = buildRotation({
      prior: this.#state,
      keys: [textOf(own)],
      nextDigests: [keyDigest(textOf(own))],
    });
    return this.#signed(bytes, [own.id]);
  }

  async close(): Promise<void> {
    await this.#keyStore.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #signed(bytes: Uint8Array, keys: readonly KeyId[]): Promise<Uint8Array> {
    const signatures = await Promise.all(
      keys.map(async (id, index) => ({
        index,
        raw: await this.#keyStore.sign(id, bytes),
        algorithm: (await this.#keyStore.signingKey(id)).algorithm,
      })),
    );
    return encodeSignedEvent(bytes, signatures);
  }
}

async function stateOf(machine: Machine): Promise<KeyState> {
  const { aid, cesr } = await machine.json('id', 'export');
  const verifier = new LogVerifier(createSignatureVerifier((await loadCryptoSuite()).ed25519));
  verifier.feed(Buffer.from(cesr, 'base64'));
  verifier.finish();
  const state = verifier.state(aid as Aid);
  if (state === undefined) throw new Error(`the log of ${machine.name} does not verify`);
  return state;
}

function textOf({ algorithm, publicKey }: SigningKey) {
  return encodeVerificationKey(algorithm, publicKey);
}
