import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { decodeBase64Text, encodeBase64Text } from '#kel/cesr/base64-text';
import { encodeBody, MAX_BODY_BYTES, parseBody, reencodes } from '#kel/cesr/body';
import type { BodyValue } from '#kel/cesr/body-value';
import { decodeCounter } from '#kel/cesr/counter';
import { decodeDateTime } from '#kel/cesr/date-time';
import { blake3Digest, verifyDigest } from '#kel/cesr/digest';
import { decodeIndexedSignature, encodeIndexedSignature, INDEXER_CODES } from '#kel/cesr/indexer';
import {
  checkMatter,
  decodeMatter,
  decodeMatterBinary,
  encodeMatter,
  encodeVariableMatter,
} from '#kel/cesr/matter';
import { MATTER_CODES } from '#kel/cesr/matter-codes';
import { decodeOrdinal, encodeOrdinal, parseHexNumber } from '#kel/cesr/number';
import { encodeWithSaid, verifySaid } from '#kel/cesr/said';
import { formatVersion, parseVersion } from '#kel/cesr/version';
import { parseAid, parseSaid, parseVerificationKey } from '#kel/identifiers';
import { utf8 } from '#src/bytes';

const KEY = 'DFs8BBx86uytIM0D2BhsE5rrqVIT8ef8mflpNceHo4XH';
const SAID = 'EAKCxMOuoRzREVHsHCkLilBrUXTvyenBiuM2QtV8BB0C';

const rejects = (action: () => unknown, code: string, what?: string) =>
  assert.throws(action, { code }, what);

