import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import type { EdgeRule } from '#kel/record/edge-rule';
import type { ResultOf } from '../../control/verb-table.ts';

import { MembershipError } from '../../mesh/membership/errors.ts';
import { policyFaultsOf } from '../../mesh/membership/policy/mesh-policy.ts';
import {
  comparePolicies,
  type PairRow,
  type PolicyComparison,
} from '../../mesh/membership/policy/policy-comparison.ts';
import {
  formatPolicy,
  formatRule,
  type PolicyFault,
  readPolicy,
} from '../../mesh/membership/policy/policy-file.ts';
import { ask, askWhereRunning } from '../ask.ts';
import { type Command, optionText } from '../command.ts';
import { confirm, yesOption } from '../confirm.ts';
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

export const meshPolicySet: Command = {
  name: 'mesh policy set',
  usage: 'FILE',
  summary: 'another policy for the mesh: a new version of the charter',
  details: `At the governor. What would be another is printed before it is signed: rule by rule, and the pairs for which something else would
hold. A policy that contradicts itself or the charter is refused with the lines.`,
  minPositionals: 1,
  options: { yes: yesOption },
  async run(invocation) {
    const file = resolve(invocation.positionals[0] ?? '');
    const bytes = readFile(file, MAX_FILE_BYTES);
    const inForce = await ask(invocation, 'mesh.policy.show', {});
    if (!inForce.isGovernor)
      throw new MembershipError('MESH_NOT_GOVERNOR', 'this organisation does not govern the mesh');
    if (inForce.recordVersion < 2)
      throw new MembershipError(
        'MESH_RECORDS_OLD',
        `the mesh writes records of version ${inForce.recordVersion}`,
      );
    const faults = faultsOf(Buffer.from(bytes).toString('utf8'), inForce);
    const reading = readPolicy(Buffer.from(bytes).toString('utf8'));
    if (faults.length > 0 || reading.kind === 'faults')
      throw new MembershipError(
        'MESH_BAD_POLICY',
        faults.map(({ line, why }) => `${file}:${line}: ${why}`).join('; '),
      );
    const comparison = comparePolicies(inForce, { ...inForce, ...reading }, inForce.members);
    if (!invocation.json) print(invocation.io, comparisonLines(comparison));
    const isOther = comparison.topology !== null || comparison.rules.length > 0;
    const answer = isOther && (await confirm(invocation, 'set this policy?'));
    const set = answer
      ? await ask(invocation, 'mesh.policy.set', {
          file,
          digest: createHash('sha256').update(bytes).digest('hex'),
          charter: inForce.charter,
        })
      : undefined;
    if (invocation.json)
      printJson(invocation.io, {
        schema: 'kelmesh.policy-set/1',
        file,
        set: set !== undefined,
        comparison,
        charter: (set ?? inForce).charter,
        version: (set ?? inForce).version,
      });
    else if (set !== undefined) note(invocation.io, `in force with charter version ${set.version}`);
    return exitCodes.ok;
  },
};

function comparisonLines({ topology, rules, pairs }: PolicyComparison): readonly string[] {
  if (topology === null && rules.length === 0) return ['the same policy is in force already'];
  const sign = { added: '+', removed: '-' } as const;
  return [
    ...(topology === null
      ? []
      : [`- topology = "${topology.before}"`, `+ topology = "${topology.after}"`, '']),
    ...rules.flatMap(({ kind, rule, text }) => [
      `${sign[kind]} rule ${rule + 1}`,
      ...text
        .split('\n')
        .slice(1, -1)
        .map((line) => `${sign[kind]}   ${line}`),
      '',
    ]),
    ...(pairs.length === 0 ? ['for no pair something else would hold'] : pairs.flatMap(pairRow)),
  ];
}

function pairRow({ some, others, pairs, before, after }: PairRow): readonly string[] {
  const names = (list: readonly string[]) => list.join(', ');
  return [
    `${names(some)} with ${names(others)} (${pairs} ${pairs === 1 ? 'pair' : 'pairs'})`,
    `  now: ${summaryWords(before)}`,
    `  then: ${summaryWords(after)}`,
  ];
}

function summaryWords({ peer, required, level }: PairRow['before']): string {
  if (!peer || level === null) return 'no tunnel';
  const { least, most } = level;
  return `level ${least === most ? least : `${least}, ${most} where both ends can`}; required ${required.join(', ')}`;
}

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
