import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { MessageStream } from '#agent/network/network';
import {
  type MovingSteps,
  type ParkingSteps,
  runMoving,
  runParking,
} from '#agent/tunnel/transition';
import type { Said } from '#kel/identifiers';
import { type CborValue, encodeCbor } from '#src/cbor';
import { SimulatedClock } from '../../../support/simulated-clock.ts';
import { type PairedStream, streamPair } from '../../../support/stream-pair.ts';

const prepare = {
  parking: `EA${'p'.repeat(42)}` as Said,
  moving: `EA${'m'.repeat(42)}` as Said,
  th: new Uint8Array(32).fill(7),
};
const wire: CborValue = ['prepare', prepare.parking, prepare.moving, prepare.th];
const pongs = Array<string>(4).fill('pong');
const pings: readonly CborValue[] = Array.from({ length: 4 }, () => ['ping']);
const refused = { code: 'TUNNEL_REFUSED' };
const bad = { code: 'TUNNEL_BAD_MESSAGE' };

/** Both ends with their steps in one list, in the order in which they happen. */
class Ends {
  readonly clock = new SimulatedClock();
  readonly steps: string[] = [];
  readonly streams = streamPair({ maxMessage: 1_024 });
  handshakeWorks = true;
  failing: string | undefined;
  #moved = false;

  mayKnock = true;
  /** One way, of every message. */
  delayMs = 0;

