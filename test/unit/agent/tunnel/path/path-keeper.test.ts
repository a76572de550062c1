import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { overlayAddress } from '#agent/mesh/membership/overlay-address';
import { PathKeeper, type PathKeeperDeps } from '#agent/tunnel/path/path-keeper';
import { RouteMtus } from '#agent/tunnel/path/path-mtus';
import type { Aid, Said } from '#kel/identifiers';
import { createJournal } from '#src/journal';
import type { Way } from '#src/wireguard/ways';

const mesh = `E${'M'.repeat(43)}` as Said;
const own = `E${'A'.repeat(43)}` as Aid;
const bob = `E${'B'.repeat(43)}` as Aid;

/** A tunnel to bob on `kelmesh1`, while the own key stands on `kelmesh0` too. */
class World implements AsyncDisposable {
  now = 1_000;
  way: Way = { kind: 'none', said: 'Network is unreachable' };
  established: (aid: Aid) => void = () => undefined;
  readonly #ended = new AbortController();
  readonly keeper: PathKeeper;

  constructor() {
    const clock = {
      now: () => this.now,
      monotonic: () => this.now,
      sleep: (_ms: number, signal?: AbortSignal) =>
        new Promise<void>((_, reject) =>
          signal?.addEventListener('abort', () => reject(new Error('over'))),
        ),
    };
    const device = { name: 'kelmesh1' };
    const deps = {
      clock,
      journal: createJournal(clock, 'error', () => undefined),
      routeMtus: new RouteMtus(),
      identity: { aid: own },
      membership: { isIn: true, mesh, others: () => [{ aid: bob }] },
      echoes: { start: () => undefined, listen: async () => undefined },
      ways: {
        look: async () => ({
          links: new Map([[device.name, { isUp: true, mtu: 1_420 }]]),
          ways: new Map<string, Way>([
            [overlayAddress(mesh, own), { kind: 'local' }],
            [overlayAddress(mesh, bob), this.way],
          ]),
        }),
        watch: () => ({ isTelling: true, [Symbol.dispose]: () => undefined }),
      },
      tunnels: {
        deviceNames: new Set(['kelmesh0', 'kelmesh1']),
        status: async () => [{ aid: bob, device }],
        repair: async () => false,
        reconcile: async () => undefined,
        listen: (listener: { established(aid: Aid): void }) => {
          this.established = (aid) => listener.established(aid);
        },
      },
    };
    this.keeper = new PathKeeper(deps as unknown as PathKeeperDeps);
    this.keeper.start(this.#ended.signal);
  }

  get fault(): string | undefined {
    return this.keeper.faultOf(bob, 'kelmesh1')?.kind;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
  }
}

describe('the keeper of paths', () => {
  it('says nothing of a member by what it saw before the tunnel came up', async () => {
    await using world = new World();
    await world.keeper.look();
    assert.equal(world.fault, 'not-routed');
    world.now += 10;
    world.established(bob);
    assert.equal(world.fault, undefined);
    world.now += 10;
    await world.keeper.look();
    assert.equal(world.fault, 'not-routed');
  });

  it('takes any own device for the way into the tunnel, and none of others', async () => {
    await using world = new World();
    for (const [device, fault] of [
      ['kelmesh0', undefined],
      ['kelmesh1', undefined],
      ['wg0', 'routed-elsewhere'],
    ] as const) {
      world.way = { kind: 'device', device };
      await world.keeper.look();
      assert.equal(world.fault, fault, device);
    }
  });
});
