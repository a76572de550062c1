/** What somebody with the keys of a log, and a crowd of strangers, reach over sockets at a witness and at the desk for nodes. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { decodeNodeAnswer, encodeNodeRequest, nodeProtocol } from '#agent/identity/node/messages';
import {
  decodeAnswer,
  encodeRequest,
  type WitnessAnswer,
  witnessProtocol,
} from '#agent/identity/witness/messages';
import type { PeerKey } from '#agent/network/network';
import { digestSeal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { Aid } from '#kel/identifiers';
import { Organisation, type Step, sign, witnessKey } from '../support/kit/key-log.ts';
import { approvesAll } from '../support/kit/store-kit.ts';
import { type LiveAgent, LiveAgents } from './support/live-agents.ts';
import { Stranger } from './support/stranger.ts';

/** Witnesses that sign whatever they are shown. */
const accomplices = [witnessKey('accomplice one'), witnessKey('accomplice two')] as const;

/** Final without the witness under attack: two of three receipts are enough. */
function final(step: Step, org: Organisation, generation: number): Uint8Array {
  const witnessSignatures = sign(step.bytes, accomplices).map(({ raw }, i) => ({
    index: i + 1,
    raw,
  }));
  const signatures = sign(step.bytes, org.keys(generation));
  return encodeSignedEvent(step.bytes, signatures, { witnessSignatures });
}

function bare(step: Step, org: Organisation, generation: number): Uint8Array {
  return encodeSignedEvent(step.bytes, sign(step.bytes, org.keys(generation)));
}

class Colluding extends Organisation {
  override step(...[event, signers, options = {}]: Parameters<Organisation['step']>): Step {
    const witnessSignatures = sign(event.bytes, accomplices).map(({ raw }, i) => ({
      index: i + 1,
      raw,
    }));
    return super.step(event, signers, { witnessSignatures, ...options });
  }

  override fork(keep: number): Colluding {
    return Object.assign(new Colluding(this.name), { steps: this.steps.slice(0, keep) });
  }
}

async function ask(
  stranger: Stranger,
  agent: LiveAgent,
  event: Uint8Array,
): Promise<WitnessAnswer> {
  const peer = await stranger.dial(agent.address);
  const stream = await stranger.open(peer, witnessProtocol);
  await stream.send(encodeRequest({ kind: 'receipt', event }));
  const answer = decodeAnswer((await stream.receive()) ?? new Uint8Array(0));
  await stream.close();
  return answer;
}

describe('the keys of a log in the hands of two faces', () => {
  it('get no two rotations receipted by one witness, whatever comes between and over a restart of it', async function () {
    this.timeout(120_000);
    await using mesh = await LiveAgents.mesh({ names: ['governor'] });
    const { governor } = mesh;
    const org = new Colluding('two faces');
    const witnesses = [governor.organisation.witness.aid, ...accomplices.map(({ aid }) => aid)];
    const icp = org.incept({ witnesses: witnesses as Aid[], witnessThreshold: 2 });
    await governor.organisation.witness.allow(icp.aid, true);
    await using stranger = await Stranger.create();
    const kinds: string[] = [];
    const attempt = async (event: Uint8Array) => {
      const answer = await ask(stranger, governor, event);
      kinds.push(answer.kind === 'refused' ? answer.code : answer.kind);
    };
    await attempt(final(icp, org, 0));
    await attempt(final(org.anchor(), org, 0));
    await attempt(final(org.anchor(), org, 0));
    const [one, other] = [org.fork(1), org.fork(1)];
    await attempt(bare(one.rotate(), org, 1));
    // What used to make the rotation above be forgotten.
    await attempt(bare(org.anchor(), org, 0));
    const second = bare(other.rotate({ anchors: [digestSeal(icp.said)] }), org, 1);
    await attempt(second);
    await governor.stop();
    await governor.start();
    await attempt(second);
    assert.deepEqual(kinds, [
      'receipted',
      'receipted',
      'receipted',
      'receipted',
      'WITNESS_SECOND_EVENT',
      'WITNESS_SECOND_EVENT',
      'WITNESS_SECOND_EVENT',
    ]);
  });
});

describe('a crowd of strangers that ask to be nodes', () => {
  it('leaves nothing on disk, and pushes out neither a request nor the patience of anybody', async function () {
    this.timeout(120_000);
    await using mesh = await LiveAgents.mesh({ names: ['governor'] });
    const { governor } = mesh;
    const { desk, kel } = governor.organisation;
    const asks = async (stranger: Stranger, peer: PeerKey, name: string, label: string) => {
      const dip = new Organisation(label).incept(
        { delegator: governor.aid },
        { delegator: approvesAll },
      );
      const stream = await stranger.open(peer, nodeProtocol);
      await stream.send(encodeNodeRequest(name, dip.message));
      const answer = decodeNodeAnswer((await stream.receive()) ?? new Uint8Array(0));
      await stream.close();
      return { aid: dip.aid, answer };
    };
    await using honest = await Stranger.create();
    const { aid } = await asks(honest, await honest.dial(governor.address), 'ward', 'honest node');
    await using stranger = await Stranger.create();
    const peer = await stranger.dial(governor.address);
    const answers = new Map<string, number>();
    for (let n = 0; n < 100; n++) {
      // A second stream before the first has ended is cut off: it asks faster than it may.
      const asked = await asks(stranger, peer, 'ward', `stranger ${n}`).catch(() => undefined);
      const { answer } = asked ?? { answer: { kind: 'refused', code: 'cut off' } as const };
      const kind = answer.kind === 'refused' ? answer.code : answer.kind;
      answers.set(kind, (answers.get(kind) ?? 0) + 1);
    }
    const waiting = answers.get('waiting') ?? 0;
    assert.ok(waiting > 4 && waiting < 50, `${waiting} of 100 requests were taken`);
    assert.equal(desk.find(aid).event.aid, aid);
    assert.throws(() => desk.find('ward'), { code: 'NODE_AMBIGUOUS' });
    assert.ok((await desk.list()).length <= 1 + 4);
    assert.deepEqual(kel.waiting(), []);
    await governor.stop();
    await governor.start();
    assert.deepEqual(await governor.organisation.desk.list(), []);
  });
});
