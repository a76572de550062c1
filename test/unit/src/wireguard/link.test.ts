import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { RunCommand } from '#src/wireguard/command';
import { diffLink, type LinkState, SystemLinks } from '#src/wireguard/link';
import { parseCidr, parseInterfaceName } from '#src/wireguard/values';

const name = parseInterfaceName('km-test0');
const [here, there] = [parseCidr('10.0.0.0/24'), parseCidr('fd00::/64')];
const state: LinkState = { up: true, mtu: 1420, addresses: ['10.0.0.1/32'], routes: [here] };

/** `ip` that answers all the same, and what it was asked. */
function ip(status: number, stdout: string, stderr = ''): { links: SystemLinks; asked: string[] } {
  const asked: string[] = [];
  const run: RunCommand = async (_file, args, input = {}) => {
    asked.push([...args, ...(input.stdin === undefined ? [] : [input.stdin])].join(' '));
    return { status, stdout, stderr };
  };
  return { links: new SystemLinks(run, 'space'), asked };
}

describe('link', () => {
  it('changes only what differs', () => {
    assert.deepEqual(diffLink(state, state), {
      bringUp: false,
      addAddresses: [],
      removeAddresses: [],
      addRoutes: [],
      removeRoutes: [],
    });
    const change = diffLink({ mtu: 1280, addresses: ['fd00::1/128'], routes: [there] }, state);
    assert.deepEqual(change, {
      bringUp: false,
      mtu: 1280,
      addAddresses: ['fd00::1/128'],
      removeAddresses: ['10.0.0.1/32'],
      addRoutes: [there],
      removeRoutes: [here],
    });
    const elsewhere = { ...state, routes: [], routesElsewhere: [here] };
    assert.deepEqual(diffLink(elsewhere, state).removeRoutes, [], 'another device takes it over');
    const left = diffLink({ ...state, routes: [here, there] }, state, new Set([there]));
    assert.deepEqual(left.addRoutes, []);
  });

  it('writes one batch in an order in which each line can succeed', async () => {
    const { links, asked } = ip(0, '');
    await links.apply(name, {
      bringUp: true,
      mtu: 1280,
      addAddresses: ['fd00::1/128', '10.0.0.2/32'],
      removeAddresses: ['10.0.0.1/32'],
      addRoutes: [there],
      removeRoutes: [here],
    });
    assert.deepEqual(asked.join('\n').trim().split('\n'), [
      '-n space link set dev km-test0 addrgenmode none',
      '-n space -batch - link set dev km-test0 mtu 1280',
      'addr del 10.0.0.1/32 dev km-test0',
      'addr replace fd00::1/128 dev km-test0 noprefixroute nodad',
      'addr replace 10.0.0.2/32 dev km-test0 noprefixroute',
      'link set dev km-test0 up',
      'route replace fd00::/64 dev km-test0 proto 75',
      '',
      '-n space -force -batch - route del 10.0.0.0/24 dev km-test0 proto 75',
    ]);
  });

  it('reads what the system says of dropped packets, and nothing else', async () => {
    const told = (stats64: unknown) => ip(0, JSON.stringify([{ ifname: name, stats64 }])).links;
    const whole = { rx: { packets: 9, dropped: 3 }, tx: { dropped: 4 } };
    assert.deepEqual(await told(whole).drops(name), { rx: 3, tx: 4 });
    for (const stats of [undefined, {}, { rx: { dropped: 3 } }, { rx: { dropped: '3' }, tx: {} }])
      await assert.rejects(told(stats).drops(name), { code: 'WIREGUARD_COMMAND_FAILED' });
    const missing = ip(1, '', 'Device "km-test0" does not exist.').links;
    assert.equal(await missing.drops(name), undefined);
  });

  it('asks nothing of the system when nothing changes', async () => {
    const { links, asked } = ip(0, '');
    await links.apply(name, diffLink(state, state));
    assert.deepEqual(await links.takenByOthers(name, []), new Set());
    assert.deepEqual(asked, []);
  });

  it('does not mind a route that has gone to another device, and minds everything else', async () => {
    const change = { ...diffLink(state, state), removeRoutes: [here] };
    const gone = 'RTNETLINK answers: No such process\nCommand failed -:1\n';
    await ip(1, '', gone).links.apply(name, change);
    await assert.rejects(
      ip(1, '', `${gone}RTNETLINK answers: Operation not permitted\n`).links.apply(name, change),
      {
        code: 'WIREGUARD_NO_PRIVILEGE',
      },
    );
  });

  it('knows the shapes that iproute2 prints', async () => {
    assert.equal(await ip(1, '', 'Device "km-test0" does not exist.').links.read(name), undefined);
    const table = JSON.stringify([
      { dst: 'default', dev: 'other' },
      { dst: '10.0.0.1', dev: name },
      { dst: '10.0.0.0/24', nexthops: [{ dev: 'a' }, { dev: 'b' }] },
    ]);
    const prefixes = ['0.0.0.0/0', '::/0', '10.0.0.1/32', '10.0.0.0/24', 'fd00::/64'].map(
      parseCidr,
    );
    const taken = await ip(0, table).links.takenByOthers(name, prefixes);
    assert.deepEqual([...taken], ['0.0.0.0/0', '::/0', '10.0.0.0/24']);
    assert.deepEqual(await ip(0, '').links.list('wireguard'), []);
    assert.deepEqual(await ip(0, '[{},{"ifname":"wg0"}]').links.list('wireguard'), ['wg0']);
    for (const output of ['{', '{}', '[{"flags":1}]'])
      await assert.rejects(ip(0, output).links.read(name), { code: 'WIREGUARD_COMMAND_FAILED' });
  });
});
