/** What others can name, in every field that a person reads, at every command: it never reaches the terminal as it is. */
import assert from 'node:assert/strict';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import type { ReadStream } from 'node:tty';
import { fileURLToPath } from 'node:url';
import { after, before, describe, it } from 'mocha';
import { loadCommands } from '#agent/cli/commands';
import { runCli } from '#agent/cli/main';
import type { Json } from '#agent/control/protocol';
import { serveControl } from '#agent/control/server';
import { encodeBundle, encodeDossier, encodeSignature } from '#agent/evidence/format/bundle';
import { encodeCard } from '#agent/identity/custody/card';
import { WatchError } from '#agent/mesh/watch/errors';
import { type CborValue, encodeCbor } from '#src/cbor';
import { createJournal } from '#src/journal';
import { createCaCertificate } from '#src/mtls/certificate';
import { parseDnsName } from '#src/mtls/dns-name';
import { generateKeyPair } from '#src/mtls/key-algorithm';
import { caAt } from '../../../support/kit/ca.ts';
import { cli } from '../../../support/machines/cli.ts';
import { SimulatedClock } from '../../../support/simulation/simulated-clock.ts';

/** Clears the screen (also in one byte of C1), says what is not so on lines of its own, turns text round, hides text. */
const HOSTILE =
  '\x1b[2J\x1b[H\u009b2J\r\nverdict: clean\n\x0b\x0c\u0085\u2028\u2029\u202e\u2066\u200b\u200d\ufeff\x07\x08\x7f\u{e0041}';
const T = '{{text of others}}';

