/** Where a device may be reached, from what its own end knows. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { candidatesOf, MAX_CANDIDATES, mayBeTried } from '#agent/tunnel/reach/candidate';
import { parseUdpEndpoint } from '#src/wireguard/values';

const observed = (...texts: string[]) => texts.map(parseUdpEndpoint);

describe('candidates of a device', () => {
  it('are named by what they are, the nearest first', () => {
    const found = candidatesOf({
      port: 51_820,
      own: ['192.168.1.2', '2001:db8::2', '127.0.0.1', 'fe80::1'],
      configured: ['198.51.100.7'],
      observed: observed('45.77.0.101:40001'),
    });
    assert.deepEqual(
      found.map(({ kind, endpoint }) => `${kind} ${endpoint}`),
      [
        'lan 192.168.1.2:51820',
        'own [2001:db8::2]:51820',
        'configured 198.51.100.7:51820',
        'observed 45.77.0.101:40001',
      ],
    );
  });

  it('stand once each, as the nearest that they are', () => {
    const found = candidatesOf({
      port: 7,
      own: ['45.77.0.1'],
      configured: ['45.77.0.1'],
      observed: observed('45.77.0.1:7'),
    });
    assert.deepEqual(found, [{ kind: 'own', endpoint: '45.77.0.1:7' }]);
  });

  it('keep what was seen and configured, however many addresses the machine has', () => {
    const many = Array.from({ length: 20 }, (_, n) => `10.0.${n}.1`);
    const found = candidatesOf({
      port: 7,
      own: [...many, ...many.map((_, n) => `2001:db8::${n + 1}`)],
      configured: ['198.51.100.7', 'host.example'],
      observed: observed('45.77.0.101:1', '45.77.0.101:2'),
    });
    assert.equal(found.length, MAX_CANDIDATES);
    assert.equal(found.filter(({ kind }) => kind === 'observed').length, 2);
    assert.equal(found.filter(({ kind }) => kind === 'configured').length, 1);
  });

  it('are never addresses to which nobody sends because another says so', () => {
    for (const text of ['127.0.0.1:1', '[::1]:1', '224.0.0.1:1', '[fe80::1]:1', '0.0.0.0:1'])
      assert.equal(mayBeTried(parseUdpEndpoint(text)), false, text);
    for (const text of ['10.0.0.1:1', '45.77.0.1:1', '[2001:db8::1]:1', '[fd00::1]:1'])
      assert.equal(mayBeTried(parseUdpEndpoint(text)), true, text);
  });
});
