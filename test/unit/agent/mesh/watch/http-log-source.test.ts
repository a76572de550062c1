import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'mocha';
import { fetchLog } from '#agent/mesh/watch/http-log-source';
import { checkUrl, concerned } from '#agent/mesh/watch/log-source';
import { Organisation } from '../../../../support/kit/key-log.ts';
import { approvesAll } from '../../../../support/kit/store-kit.ts';

describe('a log over HTTP', () => {
  let server: Server;
  let origin: string;
  const body = Buffer.from('0123456789');

  before(async () => {
    server = createServer(({ url }, response) => {
      if (url === '/log') response.end(body);
      else if (url === '/moved') response.writeHead(302, { location: '/log' }).end();
      else if (url === '/missing') response.writeHead(404).end('no');
      else if (url === '/endless') {
        const more = () => response.write(Buffer.alloc(4_096)) && setImmediate(more);
        response.on('drain', more).on('close', () => response.destroy());
        more();
      } else if (url === '/cut') {
        response.writeHead(200, { 'content-length': '100' });
        response.write(body, () => response.destroy());
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  after(() => {
    server.closeAllConnections();
    server.close();
  });

  const get = (path: string, signal = new AbortController().signal) =>
    fetchLog(origin + path, 16_384, signal);

  it('is given as it stands there', async () => {
    assert.deepEqual(Buffer.from(await get('/log')), body);
  });

  it('is not looked for elsewhere, not taken in part, not waited for without end', async () => {
    for (const path of ['/moved', '/missing', '/cut'])
      await assert.rejects(get(path), { code: 'WATCH_UNREACHABLE' }, path);
    await assert.rejects(get('/endless'), { code: 'WATCH_TOO_LARGE' });
    const stop = new AbortController();
    const waiting = get('/silent', stop.signal);
    stop.abort();
    await assert.rejects(waiting, { code: 'WATCH_UNREACHABLE' });
    server.closeAllConnections();
    await assert.rejects(fetchLog('http://127.0.0.1:1/', 1, stop.signal), {
      code: 'WATCH_UNREACHABLE',
    });
  });

  it('has a plain address', () => {
    assert.equal(checkUrl('https://example.org/log'), 'https://example.org/log');
    for (const url of [
      'file:///etc/passwd',
      'x',
      '',
      'http://a:b@c/',
      `http://a/${'x'.repeat(3_000)}`,
    ])
      assert.throws(() => checkUrl(url), { code: 'WATCH_BAD_SOURCE' }, url);
  });
});

describe('what a stream says about an AID', () => {
  it('concerns it and its delegators, whatever else is in the stream', () => {
    const [root, stray] = ['root', 'stray'].map((name) => new Organisation(name)) as [
      Organisation,
      Organisation,
    ];
    root.incept();
    stray.incept();
    const middle = new Organisation('middle');
    middle.incept({ delegator: root.aid }, { delegator: approvesAll });
    const leaf = new Organisation('leaf');
    leaf.incept({ delegator: middle.aid }, { delegator: approvesAll });
    const stream = Buffer.concat([leaf, stray, middle, root].map((org) => org.stream));
    assert.deepEqual([...concerned(stream, leaf.aid)], [leaf.aid, middle.aid, root.aid]);
    assert.deepEqual([...concerned(stream, stray.aid)], [stray.aid]);
    for (const bytes of [Buffer.alloc(0), Buffer.from('<html>'), Buffer.from('{"a":1}')])
      assert.throws(() => concerned(bytes, leaf.aid), { code: 'WATCH_NOT_CESR' });
  });
});
