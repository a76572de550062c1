/**
 * Everything that can be asked of an organisation, running or at rest, in one table: the control socket, the commands and whatever
 * else asks read it, for the types of arguments and results, for what a verb needs, and for whether it only reads.
 */
import { agentVerbs } from './agent-verbs.ts';
import type { UntrustedArguments } from './arguments.ts';
import { auditVerbs } from './audit-verbs.ts';
import { custodyVerbs } from './custody-verbs.ts';
import { ControlError } from './errors.ts';
import { evidenceVerbs } from './evidence-verbs.ts';
import { identityVerbs } from './identity-verbs.ts';
import { logVerbs } from './log-verbs.ts';
import { meshVerbs } from './mesh-verbs.ts';
import { nodeVerbs } from './node-verbs.ts';
import { policyVerbs } from './policy-verbs.ts';
import { queryVerbs } from './query-verbs.ts';
import { rotationVerbs } from './rotation-verbs.ts';
import { tunnelVerbs } from './tunnel-verbs.ts';
import { upgradeVerbs } from './upgrade-verbs.ts';
import type { Call, Verb } from './verb.ts';
import { watchVerbs } from './watch-verbs.ts';
import { witnessVerbs } from './witness-verbs.ts';

const verbs = {
  ...agentVerbs,
  ...identityVerbs,
  ...logVerbs,
  ...evidenceVerbs,
  ...queryVerbs,
  ...watchVerbs,
  ...meshVerbs,
  ...policyVerbs,
  ...upgradeVerbs,
  ...rotationVerbs,
  ...tunnelVerbs,
  ...witnessVerbs,
  ...nodeVerbs,
  ...custodyVerbs,
  ...auditVerbs,
};

export type VerbName = keyof typeof verbs;

/** What whoever asks gives. */
export type ArgumentsOf<V extends VerbName> = {
  [K in V]: (typeof verbs)[K] extends Verb<infer G extends UntrustedArguments, infer _> ? G : never;
}[V];

/** What it gets. */
export type ResultOf<V extends VerbName> = {
  [K in V]: (typeof verbs)[K] extends Verb<infer _, infer R> ? R : never;
}[V];

export const verbTable: { readonly [V in VerbName]: Verb<ArgumentsOf<V>, ResultOf<V>> } = verbs;

function isVerb(name: string): name is VerbName {
  return Object.hasOwn(verbTable, name);
}

/** Verbs that change nothing. */
export const readingVerbs: ReadonlySet<string> = new Set(
  Object.entries(verbTable).flatMap(([name, { reads }]) => (reads ? [name] : [])),
);

/** Of a verb that is known. Throws as `Verb.call`. @param args attacker-controlled */
export function callOf<V extends VerbName>(name: V, args: UntrustedArguments): Call<ResultOf<V>> {
  return verbTable[name].call(args);
}

/** Of a request off the socket. Throws CONTROL_BAD_REQUEST, and as `Verb.call`. @param name, args attacker-controlled */
export function requestedCall(name: string, args: UntrustedArguments): Call<unknown> {
  if (isVerb(name)) return callOf(name, args);
  throw new ControlError('CONTROL_BAD_REQUEST', `unknown verb ${name.slice(0, 64)}`);
}