/** Answers with text of others wherever the agent can have it from others; numbers and times are its own. */
const answers: Readonly<Record<string, Json>> = {
  status: {
    ...{
      aid: T,
      sn: 1,
      driver: T,
      interface: T,
      port: 1,
      overlay: [T],
      rotating: true,
      peersUp: 1,
    },
    peers: [peer()],
    knocks: [{ aid: T, at: T, name: T, via: T, passedOn: true }],
    witnessThreshold: 1,
    witnesses: [witness()],
    waiting: { sn: 2, said: T },
    suspended: [
      { aid: T, name: T, own: false, reason: T },
      { aid: T, name: null, own: true, reason: T },
    ],
    auditLeaves: 1,
    nextEpoch: T,
    mesh: { name: T, isMember: true, version: 1, revoked: { reason: T } },
    disk: { warning: T },
    clockStep: { byMs: 1, at: T },
    admission: { state: 'not-reached', by: T, since: T, reason: T },
  },
  'peer.list': { peers: [peer()] },
  'tunnel.test': {
    ...{ name: T, sent: 2, received: 1, lossPercent: 50, throughputMbit: 1 },
    rttMs: { min: 1, median: 1, p95: 1, max: 1 },
    mtu: { bytes: 1_420, arrives: true },
  },
  'mesh.show': meshAnswer(),
  'mesh.policy.show': policyAnswer(),
  'mesh.create': meshAnswer(),
  'mesh.join': { ...meshAnswer(), aid: T },
  'mesh.admit': meshAnswer(),
  'mesh.rename': meshAnswer(),
  'mesh.assign': meshAnswer(),
  'mesh.hand-over': meshAnswer(),
  'mesh.accept': meshAnswer(),
  'mesh.leave': meshAnswer(),
  'mesh.remove': meshAnswer(),
  'mesh.upgrade': {
    recordVersion: 2,
    ready: true,
    isGovernor: true,
    upgraded: true,
    members: [{ aid: T, name: T, state: T, reason: T }],
  },
  'mesh.invite': { line: T },
  'id.show': {
    aid: T,
    sn: 1,
    said: T,
    keys: [T],
    nextDigests: [T],
    keyStore: { driver: T, location: T },
    foreignEvents: true,
  },
  'id.rotate': { sn: 1, said: T },
  'id.backup': { keys: 2 },
  'id.confirm': { sn: 1, said: T, against: T },
  'id.export': { aid: T, cesr: Buffer.from(HOSTILE).toString('base64') },
  'id.import': {
    aids: [{ aid: T, sn: 1, watched: true }],
    ...{ accepted: 1, duplicate: 1, waiting: 0, refused: 1 },
    outcomes: [{ verdict: T, code: T, reason: T, said: T, offset: 0 }],
  },
  'id.log': { events: [{ ordinal: 0, sn: 0, said: T, type: T, superseded: true, firstSeen: T }] },
  'id.escrow': {
    escrow: [
      {
        aid: T,
        sn: 1,
        said: T,
        code: T,
        waitsFor: T,
        since: T,
        from: [T],
        releasedBy: T,
        expires: T,
      },
    ],
  },
  'id.query': {
    aid: T,
    member: T,
    cesr: '',
    keyState: {
      sn: 1,
      said: T,
      establishment: { sn: 1, said: T },
      keys: [T],
      witnesses: [T],
      delegator: T,
      source: T,
    },
  },
  'id.replies': {
    locations: [{ url: T }],
    roles: [{ role: T, eid: T, locations: [T] }],
    keyState: null,
  },
  'id.evidence.list': {
    evidence: [
      { aid: T, name: T, sn: 1, saids: [T, T], since: T, suspends: true, resolved: null },
      {
        aid: T,
        name: T,
        sn: 1,
        saids: [T, T],
        since: T,
        suspends: false,
        resolved: { at: T, reason: T },
      },
    ],
  },
  'id.evidence.export': { aid: T, cesr: Buffer.from(HOSTILE).toString('base64') },
  'id.evidence.resolve': { aid: T },
  'rotate.plan': {
    obstacle: T,
    steps: [{ step: T, does: T }],
    pairs: [{ pair: T, when: T, clockSkewMs: 1, epochsPostponed: true }],
  },
  'rotate.psk': {
    pairs: [{ pair: T, agreed: false, epoch: 1, agreement: T, proven: true, reason: T }],
  },
  'rotate.tunnel': { pairs: [], epoch: 1, record: T },
  'rotate.id': { pairs: [], sn: 1, said: T },
  'rotate.all': {
    pairs: [],
    members: [{ member: T, rotated: false, sn: 1, reason: T }],
    sn: 1,
    said: T,
  },
  'rotate.status': {
    rotations: [
      { kind: T, pair: T, epoch: 1, step: T, detail: T, since: T, deadline: T, waitsFor: T },
    ],
    next: { tunnel: T, id: T, putOff: T },
  },
  'revoke.node': { who: T, sealedAt: T },
  'revoke.epoch': { who: T, sealedAt: T },
  'revoke.organisation': { who: T, sealedAt: T },
  'revoke.status': {
    revocations: [
      {
        ...{ kind: T, who: T, name: T, sealedAt: T, reason: T },
        applied: [{ node: T, name: T, at: T }],
        missing: [{ node: T, name: T, silentSince: T }],
      },
    ],
  },
  'watch.list': watched(),
  'watch.add': watched(),
  'watch.remove': watched(),
  'node.list': {
    nodes: [
      { aid: T, name: T, sn: 1, approved: true, sealSource: { sn: 1 }, request: { sn: 1, at: T } },
    ],
  },
  'node.approve': {
    ...{ name: 'n', aid: T, type: 'dip', keys: [T], sn: 0, said: T, cesr: '' },
    sealSource: { sn: 1, said: T },
  },
  'witness.list': witnesses(),
  'witness.add': witnesses(),
  'witness.cut': witnesses(),
  'witness.show': ownWitness(),
  'witness.allow': ownWitness(),
  'witness.deny': ownWitness(),
  down: { pid: 999_999_999 },
};

function peer(): Json {
  return {
    ...{ name: T, aid: T, overlay: [T], state: T, level: T, epoch: 1, sn: 1, endpoint: T },
    ...{ rxBytes: 1, txBytes: 1, proof: null, reason: T },
  };
}

function witness(): Json {
  return { aid: T, name: T, operator: T, connected: true, sn: 1, lagSeconds: 1, reason: T };
}

function witnesses(): Json {
  return { threshold: 1, sn: 1, witnesses: [witness()], waiting: { sn: 2, said: T } };
}

function ownWitness(): Json {
  return {
    ...{ aid: T, allowed: [T], receipts: 1, refused: 1 },
    conflicts: [{ aid: T, sn: 1, first: T, second: T }],
  };
}

function watched(): Json {
  const row = { aid: T, sn: 1, fetched: T, duplicitous: false };
  return {
    watched: [
      { ...row, source: { kind: 'file', path: T }, failure: { at: T, message: T } },
      { ...row, source: { kind: 'url', url: T }, failure: null },
    ],
  };
}

function meshAnswer(): { readonly [key: string]: Json } {
  return {
    mesh: {
      ...{ mesh: T, name: T, version: 1, governors: [T], isMember: true, epochSeconds: 60 },
      revoked: { from: T, reason: T },
      recordVersion: 2,
      setBack: { charter: T, version: 1, by: T },
      members: [{ aid: T, name: T, role: T, region: T, overlay: [T] }],
    },
    knocks: [{ aid: T, at: T, name: T }],
  };
}

