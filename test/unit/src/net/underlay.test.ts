import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { defaultRoutes4, defaultRoutes6, readUnderlay } from '#src/net/underlay';

describe('what the connections of a machine depend on', () => {
  it('are default routes of IPv4 that are up and lead somewhere', () => {
    const text = [
      'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
      'eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0',
      'eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
      'eth1\t00000000\t0102A8C0\t0002\t0\t0\t9\t00000000\t0\t0\t0',
      '*\t00000000\t00000000\t0201\t0\t0\t9\t00000000\t0\t0\t0',
      '',
    ].join('\n');
    assert.deepEqual(defaultRoutes4(text), [{ device: 'eth0', via: '0101A8C0' }]);
  });

  it('and of IPv6', () => {
    const zero = '0'.repeat(32);
    const gateway = 'fe80000000000000000000000000000001';
    const rest = (flags: string, device: string) => `00000400 00000001 00000000 ${flags} ${device}`;
    const text = [
      `${zero} 00 ${zero} 00 ${gateway} ${rest('00000003', 'eth0')}`,
      `${zero} 00 ${zero} 00 ${zero} ${rest('00200200', 'lo')}`,
      `20010db8${'0'.repeat(24)} 40 ${zero} 00 ${zero} ${rest('00000001', 'eth0')}`,
      '',
    ].join('\n');
    assert.deepEqual(defaultRoutes6(text), [{ device: 'eth0', via: gateway }]);
  });

  it('are read of this machine, the same twice, without what is its own', async () => {
    const all = await readUnderlay(() => false);
    assert.equal(await readUnderlay(() => false), all);
    assert.equal(await readUnderlay(() => true), '');
  });
});
