/** What can go wrong between a request and its answer, a row each: who asks has one error of its own, and no stream stays open. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  type Conversation,
  converse,
  failuresAs,
  hold,
  type Manners,
} from '#agent/network/conversation';
import { askPeer, decodeList, refusal, serveExchange } from '#agent/network/exchange';
import type { MessageStream, Network, PeerKey, ProtocolId } from '#agent/network/network';
import type { Aid } from '#kel/identifiers';
import { utf8 } from '#src/bytes';
import { type CborValue, encodeCbor } from '#src/cbor';
import { type PairedStream, streamPair } from '../../../support/doubles/stream-pair.ts';
import { SimulatedClock } from '../../../support/simulation/simulated-clock.ts';

const AID = 'Epeer' as Aid;
const PEER = 'peer' as PeerKey;

class Failed extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

const failure = failuresAs(
  {
    unreachable: 'UNREACHABLE',
    silent: 'SILENT',
    ended: 'ENDED',
    refused: 'REFUSED',
    malformed: 'MALFORMED',
  },
  (code, message) => new Failed(code, message),
);

const manners: Manners = {
  protocol: '/test' as ProtocolId,
  limits: { maxMessage: 64, maxStreams: 1 },
  messageMs: 1_000,
  wholeMs: 2_500,
  failure,
};

type Handler = (stream: MessageStream) => Promise<void>;

interface World {
  readonly clock: SimulatedClock;
  readonly own: PairedStream;
  readonly theirs: PairedStream;
  readonly stop: AbortController;
  readonly network: Network;
  isConnected: boolean;
  /** What the other end does with the stream that is opened. */
  handler: Handler;
}

function world(): World {
  const [own, theirs] = streamPair({ maxMessage: 64 });
  const made: World = {
    clock: new SimulatedClock(),
    own,
    theirs,
    stop: new AbortController(),
    isConnected: true,
    handler: async () => undefined,
    network: {
      open: async () => {
        made.handler(theirs).catch((error: Error) => theirs.abort(error));
        return own;
      },
      handle: (_protocol: string, _limits: object, handler: Handler) => {
        made.handler = handler;
      },
    } as unknown as Network,
  };
  return made;
}

function ask({ network, clock, stop, ...world }: World): Promise<readonly CborValue[]> {
  const directory = {
    peerOf: () => (world.isConnected ? PEER : undefined),
    aidOf: () => AID,
  };
  const deps = { network, clock, directory, signal: stop.signal };
  return askPeer(deps, manners, AID, encodeCbor(['ask']));
}

function serve(world: World, answer: (request: Uint8Array) => Promise<CborValue>): void {
  serveExchange(world, manners, answer);
}

interface Row {
  readonly what: string;
  readonly code: string;
  readonly prepare: (world: World) => void;
  /** The other end has ended the stream itself, or there was none. */
  readonly isEndedBefore?: boolean;
}

const failures: readonly Row[] = [
  {
    what: 'there is no connection',
    code: 'UNREACHABLE',
    prepare: (world) => {
      world.isConnected = false;
    },
    isEndedBefore: true,
  },
  {
    what: 'the other end says nothing',
    code: 'SILENT',
    prepare: (world) => {
      world.handler = () => new Promise(() => undefined);
    },
  },
  {
    what: 'the other end closes without an answer',
    code: 'ENDED',
    prepare: (world) => {
      world.handler = (stream) => stream.close();
    },
  },
  {
    what: 'the other end resets the stream',
    code: 'NETWORK_STREAM_CLOSED',
    prepare: (world) => {
      world.handler = async (stream) => stream.abort(new Error('no'));
    },
  },
  {
    what: 'the answer is no CBOR',
    code: 'MALFORMED',
    prepare: (world) => {
      world.handler = (stream) => stream.send(utf8('\xff\xff'));
    },
    isEndedBefore: true,
  },
  {
    what: 'the answer is no list',
    code: 'MALFORMED',
    prepare: (world) => serve(world, async () => 'done'),
    isEndedBefore: true,
  },
  {
    what: 'the answer is a refusal',
    code: 'REFUSED',
    prepare: (world) => serve(world, async () => refusal(new Failed('WHY', ''), 'OTHERWISE')),
    isEndedBefore: true,
  },
  {
    what: 'the handler of the other end throws',
    code: 'NETWORK_STREAM_CLOSED',
    prepare: (world) =>
      serve(world, async () => {
        throw new Error('a mistake');
      }),
  },
  {
    what: 'the answer is larger than a message may be',
    code: 'NETWORK_STREAM_CLOSED',
    prepare: (world) => serve(world, async () => ['x'.repeat(100)]),
  },
  {
    what: 'the work of the other end takes longer than an answer is waited for',
    code: 'SILENT',
    prepare: (world) =>
      serve(world, async () => {
        await world.clock.sleep(2_000);
        return ['done'];
      }),
  },
  {
    what: 'this end stops meanwhile',
    code: 'STOPPED',
    prepare: (world) => {
      world.handler = () => new Promise(() => undefined);
      world.clock.schedule(500, () => world.stop.abort(new Failed('STOPPED', 'the agent stops')));
    },
  },
  {
    what: 'this end has stopped before',
    code: 'STOPPED',
    prepare: (world) => world.stop.abort(new Failed('STOPPED', 'the agent stops')),
    isEndedBefore: true,
  },
];