  readonly parkingSteps: ParkingSteps = {
    mayKnock: true,
    park: (knocks) => this.#step(knocks ? 'knock' : 'park'),
    traffic: async (withinMs) => {
      await this.clock.sleep(withinMs);
      if (this.#moved && this.handshakeWorks) return this.#step('traffic');
      throw Object.assign(new Error('no packet'), { code: 'TUNNEL_NO_HANDSHAKE' });
    },
    handshake: async (isOver) => {
      for (let waited = 0; waited < 15_000 && !isOver(); waited += 50) {
        if (this.#moved && this.handshakeWorks) return this.#step('handshake');
        await this.clock.sleep(50);
      }
      throw Object.assign(new Error('no handshake'), { code: 'TUNNEL_NO_HANDSHAKE' });
    },
    activate: () => this.#step('activate'),
    unpark: () => this.#step('unpark'),
  };

  readonly movingSteps: MovingSteps = {
    stage: async (got) => {
      assert.deepEqual(got, prepare);
      await this.#step('stage');
    },
    move: async (arrived) => {
      await arrived;
      await this.#step('move');
      this.#moved = true;
    },
    settle: () => this.#step('settle'),
  };

  parking(): Promise<void> {
    const steps = { ...this.parkingSteps, mayKnock: this.mayKnock };
    return runParking(this.#slow(this.streams[0]), this.clock, prepare, steps);
  }

  moving(): Promise<void> {
    return runMoving(this.#slow(this.streams[1]), this.clock, this.movingSteps);
  }

  #slow(stream: PairedStream): MessageStream {
    return {
      peer: stream.peer,
      send: (message) => stream.send(message),
      receive: async (signal) => {
        const message = await stream.receive(signal);
        if (this.delayMs > 0) await this.clock.sleep(this.delayMs);
        return message;
      },
      close: () => stream.close(),
      abort: (reason) => stream.abort(reason),
    };
  }

  /** Runs both to their end. @returns the codes of their errors */
  async run(): Promise<readonly (string | undefined)[]> {
    const both = [this.parking(), this.moving()].map((end, i) =>
      end.then(
        () => undefined,
        (error: { code?: string; message: string }) => {
          // As the agent does it.
          this.streams[i as 0 | 1].abort(error as never);
          return error.code ?? error.message;
        },
      ),
    );
    return this.clock.run(Promise.all(both));
  }

  async #step(name: string): Promise<void> {
    if (this.failing === name) throw new Error(`${name} fails`);
    this.steps.push(name);
  }
}

/** Runs one end against messages that are sent whatever it says. */
function scripted(
  end: 'parking' | 'moving',
  messages: readonly (CborValue | Uint8Array)[],
  close = false,
) {
  const ends = new Ends();
  const own: PairedStream = ends.streams[end === 'parking' ? 0 : 1];
  const other: PairedStream = ends.streams[end === 'parking' ? 1 : 0];
  const done = (async () => {
    for (const message of messages)
      await other.send(message instanceof Uint8Array ? message : encodeCbor(message));
    if (close) await other.close();
  })();
  const result = ends.clock.run(end === 'parking' ? ends.parking() : ends.moving());
  result.catch(() => undefined);
  return { ends, own, other, result, done };
}

describe('transition of a tunnel', () => {
  it('stages, parks, moves, sees the handshake, activates and settles, in this order', async () => {
    const ends = new Ends();
    assert.deepEqual(await ends.run(), [undefined, undefined]);
    assert.deepEqual(ends.steps, ['stage', 'park', 'move', 'handshake', 'activate', 'settle']);
    assert.ok(ends.streams.every((stream) => stream.isClosed));
    assert.ok(
      ends.clock.now() - new SimulatedClock().now() < 200,
      'packets wait no longer than that',
    );
  });

  it('changes nothing when the other end refuses', async () => {
    const ends = new Ends();
    ends.failing = 'stage';
    assert.deepEqual(await ends.run(), ['TUNNEL_REFUSED', 'stage fails']);
    assert.deepEqual(ends.steps, []);
  });

  it('routes back when there is no handshake', async () => {
    const ends = new Ends();
    ends.handshakeWorks = false;
    const [parking, moving] = await ends.run();
    assert.equal(parking, 'TUNNEL_NO_HANDSHAKE');
    assert.notEqual(moving, undefined);
    assert.deepEqual(ends.steps, ['stage', 'park', 'move', 'unpark']);
  });

  it('routes back at once when the other end is gone before it moved', async () => {
    const ends = new Ends();
    ends.failing = 'move';
    const began = ends.clock.now();
    await ends.run();
    assert.deepEqual(ends.steps, ['stage', 'park', 'unpark']);
    assert.ok(ends.clock.now() - began < 1_000, `after ${ends.clock.now() - began} ms`);
  });

  it('routes back when parking fails half-way', async () => {
    const ends = new Ends();
    ends.failing = 'park';
    const [parking] = await ends.run();
    assert.equal(parking, 'park fails');
    assert.deepEqual(ends.steps, ['stage', 'unpark']);
  });

  describe('over a long way', () => {
    const far = () => {
      const ends = new Ends();
      ends.delayMs = 30;
      return ends;
    };

    it('has the parking end knock, and activate on the word of the other', async () => {
      const ends = far();
      assert.deepEqual(await ends.run(), [undefined, undefined]);
      assert.deepEqual(ends.steps, ['stage', 'knock', 'move', 'handshake', 'activate', 'settle']);
    });

    it('goes on when packets show that the other end moved, and back when none do', async () => {
      for (const handshakeWorks of [true, false]) {
        const ends = far();
        ends.handshakeWorks = handshakeWorks;
        ends.streams[1].dieAfter(5);
        await ends.run();
        const end = handshakeWorks ? ['traffic', 'handshake', 'activate'] : ['unpark'];
        assert.deepEqual(ends.steps, ['stage', 'knock', 'move', ...end]);
      }
    });

    it('has the other end begin where this one may not', async () => {
      const ends = far();
      ends.mayKnock = false;
      await ends.run();
      assert.ok(ends.steps.includes('park'));
    });
  });

  it('routes back when the other end cannot move', async () => {
    const ends = new Ends();
    ends.failing = 'move';
    const [parking, moving] = await ends.run();
    assert.equal(parking, 'TUNNEL_NO_HANDSHAKE');
    assert.equal(moving, 'move fails');
    assert.deepEqual(ends.steps, ['stage', 'park', 'unpark']);
  });

  it('needs the handshake and not the word of the other end', async () => {
    // The stream dies with `moved` on it: what the device shows is enough to go on.
    const ends = new Ends();
    ends.streams[1].dieAfter(5);
    const [parking] = await ends.run();
    assert.deepEqual(
      ends.steps.filter((step) => step !== 'settle'),
      ['stage', 'park', 'move', 'handshake', 'activate'],
    );
    assert.equal(parking, 'NETWORK_STREAM_CLOSED');
  });

  it('ends both ends, parked at neither, when the stream dies at any step', async () => {
    for (const dying of [0, 1] as const) {
      for (let sends = 0; sends < 7; sends++) {
        const ends = new Ends();
        ends.streams[dying].dieAfter(sends);
        const codes = await ends.run();
        assert.ok(
          codes.every((code) => code !== undefined),
          `end ${dying} after ${sends}: ${codes}`,
        );
        const isParked = ends.steps.includes('park') && !ends.steps.includes('unpark');
        assert.equal(
          isParked,
          ends.steps.includes('activate'),
          `end ${dying} after ${sends}: ${ends.steps}`,
        );
      }
    }
  });

  it('waits for no answer longer than it says', async () => {
    for (const script of [
      [],
      ['prepared'],
      ['prepared', ...pongs],
      ['prepared', ...pongs, 'moved'],
    ]) {
      const { ends, result, done } = scripted(
        'parking',
        script.map((kind) => [kind]),
      );
      await done;
      await assert.rejects(result);
      assert.ok(ends.clock.now() - new SimulatedClock().now() <= 30_000);
      assert.equal(ends.steps.includes('park'), ends.steps.includes('unpark'));
    }
    for (const script of [[], [wire], [wire, ...pings], [wire, ...pings, ['parked']]]) {
      const { result, done } = scripted('moving', script);
      await done;
      await assert.rejects(result, refused);
    }
  });

  it('ends when the other end closes early', async () => {
    await assert.rejects(scripted('parking', [], true).result, refused);
    await assert.rejects(scripted('moving', [], true).result, refused);
    await assert.rejects(scripted('moving', [wire], true).result, refused);
  });

  it('says what the other end gave as its reason', async () => {
    const { result, ends } = scripted('parking', [['refused', `TUNNEL_BUSY ${'x'.repeat(500)}`]]);
    await assert.rejects(result, (error: { code: string; message: string }) => {
      assert.equal(error.code, 'TUNNEL_REFUSED');
      assert.match(error.message, /TUNNEL_BUSY/);
      assert.ok(error.message.length < 120);
      return true;
    });
    assert.deepEqual(ends.steps, []);
  });

  const noise: Readonly<Record<string, CborValue | Uint8Array>> = {
    'no bytes': new Uint8Array(0),
    garbage: new Uint8Array([0xff, 1, 2]),
    'a number': 5,
    'an empty list': [],
    'another kind': ['hello'],
    'a kind with a field too many': ['prepared', 1],
    'a refusal without a reason': ['refused'],
    'a refusal with two': ['refused', 'a', 'b'],
    'a refusal that is a number': ['refused', 5],
    'the next kind': ['moved'],
    'a list as kind': [['prepared']],
  };
  for (const [what, message] of Object.entries(noise)) {
    it(`parks nothing after ${what}`, async () => {
      const { result, ends } = scripted('parking', [message]);
      await assert.rejects(result, bad);
      assert.deepEqual(ends.steps, []);
    });
  }

  const badPrepares: Readonly<Record<string, CborValue | Uint8Array>> = {
    'no bytes': new Uint8Array(0),
    'another kind': ['parked'],
    'a field too few': ['prepare', prepare.parking, prepare.moving],
    'a field too many': [...wire, 1],
    'a short agreement id': ['prepare', prepare.parking, prepare.moving, new Uint8Array(31)],
    'an agreement id as text': ['prepare', prepare.parking, prepare.moving, 'x'.repeat(32)],
    'a record that is no SAID': ['prepare', 'abc', prepare.moving, prepare.th],
    'a record that is a key': ['prepare', prepare.parking, `DA${'m'.repeat(42)}`, prepare.th],
    'a record that is a number': ['prepare', 1, prepare.moving, prepare.th],
    'a map': new Map([['prepare', 1]]),
  };
  for (const [what, message] of Object.entries(badPrepares)) {
    it(`stages nothing for a prepare with ${what}`, async () => {
      const { result, ends } = scripted('moving', [message]);
      await assert.rejects(result, bad);
      assert.deepEqual(ends.steps, []);
    });
  }

  it('moves nothing unless parked, and settles nothing unless confirmed', async () => {
    for (const [script, steps] of [
      [[wire, ['confirmed']], ['stage']],
      [[wire, ['parked']], ['stage']],
      [[wire, ...pings, ['confirmed']], ['stage']],
      [[wire, wire], ['stage']],
      [
        [wire, ...pings, ['parked'], ['parked']],
        ['stage', 'move'],
      ],
    ] as const) {
      const { result, ends } = scripted('moving', script);
      await assert.rejects(result, bad);
      assert.deepEqual(ends.steps, steps);
    }
  });
});
