/** What is asked of the program of a device, and what it tells of probes that came. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { after, before, describe, it } from 'mocha';
import { openProbes, parseNews, probeToken } from '#src/wireguard/device-probes';
import { WireGuardError } from '#src/wireguard/errors';
import { parseUdpEndpoint } from '#src/wireguard/values';

const TOKEN = probeToken(new Uint8Array(16).fill(0xab));
const FROM = parseUdpEndpoint('198.51.100.7:4242');
const NEWS = `came=${TOKEN}\nfrom=${FROM}`;

describe('probes of a device', () => {
  let directory: string;
  let server: Server;
  const path = () => join(directory, 'd.probes');

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kelmesh-probes-'));
    server = createServer().listen(path());
    await once(server, 'listening');
  });
  after(async () => {
    server.close();
    await rm(directory, { recursive: true, force: true });
  });

  it('are asked for in blocks, and told as they come', async () => {
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const came = Promise.withResolvers<readonly [string, string]>();
    using probes = await openProbes(path(), (...news) => came.resolve(news));
    const [program] = await accepted;
    program.write(`protocol=kelmesh-device-probes/1\n\n${NEWS}\n\n`);
    assert.deepEqual(await came.promise, [TOKEN, FROM]);
    probes.expect(TOKEN);
    probes.send(TOKEN, FROM);
    const expected = `expect=${TOKEN}\n\nprobe=${TOKEN}\nto=${FROM}\n\n`;
    let asked = '';
    program.setEncoding('utf8').on('data', (text: string) => {
      asked += text;
    });
    while (asked.length < expected.length) await once(program, 'data');
    assert.equal(asked, expected);
    program.destroy();
  });

  it('end without harm when the program does, and with who asked', async () => {
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const probes = await openProbes(path(), () => assert.fail('nothing came'));
    const [program] = await accepted;
    program.write('protocol=another/1\n\n');
    await once(program, 'close');
    probes.expect(TOKEN);
    probes[Symbol.dispose]();
  });

  it('are not there where nobody listens', async () => {
    await assert.rejects(
      openProbes(join(directory, 'nobody'), () => undefined),
      { code: 'WIREGUARD_UAPI_UNREACHABLE' },
    );
  });

  it('are an event or an error, whatever comes', () => {
    assert.deepEqual(parseNews(NEWS), [TOKEN, FROM]);
    for (const bad of [`${NEWS}\n`, NEWS.replace('ab', 'AB'), NEWS.replace(':4242', ''), ''])
      assert.throws(() => parseNews(bad), WireGuardError, bad);
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), fc.nat(NEWS.length), (noise, at) => {
        try {
          parseNews(NEWS.slice(0, at) + noise + NEWS.slice(at));
        } catch (error) {
          assert.ok(error instanceof WireGuardError, String(error));
        }
      }),
    );
  });
});
