/** What others do to the routes, rules and links under a tunnel that is up: named while it lasts, and over when it is over. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import {
  eventually,
  type Json,
  joinTwoMachines,
  type Machine,
  tunnelUp,
} from '../support/machines/federation.ts';
import { withMachines } from '../support/machines/with-machines.ts';

describe('the path of a tunnel that is up', function () {
  this.timeout(120_000);
  let a: Machine;
  let b: Machine;
  let device = '';
  let other = '';

  withMachines(['a', 'b'], async (machines) => {
    a = machines.get('a');
    b = machines.get('b');
    await joinTwoMachines(a, b);
    const [ofA, ofB] = await Promise.all([tunnelUp(a), tunnelUp(b)]);
    device = ofA.interface;
    other = ofB.overlay[0];
    // Another VPN: an interface that takes whatever it gets.
    await a.shell('ip link add vpn0 type veth peer name vpn1');
    await a.shell('ip link set vpn0 up && ip link set vpn1 up');
  });

  const peer = async (): Promise<Json> => (await a.json('peer', 'list')).peers[0];
  const says = (code: string | null) =>
    eventually(`${code}`, async () => {
      const row = await peer();
      return row.reasonCode === code && (row.state === 'up') === (code === null) && { row };
    });

  const foreign: readonly [string, string, RegExp, string, string][] = [
    [
      'a rule of another VPN leads packets away',
      'routed-elsewhere',
      /vpn0.*table 51/,
      'ip -6 route add default dev vpn0 table 51; ip -6 rule add pref 100 lookup 51',
      'ip -6 rule del pref 100; ip -6 route flush table 51',
    ],
    [
      'a rule refuses them',
      'not-routed',
      /Permission denied|Invalid argument|prohibited|unreachable/i,
      'ip -6 rule add pref 100 to OTHER prohibit',
      'ip -6 rule del pref 100',
    ],
    [
      'a route of another program takes them, and is left to it until it goes',
      'routed-elsewhere',
      /vpn0: not/,
      'ip -6 route replace OTHER/128 dev vpn0',
      'ip -6 route del OTHER/128 dev vpn0',
    ],
  ];
  for (const [what, code, words, does, undoes] of foreign)
    it(`is named while ${what}: ${code}`, async () => {
      await says(null);
      await a.shell(does.replaceAll('OTHER', other));
      assert.match((await says(code)).row.reason, words);
      await a.shell(undoes.replaceAll('OTHER', other));
      await says(null);
    });

  it('is measured: loss, latency, longest packet, throughput', async () => {
    await says(null);
    const { name } = await peer();
    const leaves = async () => (await a.json('status')).auditLeaves;
    const before = await leaves();
    const told = await a.json('tunnel', 'test', name);
    assert.equal(told.schema, 'kelmesh.tunnel-test/1');
    assert.ok(told.received > 0 && told.received <= told.sent);
    assert.ok(told.rttMs.min > 0 && told.rttMs.min <= told.rttMs.max);
    assert.deepEqual(told.mtu, { bytes: 1_420, arrives: true });
    assert.ok(told.throughputMbit === null || told.throughputMbit > 0);
    assert.equal(await leaves(), before, 'echoes leave no trace');
    const wrong = await a.kelmesh('tunnel', 'test', 'nobody');
    assert.match(wrong.stderr, /MESH_NOT_A_MEMBER/);
  });

  it('is reported without a key, a name, an identifier or an address', async () => {
    const status = await a.json('status');
    const [[privateKey, publicKey]] = (await a.wg(device, 'dump')) as [[string, string]];
    const [[, presharedKey = '']] = (await a.wg(device, 'preshared-keys')) as [[string, string]];
    const secret = a.read('/var/lib/kelmesh/secret').trim();
    const report = await a.ok('bugreport');
    const { schema, checks, log, network } = JSON.parse(report);
    assert.equal(schema, 'kelmesh.bugreport/1');
    assert.ok(checks.length > 0 && log.length > 0 && Object.keys(network).length > 0);
    const keys = [privateKey, publicKey, presharedKey];
    const hidden = [
      secret,
      ...keys,
      ...keys.map((key) => Buffer.from(key, 'base64').toString('hex')),
      ...[status.aid, status.said, status.peers[0].aid, status.peers[0].proof],
      ...[a.address, b.address, other, status.overlay[0], status.mesh.members[0].name],
    ];
    for (const one of hidden) {
      assert.ok(typeof one === 'string' && one.length > 3);
      assert.ok(!report.includes(one), `${one} is in the report`);
    }
    assert.ok((await a.ok('bugreport', '--full')).includes(status.aid));
  });

  it('gets back its MTU when somebody changes it', async () => {
    const mtu = async () =>
      JSON.parse((await a.run('ip', '-j', 'link', 'show', device)).stdout)[0].mtu;
    const before = await mtu();
    await a.shell(`ip link set dev ${device} mtu 1300`);
    await eventually('the MTU is back', async () => (await mtu()) === before);
  });

  /** More than one batch of full packets there, a word back. */
  const bulkPasses = async (): Promise<boolean> => {
    const code = `const s = require('node:net').connect({ host: '${other}', port: 7500 });
s.setTimeout(10_000, () => process.exit(2)); s.on('error', () => process.exit(1)); s.on('data', () => process.exit(0));
s.end(Buffer.alloc(4 << 20));`;
    return (await a.run(process.execPath, '-e', code)).code === 0;
  };
  const routeMtu = async () => {
    const [route] = JSON.parse((await a.run('ip', '-j', '-6', 'route', 'get', other)).stdout);
    return route.metrics?.[0]?.mtu ?? null;
  };
  const holes: readonly [string, string, number, RegExp, () => Promise<unknown>][] = [
    [
      'the own way takes 1,400 bytes, IPv4',
      'underlay',
      1_328,
      /takes 1400 bytes/,
      () => a.shell('ip link set net0 mtu 1400'),
    ],
    [
      'the way of the other end takes 1,280 bytes, and nobody says so, IPv4',
      'echo',
      1_216,
      /longer packets do not arrive/,
      async () => {
        await a.shell('ip link set net0 mtu 1500');
        await b.shell('ip link set net0 mtu 1280');
      },
    ],
    [
      'the own way takes 1,400 bytes, IPv6',
      'underlay',
      1_312,
      /takes 1400 bytes/,
      async () => {
        await b.shell('ip link set net0 mtu 1500; ip addr add fc00:77::2/64 dev net0 nodad');
        await a.shell('ip link set net0 mtu 1400; ip addr add fc00:77::1/64 dev net0 nodad');
        const [[key]] = (await a.wg(device, 'endpoints')) as [[string]];
        await a.shell(`wg set ${device} peer ${key} endpoint [fc00:77::2]:51820`);
      },
    ],
  ];
  for (const [what, , bytes, words, make] of holes)
    it(`carries bulk where ${what}: the route has an MTU of ${bytes} or a little more`, async () => {
      await says(null);
      const server = await b.script(
        `require('node:net').createServer({ allowHalfOpen: true }, (s) => s.resume().on('end', () => s.end('x')).on('error', () => {})).listen(7500, '::', () => console.log('ready'));`,
      );
      try {
        await make();
        const { mtu } = await eventually('the limit is found', async () => {
          const row = await peer();
          return words.test(row.mtu?.reason ?? '') && row;
        });
        assert.ok(mtu.bytes >= bytes && mtu.bytes < bytes + 48, `${mtu.bytes}`);
        assert.equal(await routeMtu(), mtu.bytes);
        assert.ok(await bulkPasses());
        const { checks } = JSON.parse((await a.kelmesh('doctor', '--json')).stdout);
        const check = checks.find((one: Json) => one.code === 'mtu-lowered');
        assert.match(check.text, words);
      } finally {
        await server.stop();
      }
    });

  it('is told by a program that ends with the agent, however that ends', async () => {
    const isThere = async () => {
      const pids = await a.processes();
      return pids.some((pid) => commandOf(pid).startsWith('ip -o monitor'));
    };
    assert.ok(await isThere());
    process.kill(await a.agentPid(), 'SIGKILL');
    await eventually('nothing monitors', async () => !(await isThere()));
  });
});

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
