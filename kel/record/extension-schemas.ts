/** The extensions of every record type, and the map that holds them: names, order, ranges. */
import type { Aid, Said } from '#kel/identifiers';
import { encodeRecordBody } from './cbor.ts';
import { edgeRules, prefix } from './edge-rule.ts';
import { RecordError } from './errors.ts';
import type {
  BrokerFields,
  CandidateFields,
  CandidateKind,
  Extensions,
  GatewayFields,
  RecordExtensions,
  RelayFields,
  RelayOfferFields,
  RosenpassKeyFields,
  StaticDeviceFields,
  Topology,
} from './extension.ts';
import { isAid, isRecordSaid } from './qualified.ts';
import {
  ascending,
  badField,
  bytes,
  checked,
  checkedText,
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
  type WireMap,
} from './schema.ts';

/** Of one record. */
const MAX_EXTENSIONS = 32;
/** All of `x`, encoded. */
const MAX_EXTENSION_BYTES = 32 * 1024;
const MAX_CHARTER_EXTENSION_BYTES = 256 * 1024;

const NAME = /^[a-z][a-z0-9-]{0,31}$/;
const MEMBER_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

type Known<X> = { readonly [N in keyof X & string]-?: FieldSchema<NonNullable<X[N]>> };

const aid = textOf<Aid>('an AID', isAid);
const aidOrNone = textOf<Aid | ''>(
  'an AID or empty',
  (value): value is Aid | '' => value === '' || isAid(value),
);
const recordSaid = textOf<Said>('the SAID of a record', isRecordSaid);
const memberName = text(1, 63, MEMBER_NAME);
const hostAndPort = checkedText(262, 'host:port', isHostAndPort);
const ascendingPrefixes = (min: number, max: number) => ascending(list(prefix, min, max));

const node: Known<RecordExtensions['nod']> = {
  cap: ascending(list(text(1, 32, NAME), 0, 64)),
  gw: map<GatewayFields>({ rank: integer(0, 255), pre: ascendingPrefixes(1, 64) }),
  name: memberName,
};

const tunnelKeys: Known<RecordExtensions['tun']> = {
  pop: bytes(64),
  rp: map<RosenpassKeyFields>({ al: text(1, 32, NAME), h: bytes(32) }),
  st: map<StaticDeviceFields>({
    wg: bytes(32),
    p: ascending(list(integer(1, 65_535), 1, 4)),
    ov: ascendingPrefixes(0, 16),
    pop: bytes(64),
  }),
};

const candidate = checked(
  map<CandidateFields>({
    k: oneOf<CandidateKind>('own', 'observed', 'mapped', 'configured', 'lan'),
    a: hostAndPort,
    pr: integer(),
    by: aidOrNone,
  }),
  ({ k, by }) =>
    (k === 'observed') === (by !== '')
      ? undefined
      : 'an observer of what is observed and only there',
);

const endpoints: Known<RecordExtensions['end']> = {
  cand: checked(list(candidate, 0, 64), (entries) =>
    isUnique(entries.map(({ k, a, by }) => `${k} ${a} ${by}`))
      ? undefined
      : 'each address once of each kind and observer',
  ),
  relay: map<RelayOfferFields>({
    a: list(hostAndPort, 1, 8),
    q: map({ bps: integer(), day: integer() }),
  }),
  rpe: list(hostAndPort, 1, 8),
};

const broker = checked(
  map<BrokerFields>({
    n: memberName,
    i: aidOrNone,
    u: text(0, 256, /^(https:\/\/[^\s]+)?$/),
  }),
  ({ i, u }) => ((i === '') === (u === '') ? 'an AID or a URL, not both' : undefined),
);

const relay = map<RelayFields>({ n: memberName, i: aid, a: list(hostAndPort, 0, 8) });

const charter: Known<RecordExtensions['chr']> = {
  brk: namedOnce(list(broker, 0, 64)),
  pol: edgeRules,
  rel: namedOnce(list(relay, 0, 64)),
  rv: integer(1, 2) as FieldSchema<1 | 2>,
  top: textOf<Topology>('full, regions or hub:NAME', isTopology),
};

const revocation: Known<RecordExtensions['rvk']> = { sup: recordSaid, wg: bytes(32) };

const known: { readonly [T in keyof RecordExtensions]: Known<RecordExtensions[T]> } = {
  nod: node,
  tun: tunnelKeys,
  end: endpoints,
  chr: charter,
  log: {},
  rvk: revocation,
  ack: {},
  tup: {},
};

export function isTopology(value: unknown): value is Topology {
  return (
    value === 'full' ||
    value === 'regions' ||
    (typeof value === 'string' &&
      value.startsWith('hub:') &&
      MEMBER_NAME.test(value.slice('hub:'.length)))
  );
}

/** `x` and `cr` of a type. */
export function extensionSchemas<T extends keyof RecordExtensions>(
  type: T,
): MapSchemas<Extensions<RecordExtensions[T]>> {
  const schemas: Readonly<Record<string, FieldSchema<unknown>>> = known[type];
  const most = type === 'chr' ? MAX_CHARTER_EXTENSION_BYTES : MAX_EXTENSION_BYTES;
  const schemaOf = (name: string) => (Object.hasOwn(schemas, name) ? schemas[name] : undefined);
  const x: FieldSchema<RecordExtensions[T]> = {
    parse(value, at) {
      if (!(value instanceof Map) || value.size > MAX_EXTENSIONS)
        throw badField(at, `a map of at most ${MAX_EXTENSIONS} extensions`, value);
      extensionNames.parse([...value.keys()], at);
      const { length } = encodeRecordBody(value);
      if (length > most) throw badField(at, `at most ${most} bytes`, `${length} bytes`);
      return Object.fromEntries(
        [...(value as WireMap)].map(([name, entry]) => [
          name,
          schemaOf(name)?.parse(entry, `${at}.${name}`) ?? entry,
        ]),
      ) as RecordExtensions[T];
    },
    wire: (value) =>
      new Map(
        Object.entries(value)
          .filter(([, entry]) => entry !== undefined)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([name, entry]) => [name, schemaOf(name)?.wire(entry) ?? entry]),
      ),
  };
  const cr: FieldSchema<readonly string[]> = {
    parse(value, at) {
      const names = extensionNames.parse(value, at);
      const unknown = names.find((name) => schemaOf(name) === undefined);
      if (unknown !== undefined)
        throw new RecordError(
          'RECORD_UNKNOWN_EXTENSION',
          `record ${type}: nobody may act on it who does not understand its extension ${unknown}, and this version does not`,
          { fields: { extension: unknown } },
        );
      return names;
    },
    wire: (value) => value,
  };
  return { x, cr };
}

/** True when `cr` names what stands in `x` alone. */
export function namesWhatIsThere({ x, cr }: Partial<Extensions<object>>): boolean {
  return cr?.every((name) => x !== undefined && Object.hasOwn(x, name)) ?? true;
}

const extensionNames = ascending(list(text(1, 32, NAME), 0, MAX_EXTENSIONS));

function namedOnce<T extends { readonly n: string }>(
  schema: FieldSchema<readonly T[]>,
): FieldSchema<readonly T[]> {
  return checked(schema, (entries) =>
    isUnique(entries.map(({ n }) => n)) ? undefined : 'each name once',
  );
}