describe('a request and its answer', () => {
  it('are one message each, on a stream that both ends close', async () => {
    const made = world();
    serve(made, async (request) => ['heard', ...decodeList(request, failure)]);
    assert.deepEqual(await made.clock.run(ask(made)), ['heard', 'ask']);
    assert.deepEqual([made.own.isClosed, made.theirs.isClosed], [true, true]);
    assert.equal(made.own.failure, undefined);
  });

  for (const { what, code, prepare, isEndedBefore = false } of failures)
    it(`fail as ${code} where ${what}, and leave no stream`, async () => {
      const made = world();
      prepare(made);
      await assert.rejects(made.clock.run(ask(made)), { code });
      if (isEndedBefore) assert.ok(made.own.isClosed || made.own.sent.length === 0);
      else assert.ok(made.own.failure !== undefined);
      // Nothing holds it up any more: no timer is left that would.
      assert.ok(made.clock.monotonic() <= manners.wholeMs);
    });

  it('say no with the code of what failed, or with another where it has none', () => {
    assert.deepEqual(refusal(new Failed('WHY', ''), 'OTHERWISE'), ['refused', 'WHY']);
    assert.deepEqual(refusal(new Error('x'), 'OTHERWISE'), ['refused', 'OTHERWISE']);
  });

  it('reset the stream of who opens it and asks nothing', async () => {
    const made = world();
    serve(made, async () => ['done']);
    await made.network.open(PEER, manners.protocol, manners.limits);
    await made.clock.advance(manners.messageMs);
    assert.equal((made.theirs.failure as Failed | undefined)?.code, 'SILENT');
  });
});

describe('a conversation of several messages', () => {
  const talk = async (conversation: Conversation): Promise<number> => {
    for (let heard = 0; ; heard++) if ((await conversation.next()) === undefined) return heard;
  };

  it('ends where the other end closes, and is closed then', async () => {
    const made = world();
    made.handler = async (stream) => {
      for (let i = 0; i < 3; i++) await stream.send(utf8('word'));
      await stream.close();
    };
    assert.equal(await made.clock.run(converse(made, manners, PEER, talk)), 3);
    assert.ok(made.own.isClosed);
  });

  it('takes no longer in all than it may, however promptly each message comes', async () => {
    const made = world();
    made.handler = async (stream) => {
      for (;;) {
        await made.clock.sleep(900);
        await stream.send(utf8('word'));
      }
    };
    await assert.rejects(made.clock.run(converse(made, manners, PEER, talk)), { code: 'SILENT' });
    assert.equal(made.clock.monotonic(), manners.wholeMs);
    assert.equal((made.own.failure as Failed | undefined)?.code, 'SILENT');
  });

  it('is reset where what is done between two messages throws, even what is no error', async () => {
    for (const thrown of [new Error('a mistake'), 'a word', undefined]) {
      const made = world();
      const held = hold(made.own, made, manners, async () => {
        throw thrown;
      });
      await held.then(
        () => assert.fail('it was taken'),
        (error: unknown) => assert.equal(error, thrown),
      );
      assert.ok(made.own.failure instanceof Error);
    }
  });

  it('takes no message longer than it was told to wait for this one', async () => {
    const made = world();
    made.handler = async (stream) => {
      await made.clock.sleep(1_500);
      await stream.send(utf8('late'));
    };
    const patient = converse(made, manners, PEER, (conversation) => conversation.receive(2_000));
    assert.deepEqual(await made.clock.run(patient), utf8('late'));
  });
});
