/** fast-check generators of records that every schema accepts. */
import fc from 'fast-check';
import type { Aid, Said } from '#kel/identifiers';
import type {
  CheckpointFields,
  EstablishmentFields,
  ProtectionLevel,
  RecordFields,
  RecordType,
  Strategy,
  TunnelEndFields,
} from '#kel/record/record';
import { formatDateTime } from '#src/clock';

const base64Url = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
/** After the one-letter code the first character carries only four bits of a 32-byte value. */
const digest = (code: string) =>
  fc
    .tuple(
      fc.constantFrom(...base64Url.slice(0, 16)),
      fc.string({ unit: fc.constantFrom(...base64Url), minLength: 42, maxLength: 42 }),
    )
    .map(([first, rest]) => code + first + rest);

export const aid = digest('E') as fc.Arbitrary<Aid>;
export const said = digest('E') as fc.Arbitrary<Said>;
const uint32 = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 0xffff_ffff }));
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
export const dateTime = fc
  .integer({ min: 0, max: Date.UTC(2100, 0, 1) })
  .map((ms) => formatDateTime(ms));
const level = fc.constantFrom<ProtectionLevel>('A', 'B', 'C', 'AB', 'AC', 'BC', 'ABC');
const role = fc.constantFrom('server', 'relay', 'device');
const printable = (min: number, max: number) =>
  fc
    .string({ unit: 'grapheme', maxLength: max })
    .filter((text) => text.length >= min && text.length <= max && !/\p{Cc}/u.test(text));
const label = fc.stringMatching(/^[a-z0-9-]{1,20}$/);
const establishment: fc.Arbitrary<EstablishmentFields> = fc.record({ s: uint32, d: said });

const strategies = fc
  .subarray<Strategy>(['A', 'B', 'C'])
  .chain((of) => fc.subarray(of).map((rq) => ({ of, rq })));

const nod = fc
  .tuple(
    fc.record({
      o: aid,
      role,
      region: printable(0, 64),
      ov: fc.array(fc.oneof(fc.ipV4(), fc.ipV6()), { maxLength: 8 }),
    }),
    strategies,
  )
  .map(([{ o, role, region, ov }, { of, rq }]) => ({ o, role, region, of, rq, ov }));

const tun = fc.record({
  e: uint32,
  es: establishment,
  wg: bytes(32),
  kem: fc.record({ 'ml-kem-1024': bytes(1568) }),
  nb: fc.constant(formatDateTime(Date.UTC(2026, 0, 1))),
  na: fc.constant(formatDateTime(Date.UTC(2026, 0, 2))),
});

const end = fc.record({
  es: establishment,
  p: fc.stringMatching(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/),
  la: fc.array(
    fc.nat(65_535).map((port) => `/ip4/192.0.2.1/tcp/${port}`),
    { maxLength: 16 },
  ),
  ue: fc.uniqueArray(
    fc.record({
      t: said,
      a: fc.array(fc.constantFrom('192.0.2.1:51820', '[2001:db8::1]:1', 'a.example:65535'), {
        maxLength: 8,
      }),
    }),
    { maxLength: 4, selector: (entry) => entry.t },
  ),
});

const members = fc.uniqueArray(fc.record({ i: aid, n: label, role, region: printable(0, 64) }), {
  maxLength: 5,
  comparator: (a, b) => a.i === b.i || a.n === b.n,
});

const chr = fc
  .record({
    version: fc.option(fc.record({ m: said, p: said, n: fc.integer({ min: 1, max: 9 }) })),
    name: printable(1, 64),
    gov: fc.uniqueArray(aid, { minLength: 1, maxLength: 3 }),
    mem: members,
    edge: fc.record({ min: level }),
    ep: fc.record({ len: fc.integer({ min: 120, max: 86_400 }), base: uint32 }),
  })
  .map(({ version, ...rest }) => ({
    ...(version ?? { m: '' as const, p: '' as const, n: 0 }),
    ...rest,
  }));

const log = fc.record({
  o: fc.constant('log.example/one'),
  vk: fc.constant(['log.example/one+0a0b0c0d+AQID']),
  cad: fc.record({ n: fc.nat(99).map((n) => n + 1), s: fc.nat(99).map((n) => n + 1) }),
  ret: uint32,
});

const rvk = fc.record({
  k: fc.constantFrom('node', 'epoch', 'organisation'),
  who: aid,
  from: dateTime,
  why: printable(0, 280),
});

const ack = fc.record({ r: said, at: dateTime });

const checkpoint: fc.Arbitrary<CheckpointFields> = fc.record({
  o: fc.constant('log.example/one'),
  n: uint32,
  r: bytes(32),
});

const tunnelEnd: fc.Arbitrary<TunnelEndFields> = fc.record({
  i: aid,
  s: uint32,
  d: said,
  t: said,
  hs: dateTime,
  c: checkpoint,
});

const tup = fc
  .record({
    a: tunnelEnd,
    b: tunnelEnd,
    m: said,
    ch: said,
    ep: uint32,
    th: bytes(32),
    lv: level,
    g: uint32,
    na: bytes(32),
    nb: bytes(32),
  })
  .filter(({ a, b }) => a.i < b.i);

/** Fields that every schema accepts; `tup` needs the record's `i` to be `a.i`. */
export const recordFields = { nod, tun, end, chr, log, rvk, ack, tup } as {
  readonly [T in RecordType]: fc.Arbitrary<RecordFields[T]>;
};
