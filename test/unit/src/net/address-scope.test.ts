/** How far addresses reach, at the edges of each range. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { scopeOf } from '#src/net/address-scope';

const rows: Readonly<Record<string, readonly string[]>> = {
  public: ['8.8.8.8', '11.0.0.0', '172.32.0.1', '100.63.255.255', '100.128.0.0', '2001:db8::1'],
  private: ['10.0.0.1', '172.16.0.0', '172.31.255.255', '192.168.0.1', '100.64.0.1', 'fd00::1'],
  link: ['169.254.1.1', 'fe80::1'],
  loopback: ['127.0.0.1', '127.255.255.255', '::1', '::ffff:127.0.0.1'],
  none: ['0.0.0.0', '224.0.0.1', '255.255.255.255', '::', 'ff02::1'],
};

describe('the scope of an address', () => {
  for (const [scope, addresses] of Object.entries(rows))
    it(`is ${scope}`, () => {
      for (const address of addresses) assert.equal(scopeOf(address), scope, address);
    });

  it('is that of an address alone', () => {
    for (const text of ['', 'host.example', '1.2.3', '::g', '1.2.3.4:5'])
      assert.equal(scopeOf(text), undefined, text);
  });
});
