import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  type FollowingSteps,
  type LeadingSteps,
  runFollowing,
  runLeading,
} from '#agent/tunnel/pairs/change-over';
import type { Said } from '#kel/identifiers';
import { type CborValue, encodeCbor } from '#src/cbor';
import { type PairedStream, streamPair } from '../../../../support/doubles/stream-pair.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const prepare = {
  leading: `EA${'l'.repeat(42)}` as Said,
  following: `EA${'f'.repeat(42)}` as Said,
  th: new Uint8Array(32).fill(7),
  port: 51_821,
  begins: false,
};
const OTHER_PORT = 51_822;
const wire: readonly CborValue[] = [
  'prepare',
  prepare.leading,
  prepare.following,
  prepare.th,
  prepare.port,
  prepare.begins,
];
const refused = { code: 'TUNNEL_REFUSED' };
const bad = { code: 'TUNNEL_BAD_MESSAGE' };

/** Both ends with their steps in one list, in the order in which they happen. */
class Ends {
  readonly clock = new SimulatedClock();
  readonly steps: string[] = [];
  readonly streams = streamPair({ maxMessage: 1_024 });
  failing: string | undefined;

  readonly leadingSteps: LeadingSteps = {
    prepared: async (prepared) => {
      assert.deepEqual(prepared, { port: OTHER_PORT, begins: true });
      await this.#step('prepared');
    },
    flip: () => this.#step('leading flips'),
    confirmed: () => this.#step('leading is told'),
  };

  readonly followingSteps: FollowingSteps = {
    stage: async (got) => {
      assert.deepEqual(got, prepare);
      await this.#step('stage');
      return { port: OTHER_PORT, begins: true };
    },
    flip: () => this.#step('following flips'),
    confirmed: () => this.#step('following is told'),
  };

  leading(): Promise<void> {
    return runLeading(this.streams[0], this.clock, prepare, this.leadingSteps);
  }

  following(): Promise<void> {
    return runFollowing(this.streams[1], this.clock, this.followingSteps);
  }

