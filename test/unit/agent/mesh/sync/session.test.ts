import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  decodeSyncMessage,
  encodeSyncMessage,
  GIVE_BYTES,
  type LogHead,
  MAX_HEADS,
  MAX_RECORDS,
  type SyncMessage,
} from '#agent/mesh/sync/messages';
import { answerSession, openSession, type SyncContext } from '#agent/mesh/sync/session';
import type { PeerKey } from '#agent/network/network';
import { digestSeal } from '#kel/event/seal';
import type { Aid, Said } from '#kel/identifiers';
import { type PairedStream, streamPair } from '../../../../support/doubles/stream-pair.ts';
import { createParty } from '../../../../support/kit/party.ts';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));
const id = (name: string) => `EA${name.padEnd(42, '_')}`;
const head = (name: string, sn = 0): LogHead => ({
  aid: id(name) as Aid,
  sn,
  said: id(`${name}${sn}`) as Said,
});
const nothing = { revocation: new Uint8Array(0), log: new Uint8Array(0) };

/** What one end holds and what it was told; logs and records are bytes that nobody reads. */
class End implements SyncContext {
  readonly told: string[] = [];
  readonly gotLogs: Uint8Array[] = [];
  readonly gotRecords: Uint8Array[] = [];
  readonly name: string;
  logs = new Map<Aid, { readonly head: LogHead; readonly bytes: Uint8Array }>();
  stored = new Map<Said, Uint8Array>();
  isMember = true;
  refusal = nothing;
  time = 0;

  constructor(name: string) {
    this.name = name;
  }

  hold(name: string, text: string, sn = 0): this {
    this.logs.set(id(name) as Aid, { head: head(name, sn), bytes: bytes(text) });
    return this;
  }

  keep(name: string, record: Uint8Array): this {
    this.stored.set(id(name) as Said, record);
    return this;
  }

  ownHead = () => head(this.name);
  mesh = () => id('mesh');
  now = () => this.time;
  want = (_peer: PeerKey, { aid }: LogHead) => (this.logs.has(aid) ? 1 : 0);
  ownLog = async (from: number) => bytes(`log of ${this.name} from ${from}`);
  ownEndpoints = async () => bytes(`end of ${this.name}`);
  bind = async (
    stream: { peer: PeerKey },
    { aid }: LogHead,
    log: Uint8Array,
    endpoints: Uint8Array,
  ) => {
    this.told.push(
      `bind ${aid.slice(2).replaceAll('_', '')} ${stream.peer} ${Buffer.from(log)} ${Buffer.from(endpoints)}`,
    );
    return this.isMember;
  };
  revocationOf = async () => this.refusal;
  refused = async (
    _peer: PeerKey,
    by: Aid,
    code: string,
    revocation: Uint8Array,
    log: Uint8Array,
  ) => {
    this.told.push(
      `refused by ${by.slice(2).replaceAll('_', '')} ${code} ${Buffer.from(revocation)} ${Buffer.from(log)}`,
    );
  };
  heads = () => [...this.logs.values()].map((log) => log.head);
  records = () => [...this.stored.keys()];
  log = async (aid: Aid, from: number): Promise<Uint8Array> =>
    bytes(`${Buffer.from(this.logs.get(aid)?.bytes ?? [])} from ${from}`);
  record = async (said: Said) => this.stored.get(said);
  receiveLogs = async (_from: Aid, logs: readonly Uint8Array[]) => void this.gotLogs.push(...logs);
  receiveRecords = async (_from: Aid, records: readonly Uint8Array[]) =>
    void this.gotRecords.push(...records);
  clockSeen = (aid: Aid, skewMs: number) =>
    void this.told.push(`clock ${aid.slice(2).replaceAll('_', '')} ${skewMs}`);
  lacks = (aid: Aid, from: number) =>
    void this.told.push(`lacks ${aid.slice(2).replaceAll('_', '')} ${from}`);
  exchanged = (aid: Aid) => void this.told.push(`exchanged ${aid.slice(2).replaceAll('_', '')}`);
}

async function meet(
  opener: SyncContext,
  responder: SyncContext,
): Promise<readonly [PairedStream, PairedStream]> {
  const streams = streamPair();
  await Promise.all([openSession(streams[0], opener), answerSession(streams[1], responder)]);
  return streams;
}

const kinds = (stream: PairedStream) =>
  stream.sent.map((message) => decodeSyncMessage(message).kind);
const texts = (got: readonly Uint8Array[]) => got.map((it) => Buffer.from(it).toString());

