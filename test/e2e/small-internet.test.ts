/** The ground of all that reaches through routers: each of them lets through what its kind lets through, and nothing else. */
import { ok, strictEqual } from 'node:assert/strict';
import type { Machine } from '../support/machines/federation.ts';
import {
  createInternet,
  dualStack,
  internetUnavailable,
  type SmallInternet,
} from '../support/machines/small-internet.ts';
import { skip } from '../support/skip.ts';

const ECHO_PORT = 7000;

/** Tells whoever sends a datagram, or connects, under which address and port it came. */
const MIRROR = `
  const socket = require('node:dgram').createSocket('udp6');
  socket.on('message', (_, { port, address }) => socket.send(address.replace('::ffff:', '') + ' ' + port, port, address));
  const server = require('node:net').createServer((stream) => {
    stream.on('error', () => undefined);
    stream.end(stream.remoteAddress.replace('::ffff:', '') + ' ' + stream.remotePort);
  });
  socket.bind(${ECHO_PORT}, '::', () => server.listen(443, '::', () => server.listening && console.log('ready')));`;

/** From one port to several addresses; prints what each of them has seen, `nothing` after a while. */
const ASK = `
  const [port, ...hosts] = process.argv.slice(1);
  const isIpv6 = hosts[0].includes(':');
  const socket = require('node:dgram').createSocket(isIpv6 ? 'udp6' : 'udp4');
  const seen = new Map();
  const done = () => { console.log(hosts.map((host) => seen.get(host) ?? 'nothing').join(',')); process.exit(0); };
  const send = () => { for (const host of hosts) if (!seen.has(host)) socket.send('who am I', ${ECHO_PORT}, host); };
  socket.on('message', (text, { address }) => { seen.set(address, String(text)); if (seen.size === hosts.length) done(); });
  socket.bind(Number(port), () => { send(); setInterval(send, 200); setTimeout(done, 1_000); });`;

/** As ASK, over TCP to one address and port. */
const CONNECT = `
  const [host, port] = process.argv.slice(1);
  const stream = require('node:net').connect({ host, port: Number(port), timeout: 1_000 });
  const end = (text) => { console.log(text); process.exit(0); };
  stream.on('data', (text) => end(String(text))).on('error', () => end('nothing')).on('timeout', () => end('nothing'));`;

describe('a small internet', function () {
  this.timeout(20_000);
  let internet: SmallInternet;
  const mirrors: { stop(): Promise<void> }[] = [];

  before(async function () {
    this.timeout(60_000);
    const reason = await internetUnavailable();
    if (reason !== undefined) skip(this, reason);
    internet = await createInternet({
      open: { ...dualStack('one', 'two'), six: ['ipv6'] },
      routers: [
        { name: 'keeper', nat: 'keeps-ports', behind: ['alba', 'brim'] },
        { name: 'mixer', nat: 'per-destination', behind: ['cove'] },
        { name: 'strict', nat: 'keeps-ports', behind: ['dune'], letsOut: 'tcp-443' },
        { name: 'modern', nat: 'none', behind: ['erin'] },
      ],
    });
    for (const name of ['one', 'two', 'erin', 'alba', 'six'])
      mirrors.push(await internet.get(name).script(MIRROR));
  });
  after(async () => {
    for (const mirror of mirrors) await mirror.stop();
    await internet?.[Symbol.asyncDispose]();
  });

  const ask = (from: string, port: number, ...to: readonly string[]) =>
    answer(internet.get(from), ASK, String(port), ...to);
  const connect = (from: string, to: string, port: number) =>
    answer(internet.get(from), CONNECT, to, String(port));
  const addressOf = (name: string) => internet.get(name).address;

  it('keeps a port for all destinations, or takes another for each', async () => {
    const both = [addressOf('one'), addressOf('two')] as const;
    const outer = internet.outerAddress('keeper');
    strictEqual(await ask('alba', 5_000, ...both), `${outer} 5000,${outer} 5000`);
    const seen = (await ask('cove', 5_000, ...both)).split(',');
    for (const one of seen) ok(one.startsWith(internet.outerAddress('mixer')), one);
    strictEqual(new Set(seen).size, 2);
  });

  it('lets two behind one router see each other, and gives the second another port', async () => {
    strictEqual(await ask('brim', 5_001, addressOf('alba')), `${addressOf('brim')} 5001`);
    const outer = internet.outerAddress('keeper');
    strictEqual(await ask('alba', 5_002, addressOf('one')), `${outer} 5002`);
    const second = await ask('brim', 5_002, addressOf('one'));
    ok(second.startsWith(`${outer} `) && second !== `${outer} 5002`, second);
  });

  it('lets nothing in that was not asked for', async () => {
    strictEqual(await ask('one', 5_003, internet.outerAddress('keeper')), 'nothing');
    strictEqual(await ask('one', 5_003, addressOf('erin')), 'nothing');
    strictEqual(await connect('two', addressOf('erin'), 443), 'nothing');
    strictEqual(await ask('erin', 5_003, '2a00:77::1'), `${addressOf('erin')} 5003`);
  });

  it('lets out TCP 443 alone where a firewall does', async () => {
    strictEqual(await ask('dune', 5_004, addressOf('one')), 'nothing');
    strictEqual(await connect('dune', addressOf('one'), 80), 'nothing');
    ok((await connect('dune', addressOf('one'), 443)).startsWith(internet.outerAddress('strict')));
  });

  it('has places with IPv6 alone', async () => {
    strictEqual(await ask('six', 5_005, '2a00:77::2'), `${addressOf('six')} 5005`);
    strictEqual(await ask('alba', 5_006, addressOf('six')).catch(() => 'nothing'), 'nothing');
  });

  it('lets a router forget, and a machine move', async () => {
    const former = await ask('cove', 5_007, addressOf('one'));
    strictEqual(await ask('cove', 5_007, addressOf('one')), former);
    await internet.restartRouter('mixer');
    const later = await ask('cove', 5_007, addressOf('one'));
    ok(later.startsWith(internet.outerAddress('mixer')) && later !== former, later);
    await internet.move('cove', 'keeper');
    strictEqual(
      await ask('cove', 5_008, addressOf('one')),
      `${internet.outerAddress('keeper')} 5008`,
    );
    await internet.move('cove', undefined);
    ok(!(await ask('cove', 5_009, addressOf('one'))).startsWith(internet.outerAddress('keeper')));
  });
});

async function answer(machine: Machine, code: string, ...args: readonly string[]): Promise<string> {
  const { code: status, stdout, stderr } = await machine.run(process.execPath, '-e', code, ...args);
  if (status !== 0) throw new Error(`${machine.name}: ${stderr}`);
  return stdout.trim();
}