function policyAnswer(): Json {
  const rule = {
    ...{ between: [T, T], peer: true, required: [T], offered: [T], refused: [T], start: T },
    ...{ prefixes: [T], obfuscation: [T], relay: T },
  };
  return { version: 1, topology: T, rules: [rule], defaults: [rule], minimumLevel: T, pair: null };
}

/** Arguments of each command that shows an answer of the agent. */
const asked: Readonly<Record<string, readonly string[]>> = {
  status: [],
  down: [],
  'id show': [],
  'id rotate': ['--yes'],
  'id backup': ['keys'],
  'id confirm': ['--yes'],
  'id import': ['log'],
  'id log': [],
  'id escrow': [],
  'id query': ['AID', '--ksn'],
  'id replies': ['AID'],
  'id evidence list': [],
  'id evidence resolve': ['AID', '--reason', 'why'],
  'mesh create': ['m'],
  'mesh invite': [],
  'mesh join': ['LINE'],
  'mesh admit': ['AID', '--name', 'x'],
  'mesh rename': ['x', 'y'],
  'mesh hand-over': ['x'],
  'mesh accept': [],
  'mesh leave': ['--yes'],
  'mesh remove': ['x'],
  'mesh upgrade': [],
  'tunnel test': ['x'],
  'mesh show': [],
  'mesh policy show': [],
  'mesh assign': ['x', '--region', 'y'],
  'rotate psk': ['--yes'],
  'rotate tunnel': ['--yes'],
  'rotate id': ['--plan'],
  'rotate all': ['--yes'],
  'rotate status': [],
  'revoke node': ['x', '--yes'],
  'revoke epoch': ['current', '--yes'],
  'revoke organisation': ['x', '--yes'],
  'revoke status': [],
  'peer list': [],
  'watch add': ['AID', '--members'],
  'watch list': [],
  'watch remove': ['AID'],
  'node list': [],
  'witness list': [],
  'witness add': ['x'],
  'witness cut': ['x'],
  'witness show': [],
  'witness allow': ['x'],
  'witness deny': ['x'],
};

/** Shown in no answer of an agent: files and the own state. Those that read files of others stand in tests below. */
const others: ReadonlySet<string> = new Set([
  ...['init', 'up', 'config check', 'id export', 'id evidence export', 'audit export'],
  ...['id custodian init', 'id custodian next', 'id propose inception', 'id propose rotation'],
  ...['id propose interaction', 'id propose show', 'id sign', 'id submit', 'id verify'],
  ...[
    'id evidence verify',
    'audit verify',
    'mesh policy check',
    'mesh policy set',
    'node add',
    'node request',
    'node approve',
    'node accept',
  ],
  // JSON alone, from what the status of the agent has and the system says.
  'bugreport',
  ...['ca init', 'ca issue', 'ca export', 'ca trust', 'ca list', 'rotate ca'],
  ...['state show', 'state take-over', 'state restore'],
  ...['rosenpass gen-keys', 'rosenpass exchange-config'],
  // Asks an agent only where there is a state, and there is none here.
  'doctor',
]);

function filled(json: Json, text: string): Json {
  return JSON.parse(JSON.stringify(json).replaceAll(JSON.stringify(T), JSON.stringify(text)));
}

/** Printable characters of one line each. */
function assertHarmless(shown: string, what: string): void {
  for (const line of shown.split('\n'))
    for (const character of line)
      assert.match(
        character,
        /^[^\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]$/u,
        `${what}: U+${character.codePointAt(0)?.toString(16)} in ${JSON.stringify(line)}`,
      );
}

