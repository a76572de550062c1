import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { epochStart } from '#agent/mesh/membership/epoch';
import type { Agreement, AgreementEnds } from '#agent/tunnel/agreement/agreement';
import { Initiator } from '#agent/tunnel/agreement/machine';
import type { AgreementPolicy, PairPolicy } from '#agent/tunnel/agreement/policy';
import {
  agreementLimits,
  agreementProtocol,
  type ResponderDeps,
  type RunOutcome,
  runInitiator,
  runResponder,
} from '#agent/tunnel/agreement/runner';
import type { Said } from '#kel/identifiers';
import type { Secret } from '#src/secret';
import {
  a,
  aView,
  b,
  bView,
  depsOf,
  joinedStreams,
  mesh,
  type Path,
  policy,
  type TestStream,
} from '../../../../support/kit/agreements.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const MIDDLE = epochStart(policy.baseEpoch, policy.epochSeconds) + 1_800_000;

interface Setup {
  readonly toResponder?: Path;
  readonly toInitiator?: Path;
  readonly initiatorView?: AgreementEnds;
  readonly initiatorPolicy?: AgreementPolicy;
  readonly view?: ResponderDeps['view'];
  readonly accept?: (agreement: Agreement) => Promise<void>;
  readonly responderNow?: number;
}

interface Run {
  readonly clock: SimulatedClock;
  readonly streams: readonly [TestStream, TestStream];
  readonly accepted: Agreement[];
  readonly initiator: Promise<RunOutcome>;
  readonly responder: Promise<RunOutcome>;
}

const answer =
  (view: AgreementEnds, own: PairPolicy = policy) =>
  async () => ({ view, policy: own });

function start(setup: Setup = {}): Run {
  const clock = new SimulatedClock({ start: setup.responderNow ?? MIDDLE });
  const streams = joinedStreams(setup.toResponder, setup.toInitiator);
  const accepted: Agreement[] = [];
  const responderDeps: ResponderDeps = {
    ...depsOf('r'),
    clock,
    now: () => clock.now(),
    view: setup.view ?? answer(bView),
    accept:
      setup.accept ??
      (async (agreement) => {
        accepted.push(agreement);
      }),
  };
  const machine = new Initiator(
    depsOf('i'),
    setup.initiatorView ?? aView,
    setup.initiatorPolicy ?? policy,
  );
  const responder = runResponder(streams[1], responderDeps);
  const initiator = runInitiator(streams[0], machine, clock);
  for (const promise of [initiator, responder]) promise.catch(() => undefined);
  return { clock, streams, accepted, initiator, responder };
}

async function refusalOf(run: Run) {
  const [ours, theirs] = [await run.initiator, await run.responder];
  assert.deepEqual(ours, theirs);
  assert.equal(ours.kind, 'refused');
  assert.deepEqual(run.accepted, []);
  return ours.kind === 'refused' ? ours.refusal : undefined;
}

/** Loses the message at `index`. */
const loses =
  (index: number): Path =>
  (message, at) =>
    at === index ? undefined : message;

