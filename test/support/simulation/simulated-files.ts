/**
 * The disk and the power of a simulated machine. What was written before the power failed is there afterwards;
 * what was under way is there or not, as the seed has it; nobody is told.
 */
import { MemoryLevel } from 'memory-level';
import type { LogFiles } from '#src/audit/log-files';
import type { KeyStore } from '#src/keystore/key-store';
import type { Database } from '#src/store/durable-table';
import type { SeededRng } from '../doubles/seeded-rng.ts';

/** One run of a machine's program: once it is cut, nothing that the program does has an effect any more. */
export class Power {
  #isOn = true;
  #writesLeft: number | undefined;
  #onCut: () => void = () => undefined;

  get isOn(): boolean {
    return this.#isOn;
  }

  /** @param cut called at the instant at which the power fails */
  onCut(cut: () => void): void {
    this.#onCut = cut;
  }

  cut(): void {
    if (!this.#isOn) return;
    this.#isOn = false;
    this.#onCut();
  }

  /** Fails at the `count`-th write from now, counted over database, files, key store and devices. */
  cutAtWrite(count: number): void {
    this.#writesLeft = count;
  }

  /** Settles as `work` does, or never when the power failed meanwhile. */
  while<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      work.then(
        (value) => {
          if (this.#isOn) resolve(value);
        },
        (error: unknown) => {
          if (this.#isOn) reject(error as Error);
        },
      );
    });
  }

  /** `work` with its effect; when the power fails at it, `torn` decides what is left of it. */
  async write<T>(work: () => Promise<T>, torn: () => Promise<unknown>): Promise<T> {
    if (!this.#isOn) return never();
    if (this.#writesLeft !== undefined && --this.#writesLeft <= 0) {
      await torn();
      this.cut();
      return never();
    }
    return this.while(work());
  }
}

function never<T>(): Promise<T> {
  return new Promise(() => undefined);
}

const encodings = { keyEncoding: 'utf8', valueEncoding: 'view' } as const;

export class SimulatedDisk {
  readonly #rng: SeededRng;
  readonly #files = new Map<string, Uint8Array>();
  #database: Database | undefined;

  /** @param rng decides what is left of a write that was under way */
  constructor(rng: SeededRng) {
    this.#rng = rng;
  }

  /** The database as the last run left it. */
  async database(power: Power): Promise<Database> {
    const former = this.#database;
    const level = new MemoryLevel<string, Uint8Array>({ ...encodings, storeEncoding: 'view' });
    const database = level as unknown as Database;
    await database.open();
    if (former !== undefined) {
      await former.open();
      for await (const [key, value] of former.iterator<string, Uint8Array>(encodings)) {
        await database.put(key, value, encodings);
      }
    }
    guard(database, power, this.#rng);
    this.#database = database;
    return database;
  }

  logFiles(power: Power): LogFiles {
    const files = this.#files;
    const isWhole = (): boolean => this.#rng.next() < 0.5;
    return {
      read: async (path) => files.get(path)?.slice(),
      replace: (path, bytes) => {
        const copy = bytes.slice();
        const write = async () => void files.set(path, copy);
        return power.write(write, async () => (isWhole() ? write() : undefined));
      },
      append: (path, bytes) => {
        const add = async (part: Uint8Array) =>
          void files.set(path, Buffer.concat([files.get(path) ?? new Uint8Array(), part]));
        return power.write(
          () => add(bytes),
          () => add(bytes.subarray(0, this.#rng.int(bytes.length + 1))),
        );
      },
      truncate: (path, length) => {
        const write = async () =>
          void files.set(path, (files.get(path) ?? new Uint8Array()).slice(0, length));
        return power.write(write, async () => (isWhole() ? write() : undefined));
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
  }
}

/** A token that outlives the program which uses it. */
export function poweredKeyStore(token: KeyStore, power: Power): KeyStore {
  return {
    description: token.description,
    generateSigningKey: (algorithm) =>
      power.write(
        () => token.generateSigningKey(algorithm),
        () => token.generateSigningKey(algorithm),
      ),
    signingKey: (id) => token.signingKey(id),
    sign: (id, message) => token.sign(id, message),
    generateRoot: () =>
      power.write(
        () => token.generateRoot(),
        () => token.generateRoot(),
      ),
    prf: (root, label, length) => token.prf(root, label, length),
    destroy: (id) =>
      power.write(
        () => token.destroy(id),
        () => token.destroy(id),
      ),
    list: () => token.list(),
    close: async () => undefined,
  };
}

/** Every write of every sublevel comes through one of these methods of the root. */
function guard(database: Database, power: Power, rng: SeededRng): void {
  const methods = database as unknown as Record<
    'put' | 'del' | 'batch',
    (...args: unknown[]) => Promise<void>
  >;
  for (const name of ['put', 'del', 'batch'] as const) {
    const write = methods[name].bind(database);
    methods[name] = (...args) =>
      power.write(
        () => write(...args),
        async () => (rng.next() < 0.5 ? write(...args) : undefined),
      );
  }
}
