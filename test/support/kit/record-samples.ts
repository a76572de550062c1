/** One small record of each type, as a starting point for tests that change one thing. */
import type { Aid, Said } from '#kel/identifiers';
import type { RecordExtensions } from '#kel/record/extension';
import type { RecordFields } from '#kel/record/record';

export const digest = (letter: string) => `E${letter.repeat(43)}`;
export const lowAid = digest('A') as Aid;
export const highAid = digest('B') as Aid;
export const someSaid = digest('C') as Said;
export const salt = new Uint8Array(16).fill(7);
export const dt = '2026-01-01T00:00:00.000000+00:00';
const later = '2026-01-02T00:00:00.000000+00:00';
const bytes = (length: number) => new Uint8Array(length).fill(1);

const end = (i: Aid) => ({
  i,
  s: 0,
  d: someSaid,
  t: someSaid,
  hs: dt,
  c: { o: 'log.example/one', n: 3, r: bytes(32) },
});

export const samples: RecordFields = {
  nod: {
    o: lowAid,
    role: 'server',
    region: 'eu-north',
    of: ['A', 'B'],
    rq: ['A'],
    ov: ['fd00::1', '10.0.0.1'],
  },
  tun: {
    e: 1,
    es: { s: 0, d: someSaid },
    wg: bytes(32),
    kem: { 'ml-kem-1024': bytes(1568) },
    nb: dt,
    na: later,
  },
  end: {
    es: { s: 0, d: someSaid },
    p: `12D3KooW${'a'.repeat(44)}`,
    la: ['/ip4/192.0.2.1/tcp/7400'],
    ue: [{ t: someSaid, a: ['192.0.2.1:51820', '[2001:db8::1]:51820', 'a.example:1'] }],
  },
  chr: {
    m: '',
    p: '',
    n: 0,
    name: 'a mesh',
    gov: [lowAid],
    mem: [{ i: lowAid, n: 'one', role: 'server', region: '' }],
    edge: { min: 'A' },
    ep: { len: 3600, base: 0 },
  },
  log: {
    o: 'log.example/one',
    vk: ['log.example/one+0a0b0c0d+AQID'],
    cad: { n: 256, s: 900 },
    ret: 31_536_000,
  },
  rvk: { k: 'node', who: lowAid, from: dt, why: 'stolen' },
  ack: { r: someSaid, at: dt },
  tup: {
    a: end(lowAid),
    b: end(highAid),
    m: someSaid,
    ch: someSaid,
    ep: 9,
    th: bytes(32),
    lv: 'AB',
    g: 0,
    na: bytes(32),
    nb: bytes(32),
  },
};

/** Each known extension of each type. */
export const sampleExtensions: RecordExtensions = {
  nod: {
    cap: ['hqc-256', 'rec2', 'relay', 'rosenpass'],
    gw: { rank: 1, pre: ['10.0.0.0/8', 'fd00:1::/48'] },
    name: 'node-one',
  },
  tun: {
    pop: bytes(64),
    rp: { al: 'v02-mceliece460896-188', h: bytes(32) },
    st: { wg: bytes(32), p: [51_820, 51_821], ov: ['fd00::/64'], pop: bytes(64) },
  },
  end: {
    cand: [
      { k: 'own', a: '192.0.2.1:51820', pr: 3, by: '' },
      { k: 'observed', a: '198.51.100.7:40000', pr: 2, by: highAid },
    ],
    relay: { a: ['192.0.2.1:3478'], q: { bps: 1_000_000, day: 1024 } },
    rpe: ['192.0.2.1:9999'],
  },
  chr: {
    brk: [
      { n: 'north', i: highAid, u: '' },
      { n: 'south', i: '', u: 'https://south.example/kme' },
    ],
    pol: [
      {
        between: ['role:server', 'region:eu'],
        peer: true,
        required: ['ml-kem-1024', 'x25519', 'rosenpass'],
        offered: ['broker:north'],
        refused: ['manual'],
        start: 'lazy',
        prefixes: ['10.0.0.0/8'],
        obfuscation: ['pad'],
        relay: 'required',
      },
    ],
    rel: [{ n: 'exchange', i: lowAid, a: ['exchange.example:3478'] }],
    rv: 2,
    top: 'hub:exchange',
  },
  log: {},
  rvk: { sup: someSaid, wg: bytes(32) },
  ack: {},
  tup: {},
};
