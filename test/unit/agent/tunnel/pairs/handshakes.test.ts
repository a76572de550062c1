import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Handshakes, type HandshakeWait } from '#agent/tunnel/pairs/handshakes';
import type { DeviceEvent, InterfaceName, WireGuardKey } from '#src/wireguard/tunnel-driver';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const device = 'km0' as InterfaceName;
const key = 'aa' as WireGuardKey;
const other = 'bb' as WireGuardKey;
const LONG_MS = 10_000;

const shook = (publicKey: WireGuardKey): DeviceEvent => ({
  kind: 'peer',
  publicKey,
  lastHandshake: 1,
});

/** One device. @param does what `watch` does */
function world(does: 'tells' | 'tells nothing' | 'fails' = 'tells') {
  const clock = new SimulatedClock();
  const listeners = new Set<(event: DeviceEvent) => void>();
  let opened = 0;
  const handshakes = new Handshakes({
    clock,
    driver: {
      watch: async (_, listener) => {
        opened += 1;
        if (does === 'fails') throw new Error('no socket');
        if (does === 'tells nothing') return undefined;
        listeners.add(listener);
        listener(shook(other));
        listener({ kind: 'complete' });
        return { [Symbol.dispose]: () => void listeners.delete(listener) };
      },
    },
  });
  const tell = (event: DeviceEvent) => {
    for (const listener of [...listeners]) listener(event);
  };
  return { clock, handshakes, tell, listeners, opened: () => opened };
}

/** Looks at the device whenever that is worth it, for {@link LONG_MS}. @returns when it looked */
async function looksOf(clock: SimulatedClock, wait: HandshakeWait): Promise<readonly number[]> {
  const begun = clock.monotonic();
  const looks: number[] = [];
  for (let leftMs = LONG_MS; leftMs > 0; leftMs = LONG_MS - (clock.monotonic() - begun)) {
    if (await wait.next(leftMs, new AbortController().signal))
      looks.push(clock.monotonic() - begun);
  }
  return looks;
}

describe('waiting for a handshake', () => {
  it('looks at a device that tells its events when it has told of this peer, and at no other time', async () => {
    const { clock, handshakes, tell } = world();
    using wait = handshakes.wait({ device, key });
    clock.schedule(3_000, () => tell(shook(other)));
    clock.schedule(4_000, () => tell(shook(key)));
    clock.schedule(7_000, () => tell(shook(key)));
    const looks = await clock.run(looksOf(clock, wait), 2 * LONG_MS);
    assert.deepEqual(
      looks.filter((at) => at > 100),
      [4_000, 7_000],
    );
    // At the beginning, for what came before anything was told.
    assert.ok(looks.length > 2 && looks.length <= 5);
  });

  for (const does of ['tells nothing', 'fails'] as const)
    it(`asks again and again where the watch ${does}`, async () => {
      const { clock, handshakes } = world(does);
      using wait = handshakes.wait({ device, key });
      const looks = await clock.run(looksOf(clock, wait), 2 * LONG_MS);
      assert.ok(looks.length >= LONG_MS / 50 - 5);
    });

  it('asks again and again from when the events are lost, and a later one is told anew', async () => {
    const { clock, handshakes, tell, opened } = world();
    using wait = handshakes.wait({ device, key });
    clock.schedule(5_000, () => tell({ kind: 'lost' }));
    const looks = await clock.run(looksOf(clock, wait), 2 * LONG_MS);
    assert.ok(looks.filter((at) => at > 100 && at < 5_000).length === 0);
    assert.ok(looks.filter((at) => at >= 5_000).length >= 5_000 / 50 - 5);
    using later = handshakes.wait({ device, key });
    await clock.advance(100);
    assert.equal(opened(), 2);
    clock.schedule(5_000, () => tell(shook(key)));
    const after = await clock.run(looksOf(clock, later), 2 * LONG_MS);
    assert.deepEqual(
      after.filter((at) => at > 100),
      [5_000],
    );
  });

  it('misses nothing that comes while the device is looked at', async () => {
    const { clock, handshakes, tell } = world();
    using wait = handshakes.wait({ device, key });
    await clock.advance(100);
    const next = () => clock.run(wait.next(LONG_MS, new AbortController().signal), 2 * LONG_MS);
    while (await next());
    tell(shook(key));
    const before = clock.monotonic();
    assert.equal(await next(), true);
    assert.equal(clock.monotonic(), before);
  });

  it('opens one watch for all who wait at a device, and ends it with the last', async () => {
    const { clock, handshakes, listeners, opened } = world();
    const waits = [key, other, key].map((of) => handshakes.wait({ device, key: of }));
    await clock.advance(100);
    assert.deepEqual([opened(), listeners.size], [1, 1]);
    for (const [n, wait] of waits.entries()) {
      assert.equal(listeners.size, 1, `${n} of ${waits.length} have ended`);
      wait[Symbol.dispose]();
    }
    assert.equal(listeners.size, 0);
    // One that ends before the watch stands leaves none behind either.
    handshakes.wait({ device, key })[Symbol.dispose]();
    await clock.advance(100);
    assert.deepEqual([opened(), listeners.size], [2, 0]);
  });

  it('ends when the agent does', async () => {
    const { clock, handshakes } = world();
    using wait = handshakes.wait({ device, key });
    await clock.advance(100);
    const stop = new AbortController();
    const loop = async () => {
      for (;;) await wait.next(LONG_MS, stop.signal);
    };
    clock.schedule(200, () => stop.abort(new Error('the end')));
    await assert.rejects(clock.run(loop(), LONG_MS), /the end/);
  });
});