describe('CESR primitives', () => {
  it('every fixed code has the length that its table says, and comes back', () => {
    const sizes: Record<string, number> = {
      A: 44,
      K: 76,
      P: 124,
      V: 4,
      W: 4,
      X: 4,
      Z: 12,
      M: 4,
      '0A': 24,
      '0B': 88,
      '0J': 4,
      '0O': 12,
      '1AAA': 48,
      '1AAC': 80,
      '1AAE': 156,
      '1AAG': 36,
      '1AAH': 100,
      '1AAK': 4,
      '1AAN': 12,
      N: 12,
      R: 8,
      S: 16,
      T: 20,
      U: 24,
    };
    for (const [code, format] of MATTER_CODES) {
      if (format.rawLength === undefined) continue;
      const soft = 'abcdefghijk'.slice(0, format.softLength - format.fill);
      const raw = new Uint8Array(format.rawLength).fill(0xff);
      const text = encodeMatter(code, raw, soft);
      assert.equal(text.length % 4, 0, code);
      if (sizes[code] !== undefined) assert.equal(text.length, sizes[code], code);
      assert.deepEqual(decodeMatter(text), { code, raw, soft });
      assert.equal(checkMatter(text), code);
    }
  });

  it('variable codes choose lead and size', () => {
    for (const length of [0, 1, 2, 3, 4095 * 3, 4095 * 3 + 1]) {
      const raw = new Uint8Array(length).fill(1);
      const text = encodeVariableMatter('B', raw);
      assert.deepEqual(decodeMatter(text).raw, raw);
      assert.equal(text.length % 4, 0);
    }
    assert.equal(encodeVariableMatter('B', new Uint8Array(4095 * 3)).slice(0, 4), '4B__');
    assert.equal(encodeVariableMatter('B', new Uint8Array(4096 * 3)).slice(0, 8), '7AABABAA');
    rejects(() => encodeMatter('4B', new Uint8Array(2)), 'KEL_BAD_CODE');
  });

  it('rejects what is not the one form', () => {
    const bad = [
      '',
      'D',
      KEY.slice(1),
      `${KEY}A`,
      KEY.slice(0, -1),
      `DQ${KEY.slice(2)}`,
      `D${KEY.slice(1, -1)}+`,
      `D${KEY.slice(1, -1)}=`,
      `D${KEY.slice(1, -1)}é`,
      'c'.padEnd(44, 'A'),
      '!'.padEnd(44, 'A'),
      '-AAB',
      '_AAA',
      '1AAZ',
      '0JaA',
      '0J',
      '4B',
      '4BAB',
      '4B+A',
      '0AQAAAAAAAAAAAAAAAAAAAAA',
      'VQAA',
      'VAQA',
      '6BABAQAA',
      '5BABAQ__',
    ];
    for (const text of bad) {
      rejects(() => decodeMatter(text), 'KEL_BAD_CODE', text);
      rejects(() => checkMatter(text), 'KEL_BAD_CODE', text);
    }
    rejects(() => decodeMatterBinary(new Uint8Array(32)), 'KEL_BAD_CODE');
    rejects(() => encodeMatter('D', new Uint8Array(31)), 'KEL_BAD_CODE');
    rejects(() => encodeMatter('X', new Uint8Array(0), 'ab'), 'KEL_BAD_CODE');
    rejects(() => encodeMatter('X', new Uint8Array(0), 'a+b'), 'KEL_BAD_CODE');
  });

  it('tells identifiers apart', () => {
    assert.equal(parseAid(KEY), KEY);
    assert.equal(parseSaid(SAID), SAID);
    assert.equal(parseVerificationKey(KEY), KEY);
    for (const text of [`A${KEY.slice(1)}`, '0AAAAAAAAAAAAAAAAAAAAAAA', 'x', 7, undefined, null])
      rejects(() => parseAid(text), 'KEL_BAD_IDENTIFIER');
    rejects(() => parseSaid(KEY), 'KEL_BAD_IDENTIFIER');
    rejects(() => parseVerificationKey(SAID), 'KEL_BAD_IDENTIFIER');
  });

  it('indexed signatures: every code, both ways', () => {
    for (const [code, { rawLength, currentOnly, indexLength, ondexLength }] of INDEXER_CODES) {
      const index = 64 ** indexLength - 1;
      const ondex = ondexLength === 0 ? index : 64 ** ondexLength - 2;
      const raw = new Uint8Array(rawLength).fill(0xff);
      const text = encodeIndexedSignature({ code, index, ondex, raw });
      const decoded = decodeIndexedSignature(text);
      assert.deepEqual(
        [decoded.code, decoded.index, decoded.ondex, decoded.raw],
        [code, index, currentOnly ? undefined : ondex, raw],
      );
    }
  });

  it('indexed signatures: rejects what is not the one form', () => {
    const raw = new Uint8Array(64);
    const good = encodeIndexedSignature({ index: 0, raw });
    const bad = [
      good.slice(0, -1),
      `${good}A`,
      `C${good.slice(1, -4)}`,
      `G${good.slice(1)}`,
      `AAQ${good.slice(3)}`,
      `A+${good.slice(2)}`,
      `2BAAAB${'A'.repeat(86)}`,
      '',
    ];
    for (const text of bad) rejects(() => decodeIndexedSignature(text), 'KEL_BAD_CODE', text);
    rejects(() => encodeIndexedSignature({ index: 64, raw, code: 'A' }), 'KEL_BAD_CODE');
    rejects(() => encodeIndexedSignature({ index: 1, ondex: 2, raw, code: 'A' }), 'KEL_BAD_CODE');
    rejects(() => encodeIndexedSignature({ index: 0, raw: new Uint8Array(63) }), 'KEL_BAD_CODE');
    rejects(() => encodeIndexedSignature({ index: -1, raw }), 'KEL_BAD_CODE');
  });

  it('small values: rejects other forms', () => {
    for (const text of ['-ZAB', '-A', '-A+A', 'AAAA', '-0V', '--AA'])
      rejects(() => decodeCounter(text), 'KEL_BAD_CODE', text);
    for (const value of [
      '01',
      'A',
      '0x1',
      '',
      '-1',
      1,
      undefined,
      '20000000000000',
      'ffffffffffffffff',
    ])
      rejects(() => parseHexNumber('n', value), 'KEL_BAD_VALUE');
    assert.equal(parseHexNumber('n', '1fffffffffffff'), Number.MAX_SAFE_INTEGER);
    assert.equal(decodeOrdinal(encodeOrdinal(Number.MAX_SAFE_INTEGER)), Number.MAX_SAFE_INTEGER);
    rejects(() => decodeOrdinal(encodeMatter('0A', new Uint8Array(16).fill(255))), 'KEL_BAD_VALUE');
    rejects(() => decodeOrdinal(KEY), 'KEL_BAD_CODE');
    for (const text of [
      '1AAG2020-08-22T17c50c09d988921p00c0',
      '1AAG2020-08-22T17:50:09.988921+00:00',
      '1AAG2020-08-22T17c50c09c988921p00c00',
    ])
      rejects(() => decodeDateTime(text), 'KEL_BAD_VALUE', text);
    rejects(() => encodeBase64Text('A'), 'KEL_BAD_VALUE');
    rejects(() => decodeBase64Text('4AABAAAA'), 'KEL_BAD_VALUE');
    rejects(() => decodeBase64Text(KEY), 'KEL_BAD_CODE');
    for (const text of [
      'KERI10JSON00012B_',
      'KERI10JSON00012b',
      'keri10JSON00012b_',
      'KERI20JSON00012b_',
      'KMSH30CBOR00012b_',
      'KMSH21CBOR00012b_',
      'ACDC20CBOR00012b_',
      'KERI10XXXX00012b_',
    ])
      rejects(() => parseVersion(text), 'KEL_BAD_VERSION', text);
  });

  it('version strings: two versions of records, one of everything else', () => {
    for (const text of ['KERI10JSON00012b_', 'KMSH10CBOR00012b_', 'KMSH20CBOR00012b_']) {
      const version = parseVersion(text);
      assert.equal(version.major, Number(text[4]));
      assert.equal(formatVersion(version), text);
    }
  });

  it('digests of every code, each under its own', () => {
    const bytes = utf8('content');
    const digest = blake3Digest(bytes);
    assert.equal(verifyDigest(digest, bytes), true);
    assert.equal(verifyDigest(digest, utf8('other')), false);
    assert.equal(verifyDigest(KEY, bytes), false);
    // SHA2-256 of "abc" (FIPS 180-4).
    const sha256 = Buffer.from(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
      'hex',
    );
    assert.equal(verifyDigest(encodeMatter('I', sha256), utf8('abc')), true);
    for (const code of ['F', 'G', 'H', '0D', '0E', '0F', '0G']) {
      const length = code.length === 1 ? 32 : 64;
      assert.equal(verifyDigest(encodeMatter(code, new Uint8Array(length)), bytes), false);
    }
  });
});