describe('agreement over a stream', () => {
  it('gives both ends the same agreement within the limits of its protocol', async () => {
    const run = start();
    const ours = await run.initiator;
    await run.responder;
    const [theirs] = run.accepted;
    assert.ok(ours.kind === 'agreed' && theirs !== undefined);
    assert.ok(ours.agreement.chain.equals(theirs.chain));
    assert.deepEqual(ours.agreement.th, theirs.th);
    assert.equal(agreementProtocol, '/kelmesh/1/pair');
    for (const stream of run.streams) {
      assert.ok(stream.isClosed);
      assert.ok(stream.sent.every((message) => message.length <= agreementLimits.maxMessage));
    }
  });

  it('acknowledges only after the responder made its agreement durable', async () => {
    const gate = Promise.withResolvers<void>();
    let isSettled = false;
    const run = start({ accept: () => gate.promise });
    run.initiator.finally(() => {
      isSettled = true;
    });
    await run.clock.advance(1000);
    assert.equal(isSettled, false);
    gate.resolve();
    assert.equal((await run.initiator).kind, 'agreed');
  });

  it('gives no agreement when the responder cannot store it', async () => {
    const failure = new Error('disk full');
    let chain: Secret | undefined;
    const run = start({
      accept: async (agreement) => {
        chain = agreement.chain;
        throw failure;
      },
    });
    await assert.rejects(run.responder, failure);
    await assert.rejects(run.initiator);
    assert.equal(run.streams[1].aborted, failure);
    assert.ok(chain?.expose().every((byte) => byte === 0));
  });

  it('gives neither end an agreement when message 3 is lost', async () => {
    const run = start({ toResponder: loses(2) });
    await run.clock.advance(30_000);
    await assert.rejects(run.initiator, { code: 'AGREEMENT_TIMEOUT' });
    await assert.rejects(run.responder);
    assert.deepEqual(run.accepted, []);
  });

  it('gives the initiator no agreement when the acknowledgement is lost or is something else', async () => {
    await assert.rejects(start({ toInitiator: loses(1) }).initiator, {
      code: 'AGREEMENT_NOT_ACKNOWLEDGED',
    });
    const other: Path = (message, at) => (at === 1 ? Uint8Array.of(7) : message);
    await assert.rejects(start({ toInitiator: other }).initiator, {
      code: 'AGREEMENT_NOT_ACKNOWLEDGED',
    });
  });

  it('ends at its deadline when the other end is silent, with no timer left', async () => {
    const run = start({ toResponder: loses(1) });
    await run.clock.advance(29_999);
    assert.equal(run.streams[0].aborted, undefined);
    await run.clock.advance(1);
    await assert.rejects(run.initiator, { code: 'AGREEMENT_TIMEOUT' });
    await assert.rejects(run.responder);
    assert.ok(run.streams[0].aborted !== undefined && run.streams[1].aborted !== undefined);
  });

  it('resets the stream on garbage in place of any message', async () => {
    const garbage =
      (index: number): Path =>
      (message, at) =>
        at === index ? Uint8Array.of(1, 9, 9) : message;
    for (const index of [0, 1, 2]) {
      const run = start({ toResponder: garbage(index) });
      await assert.rejects(run.responder, { code: 'AGREEMENT_BAD_MESSAGE' });
      await assert.rejects(run.initiator);
      assert.ok(run.streams[1].aborted);
    }
    const run = start({ toInitiator: garbage(0) });
    await assert.rejects(run.initiator, { code: 'AGREEMENT_BAD_MESSAGE' });
    await assert.rejects(run.responder);
  });

  it('fails when the initiator leaves early', async () => {
    const [one, other] = joinedStreams();
    const deps = {
      ...depsOf('r'),
      clock: new SimulatedClock(),
      now: () => MIDDLE,
      view: answer(bView),
      accept: async () => {},
    };
    const pending = runResponder(other, deps);
    await one.close();
    await assert.rejects(pending, { code: 'AGREEMENT_BAD_MESSAGE' });
  });
});

describe('agreement over a stream: refusals', () => {
  const said = `E${'x'.repeat(43)}` as Said;

  it('says which views the responder holds when they differ from the greeting', async () => {
    const newer = { ...a.peer, establishment: { sn: 4, said } };
    const refusal = await refusalOf(start({ view: answer({ ...bView, peer: newer }) }));
    assert.deepEqual(refusal, {
      code: 'AGREEMENT_STALE_VIEW',
      held: {
        initiator: {
          aid: a.local.aid,
          establishment: { sn: 4, said },
          tunnelRecord: a.local.tunnelRecord,
        },
        responder: {
          aid: b.local.aid,
          establishment: b.local.establishment,
          tunnelRecord: b.local.tunnelRecord,
        },
      },
    });
    const record = { ...b.local, tunnelRecord: said };
    assert.equal(
      (await refusalOf(start({ view: answer({ ...bView, local: record }) })))?.code,
      'AGREEMENT_STALE_VIEW',
    );
  });

  it('refuses a peer without a view, and one of another mesh, without telling more', async () => {
    assert.deepEqual(await refusalOf(start({ view: async () => undefined })), {
      code: 'AGREEMENT_UNKNOWN_PEER',
    });
    const elsewhere = start({ initiatorView: { ...aView, mesh: said } });
    assert.deepEqual(await refusalOf(elsewhere), { code: 'AGREEMENT_UNKNOWN_PEER' });
  });

  it('refuses another policy', async () => {
    const own = { ...policy, epochSeconds: 1800 };
    assert.deepEqual(await refusalOf(start({ view: answer(bView, own) })), {
      code: 'AGREEMENT_POLICY',
    });
  });

  it('allows a base epoch across one boundary, and refuses a clock that is further off', async () => {
    const at = (epochs: number) => MIDDLE + epochs * policy.epochSeconds * 1000;
    for (const near of [-1, 0, 1]) {
      assert.equal((await start({ responderNow: at(near) }).initiator).kind, 'agreed');
    }
    for (const far of [-2, 2]) {
      assert.deepEqual(await refusalOf(start({ responderNow: at(far) })), {
        code: 'AGREEMENT_CLOCK_SKEW',
      });
    }
  });

  it('asks for the view with the greeting and the peer of the stream, and passes its failure on', async () => {
    const failure = new Error('store closed');
    let asked: unknown;
    const run = start({
      view: async (terms, peer) => {
        asked = { mesh: terms.mesh, aid: terms.initiator.aid, peer };
        throw failure;
      },
    });
    await assert.rejects(run.responder, failure);
    await assert.rejects(run.initiator);
    assert.deepEqual(asked, { mesh, aid: a.local.aid, peer: run.streams[1].peer });
  });
});
