import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import type { MessageStream, PeerKey } from '#agent/network/network';
import { Emergency, type EmergencyDeps } from '#agent/tunnel/rotation/emergency';
import type { Aid, Said } from '#kel/identifiers';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { streamPair } from '../../../../support/doubles/stream-pair.ts';
import { FailingLevel } from '../../../../support/kit/failing-level.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const governor = 'governor' as Aid;
const delegator = 'delegator' as Aid;
const peer = '12D3KooWPeer' as PeerKey;
const said = `E${'A'.repeat(43)}` as Said;
const journal = { debug() {}, info() {}, warn() {}, error() {}, failed() {} };

/** One member that is asked by whom `from` names, and one that asks it. */
async function member(options: Partial<EmergencyDeps> & { readonly from?: Aid } = {}) {
  const clock = new SimulatedClock();
  const db = new FailingLevel();
  let serve: (stream: MessageStream) => Promise<void> = async () => undefined;
  const rotations: number[] = [];
  const deps: EmergencyDeps = {
    network: {
      handle: (_: string, __: object, handler: typeof serve) => {
        serve = handler;
      },
    } as unknown as EmergencyDeps['network'],
    directory: { aidOf: () => options.from } as unknown as EmergencyDeps['directory'],
    clock,
    journal,
    table: await StateTable.open(db as Database, 'schedule'),
    askedBy: 'governor',
    delegator: () => delegator,
    governors: () => [governor],
    rotate: async () => {
      rotations.push(clock.now());
      return { sn: 7, said };
    },
    ...options,
  };
  new Emergency(deps).start();
  const ask = async (message: CborValue | Uint8Array): Promise<CborValue | undefined> => {
    const [asking, asked] = streamPair({ maxMessage: 256 });
    const served = serve(asked);
    await asking.send(message instanceof Uint8Array ? message : encodeCbor(message));
    const answer = asking.receive().catch(() => undefined);
    await clock.run(served);
    const bytes = await clock.run(answer);
    return bytes === undefined ? undefined : decodeCbor(bytes);
  };
  return { ask, clock, rotations };
}

/** Asks a member that answers with `answer`. */
async function asking(answer: CborValue | Uint8Array | undefined) {
  const clock = new SimulatedClock();
  const [near, far] = streamPair({ maxMessage: 256 });
  const emergency = new Emergency({
    network: { open: async () => near },
    directory: { peerOf: () => peer },
    clock,
  } as unknown as EmergencyDeps);
  if (answer === undefined) await far.close();
  else await far.send(answer instanceof Uint8Array ? answer : encodeCbor(answer));
  const asked = emergency.ask([{ aid: governor, name: 'g', role: '', region: '' } as never]);
  return (await clock.run(asked))[0];
}

describe('emergency rotation', () => {
  it('is done for a governor and for the delegator, as the configuration says', async () => {
    for (const [askedBy, from, isDone] of [
      ['governor', governor, true],
      ['governor', delegator, true],
      ['delegator', delegator, true],
      ['delegator', governor, false],
      ['nobody', governor, false],
      ['nobody', delegator, false],
      ['governor', 'other' as Aid, false],
      ['governor', undefined, false],
    ] as const) {
      const { ask, rotations } = await member({ askedBy, ...(from === undefined ? {} : { from }) });
      const answer = await ask(['rotate']);
      assert.deepEqual(
        answer,
        isDone ? ['rotated', 7, said] : ['refused', 'ROTATION_NOT_ASKED'],
        `${askedBy} ${from}`,
      );
      assert.equal(rotations.length, isDone ? 1 : 0);
    }
  });

  it('is done once an hour', async () => {
    const { ask, clock, rotations } = await member({ from: governor });
    await ask(['rotate']);
    assert.deepEqual(await ask(['rotate']), ['refused', 'ROTATION_TOO_SOON']);
    await clock.advance(3_600_000);
    assert.deepEqual(await ask(['rotate']), ['rotated', 7, said]);
    assert.equal(rotations.length, 2);
  });

  it('says why it could not', async () => {
    const rotate = () =>
      Promise.reject(Object.assign(new Error('lost'), { code: 'IDENTITY_NEXT_KEYS_LOST' }));
    const { ask } = await member({ from: governor, rotate });
    assert.deepEqual(await ask(['rotate']), ['refused', 'IDENTITY_NEXT_KEYS_LOST']);
  });

  it('takes no other request', async () => {
    for (const message of [['rotate', 1], [], 'rotate', ['other'], new Uint8Array([0xff])]) {
      const { ask, rotations } = await member({ from: governor });
      assert.equal(await ask(message), undefined);
      assert.deepEqual(rotations, []);
    }
  });

  it('says at which event the member is, or why it is not', async () => {
    const done = await asking(['rotated', 7, said]);
    assert.deepEqual([done?.rotated, done?.sn, done?.said, done?.reason], [true, 7, said, null]);
    const refused = await asking(['refused', 'TUNNEL_BUSY']);
    assert.deepEqual([refused?.rotated, refused?.sn], [false, null]);
    assert.match(refused?.reason ?? '', /TUNNEL_BUSY/);
    assert.match((await asking(undefined))?.reason ?? '', /ended the exchange/);
  });

  it('believes no malformed answer', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.uint8Array({ maxLength: 64 }),
          fc
            .tuple(
              fc.constantFrom('rotated', 'refused', 'rotate'),
              fc.oneof(fc.integer(), fc.string()),
            )
            .map((fields) => encodeCbor(fields)),
          fc
            .tuple(
              fc.constant('rotated'),
              fc.oneof(fc.integer({ max: 0 }), fc.string()),
              fc.constant(said),
            )
            .map((fields) => encodeCbor(fields)),
          fc.string().map((text) => encodeCbor(['rotated', 7, `E${text}`])),
        ),
        async (bytes) => {
          const result = await asking(bytes);
          assert.equal(result?.rotated, false);
          assert.ok((result?.reason ?? '').length < 300);
        },
      ),
      { numRuns: 200 },
    );
  });
});
