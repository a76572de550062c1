/** Inputs that cost most for their size: one maker per shape, each of about as many bytes as it is asked for. */
import { encodeBody, MAX_BODY_BYTES } from '#kel/cesr/body';
import type { BodyValue } from '#kel/cesr/body-value';
import { encodeCounter } from '#kel/cesr/counter';
import { encodeIndexedSignature } from '#kel/cesr/indexer';
import { encodeMatter } from '#kel/cesr/matter';
import { encodeWithSaid } from '#kel/cesr/said';
import { type BodyKind, formatVersion } from '#kel/cesr/version';
import { encodeRecordBody } from '#kel/record/cbor';
import { concatBytes, utf8 } from '#src/bytes';
import { blake3 } from '#src/crypto/hash';

/** @param size bytes  @returns at most a few bytes more */
export type Shape = (size: number) => Uint8Array;

const digestOf = (n: number): Uint8Array => blake3(utf8(`${n}`));
const keyText = (code: string, n: number): string => encodeMatter(code, digestOf(n));

function repeated(unit: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(Math.max(1, Math.floor(size / unit.length)) * unit.length);
  for (let at = 0; at < out.length; at += unit.length) out.set(unit, at);
  return out;
}

/** A CBOR list of `count` copies of `item`, and what is in front of it. */
function cborList(
  item: Uint8Array,
  size: number,
  front: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const count = Math.floor(size / item.length);
  const head = Buffer.from([0x9a, 0, 0, 0, 0]);
  head.writeUInt32BE(count, 1);
  return concatBytes(front, head, repeated(item, size));
}

/** `Uint8Array` of nested lists, as deep as the size allows. */
const nested: Shape = (size) => new Uint8Array(size).fill(0x81);

/** A charter of version 2 whose fields are good up to its extensions; those are of about `size` bytes. */
function charterWith(x: ReadonlyMap<string, unknown>): Uint8Array {
  const aid = keyText('E', 1);
  const body = new Map<string, unknown>([
    ['v', formatVersion({ protocol: 'KMSH', major: 2, kind: 'CBOR', size: 0 })],
    ['t', 'chr'],
    ['d', aid],
    ['u', encodeMatter('0A', digestOf(2).subarray(0, 16))],
    ['i', aid],
    ['dt', '2026-01-01T00:00:00.000000+00:00'],
    ['m', ''],
    ['p', ''],
    ['n', 0],
    ['name', 'mesh'],
    ['gov', [aid]],
    ['mem', []],
    ['edge', new Map([['min', 'A']])],
    [
      'ep',
      new Map([
        ['len', 3600],
        ['base', 0],
      ]),
    ],
    ['x', x],
    ['cr', []],
  ]);
  const { length: size } = encodeRecordBody(body);
  body.set('v', formatVersion({ protocol: 'KMSH', major: 2, kind: 'CBOR', size }));
  return encodeRecordBody(body);
}

/** Shapes of records of version 2. */
export const recordShapes: Readonly<Record<string, Shape>> = {
  'an unknown extension of small values': (size) =>
    charterWith(new Map([['later', new Array(size).fill(0)]])),
  'an unknown extension of maps': (size) =>
    charterWith(new Map([['later', new Array(Math.floor(size / 3)).fill(new Map([['a', true]]))]])),
  'rules of edge policy': (size) => {
    const names = Array.from({ length: 64 }, (_, n) => `broker:${String(n).padStart(50, 'a')}`);
    const rule = new Map<string, unknown>([
      ['between', ['*', '*']],
      ['peer', true],
      ['required', names],
      ['offered', names],
      ['refused', names],
      ['start', 'eager'],
      ['prefixes', []],
      ['obfuscation', []],
      ['relay', 'offered'],
    ]);
    const each = encodeRecordBody(rule).length;
    return charterWith(new Map([['pol', new Array(Math.ceil(size / each)).fill(rule)]]));
  },
};

/** Shapes of the CBOR that frames of all protocols and bundles are made of. */
export const cborShapes: Readonly<Record<string, Shape>> = {
  'empty maps': (size) => cborList(Uint8Array.of(0xa0), size),
  'empty lists': (size) => cborList(Uint8Array.of(0x80), size),
  numbers: (size) => cborList(Uint8Array.of(0x00), size),
  'short texts': (size) => cborList(utf8('ca'), size),
  SAIDs: (size) => cborList(concatBytes(Uint8Array.of(0x78, 44), utf8(keyText('E', 1))), size),
  'a deep list': nested,
  'a map of many keys': (size) => {
    const count = Math.floor(size / 8);
    const head = Buffer.from([0xba, 0, 0, 0, 0]);
    head.writeUInt32BE(count, 1);
    const keys = Array.from({ length: count }, (_, n) =>
      concatBytes(Uint8Array.of(0x66), utf8(n.toString(16).padStart(6, '0')), Uint8Array.of(0)),
    );
    return concatBytes(head, ...keys);
  },
  'one byte string': (size) => {
    const head = Buffer.from([0x5a, 0, 0, 0, 0]);
    head.writeUInt32BE(size, 1);
    return concatBytes(head, new Uint8Array(size));
  },
  'one text': (size) => {
    const head = Buffer.from([0x7a, 0, 0, 0, 0]);
    head.writeUInt32BE(size, 1);
    return concatBytes(head, new Uint8Array(size).fill(0x61));
  },
};

