import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { type Plain, scrub } from '#agent/cli/scrub';

const AID = 'EBkPreYpZfFk66jpf3uFv7vklXKhzBrAqjsKAn2EDIPM';
const PEER = '12D3KooWBjW81M3z4hnBkrL5zGhU21syk3F3gLfafNWmJ9FTTemC';
const names = ['hospital-a', 'b', 'gate.example.org'];
const text = (before: string, isFull = false) =>
  scrub({ text: before }, { names, isFull }) as { readonly text: string };

describe('a report for strangers', () => {
  const rows: readonly [string, string][] = [
    [`peer ${AID} at 198.51.100.7:51820`, 'peer id-1 at v4-1:51820'],
    [
      'between 10.0.0.1 and 192.168.3.4, by 127.0.0.1',
      'between private-v4-1 and private-v4-2, by 127.0.0.1',
    ],
    ['[2001:db8::1]:51820 and fd0f:61d6::7/128', '[v6-1]:51820 and private-v6-1/128'],
    ['fe80::1%eth0 and ::1', 'private-v6-1%eth0 and ::1'],
    ['::ffff:198.51.100.7 is v4', 'v6-1 is v4'],
    ['link/ether 2a:00:cd:79:68:63 brd ff:ff:ff:ff:ff:ff', 'link/ether mac-1 brd mac-2'],
    [`/ip4/198.51.100.7/tcp/7400/p2p/${PEER}`, '/ip4/v4-1/tcp/7400/p2p/id-1'],
    ['gate.example.org speaks for hospital-a', 'name-1 speaks for name-2'],
    ['b', 'name-1'],
    ['a bad block', 'a bad block'],
    [
      'at 2026-05-01T12:34:56.789Z, version 1.0.20210914',
      'at 2026-05-01T12:34:56.789Z, version 1.0.20210914',
    ],
    ['/home/maria/kelmesh.toml', '/home/user-1/kelmesh.toml'],
  ];
  for (const [before, after] of rows)
    it(`says ${after}`, () => {
      assert.equal(text(before).text, after);
    });

  it('has one name for one thing, in keys of objects too', () => {
    const report: Plain = { [AID]: [AID, { of: `${AID} and 198.51.100.7` }], b: '198.51.100.7' };
    assert.deepEqual(scrub(report, { names: [] }), {
      'id-1': ['id-1', { of: 'id-1 and v4-1' }],
      b: 'v4-1',
    });
  });

  it('leaves names and addresses where the reader is one of ours, and no key', () => {
    const key = randomBytes(32);
    const said = `hospital-a ${AID} 198.51.100.7 ${key.toString('hex')} ${key.toString('base64')}`;
    assert.equal(text(said, true).text, `hospital-a ${AID} 198.51.100.7 [removed] [removed]`);
  });

  it('has no key, address or identifier, whatever stands around it', () => {
    const around = fc.constantFrom('', ' ', '"', '(', ',', '=', '/', '\n', 'psk=', '> ');
    const byte = fc.nat({ max: 255 });
    const v4 = fc.tuple(byte, byte, byte, byte).map((bytes) => bytes.join('.'));
    const v6 = fc.ipV6().filter((address) => !/^::1?$/.test(address));
    const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
    const hidden = fc.oneof(
      v4.filter((address) => !/^(127\.|0\.0\.0\.0$)/.test(address)),
      v6,
      key.map((bytes) => bytes.toHex()),
      key.map((bytes) => bytes.toBase64()),
      key.map((bytes) => `E${bytes.toBase64({ alphabet: 'base64url', omitPadding: true })}`),
    );
    fc.assert(
      fc.property(
        around,
        hidden,
        around.filter((text) => text !== 'psk='),
        (before, secret, after) => {
          const out = JSON.stringify(scrub([`${before}${secret}${after}`], { names: [] }));
          assert.ok(!out.includes(secret), out);
        },
      ),
      { numRuns: 500 },
    );
  });
});
