/**
 * A verb: what can be asked of an organisation by one word. It says what it takes, what it needs and whether it only reads before
 * anything is opened, so that nobody is asked for a passphrase in vain.
 */
import type { Organisation } from '../organisation/organisation.ts';
import type { Agent } from '../organisation/running/agent.ts';
import {
  type Given,
  type Schema,
  type Taken,
  takeArguments,
  type UntrustedArguments,
} from './arguments.ts';
import { ControlError } from './errors.ts';

/**
 * `nothing`: neither a running agent nor a key; `state`: the organisation, running or at rest, where its key store is opened;
 * `agent`: the agent as it runs.
 */
export type Needs = 'nothing' | 'state' | 'agent';

interface CommonContext {
  readonly organisation: Organisation;
  /** Name of this organisation in its configuration. */
  readonly name: string;
  readonly progress: (text: string) => void;
}

export interface RunningContext extends CommonContext {
  readonly agent: Agent;
  /** Ends the agent. Resolves when it has stopped. */
  readonly stop: (how: { readonly removeTunnels: boolean }) => Promise<void>;
}

/** The organisation at rest. */
export interface RestContext extends CommonContext {
  readonly agent: undefined;
}

export type VerbContext = RunningContext | RestContext;

/** What of `T` can be said in JSON; a result with anything else does not compile. What is undefined is left out. */
export type JsonOf<T> = T extends string | number | boolean | null | undefined
  ? T
  : T extends (...args: never) => unknown
    ? never
    : T extends readonly (infer E)[]
      ? readonly JsonOf<E>[]
      : T extends object
        ? { readonly [K in keyof T]: JsonOf<T[K]> }
        : never;

/** A verb with arguments that are good. */
export interface Call<R> {
  /** Throws why it cannot be done without a running agent: at once, before a secret is asked for. */
  expectAtRest(): void;
  /** Throws CONTROL_NOT_RUNNING where it needs the agent. */
  run(context: VerbContext): Promise<R>;
}

export interface Verb<G, R> {
  readonly needs: Needs;
  /** Changes nothing: no file, no log, no device, no message to anybody. The socket for reading answers it. */
  readonly reads: boolean;
  /** Throws CONTROL_BAD_REQUEST, or an error of the verb's own subject. @param args attacker-controlled */
  call(args: UntrustedArguments): Call<R>;
  /** Never there: it carries the type. */
  readonly given?: (args: G) => void;
}

interface Spec<S extends Schema, C, R> {
  readonly args: S;
  readonly reads?: true;
  /** Throws what can be told from the arguments alone when no agent runs. */
  readonly atRest?: (args: Taken<S>) => void;
  readonly run: (context: C, args: Taken<S>) => Promise<R>;
}

/** Of the agent as it runs. */
export function needsAgent<S extends Schema, R>(
  spec: Spec<S, RunningContext, R & JsonOf<R>>,
): Verb<Given<S>, R> {
  return {
    needs: 'agent',
    reads: spec.reads === true,
    call: (untrusted) => {
      const args = takeArguments(spec.args, untrusted);
      return {
        expectAtRest: () => {
          throw notRunning();
        },
        run: async (context) => {
          if (context.agent === undefined) throw notRunning();
          return spec.run(context, args);
        },
      };
    },
  };
}

/** Of the organisation, running or at rest. */
export function needsState<S extends Schema, R>(
  spec: Spec<S, VerbContext, R & JsonOf<R>>,
): Verb<Given<S>, R> {
  return withoutAgent('state', spec);
}

/** Of the log alone: it is done without a key too, where `agent/control/custody-at-rest.ts` says how. */
export function needsNothing<S extends Schema, R>(
  spec: Spec<S, VerbContext, R & JsonOf<R>>,
): Verb<Given<S>, R> {
  return withoutAgent('nothing', spec);
}

export function notRunning(): ControlError {
  return new ControlError('CONTROL_NOT_RUNNING', 'this needs the running agent');
}

function withoutAgent<S extends Schema, R>(
  needs: Needs,
  spec: Spec<S, VerbContext, R & JsonOf<R>>,
): Verb<Given<S>, R> {
  return {
    needs,
    reads: spec.reads === true,
    call: (untrusted) => {
      const args = takeArguments(spec.args, untrusted);
      return {
        expectAtRest: () => spec.atRest?.(args),
        run: (context) => spec.run(context, args),
      };
    },
  };
}
