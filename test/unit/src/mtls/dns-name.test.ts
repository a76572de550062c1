import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { isWithin, parseDnsName } from '#src/mtls/dns-name';

describe('dns name', () => {
  for (const name of [
    'a',
    'records.hospital.example',
    'x1-2.y',
    `${'a'.repeat(63)}.b`,
    '1.a',
    '10.0.0.a1',
  ]) {
    it(`accepts ${name.slice(0, 40)}`, () => assert.equal(parseDnsName(name), name));
  }

  for (const name of [
    '',
    '.',
    'a.',
    '.a',
    'a..b',
    '-a',
    'a-',
    'A.b',
    '*.a',
    'a_b',
    'é',
    'a b',
    '127.0.0.1',
    'a.1',
    `${'a'.repeat(64)}`,
    `${'a.'.repeat(127)}a`,
    'a\n',
    'a,DNS:b',
    '::1',
  ]) {
    it(`refuses ${JSON.stringify(name.slice(0, 40))}`, () =>
      assert.throws(() => parseDnsName(name), { code: 'MTLS_BAD_NAME' }));
  }

  it('knows what is below a domain by whole labels', () => {
    const domain = parseDnsName('b.example');
    assert.equal(isWithin(parseDnsName('b.example'), domain), true);
    assert.equal(isWithin(parseDnsName('a.b.example'), domain), true);
    assert.equal(isWithin(parseDnsName('ab.example'), domain), false);
    assert.equal(isWithin(parseDnsName('example'), domain), false);
  });
});
