/** The fields of every record type: names, order, ranges (DESIGN 3). */
import { isIP } from 'node:net';
import type { Aid, Said } from '#kel/identifiers';
import { extensionSchemas, namesWhatIsThere } from './extension-schemas.ts';
import type { NodeRole } from './node-role.ts';
import { isAid, isRecordSaid, isSaid, isSalt } from './qualified.ts';
import type {
  AcknowledgementFields,
  AuditLogFields,
  CharterFields,
  CheckpointFields,
  EndpointFields,
  EstablishmentFields,
  MemberFields,
  NodeFields,
  ProtectionLevel,
  RecordFields,
  RecordOf,
  RecordType,
  RevocationFields,
  Strategy,
  TunnelEndFields,
  TunnelKeyFields,
  TunnelProofFields,
  UdpEndpointFields,
} from './record.ts';
import {
  ascending,
  bytes,
  checked,
  checkedText,
  dateTime,
  type FieldSchema,
  integer,
  isHostAndPort,
  isUnique,
  list,
  type MapSchemas,
  map,
  oneOf,
  text,
  textOf,
} from './schema.ts';

/** Largest message, body and attachments, in bytes. */
const MAX_BYTES = 64 * 1024;
/** A charter lists up to 4,096 members. */
export const MAX_CHARTER_BYTES = 512 * 1024;

const MAX_MEMBERS = 4096;

const aid = textOf<Aid>('an AID', isAid);
const said = textOf<Said>('a SAID', isSaid);
const ownSaid = textOf<Said>('the SAID of a record', isRecordSaid);
const recordSaidOrNone = textOf<Said | ''>(
  'the SAID of a record or empty',
  (value): value is Said | '' => value === '' || isRecordSaid(value),
);
const role = oneOf<NodeRole>('server', 'relay', 'device');
const region = text(0, 64);
const level = oneOf<ProtectionLevel>('A', 'B', 'C', 'AB', 'AC', 'BC', 'ABC');
const strategies = ascending(list(oneOf<Strategy>('A', 'B', 'C'), 0, 3), 'strategies');
const establishment = map<EstablishmentFields>({ s: integer(), d: said });

const node: MapSchemas<NodeFields> = {
  o: aid,
  role,
  region,
  of: strategies,
  rq: strategies,
  ov: list(
    checkedText(45, 'an IP address', (value) => isIP(value) !== 0 && !value.includes('%')),
    0,
    8,
  ),
};

const tunnelKeys: MapSchemas<TunnelKeyFields> = {
  e: integer(),
  es: establishment,
  wg: bytes(32),
  kem: map({ 'ml-kem-1024': bytes(1568) }),
  nb: dateTime,
  na: dateTime,
};

const udpEndpoint = map<UdpEndpointFields>({
  t: ownSaid,
  a: list(checkedText(262, 'host:port', isHostAndPort), 0, 8),
});

const endpoints: MapSchemas<EndpointFields> = {
  es: establishment,
  p: text(46, 64, /^[1-9A-HJ-NP-Za-km-z]+$/),
  la: list(text(2, 512, /^(\/[^/\s]+)+$/), 0, 16),
  ue: list(udpEndpoint, 0, 16),
};

const member = map<MemberFields>({ i: aid, n: text(1, 63, /^[a-z0-9-]+$/), role, region });

const charter: MapSchemas<CharterFields> = {
  m: recordSaidOrNone,
  p: recordSaidOrNone,
  n: integer(),
  name: text(1, 64),
  gov: checked(list(aid, 1, 64), (list) => (isUnique(list) ? undefined : 'each governor once')),
  mem: checked(list(member, 0, MAX_MEMBERS), (list) => {
    if (!isUnique(list.map((entry) => entry.i))) return 'each member AID once';
    return isUnique(list.map((entry) => entry.n)) ? undefined : 'each member name once';
  }),
  edge: map({ min: level }),
  ep: map({ len: integer(120, 86_400), base: integer() }),
};