  /** Runs both to their end. @returns the codes of their errors */
  async run(): Promise<readonly (string | undefined)[]> {
    const both = [this.leading(), this.following()].map((end, i) =>
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
  end: 'leading' | 'following',
  messages: readonly (CborValue | Uint8Array)[],
  close = false,
) {
  const ends = new Ends();
  const other: PairedStream = ends.streams[end === 'leading' ? 1 : 0];
  const done = (async () => {
    for (const message of messages)
      await other.send(message instanceof Uint8Array ? message : encodeCbor(message));
    if (close) await other.close();
  })();
  const result = ends.clock.run(end === 'leading' ? ends.leading() : ends.following());
  result.catch(() => undefined);
  return { ends, result, done };
}

describe('change-over of a tunnel', () => {
  it('stages, tells the ports, flips each end by itself, and tells each of the other', async () => {
    const ends = new Ends();
    assert.deepEqual(await ends.run(), [undefined, undefined]);
    assert.deepEqual(ends.steps.slice(0, 1), ['stage']);
    assert.deepEqual([...ends.steps].sort(), [
      'following flips',
      'following is told',
      'leading flips',
      'leading is told',
      'prepared',
      'stage',
    ]);
    const at = (step: string) => ends.steps.indexOf(step);
    assert.ok(at('prepared') < at('leading flips'));
    assert.ok(at('leading flips') < at('following is told'));
    assert.ok(at('following flips') < at('leading is told'));
    assert.ok(ends.streams.every((stream) => stream.isClosed));
  });

  it('changes nothing when the other end refuses, and says why', async () => {
    const ends = new Ends();
    ends.failing = 'stage';
    assert.deepEqual(await ends.run(), ['TUNNEL_REFUSED', 'stage fails']);
    assert.deepEqual(ends.steps, []);
  });

  for (const [failing, never] of [
    ['leading flips', 'following is told'],
    ['following flips', 'leading is told'],
  ] as const) {
    it(`tells nobody of a flip that was not made (${failing})`, async () => {
      const ends = new Ends();
      ends.failing = failing;
      const codes = await ends.run();
      assert.ok(codes.every((code) => code !== undefined));
      assert.ok(!ends.steps.includes(never) && !ends.steps.includes(failing));
    });
  }

  it('ends both ends when the stream dies at any step, and none is told of more than was done', async () => {
    for (const dying of [0, 1] as const) {
      for (let sends = 0; sends < 2; sends++) {
        const ends = new Ends();
        ends.streams[dying].dieAfter(sends);
        const codes = await ends.run();
        assert.ok(
          codes.some((code) => code !== undefined),
          `end ${dying} after ${sends}: ${codes}`,
        );
        if (ends.steps.includes('leading is told'))
          assert.ok(ends.steps.includes('following flips'));
        if (ends.steps.includes('following is told'))
          assert.ok(ends.steps.includes('leading flips'));
      }
    }
  });

  it('waits for no answer longer than it says', async () => {
    for (const script of [[], [['prepared', OTHER_PORT, true]]]) {
      const { ends, result, done } = scripted('leading', script);
      await done;
      await assert.rejects(result, refused);
      assert.ok(ends.clock.now() - new SimulatedClock().now() <= 30_000);
    }
    for (const script of [[], [wire]]) {
      const { result, done } = scripted('following', script);
      await done;
      await assert.rejects(result, refused);
    }
  });

  it('ends when the other end closes early', async () => {
    await assert.rejects(scripted('leading', [], true).result, refused);
    await assert.rejects(scripted('following', [], true).result, refused);
    await assert.rejects(scripted('following', [wire], true).result, refused);
  });

  it('says what the other end gave as its reason', async () => {
    const { result, ends } = scripted('leading', [['refused', `TUNNEL_BUSY ${'x'.repeat(500)}`]]);
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
    'another kind': ['hello', 1],
    'a kind with a field too few': ['prepared', OTHER_PORT],
    'a kind with a field too many': ['prepared', OTHER_PORT, true, 1],
    'port 0': ['prepared', 0, true],
    'port 65,536': ['prepared', 65_536, true],
    'a port as text': ['prepared', '51822', true],
    'a number for who begins': ['prepared', OTHER_PORT, 1],
    'a refusal without a reason': ['refused'],
    'a refusal with two': ['refused', 'a', 'b'],
    'a refusal that is a number': ['refused', 5],
    'the next kind': ['flipped'],
    'a list as kind': [['prepared'], 1],
  };
  for (const [what, message] of Object.entries(noise)) {
    it(`does nothing after ${what}`, async () => {
      const { result, ends } = scripted('leading', [message]);
      await assert.rejects(result, bad);
      assert.deepEqual(ends.steps, []);
    });
  }

  const withField = (at: number, value: CborValue): CborValue =>
    wire.map((field, i) => (i === at ? value : field));
  const badPrepares: Readonly<Record<string, CborValue | Uint8Array>> = {
    'no bytes': new Uint8Array(0),
    'another kind': withField(0, 'parked'),
    'a field too few': wire.slice(0, 5),
    'a field too many': [...wire, 1],
    'a short agreement id': withField(3, new Uint8Array(31)),
    'an agreement id as text': withField(3, 'x'.repeat(32)),
    'a record that is no SAID': withField(1, 'abc'),
    'a record that is a key': withField(2, `DA${'m'.repeat(42)}`),
    'a record that is a number': withField(1, 1),
    'port 0': withField(4, 0),
    'a port as text': withField(4, '51821'),
    'a number for who begins': withField(5, 1),
    'a map': new Map([['prepare', 1]]),
  };
  for (const [what, message] of Object.entries(badPrepares)) {
    it(`stages nothing for a prepare with ${what}`, async () => {
      const { result, ends } = scripted('following', [message]);
      await assert.rejects(result, bad);
      assert.deepEqual(ends.steps, []);
    });
  }

  it('is told of nothing but a flip', async () => {
    for (const second of [wire, ['prepared', OTHER_PORT, true], ['flipped', 1]] as const) {
      const { result, ends } = scripted('following', [wire, second]);
      await assert.rejects(result, bad);
      assert.deepEqual(ends.steps, ['stage', 'following flips']);
    }
  });
});
