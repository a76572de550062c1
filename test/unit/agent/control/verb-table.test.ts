/** The table of verbs: what it lets in, what it needs, and that nobody goes around its types. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  absolutePath,
  aid,
  flag,
  line,
  listOf,
  oneOf,
  optional,
  type Schema,
  takeArguments,
  text,
  whole,
} from '#agent/control/arguments';
import { ControlError } from '#agent/control/errors';
import type { Json } from '#agent/control/protocol';
import type { VerbContext } from '#agent/control/verb';
import { requestedCall, verbTable } from '#agent/control/verb-table';

const repositoryRoot = fileURLToPath(new URL('../../../../', import.meta.url));

const AID = 'EBkPreYpZfFk66jpf3uFv7vklXKhzBrAqjsKAn2EDIPM';

/** Arguments that are good, of every verb that takes any which must be there. */
const good: Readonly<Record<string, Record<string, Json>>> = {
  'mesh.create': { name: 'demo', epochSeconds: 3_600 },
  'mesh.admit': { aid: AID, yes: true },
  'mesh.rename': { who: 'a', name: 'b' },
  'mesh.assign': { who: 'a' },
  'mesh.policy.set': { file: '/tmp/x', digest: 'a', charter: AID },
  'mesh.remove': { who: 'a' },
  'id.backup': { file: '/tmp/x' },
  'id.import': { file: '/tmp/x' },
  'id.query': { aid: AID },
  'id.replies': { aid: AID },
  'id.evidence.export': { aid: AID },
  'id.evidence.resolve': { aid: AID, reason: 'they explained' },
  'watch.add': { aid: AID, members: true },
  'watch.remove': { aid: AID },
  'rotate.plan': { kind: 'id' },
  'rotate.ca': { peer: 'a' },
  'tunnel.test': { peer: 'a' },
  'revoke.node': { who: 'a', reason: 'lost' },
  'revoke.epoch': { who: 'a', reason: 'lost' },
  'revoke.organisation': { who: 'a', reason: 'lost' },
  'witness.add': { who: ['a'] },
  'witness.cut': { who: ['a'] },
  'witness.allow': { aid: AID },
  'witness.deny': { aid: AID },
  'node.accept': { file: '/tmp/x' },
  'custody.submit': { files: ['/tmp/x'] },
  'audit.export': { file: '/tmp/x' },
};

/** Its line is its own test. */
const entries = Object.entries(verbTable).filter(([name]) => name !== 'mesh.join');

const badRequest = (name: string) => (error: unknown) =>
  error instanceof ControlError &&
  error.code === 'CONTROL_BAD_REQUEST' &&
  error.message.includes(name);

