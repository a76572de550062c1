/** Queries between agents on virtual time, as `kelmesh id query` makes them. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { Json } from '#agent/control/protocol';
import { requestedCall } from '#agent/control/verb-table';
import { decodeAnswer, queryLimits, queryProtocol } from '#agent/mesh/query/messages';
import { parseStream } from '#kel/cesr/stream';
import { buildQuery, encodeSignedQuery, type QueryContent } from '#kel/query/query';
import { LogVerifier } from '#kel/verify/log-verifier';
import { Organisation, verifySignature } from '../../../../support/kit/key-log.ts';
import { codeOf } from '../../../../support/kit/party.ts';
import { at } from '../../../../support/kit/replies.ts';
import type { Json as Answer } from '../../../../support/machines/federation.ts';
import {
  type SimulatedAgent,
  SimulatedFederation,
} from '../../../../support/simulation/simulated-agent.ts';

describe('queries between members', function () {
  this.timeout(20_000);
  let federation: SimulatedFederation;
  let a: SimulatedAgent;
  let b: SimulatedAgent;

  beforeEach(async () => {
    federation = await SimulatedFederation.create({ seed: 'queries', size: 2 });
    await federation.found();
    [a, b] = federation.agents as [SimulatedAgent, SimulatedAgent];
    await federation.admit([b]);
    await federation.until(
      () => [a, b].every(({ running }) => running.directory.bound().length === 1),
      120_000,
      () => 'both are bound',
      500,
    );
  });

  afterEach(() => federation.abandon());

  async function verb(
    agent: SimulatedAgent,
    name: 'id.query' | 'id.replies',
    args: Record<string, Json>,
  ): Promise<Answer> {
    const { organisation, running } = agent;
    const context = {
      organisation,
      agent: running,
      name: agent.name,
      progress: () => {},
      stop: async () => {},
    };
    return federation.clock.run(requestedCall(name, args).run(context)) as Promise<Answer>;
  }

  function bytesOf(answer: Answer): Buffer {
    return Buffer.from(answer['cesr'], 'base64');
  }

  /** What `b` answers to any bytes of `a`. */
  function send(message: Uint8Array) {
    const { network, directory } = a.running;
    const peer = directory.peerOf(b.aid);
    if (peer === undefined) throw new Error('not bound');
    return federation.clock.run(
      (async () => {
        const stream = await network.open(peer, queryProtocol, queryLimits);
        await stream.send(message);
        const answer = await stream.receive();
        await stream.close();
        return answer === undefined ? undefined : decodeAnswer(answer);
      })(),
    );
  }

  async function signed(content: QueryContent): Promise<Uint8Array> {
    const body = buildQuery('CBOR', at(0), content);
    return encodeSignedQuery(body, a.aid, await a.organisation.identity.sign(body));
  }

  it('give a log whole, or from a sequence number on', async () => {
    const state = b.organisation.kel.state(b.aid);
    const whole = await verb(a, 'id.query', { aid: b.aid });
    assert.deepEqual([whole['member'], whole['route']], [b.aid, 'logs']);
    const verifier = new LogVerifier(verifySignature);
    verifier.feed(bytesOf(whole));
    assert.deepEqual(verifier.finish().aids, [state]);
    const sn = state?.sn ?? 0;
    const last = await verb(a, 'id.query', { aid: b.aid, from: sn });
    assert.equal([...parseStream(bytesOf(last))].length, 1);
    const beyond = verb(a, 'id.query', { aid: b.aid, from: sn + 1 });
    await assert.rejects(beyond, {
      code: 'QUERY_REFUSED',
      fields: { code: 'KEL_NOT_HELD', member: b.aid },
    });
  });

  it('give a key state, signed, which is kept', async () => {
    const { sn, said } = b.organisation.identity.state;
    const answer = await verb(a, 'id.query', { aid: b.aid, ksn: true });
    assert.deepEqual([answer['keyState'].sn, answer['keyState'].said], [sn, said]);
    const replies = await verb(a, 'id.replies', { aid: b.aid });
    assert.equal(replies['keyState'].source, b.aid);
    // Of a third party's log the member speaks as a watcher.
    const own = await verb(a, 'id.query', { aid: a.aid, ksn: true });
    assert.equal(own['keyState'].sn, a.organisation.identity.state.sn);
    assert.equal((await verb(a, 'id.replies', { aid: a.aid }))['keyState'].source, b.aid);
  });

  it('give foreign logs only where they are watched', async () => {
    const org = new Organisation('foreign');
    org.incept();
    await b.organisation.kel.process(org.stream);
    const refused = verb(a, 'id.query', { aid: org.aid });
    await assert.rejects(refused, {
      code: 'QUERY_REFUSED',
      fields: { code: 'QUERY_NOT_A_MEMBER', member: b.aid },
    });
    await b.organisation.watch.add(org.aid, { kind: 'import' });
    const answer = await verb(a, 'id.query', { aid: org.aid });
    assert.equal([...parseStream(bytesOf(answer))].length, 1);
  });

  it('are refused unless the peer itself has signed them, to the one that is asked', async () => {
    const about = { route: 'ksn', aid: b.aid } as const;
    const body = buildQuery('CBOR', at(0), { ...about, source: b.aid });
    const byOther = await b.organisation.identity.sign(body);
    const cases: readonly (readonly [Uint8Array, string])[] = [
      [await signed({ ...about, source: b.aid }), 'piece'],
      [await signed({ ...about, source: a.aid }), 'KEL_BAD_VALUE'],
      [body, 'KEL_BAD_SIGNATURE'],
      [encodeSignedQuery(body, a.aid, byOther), 'KEL_BAD_SIGNATURE'],
      [encodeSignedQuery(body, b.aid, byOther), 'KEL_WRONG_SIGNER'],
      [Buffer.from('noise'), 'KEL_BAD_STREAM'],
    ];
    for (const [message, expected] of cases) {
      const answer = await send(message);
      assert.equal(answer?.kind === 'refused' ? answer.code : answer?.kind, expected);
    }
  });

  it('are bounded per peer and minute', async () => {
    const query = await signed({ route: 'ksn', aid: b.aid, source: b.aid });
    const kinds = [];
    for (let i = 0; i < 32; i++) {
      const answer = await send(query);
      kinds.push(answer?.kind === 'refused' ? answer.code : answer?.kind);
    }
    assert.equal(kinds.filter((kind) => kind === 'piece').length, 30);
    assert.equal(kinds.at(-1), 'QUERY_BUSY');
    await federation.clock.advance(61_000);
    assert.equal((await send(query))?.kind, 'piece');
  });

  it('need somebody to ask, and an AID', async () => {
    const peer = a.running.directory.peerOf(b.aid);
    if (peer !== undefined) a.running.directory.unbind(peer);
    assert.equal(await codeOf(verb(a, 'id.query', { aid: b.aid })), 'QUERY_NO_MEMBER');
    assert.equal(await codeOf(verb(a, 'id.query', { aid: 'nobody' })), 'CONTROL_BAD_REQUEST');
    const wrong = verb(a, 'id.query', { aid: b.aid, from: -1 });
    assert.equal(await codeOf(wrong), 'CONTROL_BAD_REQUEST');
  });
});
