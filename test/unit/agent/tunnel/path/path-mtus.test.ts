import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type OpenPath, PathMtus, RouteMtus } from '#agent/tunnel/path/path-mtus';
import type { Aid } from '#kel/identifiers';
import { createJournal } from '#src/journal';
import type { WaysLook } from '#src/wireguard/ways';

const aid = 'EB' as Aid;
const path: OpenPath = { aid, device: 'kelmesh0', endpoint: '192.0.2.7:51820' };

/** A way of the datagrams, and a tunnel that lets packets of some length pass. */
class World {
  now = 0;
  linkMtu = 1_500;
  routerMtu: number | undefined;
  /** Packets into the tunnel that are longer are lost. */
  hole = 9_000;
  answers = true;
  readonly asked: number[] = [];
  readonly applied: (number | undefined)[] = [];
  readonly found = new RouteMtus();
  readonly mtus: PathMtus;

  constructor() {
    const clock = {
      now: () => this.now,
      monotonic: () => this.now,
      sleep: async () => undefined,
    };
    this.mtus = new PathMtus(
      {
        clock,
        journal: createJournal(clock, 'error', () => undefined),
        echoes: {
          ask: async (_aid, length) => {
            this.asked.push(length);
            return this.answers && length <= this.hole ? 1 : undefined;
          },
        },
        look: async () => this.look,
        apply: async () => {
          this.applied.push(this.found.of(aid)?.bytes);
        },
      },
      this.found,
    );
  }

  get look(): WaysLook {
    const mtu = this.routerMtu === undefined ? {} : { mtu: this.routerMtu };
    return {
      links: new Map([
        ['kelmesh0', { isUp: true, mtu: 1_420 }],
        ['net0', { isUp: true, mtu: this.linkMtu }],
      ]),
      ways: new Map([['192.0.2.7', { kind: 'device', device: 'net0', ...mtu }]]),
    };
  }

  check(): Promise<void> {
    return this.mtus.check([path], this.look);
  }

  get limit(): number | undefined {
    return this.found.of(aid)?.bytes;
  }
}

describe('the path MTU of a tunnel', () => {
  it('is that of the device where full packets arrive, and no route is touched', async () => {
    const world = new World();
    await world.check();
    assert.deepEqual([world.limit, world.applied], [1_420, []]);
    assert.ok(world.asked.length <= 3);
  });

  it('follows the own link, then is not searched', async () => {
    const world = new World();
    world.linkMtu = 1_400;
    await world.check();
    assert.deepEqual([world.limit, world.applied], [1_328, [1_328]]);
    assert.equal(world.found.of(aid)?.underlay, 1_400);
    assert.ok(world.asked.every((length) => length <= 1_328));
  });

  it('is found where longer packets vanish without a word', async () => {
    const world = new World();
    world.hole = 1_225;
    await world.check();
    assert.deepEqual([world.limit, world.applied], [1_216, [1_216]]);
    assert.equal(world.found.of(aid)?.isMeasured, true);
  });

  it('follows what a router says once a full packet was on the way', async () => {
    const world = new World();
    await world.check();
    world.routerMtu = 1_280;
    world.now += 300_000;
    await world.check();
    assert.deepEqual([world.limit, world.applied], [1_216, [1_216]]);
  });

  it('does not rise when what the router said is forgotten, and does when the way is another one', async () => {
    const world = new World();
    world.routerMtu = 1_280;
    await world.check();
    world.routerMtu = undefined;
    world.now += 300_000;
    await world.check();
    assert.equal(world.limit, 1_216);
    world.linkMtu = 9_000;
    await world.check();
    assert.deepEqual([world.limit, world.applied], [1_420, [1_216, 1_420]]);
  });

  it('says nothing of lengths where nothing answers, and asks again later', async () => {
    const world = new World();
    world.answers = false;
    await world.check();
    assert.deepEqual([world.limit, world.applied], [1_420, []]);
    const { length } = world.asked;
    assert.ok(world.asked.every((asked) => asked < 100));
    await world.check();
    assert.equal(world.asked.length, length, 'not before its time');
    world.now += 30_000;
    world.answers = true;
    world.hole = 1_225;
    await world.check();
    assert.equal(world.limit, 1_216);
  });

  it('is looked at rarely when nothing changes, and forgotten with the member', async () => {
    const world = new World();
    await world.check();
    const { length } = world.asked;
    await world.check();
    assert.equal(world.asked.length, length);
    world.now += 300_000;
    await world.check();
    assert.ok(world.asked.length > length);
    await world.mtus.check([], world.look);
    assert.equal(world.limit, undefined);
  });
});
