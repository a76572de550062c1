/** The agent's end of the token process: start it, ask it one thing at a time, know when it is gone. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { SerialQueue } from '#src/serial-queue';
import { KeyStoreError } from '../errors.ts';
import { isResult, parseReply, type Recovery, type Request, type Results } from './protocol.ts';

export interface TokenProcessOptions {
  /** Added to the environment of the process: where a vendor's module finds its configuration. Never a secret. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Milliseconds for one request, after which the process is ended. @default 60_000 */
  readonly timeout?: number;
  /** The program to run; a test puts another in its place. */
  readonly childPath?: string;
}

/** A failed request, with what to do about the process. */
export class TokenProcessError extends KeyStoreError {
  readonly recovery: Recovery;

  constructor(code: KeyStoreError['code'], message: string, recovery: Recovery) {
    super(code, message);
    this.recovery = recovery;
  }
}

const defaultChildPath = fileURLToPath(new URL('./child.ts', import.meta.url));
const defaultTimeout = 60_000;

export class TokenProcess {
  readonly #child: ChildProcess;
  readonly #timeout: number;
  readonly #requests = new SerialQueue();
  readonly #ended: Promise<string>;
  #end: string | undefined;

  constructor({
    environment = {},
    timeout = defaultTimeout,
    childPath = defaultChildPath,
  }: TokenProcessOptions) {
    // Options for the agent's own runtime, an inspector above all, are not for the process that holds the PIN.
    const { NODE_OPTIONS: _, ...inherited } = process.env;
    this.#child = fork(childPath, [], {
      env: { ...inherited, ...environment },
      execArgv: ['--disable-sigusr1'],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
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

  /** How the process ended; undefined while it runs. */
  get end(): string | undefined {
    return this.#end;
  }

  /** Resolves with how the process ended. */
  get ended(): Promise<string> {
    return this.#ended;
  }

  /** @throws TokenProcessError */
  async request<R extends Request>(request: R): Promise<Results[R['op']]> {
    return this.#requests.run(async () => {
      const reply = parseReply(await this.#exchange(request));
      if (reply === undefined) throw await this.#died(request.op, 'its reply is malformed');
      if (!reply.ok) {
        const { code, message, recovery } = reply.failure;
        throw new TokenProcessError(code, message, recovery);
      }
      const fits: (value: unknown, request: Request) => boolean = isResult[request.op];
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

  async #exchange(request: Request): Promise<unknown> {
    if (this.#end !== undefined || !this.#child.connected)
      throw await this.#died(request.op, 'it is gone');
    const settled = new AbortController();
    try {
      return await new Promise<unknown>((resolve, reject) => {
        const timer = setTimeout(() => {
          reject(
            new TokenProcessError(
              'KEYSTORE_TOKEN_GONE',
              `${request.op}: no answer within ${this.#timeout} ms`,
              'restart',
            ),
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

  async #died(op: string, reason: string): Promise<TokenProcessError> {
    await this.kill();
    return new TokenProcessError(
      'KEYSTORE_CHILD_DIED',
      `${op}: the token process failed: ${reason} (${this.#end})`,
      'restart',
    );
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
