import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { OPEN_MESH, termsOf } from '#agent/mesh/membership/policy/mesh-policy';
import { Dormancy } from '#agent/tunnel/pairs/dormancy';
import type { Edge } from '#agent/tunnel/pairs/edges';
import type { Aid } from '#kel/identifiers';

const AID = 'Eb' as Aid;
const IDLE_MS = 60_000;
const none = { active: undefined, staged: undefined };
const active = {
  own: 'a',
  peer: 'b',
  slot: 0,
  port: 1,
  initiates: true,
  generation: 1,
  since: 0,
} as never;
const END = { name: 'a', role: 'server', region: '' } as const;
const terms = termsOf(OPEN_MESH, [END, END]);
const lazy: Edge = { kind: 'open', terms: { ...terms, start: 'lazy' } };

function dormancyOf(edge: Edge = lazy) {
  const time = { now: 0 };
  const dormancy = new Dormancy({
    edges: { of: () => edge },
    clock: { monotonic: () => time.now },
    idleMs: IDLE_MS,
  });
  return { dormancy, time };
}

describe('pairs that sleep', () => {
  it('are lazy ones without a tunnel that nobody has wanted, and only where a packet is heard', () => {
    const { dormancy } = dormancyOf();
    assert.equal(dormancy.isAsleep(AID, none), false, 'nobody would hear the packet');
    dormancy.enable();
    assert.equal(dormancy.isAsleep(AID, none), true);
    assert.equal(dormancy.isAsleep(AID, { ...none, active }), false);
    assert.equal(dormancy.isAsleep(AID, { ...none, staged: active }), false);
    dormancy.wake(AID);
    assert.equal(dormancy.isAsleep(AID, none), false);
    dormancy.slept(AID);
    assert.equal(dormancy.isAsleep(AID, none), true);
  });

  it('are none of those that the policy has eager, closed or lacking', () => {
    for (const edge of [
      { kind: 'open', terms },
      { kind: 'closed', terms: { ...terms, start: 'lazy', peer: false } },
      { kind: 'lacking', lacking: ['hqc-256'] },
      { kind: 'none' },
    ] satisfies Edge[]) {
      const { dormancy } = dormancyOf(edge);
      dormancy.enable();
      assert.equal(dormancy.isAsleep(AID, none), false, edge.kind);
    }
  });

  it('may sleep again when for long enough no more went through than the agents say by themselves', () => {
    const { dormancy, time } = dormancyOf();
    dormancy.enable();
    let bytes = 0n;
    const pass = (seconds: number, perLook: bigint) => {
      for (let at = 0; at < seconds; at += 15) {
        time.now += 15_000;
        bytes += perLook;
        dormancy.count(AID, bytes);
      }
    };
    dormancy.count(AID, bytes);
    pass(45, 500n);
    assert.equal(dormancy.isIdle(AID), false);
    assert.equal(dormancy.isIdle(AID, 0.5), true, 'half of the time has passed');
    pass(15, 500n);
    assert.equal(dormancy.isIdle(AID), true);
    pass(15, 100_000n);
    assert.equal(dormancy.isIdle(AID), false);
    pass(45, 0n);
    bytes = 0n;
    dormancy.count(AID, bytes);
    assert.equal(dormancy.isIdle(AID), false, 'a device that was made anew');
    pass(60, 0n);
    assert.equal(dormancy.isIdle(AID), true);
  });

  it('that were wanted in vain may sleep again after the same time', () => {
    const { dormancy, time } = dormancyOf();
    dormancy.enable();
    dormancy.wake(AID);
    dormancy.count(AID, undefined);
    time.now += IDLE_MS - 1;
    assert.equal(dormancy.isIdle(AID), false);
    time.now += 1;
    assert.equal(dormancy.isIdle(AID), true);
    dormancy.wake(AID);
    assert.equal(dormancy.isIdle(AID), false, 'wanted again');
  });
});