const auditLog: MapSchemas<AuditLogFields> = {
  o: text(1, 256, /^[^\s+]+$/),
  vk: list(text(1, 4096, /^[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+$/), 1, 8),
  cad: map({ n: integer(1), s: integer(1) }),
  ret: integer(),
};

const revocation: MapSchemas<RevocationFields> = {
  k: oneOf('node', 'epoch', 'organisation'),
  who: text(1, 128),
  from: dateTime,
  why: text(0, 280),
};

const acknowledgement: MapSchemas<AcknowledgementFields> = { r: ownSaid, at: dateTime };

const checkpoint = map<CheckpointFields>({
  o: text(1, 256, /^[^\s+]+$/),
  n: integer(),
  r: bytes(32),
});

const tunnelEnd = map<TunnelEndFields>({
  i: aid,
  s: integer(),
  d: said,
  t: ownSaid,
  hs: dateTime,
  c: checkpoint,
});

const tunnelProof: MapSchemas<TunnelProofFields> = {
  a: tunnelEnd,
  b: tunnelEnd,
  m: ownSaid,
  ch: ownSaid,
  ep: integer(),
  th: bytes(32),
  lv: level,
  g: integer(),
  na: bytes(32),
  nb: bytes(32),
};

/** What the fields of a record say together, and no one of them alone. */
const rules: { readonly [T in RecordType]?: (it: RecordOf<T>) => string | undefined } = {
  nod: (it) => (it.rq.every((strategy) => it.of.includes(strategy)) ? undefined : 'rq among of'),
  tun: (it) => (it.nb < it.na ? undefined : `na later than nb ${it.nb}`),
  end: (it) => (isUnique(it.ue.map((entry) => entry.t)) ? undefined : 'each tun record once in ue'),
  chr: (it) =>
    (it.n === 0) === (it.m === '') && (it.n === 0) === (it.p === '')
      ? undefined
      : 'm and p empty in version 0 and only there',
  tup: (it) => {
    if (it.i !== it.a.i) return `i equal to a.i ${it.a.i}`;
    return it.a.i < it.b.i ? undefined : `a.i lower than b.i ${it.b.i}`;
  },
};

/** The two versions of the form: the second has the fields of the first, then `x` and `cr`. */
export type RecordVersion = 1 | 2;

type RecordSchemas = { readonly [T in RecordType]: FieldSchema<RecordOf<T>> };

/** One schema per version and type, over the whole map. */
export const recordSchemas: Readonly<Record<RecordVersion, RecordSchemas>> = {
  1: schemasOf(1),
  2: schemasOf(2),
};

function schemasOf(version: RecordVersion): RecordSchemas {
  return {
    nod: record(version, 'nod', node),
    tun: record(version, 'tun', tunnelKeys),
    end: record(version, 'end', endpoints),
    chr: record(version, 'chr', charter),
    log: record(version, 'log', auditLog),
    rvk: record(version, 'rvk', revocation),
    ack: record(version, 'ack', acknowledgement),
    tup: record(version, 'tup', tunnelProof),
  };
}

export function maxRecordBytes(type: RecordType): number {
  return type === 'chr' ? MAX_CHARTER_BYTES : MAX_BYTES;
}

export function isRecordType(type: unknown): type is RecordType {
  return typeof type === 'string' && Object.hasOwn(recordSchemas[1], type);
}

function record<T extends RecordType>(
  version: RecordVersion,
  type: T,
  fields: MapSchemas<RecordFields[T]>,
): FieldSchema<RecordOf<T>> {
  const common = {
    v: text(17, 17),
    t: oneOf(type),
    d: ownSaid,
    u: checkedText(24, 'a 128-bit salt', isSalt),
    i: aid,
    dt: dateTime,
  };
  const extensions = version === 1 ? {} : extensionSchemas(type);
  const all = { ...common, ...fields, ...extensions } as unknown as MapSchemas<RecordOf<T>>;
  return checked(map<RecordOf<T>>(all), (it) => {
    if (!namesWhatIsThere(it)) return 'names in cr that stand in x';
    return rules[type]?.(it);
  });
}