const INCEPTION = ['v', 't', 'd', 'i', 's', 'kt', 'k', 'nt', 'n', 'bt', 'b', 'c', 'a'] as const;

/** An inception with these fields, and a SAID that fits. */
function inceptionOf(fields: Readonly<Record<string, BodyValue>>, kind: BodyKind = 'CBOR') {
  const usual: Readonly<Record<string, BodyValue>> = {
    v: '',
    t: 'icp',
    d: '',
    i: '',
    s: '0',
    kt: '1',
    k: [keyText('D', 0)],
    nt: '0',
    n: [],
    bt: '0',
    b: [],
    c: [],
    a: [],
  };
  const all = { ...usual, ...fields };
  const { bytes } = encodeWithSaid(
    'KERI',
    kind,
    INCEPTION.map((label) => [label, all[label] as BodyValue] as const),
    ['d', 'i'],
  );
  return bytes;
}

function primes(count: number, from: number): readonly number[] {
  const found: number[] = [];
  for (let n = from; found.length < count; n++) {
    let isPrime = true;
    for (let d = 2; d * d <= n && isPrime; d++) isPrime = n % d !== 0;
    if (isPrime) found.push(n);
  }
  return found;
}

const keysOf = (code: string, count: number) =>
  Array.from({ length: count }, (_, n) => keyText(code, n));
/** Bytes of a key with its weight in CBOR. */
const KEY_BYTES = 64;

function noise(count: number, perKey: number): Uint8Array {
  const raw = new Uint8Array(64).fill(7);
  const signatures = Array.from({ length: count }, (_, n) =>
    encodeIndexedSignature({ index: Math.floor(n / perKey), raw, code: '2A' }),
  );
  return utf8(encodeCounter('A', count) + signatures.join(''));
}

function receiptOf(event: Uint8Array, aid: string, witness: string): Uint8Array {
  const body = encodeBody('KERI', 'CBOR', [
    ['t', 'rct'],
    ['d', aid],
    ['i', aid],
    ['s', '0'],
  ]);
  const couple = witness + encodeMatter('0B', new Uint8Array(64).fill(event.length & 0xff));
  return concatBytes(body, utf8(encodeCounter('C', 1) + couple));
}

/** A list in field `a` of an event, of about `size` bytes in all. */
const anchored = (item: (n: number) => BodyValue, itemSize: number, kind: BodyKind): Shape => {
  return (size) => {
    const room = Math.min(size, MAX_BODY_BYTES - 1_024);
    return inceptionOf(
      { a: Array.from({ length: Math.floor(room / itemSize) }, (_, n) => item(n)) },
      kind,
    );
  };
};

/** Shapes of one key event; those that no body may have are refused by its size. */
export const eventShapes: Readonly<Record<string, Shape>> = {
  'weights with coprime denominators': (size) => {
    const count = Math.floor(size / KEY_BYTES);
    const weights = primes(count, 100_000).map((n) => `${n - 1}/${n}`);
    return inceptionOf({ kt: weights, k: keysOf('D', count) });
  },
  'weights in small fractions': (size) => {
    const count = Math.min(Math.floor(size / KEY_BYTES), 1_024);
    const weights = Array.from({ length: count }, (_, n) => `1/${2 + (n % 150)}`);
    return inceptionOf({ kt: weights, k: keysOf('D', count) });
  },
  'as many keys': (size) => inceptionOf({ k: keysOf('D', Math.floor(size / 46)) }),
  'as many next digests': (size) => inceptionOf({ nt: '1', n: keysOf('E', Math.floor(size / 46)) }),
  'as many witnesses': (size) => inceptionOf({ bt: '1', b: keysOf('B', Math.floor(size / 46)) }),
  'seals, CBOR': anchored((n) => new Map([['d', keyText('E', n)]]), 49, 'CBOR'),
  'empty maps, CBOR': anchored(() => new Map(), 1, 'CBOR'),
  'empty maps, MGPK': anchored(() => new Map(), 1, 'MGPK'),
  'empty maps, JSON': anchored(() => new Map(), 3, 'JSON'),
  'labels out of order, JSON': (size) =>
    inceptionOf(
      {
        a: [
          new Map(
            Array.from({ length: Math.floor(size / 12) }, (_, n) => [`${99_999 - n}`, 1n << 60n]),
          ),
        ],
      },
      'JSON',
    ),
  'escapes, JSON': (size) => inceptionOf({ a: ['"\\'.repeat(size / 4)] }, 'JSON'),
  'one text, CBOR': (size) => inceptionOf({ a: ['x'.repeat(size)] }),
  'noise signatures, four to a key': (size) => {
    const count = Math.floor(size / 100);
    const keys = Math.min(Math.ceil(count / 4), 1_024);
    return concatBytes(inceptionOf({ k: keysOf('D', keys) }), noise(Math.min(count, 4_000), 4));
  },
};

