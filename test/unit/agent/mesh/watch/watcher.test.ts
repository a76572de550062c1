import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { PeerDirectory } from '#agent/mesh/sync/peer-directory';
import type { FetchLog } from '#agent/mesh/watch/log-source';
import { WatchList } from '#agent/mesh/watch/watch-list';
import { Watcher } from '#agent/mesh/watch/watcher';
import { ReplyStore } from '#kel/reply/reply-store';
import type { LevelKelStore } from '#kel/store/level-kel-store';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import { Organisation, witnessKey } from '../../../../support/kit/key-log.ts';
import { createParty, verifySignature } from '../../../../support/kit/party.ts';
import { at, replyBy, replyOfKey } from '../../../../support/kit/replies.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const URL = 'https://example.org/log';
const quiet = () => undefined;

async function setUp(fetchLog: FetchLog | undefined) {
  const clock = new SimulatedClock();
  const party = await createParty('watching', clock);
  const table = await StateTable.open(party.disk.db as unknown as Database, 'watch');
  const watch = await WatchList.open(table, clock);
  const replies = await ReplyStore.open(party.disk.db as unknown as Database, {
    kel: party.kel,
    verifySignature,
    isWatcher: () => false,
  });
  const watcher = new Watcher({
    kel: party.kel as LevelKelStore,
    replies,
    watch,
    membership: party.membership,
    network: { handle: quiet } as never,
    directory: new PeerDirectory(),
    fetchLog,
    clock,
    rng: new SeededRng(1),
    journal: { debug: quiet, info: quiet, warn: quiet, error: quiet, failed: quiet },
  });
  const stop = new AbortController();
  return { clock, kel: party.kel, replies, watch, watcher, stop };
}

describe('watcher', () => {
  it('asks an address again every ten minutes or so, and remembers when it failed', async () => {
    const org = new Organisation('foreign');
    org.incept();
    const stray = new Organisation('stray');
    stray.incept();
    let asked = 0;
    let isUp = true;
    const { clock, kel, watch, watcher, stop } = await setUp(async (url, maxBytes) => {
      asked += 1;
      assert.equal(url, URL);
      assert.equal(maxBytes, 8 << 20);
      if (!isUp) throw Object.assign(new Error('away'), { code: 'WATCH_UNREACHABLE' });
      return Buffer.concat([org.stream, stray.stream]);
    });
    await watch.add(org.aid, { kind: 'url', url: URL });
    watcher.start(stop.signal);
    await clock.advance(1_000);
    assert.equal(kel.state(org.aid)?.sn, 0);
    assert.equal(kel.state(stray.aid), undefined);
    org.anchor();
    await clock.advance(3_600_000);
    assert.ok(asked >= 5 && asked <= 9, `${asked} times in an hour`);
    assert.equal(kel.state(org.aid)?.sn, 1);
    isUp = false;
    await clock.advance(900_000);
    assert.equal(watch.list()[0]?.failure?.code, 'WATCH_UNREACHABLE');
    isUp = true;
    await clock.advance(900_000);
    assert.equal(watch.list()[0]?.failure, null);
    stop.abort();
    const before = asked;
    await clock.advance(3_600_000);
    assert.equal(asked, before);
  });

  it('takes replies of those whom the log names, and of nobody else', async () => {
    const witness = witnessKey('witness');
    const org = new Organisation('served');
    org.incept({ witnesses: [witness.aid], witnessThreshold: 1 }, { witnesses: [witness] });
    const [endpoint, stranger] = [witnessKey('endpoint'), witnessKey('stranger')];
    const url = 'http://192.0.2.1/';
    const places = [endpoint, stranger, witness].map((key) =>
      replyOfKey(key, { type: 'location', eid: key.aid, scheme: 'http', url }),
    );
    const role = { type: 'end-role', cid: org.aid, role: 'mailbox', isAllowed: true } as const;
    const named = replyBy(org, { ...role, eid: endpoint.aid }, { dateTime: at(1) });
    const answer = Buffer.concat([...places, named, org.stream]);
    const { watcher, kel, replies } = await setUp(async () => answer);
    await watcher.fetch(org.aid, { kind: 'url', url: URL });
    assert.equal(kel.state(org.aid)?.sn, 0);
    const known = [endpoint, stranger, witness].map(({ aid }) => replies.locations(aid).length);
    assert.deepEqual(known, [1, 0, 1]);
    assert.equal(replies.size, 3);
    assert.deepEqual((kel as LevelKelStore).counters().refused, {});
  });

  it('gives up a source that does not answer', async () => {
    let signal: AbortSignal | undefined;
    const { clock, watcher } = await setUp((_url, _max, given) => {
      signal = given;
      return new Promise(() => undefined);
    });
    const fetching = watcher.fetch(new Organisation('x').incept().aid, { kind: 'url', url: URL });
    fetching.catch(quiet);
    await clock.advance(30_000);
    await assert.rejects(fetching, { code: 'WATCH_UNREACHABLE' });
    assert.equal(signal?.aborted, true);
  });

  it('takes nothing that is no log, and has no address to ask without a driver', async () => {
    const { kel, watcher } = await setUp(async () => Buffer.from('<html></html>'));
    const { aid } = new Organisation('x').incept();
    const source = { kind: 'url', url: URL } as const;
    await assert.rejects(watcher.fetch(aid, source), { code: 'WATCH_NOT_CESR' });
    assert.equal(kel.aids().length, 1);
    const bare = await setUp(undefined);
    await assert.rejects(bare.watcher.fetch(aid, source), { code: 'WATCH_UNREACHABLE' });
  });
});