describe('the table of verbs', () => {
  it('every verb refuses an argument that it does not take, by its name, whatever it is called', () => {
    for (const [name, verb] of entries) {
      assert.doesNotThrow(() => verb.call(good[name] ?? {}), name);
      for (const unknown of ['nobodyTakesThis', '__proto__', 'constructor', 'toString']) {
        const args = JSON.parse(
          JSON.stringify(good[name] ?? {})
            .replace(/^\{/, `{"${unknown}":1,`)
            .replace(/,\}$/, '}'),
        );
        assert.throws(() => verb.call(args), badRequest(unknown), `${name} ${unknown}`);
      }
    }
  });

  it('no verb takes a value of another kind, in any of its arguments, and none falls over any JSON', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...entries),
        fc.jsonValue({ maxDepth: 2 }),
        ([name, verb], value) => {
          for (const argument of Object.keys(good[name] ?? {})) {
            const args = { ...good[name], [argument]: [[value]] as Json };
            assert.throws(() => verb.call(args), { name: /Error$/, code: /^[A-Z_]+$/ }, name);
          }
          return true;
        },
      ),
    );
  });

  it('a verb lacks nothing that must be there: each one left out is named', () => {
    for (const [name, verb] of entries)
      for (const argument of Object.keys(good[name] ?? {})) {
        const { [argument]: _left, ...rest } = good[name] ?? {};
        const optionalThere = ['yes', 'members', 'epochSeconds'].includes(argument);
        if (optionalThere) assert.doesNotThrow(() => verb.call(rest), name);
        else assert.throws(() => verb.call(rest), `${name} without ${argument}`);
      }
  });

  const nothing = {} as VerbContext;

  it('every verb that needs the agent says so before a secret is asked for, and again when it is run without', async () => {
    const needing = entries.filter(([, { needs }]) => needs === 'agent');
    assert.ok(needing.length >= 15);
    for (const [name, verb] of needing) {
      const call = verb.call(good[name] ?? {});
      assert.throws(() => call.expectAtRest(), { code: 'CONTROL_NOT_RUNNING' }, name);
      await assert.rejects(call.run(nothing), { code: 'CONTROL_NOT_RUNNING' }, name);
    }
  });

  it('what a state directory alone cannot answer is refused by the arguments alone', () => {
    const refused = (name: string, args: Record<string, Json>) => () =>
      requestedCall(name, args).expectAtRest();
    for (const kind of ['psk', 'tunnel'])
      assert.throws(refused('rotate.plan', { kind }), { code: 'CONTROL_NOT_RUNNING' });
    assert.throws(refused('rotate.plan', { kind: 'all', of: 'all' }), {
      code: 'CONTROL_NOT_RUNNING',
    });
    for (const kind of ['id', 'all'])
      assert.doesNotThrow(refused('rotate.plan', { kind, peer: 'bruma' }));
    assert.throws(refused('mesh.admit', { aid: AID }), { code: 'MESH_NEVER_ASKED' });
    assert.doesNotThrow(refused('mesh.admit', { aid: AID, yes: true }));
    assert.throws(refused('watch.add', { aid: AID }), { code: 'WATCH_BAD_SOURCE' });
  });

  it('no name that is not in it is a verb', () => {
    for (const name of ['', 'toString', '__proto__', 'constructor', 'id.', 'x'.repeat(1_000)])
      assert.throws(() => requestedCall(name, {}), { code: 'CONTROL_BAD_REQUEST' }, name);
  });

  it('nobody goes around its types: no cast by way of unknown in the commands or the control', () => {
    for (const file of globSync('agent/{cli,control}/**/*.ts', { cwd: repositoryRoot }))
      assert.doesNotMatch(
        readFileSync(join(repositoryRoot, file), 'utf8'),
        /\bas\s+unknown\s+as\b|\bas\s+any\b/,
        file,
      );
  });
});

describe('an argument', () => {
  const cases: readonly (readonly [string, Schema[string], readonly Json[], readonly Json[]])[] = [
    ['text', text, ['a', 'x'.repeat(4_096)], ['', 'x'.repeat(4_097), 1, null, true, [], {}]],
    ['line', line, ['x'.repeat(65_536)], ['x'.repeat(65_537), 1]],
    ['path', absolutePath, ['/', '/a b'], ['a', './a', '', 1, ['/a']]],
    ['AID', aid, [AID], ['EBk', 'x', '', 1, AID.toLowerCase()]],
    ['flag', flag, [true, false], ['true', 0, 1, null, []]],
    ['number', whole(2, 5), [2, 5], [1, 6, 2.5, '3', null, -0.1]],
    ['word', oneOf('a', 'b'), ['a', 'b'], ['c', '', 1, ['a']]],
    ['list', listOf(text, 2), [[], ['a'], ['a', 'b']], [['a', 'b', 'c'], [1], 'a', { 0: 'a' }]],
    ['optional text', optional(text), ['a', ''], [1, null, ['a']]],
  ];
  for (const [name, argument, taken, refused] of cases)
    it(`that is a ${name} takes what it says and nothing else`, () => {
      const take = (value: Json) => takeArguments({ it: argument }, { it: value });
      for (const value of taken) assert.doesNotThrow(() => take(value), JSON.stringify(value));
      for (const value of refused)
        assert.throws(() => take(value), badRequest('it'), JSON.stringify(value));
    });

  it('that may be absent is undefined, false where it is a flag', () => {
    assert.deepEqual(takeArguments({ a: optional(text), b: flag }, {}), {
      a: undefined,
      b: false,
    });
    assert.throws(() => takeArguments({ a: text }, {}), badRequest('a'));
  });
});