/** A small event whose only fault is its signature. */
const small = inceptionOf({});

/** Shapes of a stream of messages. */
export const streamShapes: Readonly<Record<string, Shape>> = {
  'small events': (size) => repeated(concatBytes(small, noise(1, 1)), size),
  'bodies and no attachments': (size) => repeated(small, size),
  'empty groups': (size) => concatBytes(small, repeated(utf8('-AAA'), size)),
  'groups of both domains in turn': (size) =>
    concatBytes(small, repeated(concatBytes(utf8('-AAA'), Buffer.from('-AAA', 'base64url')), size)),
  'starts of messages': (size) => repeated(utf8('{"v":"KERI10JSON0000ff_",'), size),
  'starts within a group that is skipped': (size) =>
    concatBytes(small, utf8(encodeCounter('L', Math.floor(size / 4))), repeated(small, size)),
  'a frame that never ends': (size) =>
    repeated(concatBytes(small, utf8('-VP_'), repeated(utf8('-AAA'), 400)), size),
  spaces: (size) => new Uint8Array(size).fill(0x20),
  zeros: (size) => new Uint8Array(size),
};

/** A waiting event of half the size, and receipts of it for the rest. @param signed the event with the signatures that it needs */
export function receiptsOf(
  signed: (fields: Readonly<Record<string, BodyValue>>) => {
    readonly message: Uint8Array;
    readonly aid: string;
  },
): Shape {
  return (size) => {
    const witnesses = keysOf('B', 100);
    const anchors = Array.from(
      { length: Math.floor(size / 2 / 49) },
      (_, n) => new Map([['d', keyText('E', n)]]),
    );
    const { message, aid } = signed({ b: witnesses, bt: '64', a: anchors });
    const receipt = receiptOf(message, aid, witnesses[0] as string);
    return concatBytes(message, repeated(receipt, size / 2));
  };
}

/** Signed notes. */
export const noteShapes: Readonly<Record<string, Shape>> = {
  'blank lines': (size) => utf8('\n'.repeat(size)),
  'signature lines': (size) =>
    utf8(`o\n1\nAA==\n\n${'\u2014 name AAAAAAAAAA==\n'.repeat(size / 24)}`),
  'one long line': (size) => utf8(`${'+'.repeat(size - 2)}\n\n`),
  dashes: (size) => utf8(`x\n\n${'\u2014 '.repeat(size / 4)}\n`),
};

/** Configurations. */
export const tomlShapes: Readonly<Record<string, Shape>> = {
  'dotted keys': (size) =>
    utf8(Array.from({ length: Math.floor(size / 16) }, (_, n) => `a.b${n} = 1`).join('\n')),
  'one deep key': (size) => utf8(`${'a.'.repeat(size / 2)}b = 1`),
  'nested lists': (size) => utf8(`a = ${'['.repeat(size / 2)}${']'.repeat(size / 2)}`),
  'a long list': (size) => utf8(`a = [${'1,'.repeat(size / 2)}1]`),
  tables: (size) =>
    utf8(Array.from({ length: Math.floor(size / 10) }, (_, n) => `[t${n}]`).join('\n')),
  'a long text': (size) => utf8(`a = "${'\\\\'.repeat(size / 2)}"`),
};

/** Certificates in PEM. */
export const pemShapes: Readonly<Record<string, Shape>> = {
  'empty blocks': (size) =>
    repeated(utf8('-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n'), size),
  'begins without end': (size) => repeated(utf8('-----BEGIN CERTIFICATE-----\n'), size),
  dashes: (size) => utf8('-'.repeat(size)),
  'nested DER': (size) =>
    utf8(
      `-----BEGIN CERTIFICATE-----\n${Buffer.from(repeated(Uint8Array.of(0x30, 0x80), (size * 3) / 4)).toString('base64')}\n-----END CERTIFICATE-----\n`,
    ),
};
