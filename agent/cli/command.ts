/** One command: a noun and a verb, or a short verb for every day. */
import type { Io } from './io.ts';

export interface Option {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  /** Placeholder of the value in the help. */
  readonly value?: string;
  readonly does: string;
}

export interface Invocation {
  readonly positionals: readonly string[];
  readonly options: Readonly<Record<string, string | boolean | readonly string[] | undefined>>;
  readonly json: boolean;
  /** Path of the configuration file, the default when none was given. */
  readonly config: string;
  readonly io: Io;
}

export interface Command {
  /** `id verify`. */
  readonly name: string;
  readonly summary: string;
  /** What follows the name: `FILE…`. */
  readonly usage?: string;
  readonly details?: string;
  readonly minPositionals?: number;
  readonly maxPositionals?: number;
  readonly options?: Readonly<Record<string, Option>>;
  /** @returns exit code */
  run(invocation: Invocation): Promise<number>;
}

export function optionText(invocation: Invocation, name: string): string | undefined {
  const value = invocation.options[name];
  return typeof value === 'string' ? value : undefined;
}

/** Values of an option that can be given several times. */
export function optionList(invocation: Invocation, name: string): readonly string[] {
  const value = invocation.options[name];
  return Array.isArray(value) ? value : [];
}