/** One end is the session under test, the other sends `script` and keeps quiet. */
async function against(
  session: typeof openSession,
  context: SyncContext,
  script: readonly (SyncMessage | Uint8Array)[],
  after: 'close' | 'stay' = 'close',
) {
  const [own, hostile] = streamPair();
  const running = session(own, context);
  running.catch(() => undefined);
  for (const message of script)
    await hostile.send(message instanceof Uint8Array ? message : encodeSyncMessage(message));
  if (after === 'close') await hostile.close();
  return { running, own, hostile };
}

const hello: SyncMessage = { kind: 'hello', head: head('eve'), mesh: '', clock: 0, want: 0 };
const prove: SyncMessage = { kind: 'prove', log: bytes('l'), endpoints: bytes('e'), want: 0 };
const have: SyncMessage = { kind: 'have', heads: [], records: [] };
const give: SyncMessage = { kind: 'give', logs: [], records: [], more: false };
const refuse: SyncMessage = { kind: 'refuse', code: 'SYNC_NOT_A_MEMBER', ...nothing };

describe('sync session', () => {
  it('gives each end what it lacks and nothing that it has', async () => {
    const alice = new End('alice')
      .hold('x', 'log x', 3)
      .hold('y', 'log y', 1)
      .keep('r1', bytes('one'))
      .keep('r2', bytes('two'));
    const bob = new End('bob')
      .hold('x', 'log x', 1)
      .hold('z', 'log z', 0)
      .keep('r2', bytes('two'))
      .keep('r3', bytes('three'));
    const [a, b] = await meet(alice, bob);
    assert.deepEqual(texts(bob.gotLogs), ['log x from 2', 'log y from 0']);
    assert.deepEqual(texts(alice.gotLogs), ['log z from 0']);
    assert.deepEqual(texts(bob.gotRecords), ['one']);
    assert.deepEqual(texts(alice.gotRecords), ['three']);
    assert.deepEqual(kinds(a), ['hello', 'prove', 'have', 'give']);
    assert.deepEqual(kinds(b), ['hello', 'prove', 'have', 'give']);
    assert.ok(a.isClosed && b.isClosed);
  });

  it('sends only what the other lacks of the own log, and measures the clocks', async () => {
    const alice = new End('alice').hold('bob', 'known');
    const bob = new End('bob');
    bob.time = 5_000;
    await meet(alice, bob);
    assert.ok(bob.told.includes('bind alice 12D3KooWFirst log of alice from 0 end of alice'));
    assert.ok(alice.told.includes('bind bob 12D3KooWSecond log of bob from 1 end of bob'));
    assert.ok(alice.told.includes('clock bob 5000') && bob.told.includes('clock alice -5000'));
  });

  it('tells a stranger who refuses it, and nothing that only members may see', async () => {
    const alice = new End('alice').keep('secret', bytes('mine'));
    const bob = new End('bob').hold('x', 'log x').keep('r', bytes('members only'));
    bob.isMember = false;
    const [a, b] = await meet(alice, bob);
    assert.deepEqual(kinds(b), ['hello', 'prove', 'refuse']);
    assert.deepEqual(kinds(a), ['hello', 'prove', 'have']);
    assert.ok(alice.told.includes('refused by bob SYNC_NOT_A_MEMBER  '));
    assert.deepEqual(
      [...alice.gotLogs, ...bob.gotLogs, ...alice.gotRecords, ...bob.gotRecords],
      [],
    );
  });

  it('refuses a stranger that it has called itself', async () => {
    const alice = new End('alice').hold('x', 'log x').keep('r', bytes('members only'));
    alice.isMember = false;
    const bob = new End('bob').hold('z', 'log z');
    const [a] = await meet(alice, bob);
    assert.deepEqual(kinds(a), ['hello', 'prove', 'refuse']);
    assert.ok(bob.told.includes('refused by alice SYNC_NOT_A_MEMBER  '));
    assert.deepEqual([...alice.gotLogs, ...bob.gotLogs], []);
  });

  it('moves nothing by what a peer claims before it is bound, and all under the AID that it has proven then', async () => {
    const claims = /^(clock|lacks|exchanged) /;
    const script = [
      { ...hello, clock: 1e15, want: 1e6 },
      { ...prove, want: 1e6 },
    ] as const;
    for (const session of [openSession, answerSession]) {
      for (const outcome of ['says no more', 'is no member', 'cannot prove it'] as const) {
        const alice = new End('alice');
        alice.isMember = outcome !== 'is no member';
        if (outcome === 'cannot prove it')
          alice.bind = () => Promise.reject(new Error('the signature is of another'));
        const said = outcome === 'says no more' ? script.slice(0, 1) : script;
        const { running } = await against(session, alice, said);
        await running.catch(() => undefined);
        assert.deepEqual(
          alice.told.filter((what) => claims.test(what)),
          [],
          `${session.name}: a peer that ${outcome}`,
        );
      }
      const alice = new End('alice');
      const { running } = await against(session, alice, [...script, have, give]);
      await running;
      const moved = alice.told.filter((what) => claims.test(what));
      assert.deepEqual(moved, ['clock eve 1000000000000000', 'lacks eve 1000000', 'exchanged eve']);
      assert.ok(alice.told.findIndex((what) => what.startsWith('bind eve')) === 0);
    }
  });

  it('hands a revoked party its revocation, whichever end called', async () => {
    for (const opens of ['revoked', 'governor'] as const) {
      const governor = new End('governor');
      governor.isMember = false;
      governor.refusal = { revocation: bytes('rvk'), log: bytes('governor log') };
      const revoked = new End('revoked');
      await (opens === 'revoked' ? meet(revoked, governor) : meet(governor, revoked));
      assert.ok(
        revoked.told.includes('refused by governor SYNC_NOT_A_MEMBER rvk governor log'),
        opens,
      );
    }
  });

  it('pages records through frames that fit', async () => {
    const alice = new End('alice');
    for (let n = 0; n < 40; n++) alice.keep(`r${n}`, new Uint8Array(60_000).fill(n));
    alice.keep('charter', new Uint8Array(GIVE_BYTES + 1));
    const bob = new End('bob');
    const [a] = await meet(alice, bob);
    const gives = a.sent
      .map((message) => decodeSyncMessage(message))
      .filter((message) => message.kind === 'give');
    assert.ok(gives.length >= 5);
    assert.deepEqual(
      gives.map(({ more }) => more),
      [...gives.slice(1).map(() => true), false],
    );
    assert.equal(bob.gotRecords.length, 41);
    assert.ok(a.sent.every((message) => message.length <= 1 << 20));
  });

  it('pages a big log to its end within one session', async () => {
    const party = await createParty('paged');
    for (let n = 0; n < 60; n++) await party.identity.anchor([digestSeal(id(`seal${n}`) as Said)]);
    const receiver = await createParty('receiver', party.clock);
    const giver = new End('giver');
    giver.heads = () => [
      { aid: party.identity.aid, sn: party.identity.state.sn, said: party.identity.state.said },
    ];
    let pages = 0;
    giver.log = (aid, from) => {
      pages += 1;
      return party.kel.export(aid, from, 2_000);
    };
    const taker = new End('taker');
    taker.receiveLogs = async (_from, logs) => {
      for (const log of logs) await receiver.kel.process(log);
    };
    await meet(giver, taker);
    assert.deepEqual(receiver.kel.state(party.identity.aid), party.identity.state);
    assert.ok(pages > 5, `${pages} pages`);
  });

  it('ends when a page that has to be there is empty or cannot be read', async () => {
    for (const page of [new Uint8Array(0), bytes('no events here')]) {
      const giver = new End('giver').hold('x', '', 1_000_000);
      let pages = 0;
      giver.log = async () => {
        pages += 1;
        return page;
      };
      await meet(giver, new End('taker'));
      assert.equal(pages, 1);
    }
  });

  it('says no more than a frame holds about what it has', async () => {
    const alice = new End('alice');
    alice.heads = () =>
      Array.from({ length: 6_000 }, (_, n) => head(`h${n}`, Number.MAX_SAFE_INTEGER));
    alice.records = () => Array.from({ length: 20_000 }, (_, n) => id(`r${n}`) as Said);
    alice.log = async () => new Uint8Array(0);
    const [a] = await meet(alice, new End('bob'));
    const message = a.sent
      .map((sent) => decodeSyncMessage(sent))
      .find(({ kind }) => kind === 'have');
    assert.ok(message?.kind === 'have');
    assert.equal(message.heads.length, MAX_HEADS);
    assert.equal(message.records.length, MAX_RECORDS);
  });

  it('gives half of what the other takes at most, so that the rest comes with the next session', async () => {
    const alice = new End('alice');
    const large = new Uint8Array(512 * 1024);
    for (let n = 0; n < 200; n++) alice.keep(`r${n}`, large);
    const bob = new End('bob');
    await meet(alice, bob);
    assert.equal(bob.gotRecords.length, 64);
  });

  const bad = { code: 'SYNC_BAD_MESSAGE' };
  const outOfOrder: Readonly<
    Record<string, readonly [typeof openSession, readonly SyncMessage[]]>
  > = {
    'an opener that begins with prove': [answerSession, [prove]],
    'an opener that begins with have': [answerSession, [have]],
    'an opener that begins with refuse': [answerSession, [refuse]],
    'an opener that leaves out prove': [answerSession, [hello, have]],
    'an opener that says hello twice': [answerSession, [hello, hello]],
    'an opener that gives before it has': [answerSession, [hello, prove, give]],
    'an opener that proves twice': [answerSession, [hello, prove, prove]],
    'a responder that leaves out hello': [openSession, [prove]],
    'a responder that refuses at once': [openSession, [refuse]],
    'a responder that leaves out prove': [openSession, [hello, have]],
    'a responder that leaves out have': [openSession, [hello, prove, give]],
    'a responder that says have twice': [openSession, [hello, prove, have, have]],
  };
  for (const [who, [session, script]] of Object.entries(outOfOrder)) {
    it(`ends with an error for ${who}, and nothing of it is taken`, async () => {
      const context = new End('alice').keep('r', bytes('mine'));
      const { running } = await against(session, context, script, 'stay');
      await assert.rejects(running, bad);
      assert.deepEqual([...context.gotLogs, ...context.gotRecords], []);
    });
  }

  it('ends with an error when the other end stops at any point', async () => {
    const scripts = [
      [answerSession, [hello, prove, have, give]],
      [openSession, [hello, prove, have, give]],
    ] as const;
    for (const [session, script] of scripts) {
      for (let sent = 0; sent < script.length; sent++) {
        const { running } = await against(session, new End('alice'), script.slice(0, sent));
        await assert.rejects(running, bad, `after ${sent}`);
      }
      const { running } = await against(session, new End('alice'), script);
      await running;
    }
  });

  it('ends with an error when the stream dies after any message', async () => {
    for (const dying of [0, 1]) {
      for (let sends = 0; sends < 4; sends++) {
        const streams = streamPair();
        streams[dying]?.dieAfter(sends);
        const results = await Promise.allSettled([
          openSession(streams[0], new End('alice')),
          answerSession(streams[1], new End('bob')),
        ]);
        assert.ok(results.some(({ status }) => status === 'rejected'));
      }
    }
  });

  it('ends with an error for garbage in the place of any message', async () => {
    const garbage = [
      new Uint8Array(0),
      bytes('hello'),
      new Uint8Array(100_000).fill(0x81),
      new Uint8Array([0x9b, 0, 0x1f, 255, 255, 255, 255, 255, 255]),
    ];
    for (const noise of garbage) {
      for (let place = 0; place < 4; place++) {
        const script = [hello, prove, have, give].slice(0, place);
        for (const session of [answerSession, openSession]) {
          const { running } = await against(session, new End('alice'), [...script, noise], 'stay');
          await assert.rejects(running, bad);
        }
      }
    }
  });

  it('takes no endless giving: not of nothing, not of more than its bound', async () => {
    const more: SyncMessage = { kind: 'give', logs: [], records: [], more: true };
    const empty: SyncMessage = { kind: 'give', logs: [new Uint8Array(0)], records: [], more: true };
    for (const message of [more, empty]) {
      const { running } = await against(
        answerSession,
        new End('alice'),
        [hello, prove, have, message],
        'stay',
      );
      await assert.rejects(running, bad);
    }
    const context = new End('alice');
    context.receiveRecords = async () => undefined;
    const large = encodeSyncMessage({
      kind: 'give',
      logs: [],
      records: [new Uint8Array(1_000_000)],
      more: true,
    });
    const { running } = await against(
      answerSession,
      context,
      [hello, prove, have, ...Array(68).fill(large)],
      'stay',
    );
    await assert.rejects(running, bad);
  });

  it('lets what binding, disk or clock throw end the session', async () => {
    const context = new End('alice');
    context.bind = () => Promise.reject(Object.assign(new Error('no'), { code: 'SYNC_NOT_BOUND' }));
    for (const session of [answerSession, openSession]) {
      const { running, own } = await against(session, context, [hello, prove], 'stay');
      await assert.rejects(running, { code: 'SYNC_NOT_BOUND' });
      assert.ok(!kinds(own).includes('have') && !kinds(own).includes('refuse'));
    }
  });
});
