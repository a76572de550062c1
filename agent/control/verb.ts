/** What every verb is given, and how it reads its arguments. */

import type { Organisation } from '../organisation/organisation.ts';
import type { Agent } from '../organisation/running/agent.ts';
import { ControlError } from './errors.ts';
import type { Json } from './protocol.ts';

export interface VerbContext {
  readonly organisation: Organisation;
  /** Undefined while the organisation is at rest. */
  readonly agent: Agent | undefined;
  /** Name of this organisation in its configuration. */
  readonly name: string;
  readonly args: Readonly<Record<string, Json>>;
  readonly progress: (text: string) => void;
}

export type Verb = (context: VerbContext) => Promise<Json>;

/** Throws CONTROL_NOT_RUNNING. */
export function running(agent: Agent | undefined): Agent {
  if (agent === undefined)
    throw new ControlError('CONTROL_NOT_RUNNING', 'this needs the running agent');
  return agent;
}

/** Throws CONTROL_BAD_REQUEST. */
export function text(args: Readonly<Record<string, Json>>, name: string): string {
  const value = args[name];
  if (typeof value !== 'string' || value.length === 0)
    throw new ControlError('CONTROL_BAD_REQUEST', `the request lacks ${name}`);
  return value;
}

export function optionalText(value: Json | undefined): string | undefined {
  return typeof value === 'string' && value.length > 0 ? value : undefined;
}
