/** Connections that say nothing, or nothing more than a beginning: they must not keep anybody out who has something to say. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, it } from 'mocha';
import { HalfOpen, type Silence } from './support/half-open.ts';
import { type LiveAgent, LiveAgents, until } from './support/live-agents.ts';
import { Stranger } from './support/stranger.ts';

const HELD = 40;
/** A member needs a few tens of milliseconds; the silent ones stay for as long as the test lasts. */
const WITHIN_MS = 20_000;

/** Keeps `count` half-open connections to each target, and replaces those that fall. */
class Crowd implements AsyncDisposable {
  readonly #held = new Set<HalfOpen>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[];
  opened = 0;

  constructor(targets: readonly LiveAgent[], sources: readonly string[], silence: Silence) {
    this.#running = targets.flatMap(({ host, port }) =>
      Array.from({ length: HELD }, (_, n) =>
        this.#keep({ host, port }, sources[n % sources.length] as string, silence),
      ),
    );
  }

  async #keep(to: { host: string; port: number }, from: string, silence: Silence): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const half = await HalfOpen.connect(to, silence, from);
      this.opened += 1;
      this.#held.add(half);
      while (half.isOpen && !this.#stop.signal.aborted) await sleep(10);
      half.close();
      this.#held.delete(half);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }
}

describe('forty connections that say nothing', () => {
  const one = ['127.66.0.1'];
  const four = ['127.66.0.1', '127.66.0.2', '127.66.0.3', '127.66.0.4'];
  for (const [silence, sources] of [
    ['connected', one],
    ['connected', four],
    ['negotiating', four],
    ['in-handshake', one],
  ] as const)
    it(`${silence}, from ${sources.length} of their addresses, keep no member out that restarts, nor a newcomer`, async function () {
      this.timeout(120_000);
      await using mesh = await LiveAgents.create({ names: ['governor', 'member', 'newcomer'] });
      const [governor, member, newcomer] = mesh.agents as [LiveAgent, LiveAgent, LiveAgent];
      await mesh.found([member]);
      await member.stop();
      await using crowd = new Crowd([governor], sources, silence);
      await until('the crowd is there', () => crowd.opened >= HELD);
      await member.start();
      await until('the member is bound', () => governor.isBoundTo(member), WITHIN_MS);
      await using more = new Crowd([member], sources, silence);
      await newcomer.organisation.governing.join(mesh.invite());
      await newcomer.start();
      await until(
        'the newcomer knocks',
        () => governor.running.sync.knocks.get(newcomer.aid) !== undefined,
        WITHIN_MS,
      );
      assert.ok(member.isBoundTo(governor));
      assert.ok(more.opened > 0);
    });
});

describe('a crowd of strangers that have all shaken hands', () => {
  it('keeps no member out, however many connections it holds', async function () {
    this.timeout(120_000);
    const limits = { maxStrangers: 8, maxStrangersPerSource: 8, maxInboundPerSecond: 200 };
    await using mesh = await LiveAgents.mesh({ names: ['governor', 'member'], limits });
    const [governor, member] = mesh.agents as [LiveAgent, LiveAgent];
    await member.stop();
    await using crowd = new AsyncDisposableStack();
    const strangers: Stranger[] = [];
    for (let n = 0; n < 24; n++) {
      const stranger = crowd.use(await Stranger.create());
      await stranger.dial(governor.address);
      strangers.push(stranger);
    }
    const connected = () => governor.running.network.peers().length;
    await until('the door has closed behind the last', () => connected() === limits.maxStrangers);
    await member.start();
    await until('the member is bound', () => governor.isBoundTo(member), WITHIN_MS);
    assert.ok(governor.running.network.turnedAway >= 16);
  });
});
