import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  ANSWER_MS,
  asked,
  handshakeAge,
  isQuiet,
  type Life,
  lived,
  QUIET_MS,
  silentMs,
} from '#agent/tunnel/pairs/liveness';

const WALL = Date.UTC(2026, 0, 1);
const look = (rx: number, lastHandshake = WALL) => ({ rxBytes: BigInt(rx), lastHandshake });

describe('life of a tunnel', () => {
  it('is asked for when nothing comes, and missed when nothing comes then', () => {
    let life = lived(undefined, look(100), 0);
    assert.equal(isQuiet(life, QUIET_MS - 1), false);
    assert.equal(isQuiet(life, QUIET_MS), true);
    life = asked(lived(life, look(100), QUIET_MS), QUIET_MS);
    assert.equal(isQuiet(life, QUIET_MS + 1), false);
    assert.equal(silentMs(life, QUIET_MS + ANSWER_MS - 1), undefined);
    assert.equal(silentMs(life, QUIET_MS + ANSWER_MS), QUIET_MS + ANSWER_MS);
    // An answer, a keepalive of 32 bytes: alive again.
    life = lived(life, look(132), 40_000);
    assert.equal(silentMs(life, 10_000_000), undefined);
    assert.equal(isQuiet(life, 40_000 + QUIET_MS), true);
  });

  it('is missed at the latest after as long as two looks and an answer, whenever the other end vanishes', () => {
    const EVERY = 15_000;
    for (let vanishes = 0; vanishes < 60_000; vanishes += 777) {
      let life: Life | undefined;
      let missedAt = Number.POSITIVE_INFINITY;
      for (let now = 0; now < 300_000 && missedAt > now; now += EVERY) {
        life = lived(life, look(Math.min(now, vanishes)), now);
        if (isQuiet(life, now)) life = asked(life, now);
        if (silentMs(life, now) !== undefined) missedAt = now;
      }
      assert.ok(missedAt - vanishes <= 4 * EVERY, `${vanishes}: ${missedAt}`);
    }
  });

  it('is never missed while every question is answered, however little comes', () => {
    let life: Life | undefined;
    let rx = 0;
    for (let now = 0; now < 3_600_000; now += 15_000) {
      life = lived(life, look(rx), now);
      assert.equal(silentMs(life, now), undefined);
      if (isQuiet(life, now)) {
        life = asked(life, now);
        rx += 32;
      }
    }
  });

  it('knows how old a handshake is, also when the clock was set since', () => {
    let life = lived(undefined, look(1), 1_000);
    assert.equal(handshakeAge(life, 6_000, WALL + 5_000), 5_000);
    life = lived(life, look(2, WALL + 120_000), 121_000);
    assert.equal(handshakeAge(life, 131_000, WALL + 130_000), 10_000);
    // Two hours ahead, and an hour back: no older than since the look before it was seen.
    assert.equal(handshakeAge(life, 131_000, WALL + 7_330_000), 130_000);
    assert.equal(handshakeAge(life, 131_000, WALL - 3_470_000), 130_000);
    assert.equal(handshakeAge(lived(undefined, look(0, 0), 0), 10, WALL), undefined);
  });
});
