/**
 * A verb: what can be asked of an organisation by one word. It says what it takes, what it needs and whether it only reads before
 * anything is opened, so that nobody is asked for a passphrase in vain.
 */
import type { Organisation } from '../organisation/organisation.ts';
import type { RunningParts } from '../organisation/running/agent.ts';
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

interface CommonContext<O extends keyof Organisation> {
  readonly organisation: Pick<Organisation, O>;
  /** Name of this organisation in its configuration. */
  readonly name: string;
  readonly progress: (text: string) => void;
}

/** What a verb gets of the running agent: of the organisation and of the agent the parts named. */
export interface RunningContext<
  O extends keyof Organisation = keyof Organisation,
  P extends keyof RunningParts = keyof RunningParts,
> extends CommonContext<O> {
  readonly agent: Pick<RunningParts, P>;
  /** Ends the agent. Resolves when it has stopped. */
  readonly stop: (how: { readonly removeTunnels: boolean }) => Promise<void>;
}

/** The organisation at rest. */
interface RestContext<O extends keyof Organisation> extends CommonContext<O> {
  readonly agent: undefined;
}

export type VerbContext<
  O extends keyof Organisation = keyof Organisation,
  P extends keyof RunningParts = keyof RunningParts,
> = RunningContext<O, P> | RestContext<O>;

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

/** What the verbs of one subject may touch; they get nothing else. */
export interface Parts<O extends keyof Organisation, P extends keyof RunningParts> {
  readonly organisation: readonly O[];
  /** Of the agent, where it runs. */
  readonly agent?: readonly P[];
}

/** Makers of the verbs of one subject, which get the parts that it names. */
export interface VerbMakers<O extends keyof Organisation, P extends keyof RunningParts> {
  /** Of the agent as it runs. */
  needsAgent<S extends Schema, R>(
    spec: Spec<S, RunningContext<O, P>, R & JsonOf<R>>,
  ): Verb<Given<S>, R>;
  /** Of the organisation, running or at rest. */
  needsState<S extends Schema, R>(
    spec: Spec<S, VerbContext<O, P>, R & JsonOf<R>>,
  ): Verb<Given<S>, R>;
  /** Of the log alone: it is done without a key too, where `agent/control/custody-at-rest.ts` says how. */
  needsNothing<S extends Schema, R>(
    spec: Spec<S, VerbContext<O, P>, R & JsonOf<R>>,
  ): Verb<Given<S>, R>;
}

export function verbsOf<O extends keyof Organisation, P extends keyof RunningParts = never>(
  parts: Parts<O, P>,
): VerbMakers<O, P> {
  const withoutAgent =
    (needs: Needs): VerbMakers<O, P>['needsState'] =>
    (spec) => ({
      needs,
      reads: spec.reads === true,
      call: (untrusted) => {
        const args = takeArguments(spec.args, untrusted);
        return {
          expectAtRest: () => spec.atRest?.(args),
          run: (context) => spec.run(partsOf(context, parts), args),
        };
      },
    });
  return {
    needsState: withoutAgent('state'),
    needsNothing: withoutAgent('nothing'),
    needsAgent: (spec) => ({
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
            return spec.run(runningPartsOf(context, parts), args);
          },
        };
      },
    }),
  };
}

export function notRunning(): ControlError {
  return new ControlError('CONTROL_NOT_RUNNING', 'this needs the running agent');
}

function partsOf<O extends keyof Organisation, P extends keyof RunningParts>(
  context: VerbContext,
  parts: Parts<O, P>,
): VerbContext<O, P> {
  if (context.agent !== undefined) return runningPartsOf(context, parts);
  return { ...context, organisation: pick(context.organisation, parts.organisation) };
}

function runningPartsOf<O extends keyof Organisation, P extends keyof RunningParts>(
  context: RunningContext,
  { organisation, agent = [] }: Parts<O, P>,
): RunningContext<O, P> {
  return {
    ...context,
    organisation: pick(context.organisation, organisation),
    agent: pick(context.agent, agent),
  };
}

function pick<T extends object, K extends keyof T>(whole: T, keys: readonly K[]): Pick<T, K> {
  const part: Partial<Pick<T, K>> = {};
  for (const key of keys) part[key] = whole[key];
  return part as Pick<T, K>;
}
