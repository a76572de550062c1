import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { isPrivateAddress } from '#src/net/private-address';

describe('private addresses', () => {
  it('are those that mean something only where they are, up to the edges of their ranges', () => {
    for (const text of [
      '10.0.0.1',
      '172.16.0.0',
      '172.31.255.255',
      '192.168.0.1',
      '169.254.1.1',
      '100.64.0.0',
      '100.127.255.255',
      'fd00::1',
      'fc00::',
      'fe80::1',
      'febf::1',
      '::ffff:10.0.0.1',
    ])
      assert.ok(isPrivateAddress(text), text);
    for (const text of [
      '9.255.255.255',
      '11.0.0.0',
      '172.15.0.1',
      '172.32.0.0',
      '192.169.0.1',
      '100.63.0.1',
      '100.128.0.0',
      '2001:db8::1',
      'fec0::1',
      '::ffff:8.8.8.8',
      '',
      'host',
    ])
      assert.ok(!isPrivateAddress(text), text);
  });
});
