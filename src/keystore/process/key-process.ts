/** The agent's end of a process that holds keys: start it, ask it one thing at a time, know when it is gone. */
import { type ChildProcess, fork } from 'node:child_process';
import type { Writable } from 'node:stream';
import { NODE_FLAGS } from '#src/confinement';
import type { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import { KeyStoreError } from '../errors.ts';
import {
  isResult,
  type KeyStoreFailure,
  type KeyStoreRequest,
  parseReply,
  type Recovery,
  type Results,
} from './protocol.ts';
import { SECRET_FD, writeSecret } from './secret-channel.ts';

export interface KeyProcessOptions {
  /** Added to the environment of the process: where a vendor's module finds its configuration. Never a secret. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Milliseconds for one request, after which the process is ended. @default 60_000 */
  readonly timeout?: number;
}

/** A failed request, with what to do about the process. */
export class KeyProcessError extends KeyStoreError {
  readonly recovery: Recovery;

  constructor({ code, message, recovery, hint }: KeyStoreFailure) {
    super(code, message, hint === undefined ? {} : { hint });
    this.recovery = recovery;
  }
}

const defaultTimeout = 60_000;

export class KeyProcess {
  readonly #child: ChildProcess;
  readonly #timeout: number;
  readonly #requests = new SerialQueue();
  readonly #ended: Promise<string>;
  #end: string | undefined;

  /** @param program that serves keys (`serve.ts`) */
  constructor(program: string, { environment = {}, timeout = defaultTimeout }: KeyProcessOptions) {
    // Options for the agent's own runtime, an inspector above all, are not for the process that holds the keys.
    const { NODE_OPTIONS: _, ...inherited } = process.env;
    this.#child = fork(program, [], {
      env: { ...inherited, ...environment },
      execArgv: [...NODE_FLAGS],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc', 'pipe'],
    });
    // A process that is gone is told by its end.
    this.#secrets?.on('error', () => undefined);
    this.#timeout = timeout;
    this.#ended = endOf(this.#child).then((end) => {
      this.#end = end;
      return end;
    });
  }

  /** Undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  get #secrets(): Writable | null | undefined {
    return this.#child.stdio[SECRET_FD] as Writable | null | undefined;
  }

  /** How the process ended; undefined while it runs. */
  get end(): string | undefined {
    return this.#end;
  }

  /** Resolves with how the process ended. */
  get ended(): Promise<string> {
    return this.#ended;
  }

  /** @param secrets that the request needs, in order; the caller wipes them  @throws KeyProcessError */
  async request<R extends KeyStoreRequest>(
    request: R,
    secrets: readonly Secret[] = [],
  ): Promise<Results[R['op']]> {
    return this.#requests.run(async () => {
      await this.#handOver(request.op, secrets);
      const reply = parseReply(await this.#exchange(request));
      if (reply === undefined) throw await this.#died(request.op, 'its reply is malformed');
      if (!reply.ok) {
        throw new KeyProcessError(reply.failure);
      }
      const fits: (value: unknown, request: KeyStoreRequest) => boolean = isResult[request.op];
      if (!fits(reply.value, request))
        throw await this.#died(request.op, 'its reply does not answer the request');
      return reply.value as Results[R['op']];
    });
  }

  /** Ends the process now. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  /** Lets the process end by itself, which it does when the channel closes. */
  async disconnect(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.#ended;
  }

  async #handOver(op: string, secrets: readonly Secret[]): Promise<void> {
    for (const secret of secrets) {
      const pipe = this.#secrets;
      if (pipe == null) throw await this.#died(op, 'it has no pipe for secrets');
      try {
        await writeSecret(pipe, secret);
      } catch (error) {
        throw await this.#died(op, (error as Error).message);
      }
    }
  }

  async #exchange(request: KeyStoreRequest): Promise<unknown> {
    if (this.#end !== undefined || !this.#child.connected)
      throw await this.#died(request.op, 'it is gone');
    const settled = new AbortController();
    try {
      return await new Promise<unknown>((resolve, reject) => {
        const timer = setTimeout(() => {
          reject(
            new KeyProcessError({
              code: 'KEYSTORE_TOKEN_GONE',
              message: `${request.op}: no answer within ${this.#timeout} ms`,
              recovery: 'restart',
            }),
          );
        }, this.#timeout);
        this.#child.on('message', resolve);
        settled.signal.addEventListener('abort', () => {
          clearTimeout(timer);
          this.#child.off('message', resolve);
        });
        void this.#ended.then(async () => reject(await this.#died(request.op, 'it ended')));
        this.#child.send(request, (error) => {
          if (error !== null) void this.#died(request.op, error.message).then(reject);
        });
      });
    } finally {
      settled.abort();
    }
  }

  async #died(op: string, reason: string): Promise<KeyProcessError> {
    await this.kill();
    return new KeyProcessError({
      code: 'KEYSTORE_CHILD_DIED',
      message: `${op}: the process that holds the keys failed: ${reason} (${this.#end})`,
      recovery: 'restart',
    });
  }
}

/** The exit and the end of the channel come in either order, and a last reply may lie between them. */
async function endOf(child: ChildProcess): Promise<string> {
  const exit = new Promise<string>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('exit', (code, signal) =>
      resolve(signal === null ? `exit code ${code}` : `signal ${signal}`),
    );
  });
  const channelClosed = new Promise<void>((resolve) => {
    if (child.connected) child.on('disconnect', resolve);
    else resolve();
  });
  const end = await exit;
  await channelClosed;
  return end;
}