describe('text of others at the terminal', () => {
  let dir: string;
  let config: string;
  let text: string;
  let fails = false;
  let agent: AsyncDisposable;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-hostile-'));
    config = join(dir, 'kelmesh.toml');
    writeFileSync(config, 'name = "alba"\nstate = "state"\n[control]\nsocket = "control.sock"\n');
    agent = await serveControl(join(dir, 'control.sock'), async ({ verb }, progress) => {
      progress(text);
      if (fails) throw new WatchError('WATCH_UNREACHABLE', text, { hint: text });
      return filled(answers[verb] ?? assert.fail(verb), text);
    });
  });

  after(async () => {
    await agent[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });

  const shown = async (...args: readonly string[]) => {
    const { stdout, stderr } = await cli(...args, '--config', config);
    return { stdout, stderr };
  };

  it('the tables here name every command', async () => {
    const names = (await loadCommands()).map(({ name }) => name);
    assert.deepEqual([...Object.keys(asked), ...others].toSorted(), names.toSorted());
  });

  for (const [name, args] of Object.entries(asked)) {
    it(`${name}: answer, progress, error and hint, as text and as JSON`, async () => {
      const words = [...name.split(' '), ...args];
      for (fails of [false, true]) {
        text = 'harmless';
        const usual = await shown(...words);
        const json = await shown(...words, '--json');
        text = HOSTILE;
        const hostile = await shown(...words);
        assertHarmless(hostile.stdout, `${name}, stdout`);
        assertHarmless(hostile.stderr, `${name}, stderr`);
        const lines = ({ stdout, stderr }: typeof usual) =>
          [stdout, stderr].map((out) => out.split('\n').length);
        assert.deepEqual(lines(hostile), lines(usual), 'it has added a line');
        assert.ok(!fails || hostile.stderr.includes('\\u001b[2J'), hostile.stderr);
        const hostileJson = await shown(...words, '--json');
        assertHarmless(hostileJson.stdout, `${name} --json`);
        assert.deepEqual(lines(hostileJson), lines(json));
        assert.deepEqual(
          JSON.stringify(JSON.parse(hostileJson.stdout)),
          JSON.stringify(
            filled(JSON.parse(json.stdout.replaceAll('"harmless"', JSON.stringify(T))), HOSTILE),
          ),
        );
      }
      fails = false;
    });
  }

  it('audit verify: identifiers are parsed where the bundle is read, and what is none is shown escaped', async () => {
    const digest = new Uint8Array(32);
    const header = encodeCbor(
      new Map<string, CborValue>([
        ...([
          ['i', HOSTILE],
          ['s', 0],
          ['d', HOSTILE],
          ['ls', 0],
          ['ld', HOSTILE],
        ] as const),
        ['dt', '2026-01-01T00:00:00.000000+00:00'],
        ['h', [digest, digest, digest, digest, digest]],
      ]),
    );
    const empty = encodeCbor([]);
    const signature = encodeSignature({
      headerDigest: digest,
      aid: HOSTILE as never,
      establishment: { sn: 0, said: HOSTILE as never },
      signatures: [HOSTILE],
    });
    const file = join(dir, `bundle${HOSTILE.replaceAll('/', '')}.kmb`);
    const sections = {
      kels: empty,
      records: empty,
      checkpoints: empty,
      leaves: empty,
      proofs: empty,
    };
    writeFileSync(file, encodeBundle([encodeDossier({ header, sections, signature })]));
    for (const json of [[], ['--json']]) {
      const { stdout, stderr } = await cli('audit', 'verify', file, ...json);
      assertHarmless(stdout, 'stdout');
      assertHarmless(stderr, 'stderr');
      assert.ok(!stdout.split('\n').includes('verdict: clean'), stdout);
    }
    const { stdout } = await cli('audit', 'verify', file, '--json');
    assert.ok(!stdout.includes('[2J'), 'a text that is no AID stands where one should');
  });

  it('id verify, id evidence verify: labels, types and file names', async () => {
    const label = JSON.stringify(HOSTILE).slice(1, -1);
    const body = `{"v":"KERI10JSON000000_","t":"icp","d":"x","${label}":"${label}"}`;
    const event = body.replace('000000', Buffer.byteLength(body).toString(16).padStart(6, '0'));
    const file = join(dir, `log${HOSTILE.replaceAll('/', '')}.cesr`);
    writeFileSync(file, event);
    for (const words of [
      ['id', 'verify'],
      ['id', 'evidence', 'verify'],
    ])
      for (const json of [[], ['--json']]) {
        const { stdout, stderr } = await cli(...words, file, ...json);
        assertHarmless(stdout, words.join(' '));
        assertHarmless(stderr, words.join(' '));
        assert.ok(stdout.length > 0);
      }
  });

  it('ca list, ca trust: the name that a CA gives itself', async () => {
    const pem = join(dir, 'foreign.pem');
    const certificate = await createCaCertificate(
      {
        name: HOSTILE,
        domain: parseDnsName('foreign.example'),
        ipPrefixes: [],
        serial: '01'.repeat(16),
        notBefore: Date.now() - 1_000,
        notAfter: Date.now() + 86_400_000,
      },
      'p256',
      await generateKeyPair('p256'),
    );
    writeFileSync(pem, certificate);
    const alba = caAt(join(dir, 'own'), Date.now());
    await alba.init('alba');
    const own = ['--dir', alba.dir];
    for (const words of [
      ['ca', 'trust', pem, ...own],
      ['ca', 'list', ...own],
    ])
      for (const json of [[], ['--json']]) {
        const { code, stdout, stderr } = await cli(...words, ...json);
        assert.equal(code, 0, stderr);
        assertHarmless(stdout + stderr, words.join(' '));
        if (!words.includes('trust')) assert.ok(stdout.includes('\\u202e'), stdout);
      }
  });

  it('custody: a card whose name is not one, a proposal that is none', async () => {
    const card = join(dir, 'card');
    const key = 'DAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
    const next = 'EAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
    const proof = new Uint8Array(64);
    writeFileSync(card, encodeCard({ name: HOSTILE, key, next, proof } as never));
    const out = ['--out', join(dir, 'proposal')];
    for (const words of [
      ['id', 'propose', 'inception', '--custodian', card, ...out],
      ['id', 'propose', 'show', card],
      ['id', 'submit', card, '--config', config],
    ]) {
      const { code, stdout, stderr } = await cli(...words);
      assert.notEqual(code, 0);
      assertHarmless(stdout + stderr, words.join(' '));
    }
  });

  it('files that are read, commands and options that are none: every error names them escaped', async () => {
    const nowhere = join(dir, HOSTILE.replaceAll('/', ''));
    for (const words of [
      ['audit', 'verify', nowhere],
      ['id', 'verify', nowhere],
      ['id', 'propose', 'show', nowhere],
      ['id', 'submit', nowhere, '--config', config],
      ['node', 'accept', nowhere, '--config', config],
      ['ca', 'trust', nowhere, '--dir', dir],
      ['status', '--config', nowhere],
      ['status', HOSTILE],
      ['status', `--${HOSTILE}`],
      [HOSTILE],
    ]) {
      const { code, stdout, stderr } = await cli(...words);
      assert.notEqual(code, 0);
      assertHarmless(stdout + stderr, words.join(' '));
    }
  });

  it('a file for a pipe is not written to a terminal, unless it is printable text', async () => {
    const toTerminal = async (...args: readonly string[]) => {
      const out: Buffer[] = [];
      const stdout = new Writable({
        write: (chunk: Buffer, _, done) => {
          out.push(chunk);
          done();
        },
      });
      Object.assign(stdout, { isTTY: true });
      const stdin = new PassThrough() as unknown as ReadStream;
      const stderr = new PassThrough();
      const code = await runCli([...args, '--config', config], { stdin, stdout, stderr });
      return { code, stdout: Buffer.concat(out).toString() };
    };
    for (const words of [
      ['id', 'export'],
      ['id', 'evidence', 'export', 'AID'],
      ['id', 'query', 'AID'],
    ]) {
      const { code, stdout } = await toTerminal(...words);
      assert.deepEqual([code, stdout], words[1] === 'query' ? [0, ''] : [2, ''], words.join(' '));
    }
    assert.equal((await shown('id', 'export')).stdout, HOSTILE);
  });

  it('the journal of an agent in the foreground', () => {
    const lines: string[] = [];
    const journal = createJournal(new SimulatedClock({}), 'info', (line) => lines.push(line));
    journal.warn(HOSTILE, { peer: HOSTILE });
    assertHarmless(lines.join(''), 'journal');
    assert.equal(JSON.parse(lines[0] ?? '').peer, HOSTILE);
  });

  it('nothing but the place that escapes writes to a terminal, save what is listed here with its reason', () => {
    const root = fileURLToPath(new URL('../../../..', import.meta.url));
    const reasons: Readonly<Record<string, string>> = {
      'agent/cli/io.ts': 'the place',
      'agent/cli/local-drivers.ts': 'lines of the journal, which escapes',
      'agent/cli/new-state.ts': 'lines of the journal, which escapes',
      'agent/cli/commands/up.ts': 'lines of the journal, which escapes',
      'demo/ground.ts': 'escapes what a run that is gone has written down',
      'demo/main.ts': 'escapes what the steps say; else its own words',
      'demo/probe.ts': 'JSON of its own numbers, for its parent',
      'agent/organisation/config/secrets.ts': 'an escaped prompt',
    };
    const writing = /\b(stdout|stderr|output)\.write\(|\bconsole\.\w+\(/;
    const found = globSync('{src,kel,agent,demo}/**/*.ts', { cwd: root }).filter((file) =>
      writing.test(readFileSync(join(root, file), 'utf8')),
    );
    assert.deepEqual(found.toSorted(), Object.keys(reasons).toSorted());
  });
});
