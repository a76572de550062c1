import type { EdgeRule } from '#kel/record/edge-rule';
import type { ResultOf } from '../../control/verb-table.ts';

import { policyFaultsOf } from '../../mesh/membership/policy/mesh-policy.ts';
import {
  formatPolicy,
  formatRule,
  type PolicyFault,
  readPolicy,
} from '../../mesh/membership/policy/policy-file.ts';
import { ask, askWhereRunning } from '../ask.ts';
import { type Command, optionText } from '../command.ts';
import { exitCodes, note, print, printJson, table, UsageError } from '../io.ts';
import { readFile } from '../read-file.ts';

/** Of a policy file; the parser has a bound of its own. */
const MAX_FILE_BYTES = 1 << 20;

type PolicyJson = ResultOf<'mesh.policy.show'>;
type PairJson = NonNullable<PolicyJson['pair']>;

export const meshPolicyShow: Command = {
  name: 'mesh policy show',
  usage: '[--pair A B]',
  summary: 'the policy in force, as a file, and what holds for a pair',
  details: `What no rule matches has the defaults, which stand behind the rules as comments. With --pair the terms of two members, by
AID or name.`,
  minPositionals: 0,
  maxPositionals: 1,
  options: { pair: { type: 'string', value: 'A B', does: 'what holds for these two members' } },
  async run(invocation) {
    const one = optionText(invocation, 'pair');
    const [other] = invocation.positionals;
    if ((one === undefined) !== (other === undefined))
      throw new UsageError('--pair takes two members: --pair A B');
    const result = await ask(invocation, 'mesh.policy.show', { one, other });
    if (invocation.json) printJson(invocation.io, result);
    else print(invocation.io, result.pair === null ? policyLines(result) : pairLines(result.pair));
    return exitCodes.ok;
  },
};

export const meshPolicyCheck: Command = {
  name: 'mesh policy check',
  usage: 'FILE',
  summary: 'whether a policy file can be read and meant: where not, the line and why',
  details: `Names of members and brokers are compared with the charter where the agent runs. Nothing is changed.`,
  minPositionals: 1,
  async run(invocation) {
    const [file = ''] = invocation.positionals;
    const text = Buffer.from(readFile(file, MAX_FILE_BYTES)).toString('utf8');
    const inForce = await askWhereRunning(invocation, 'mesh.policy.show', {});
    const faults = faultsOf(text, inForce);
    const valid = faults.length === 0;
    if (invocation.json)
      printJson(invocation.io, {
        schema: 'kelmesh.policy-check/1',
        file,
        valid,
        faults,
        charter: inForce?.charter ?? null,
      });
    else {
      print(
        invocation.io,
        valid ? `${file} is valid` : faults.map(({ line, why }) => `${file}:${line}: ${why}`),
      );
      if (inForce === undefined)
        note(
          invocation.io,
          'no agent answers: whether the members and brokers that it names are in the charter was not compared',
        );
    }
    return valid ? exitCodes.ok : exitCodes.failed;
  },
};

/** In the order of the lines. @param inForce undefined: names are not compared */
function faultsOf(text: string, inForce: PolicyJson | undefined): readonly PolicyFault[] {
  const reading = readPolicy(text);
  if (reading.kind === 'faults') return inLines(reading.faults);
  const { topology, rules, lineOf } = reading;
  const { minimumLevel = 'A' } = inForce ?? {};
  const found = policyFaultsOf({ topology, rules, minimumLevel }, inForce);
  return inLines(found.map(({ rule, key, why }) => ({ line: lineOf(rule, key), why })));
}

function inLines(faults: readonly PolicyFault[]): readonly PolicyFault[] {
  return faults.toSorted((a, b) => a.line - b.line);
}

function policyLines(policy: PolicyJson): readonly string[] {
  const { version, minimumLevel, defaults } = policy;
  const comments = (rule: EdgeRule) =>
    formatRule(rule)
      .split('\n')
      .map((line) => `# ${line}`.trimEnd());
  return [
    `# charter version ${version}; every tunnel has at least level ${minimumLevel}`,
    ...formatPolicy(policy).split('\n'),
    '# pairs that no rule matches:',
    ...defaults.flatMap(comments).slice(0, -1),
  ];
}

function pairLines(pair: PairJson): readonly string[] {
  const list = (items: readonly string[]) => items.join(', ') || 'none';
  const by = pair.rule === null ? 'the defaults' : `rule ${pair.rule + 1}`;
  if (!pair.peer)
    return [
      `${pair.a} and ${pair.b} have no tunnel: ${pair.closedBy === 'topology' ? 'by the topology' : `by ${by}`}`,
    ];
  return table([
    ['between', `${pair.a} and ${pair.b}, by ${by}`],
    ['required', list(pair.required)],
    ['offered', list(pair.offered)],
    ['refused', list(pair.refused)],
    ['start', pair.start],
    ['prefixes', list(pair.prefixes)],
    ['obfuscation', list(pair.obfuscation)],
    ['relaying', pair.relay],
  ]);
}
