import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { RunCommand } from '#src/wireguard/command';
import { lookAtWays } from '#src/wireguard/ways';

/** As iproute2 6.1 prints them, `link show` first. */
const LINKS =
  '[{"ifname":"lo","flags":["LOOPBACK","UP"],"mtu":65536},{"ifname":"kelmesh0","flags":["NOARP"],"mtu":1420}]';
const TUNNEL =
  '[{"dst":"fd00::2","from":"::","dev":"kelmesh0","protocol":"75","prefsrc":"fd00::1","metrics":[{"mtu":1200}]}]';
const FOREIGN = '[{"dst":"fd00::3","from":"::","dev":"vpn0","table":"51","prefsrc":"fd00::1"}]';
const OWN = '[{"type":"local","dst":"fd00::1","from":"::","dev":"lo","table":"local"}]';

function ip(stdout: string, stderr = '', status = stderr === '' ? 0 : 1) {
  const asked: string[] = [];
  const run: RunCommand = async (file, args, input = {}) => {
    asked.push([file, ...args].join(' '), ...(input.stdin ?? '').trim().split('\n'));
    return { status, stdout, stderr };
  };
  return { run, asked };
}

describe('where the system would send a packet', () => {
  it('is told of all addresses by one process, rules and limits included', async () => {
    const { run, asked } = ip(`${LINKS}\n${TUNNEL}\n${FOREIGN}\n${OWN}\n`);
    const { links, ways } = await lookAtWays(run, ['fd00::2', 'fd00::3', 'fd00::1']);
    assert.deepEqual(asked, [
      'ip -j -force -batch -',
      'link show',
      'route get fd00::2',
      'route get fd00::3',
      'route get fd00::1',
    ]);
    assert.deepEqual(ways.get('fd00::2'), { kind: 'device', device: 'kelmesh0', mtu: 1200 });
    assert.deepEqual(ways.get('fd00::3'), { kind: 'device', device: 'vpn0', table: '51' });
    assert.deepEqual(ways.get('fd00::1'), { kind: 'local' });
    assert.deepEqual(links.get('kelmesh0'), { isUp: false, mtu: 1420 });
    assert.deepEqual(links.get('lo'), { isUp: true, mtu: 65_536 });
  });

  it('is nowhere for an address that the system refuses, and the others keep their places', async () => {
    const stderr =
      'RTNETLINK answers: Network is unreachable\nCommand failed -:2\nRTNETLINK answers: Invalid argument\nCommand failed -:4\n';
    const { run } = ip(`${LINKS}\n${FOREIGN}\n`, stderr);
    const { ways } = await lookAtWays(run, ['fd00::9', 'fd00::3', 'fd00::8']);
    assert.deepEqual(ways.get('fd00::9'), { kind: 'none', said: 'Network is unreachable' });
    assert.deepEqual(ways.get('fd00::3'), { kind: 'device', device: 'vpn0', table: '51' });
    assert.deepEqual(ways.get('fd00::8'), { kind: 'none', said: 'Invalid argument' });
  });

  it('asks of nothing that is no address', async () => {
    const { run, asked } = ip(`${LINKS}\n`);
    const { ways } = await lookAtWays(run, ['fd00::1; rm -rf /', 'fe80::1%eth0', '-help']);
    assert.equal(ways.size, 0);
    assert.deepEqual(asked.slice(1), ['link show']);
  });

  it('is an error where the answer is no answer to what was asked', async () => {
    const failing: readonly (readonly [string, string, number?])[] = [
      ['', '', 0],
      [`${LINKS}\n`, '', 0],
      [`${LINKS}\nnot json\n`, '', 0],
      [`${LINKS}\n{}\n`, '', 0],
      [`${LINKS}\n[]\n`, '', 0],
      ['', 'Error: no\nCommand failed -:1\nError: no\nCommand failed -:2\n'],
    ];
    for (const [stdout, stderr, status] of failing)
      await assert.rejects(lookAtWays(ip(stdout, stderr, status).run, ['fd00::2']), {
        code: 'WIREGUARD_COMMAND_FAILED',
      });
  });
});