describe('bodies', () => {
  const body = (kind: 'JSON' | 'CBOR' | 'MGPK', payload: string | Uint8Array) => {
    const rest = typeof payload === 'string' ? utf8(payload) : payload;
    const head = {
      JSON: utf8('{"v":"'),
      CBOR: Buffer.from('a261767' + '1', 'hex'),
      MGPK: Buffer.from('82a176b1', 'hex'),
    }[kind];
    const version = formatVersion({ protocol: 'KERI', kind, size: head.length + 17 + rest.length });
    return Buffer.concat([head, utf8(version), rest]);
  };
  const json = (value: string) => body('JSON', `","x":${value}}`);
  const cbor = (hex: string) => body('CBOR', Buffer.from(`6178${hex}`, 'hex'));
  const mgpk = (hex: string) => body('MGPK', Buffer.from(`a178${hex}`, 'hex'));
  const read = (bytes: Uint8Array) => {
    const parsed = parseBody(bytes, 'KERI');
    assert.equal(reencodes(parsed, bytes), true);
    return parsed.fields.get('x');
  };

  it('JSON: takes every canonical value, in order', () => {
    for (const [text, value] of [
      ['1', 1],
      ['-1', -1],
      ['1.5', 1.5],
      ['1e+21', undefined],
      ['true', true],
      ['null', null],
      ['"\\u001f\\n\\"\\\\"', '\u001f\n"\\'],
      ['"\u2028é😀"', '\u2028é😀'],
      ['9007199254740993', 9007199254740993n],
      ['[]', []],
      ['"\\\\ud800"', '\\ud800'],
    ] as const) {
      if (value === undefined) rejects(() => read(json(text)), 'KEL_BAD_BODY');
      else assert.deepEqual(read(json(text)), value);
    }
    const map = read(json('{"b":1,"2":2,"1":{"__proto__":3}}')) as ReadonlyMap<string, BodyValue>;
    assert.deepEqual([...map.keys()], ['b', '2', '1']);
  });

  it('JSON: rejects every other writing', () => {
    const bad = [
      '1.0',
      '1e2',
      '-0',
      '01',
      '+1',
      '0x1',
      'NaN',
      '"\\u0041"',
      '"\\/"',
      '"\\ud800"',
      '"a',
      "'a'",
      '[1,]',
      '[1 ,2]',
      ' 1',
      '{"a":1,"a":2}',
      '{"a" :1}',
      '{1:2}',
      '{"b":1,"1":2,"b":3}',
      'tru',
      '',
      '[',
      '{"b":1,"1":2.0}',
      '{"b":"\\u0041","1":2}',
    ];
    for (const text of bad) rejects(() => read(json(text)), 'KEL_BAD_BODY', text);
    rejects(() => read(json('['.repeat(40) + ']'.repeat(40))), 'KEL_BAD_BODY');
    rejects(() => read(json('['.repeat(100_000))), 'KEL_BAD_BODY');
    rejects(
      () =>
        parseBody(
          Buffer.from(
            json('"\u00ff"').toString('latin1').replace('Ã', '\u00ff').replace('¿', ' '),
            'latin1',
          ),
          'KERI',
        ),
      'KEL_BAD_BODY',
    );
    rejects(() => parseBody(body('JSON', '"} '), 'KERI'), 'KEL_BAD_BODY');
  });

  it('CBOR: takes the shortest form and no other', () => {
    for (const [hex, value] of [
      ['17', 23],
      ['1818', 24],
      ['190100', 256],
      ['1a00010000', 65536],
      ['1b0000000100000000', 2 ** 32],
      ['1bffffffffffffffff', 2n ** 64n - 1n],
      ['20', -1],
      ['3818', -25],
      ['3b0000000100000000', -(2 ** 32) - 1],
      ['f4', false],
      ['f6', null],
      ['fb3ff8000000000000', 1.5],
      ['80', []],
      ['61c3', undefined],
      ['62c3a9', 'é'],
    ] as const) {
      if (value === undefined) rejects(() => read(cbor(hex)), 'KEL_BAD_BODY');
      else assert.deepEqual(read(cbor(hex)), value, hex);
    }
    const bad = [
      '1817',
      '190017',
      '1a0000ffff',
      '1b00000000ffffffff',
      '7801' + '61',
      '9f01ff',
      '8181',
      '9affffffff',
      '9bffffffffffffffff',
      'bb00000000ffffffff',
      '4101',
      'c001',
      'f7',
      'f0',
      'f93c00',
      'fa3fc00000',
      'fb3ff0000000000000',
      'fb7ff8000000000000',
      'a10101',
      'a2616101616101',
      'ff',
      '',
      '1c',
      '7bffffffffffffffff',
      `${'8101'.repeat(1)}00`,
    ];
    for (const hex of bad) rejects(() => read(cbor(hex)), 'KEL_BAD_BODY', hex);
    rejects(() => read(cbor(`${'81'.repeat(40)}01`)), 'KEL_BAD_BODY');
  });

  it('MGPK: takes the shortest form and no other', () => {
    for (const [hex, value] of [
      ['7f', 127],
      ['cc80', 128],
      ['cd0100', 256],
      ['ce00010000', 65536],
      ['cf0000000100000000', 2 ** 32],
      ['ff', -1],
      ['e0', -32],
      ['d0df', -33],
      ['d1ff7f', -129],
      ['d2ffff7fff', -32769],
      ['d3ffffffff7fffffff', -2147483649],
      ['c2', false],
      ['c0', null],
      ['cb3ff8000000000000', 1.5],
      ['90', []],
      ['a2c3a9', 'é'],
      [`d920${'61'.repeat(32)}`, 'a'.repeat(32)],
    ] as const) {
      assert.deepEqual(read(mgpk(hex)), value, hex);
    }
    const bad = [
      'cc7f',
      'cd00ff',
      'ce0000ffff',
      'cf00000000ffffffff',
      'd0e0',
      'd0ff',
      'd001',
      'd1ff80',
      'd2ffff8000',
      'd3ffffffff80000000',
      'c1',
      'c40101',
      'd40101',
      'ca3fc00000',
      'cb3ff0000000000000',
      'd901' + '61',
      'dc000101',
      'de0001a16101',
      'dd7fffffff',
      'df7fffffff',
      '810101',
      '82a16101a16101',
      '',
    ];
    for (const hex of bad) rejects(() => read(mgpk(hex)), 'KEL_BAD_BODY', hex);
    rejects(() => read(mgpk(`${'91'.repeat(40)}01`)), 'KEL_BAD_BODY');
  });

  it('refuses values that no body can carry, and bodies that are too long', () => {
    for (const value of [
      NaN,
      Infinity,
      -0,
      2 ** 53,
      1n,
      2n ** 64n,
      '\ud800',
      undefined,
      new Date(0),
      Buffer.alloc(1),
      { a: 1 },
    ]) {
      rejects(() => encodeBody('KERI', 'CBOR', [['x', value as BodyValue]]), 'KEL_BAD_VALUE');
    }
    rejects(() => encodeBody('KERI', 'CBOR', [['x', 'x'.repeat(MAX_BODY_BYTES)]]), 'KEL_LIMIT');
    rejects(() => parseBody(json(`"${'x'.repeat(MAX_BODY_BYTES)}"`), 'KERI'), 'KEL_LIMIT');
    rejects(() => parseBody(json('1'), 'KMSH'), 'KEL_BAD_VERSION');
    rejects(() => parseBody(Buffer.concat([json('1'), utf8(' ')]), 'KERI'), 'KEL_BAD_VERSION');
    rejects(() => parseBody(utf8('{}'), 'KERI'), 'KEL_BAD_VERSION');
  });

  it('records use the same codec under their own protocol', () => {
    const fields: [string, BodyValue][] = [
      ['t', 'nod'],
      ['d', ''],
      ['u', '0AAAAAAAAAAAAAAAAAAAAAAA'],
      ['i', KEY],
    ];
    const { bytes, said } = encodeWithSaid('KMSH', 'CBOR', fields);
    const parsed = parseBody(bytes, 'KMSH');
    assert.equal(verifySaid(bytes, parsed.fields), said);
    assert.deepEqual([...parsed.fields.keys()], ['v', 't', 'd', 'u', 'i']);
    const changed = Buffer.from(bytes);
    changed[changed.length - 1] = 0x49;
    rejects(() => verifySaid(changed, parseBody(changed, 'KMSH').fields), 'KEL_BAD_SAID');
  });
});
