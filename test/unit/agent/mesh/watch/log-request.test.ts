/** The log of an AID, asked of a member page by page: however the reading ends, the stream ends with it. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { askLog, serveLogs } from '#agent/mesh/watch/log-request';
import type { MessageStream, Network, PeerKey } from '#agent/network/network';
import type { Aid } from '#kel/identifiers';
import { streamPair } from '../../../../support/doubles/stream-pair.ts';
import { Organisation } from '../../../../support/kit/key-log.ts';
import { createParty } from '../../../../support/kit/party.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const PEER = 'peer' as PeerKey;

/** Two events in the log of `aid`, at a member that gives one event a page. */
async function world() {
  const clock = new SimulatedClock();
  const { kel } = await createParty('asked', clock);
  const org = new Organisation('read');
  org.incept();
  org.anchor();
  await kel.process(org.stream);
  const [own, theirs] = streamPair();
  let handler: ((stream: MessageStream) => Promise<void>) | undefined;
  const asked = {
    handle: (_id: string, _limits: object, given: (stream: MessageStream) => Promise<void>) => {
      handler = given;
    },
  } as unknown as Network;
  serveLogs({
    network: asked,
    kel: { export: (aid: Aid, from = 0) => kel.export(aid, from, 1) },
    clock,
    mayHave: () => true,
  });
  const serving = handler?.(theirs);
  serving?.catch(() => undefined);
  const network: Network = { open: async () => own } as unknown as Network;
  return { own, pages: askLog({ network, clock }, PEER, org.aid, 0) };
}

describe('asking for a log', () => {
  it('ends with the last page, and closes the stream', async () => {
    const { own, pages } = await world();
    let count = 0;
    for await (const page of pages) count += page.length > 0 ? 1 : 0;
    assert.equal(count, 2);
    assert.ok(own.isClosed);
    assert.equal(own.failure, undefined);
  });

  it('ends the stream when whoever reads stops early, throws, or gives up the iterator', async () => {
    const ways: Record<string, (pages: AsyncGenerator<Uint8Array>) => Promise<void>> = {
      stops: async (pages) => {
        for await (const _page of pages) break;
      },
      throws: async (pages) => {
        for await (const _page of pages) throw new Error('a page that is refused');
      },
      'gives up': async (pages) => {
        await pages.next();
        await pages.return(undefined);
      },
    };
    for (const [name, read] of Object.entries(ways)) {
      const { own, pages } = await world();
      await read(pages).catch(() => undefined);
      assert.ok(own.failure !== undefined || own.isClosed, name);
    }
  });
});
