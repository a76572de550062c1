/** fast-check generators of records that every schema accepts. */
import fc from 'fast-check';
import type { Aid, Said } from '#kel/identifiers';
import type { WireValue } from '#kel/record/cbor';
import type { Contribution, EdgeRule, Selector } from '#kel/record/edge-rule';
import type { Extensions, RecordExtensions } from '#kel/record/extension';
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

const some = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(model, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>;
const ascending = <T extends string | number>(item: fc.Arbitrary<T>, min: number, max: number) =>
  fc
    .uniqueArray(item, { minLength: min, maxLength: max })
    .map((entries) => entries.sort((a, b) => (a < b ? -1 : 1)));
const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/);
const memberName = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?$/);
const prefixes = ['10.0.0.0/8', '192.0.2.0/24', '2001:db8::/32', 'fd00::/8'];
const hostAndPort = fc.constantFrom('192.0.2.1:51820', '[2001:db8::1]:1', 'a.example:65535');

const contributions = fc.uniqueArray(
  fc.oneof(
    fc.constantFrom<Contribution>('ml-kem-1024', 'x25519', 'hqc-256', 'rosenpass', 'manual'),
    memberName.map((name): Contribution => `broker:${name}`),
  ),
  { maxLength: 4 },
);
const selector = fc.oneof(
  fc.constantFrom<Selector>('*', 'role:server', 'role:device', 'region:eu north'),
  memberName.map((name): Selector => `name:${name}`),
);

const edgeRule: fc.Arbitrary<EdgeRule> = fc.record({
  between: fc.tuple(selector, selector),
  peer: fc.boolean(),
  required: contributions,
  offered: contributions,
  refused: contributions,
  start: fc.constantFrom('eager', 'lazy'),
  prefixes: fc.subarray(prefixes),
  obfuscation: fc.subarray(['mask', 'pad', 'buckets', 'constant', 'hop', 'decoy'] as const),
  relay: fc.constantFrom('refused', 'offered', 'required'),
});

const candidate = fc.oneof(
  fc.record({
    k: fc.constantFrom('own', 'mapped', 'configured', 'lan'),
    a: hostAndPort,
    pr: uint32,
    by: fc.constant(''),
  }),
  fc.record({ k: fc.constant('observed'), a: hostAndPort, pr: uint32, by: aid }),
);

const nothing = fc.constant({});

const knownExtensions = {
  nod: some({
    cap: ascending(word, 0, 6),
    gw: fc.record({ rank: fc.nat(255), pre: fc.subarray(prefixes, { minLength: 1 }) }),
    name: memberName,
  }),
  tun: some({
    pop: bytes(64),
    rp: fc.record({ al: word, h: bytes(32) }),
    st: fc.record({
      wg: bytes(32),
      p: ascending(fc.integer({ min: 1, max: 65_535 }), 1, 4),
      ov: fc.subarray(prefixes),
      pop: bytes(64),
    }),
  }),
  end: some({
    cand: fc.uniqueArray(candidate, {
      maxLength: 6,
      selector: ({ k, a, by }) => `${k} ${a} ${by}`,
    }),
    relay: fc.record({
      a: fc.array(hostAndPort, { minLength: 1, maxLength: 8 }),
      q: fc.record({ bps: uint32, day: uint32 }),
    }),
    rpe: fc.array(hostAndPort, { minLength: 1, maxLength: 8 }),
  }),
  chr: some({
    brk: fc.uniqueArray(
      fc.oneof(
        fc.record({ n: memberName, i: aid, u: fc.constant('') }),
        fc.record({ n: memberName, i: fc.constant(''), u: fc.constant('https://a.example/kme') }),
      ),
      { maxLength: 3, selector: ({ n }) => n },
    ),
    pol: fc.array(edgeRule, { maxLength: 4 }),
    rel: fc.uniqueArray(
      fc.record({ n: memberName, i: aid, a: fc.array(hostAndPort, { maxLength: 8 }) }),
      { maxLength: 3, selector: ({ n }) => n },
    ),
    rv: fc.constantFrom(1, 2),
    top: fc.oneof(
      fc.constantFrom('full', 'regions'),
      memberName.map((name) => `hub:${name}`),
    ),
  }),
  log: nothing,
  rvk: some({ sup: said, wg: bytes(32) }),
  ack: nothing,
  tup: nothing,
};

/** What a later version may put under a name of its own. */
const unknownValue: fc.Arbitrary<WireValue> = fc.letrec<{ value: WireValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    uint32,
    fc.boolean(),
    printable(0, 20),
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie('value'), { maxLength: 3 }),
    fc
      .uniqueArray(fc.tuple(printable(0, 8), tie('value')), {
        maxLength: 3,
        selector: ([name]) => name,
      })
      .map((entries) => new Map(entries)),
  ),
})).value;

const unknownExtensions = fc.dictionary(
  word.map((name) => `z-${name}`.slice(0, 32)),
  unknownValue,
  { maxKeys: 3 },
);

/** What makes a record one of version 2: known extensions, of which some are critical, and unknown ones. */
export function extensionsOf<T extends RecordType>(
  type: T,
): fc.Arbitrary<Extensions<RecordExtensions[T]>> {
  return fc
    .tuple(knownExtensions[type] as fc.Arbitrary<object>, unknownExtensions)
    .chain(([known, unknown]) =>
      fc.subarray(Object.keys(known).sort()).map((cr) => ({ x: { ...known, ...unknown }, cr })),
    ) as fc.Arbitrary<Extensions<RecordExtensions[T]>>;
}
