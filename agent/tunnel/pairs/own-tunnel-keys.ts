/**
 * The own tunnel keys: one key epoch per establishment event, sealed before it is known, known before it is used.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { TunRecord, Verified } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import type { RecordVersion } from '#kel/record/schemas';
import { type Clock, formatDateTime } from '#src/clock';
import type { MlKem1024 } from '#src/crypto/suite';
import { signXEdDsa, XEDDSA_RANDOM_LENGTH } from '#src/crypto/xeddsa';
import type { Rng } from '#src/rng';
import type { Secret } from '#src/secret';
import { wireguardPrivateKey, wireguardPublicKey } from '#src/wireguard/static-key';
import type { Identity } from '../../identity/own/identity.ts';
import type { Draft, RecordIssuer } from '../../identity/records/record-issuer.ts';
import { TunnelError } from './errors.ts';

/** How long a `tun` record says that its keys may be used: agreement and rotation come long before. */
const VALIDITY_MS = 400 * 24 * 3_600_000;
const BACKDATE_MS = 5 * 60_000;
/** An organisation that did not rotate gets new keys this long before the old ones run out. */
const RENEW_MS = 30 * 24 * 3_600_000;

export interface TunnelKeys {
  readonly record: Verified<TunRecord>;
  /** Clamped, 32 bytes. */
  readonly wireguard: Secret;
  /** 64-byte seed of the ML-KEM-1024 key pair. */
  readonly mlKemSeed: Secret;
}

export interface OwnTunnelKeysDeps {
  readonly identity: Identity;
  readonly records: RecordStore;
  readonly issuer: RecordIssuer;
  readonly mlKem: MlKem1024;
  readonly clock: Clock;
  readonly rng: Rng;
  /** In which the mesh writes. */
  readonly recordVersion: () => RecordVersion;
}

export class OwnTunnelKeys {
  readonly #deps: OwnTunnelKeysDeps;
  readonly #loaded = new Map<Said, TunnelKeys>();
  #current: TunnelKeys | undefined;

  constructor(deps: OwnTunnelKeysDeps) {
    this.#deps = deps;
  }

  /** Keys of the current establishment event; issues and seals their record when there is none yet, or none of the version of the mesh. */
  async ensureCurrent(): Promise<TunnelKeys> {
    const { identity, records, clock } = this.#deps;
    const { establishment } = identity.state;
    const last = records.list('tun', identity.aid).at(-1)?.record;
    // Of another mesh there may be newer ones, which the members of this one do not all read.
    const isOfMesh = (last?.x !== undefined) === this.#deps.recordVersion() > 1;
    const holds = last !== undefined && formatDateTime(clock.now() + RENEW_MS) < last.na;
    if (last?.es.d === establishment.said && holds && isOfMesh)
      return this.#use(await this.load(last.d));
    return this.#use(await this.#issue(establishment, last === undefined ? 0 : last.e + 1));
  }

  /** The next key epoch under the same establishment event. `beside` is sealed by the same event. */
  async renew(beside: readonly Draft[] = []): Promise<TunnelKeys> {
    const { identity } = this.#deps;
    const { establishment } = identity.state;
    return this.#use(await this.#issue(establishment, this.current.record.e + 1, beside));
  }

  /** SAID of the current record, undefined before {@link ensureCurrent}. */
  get currentRecord(): Said | undefined {
    return this.#current?.record.d;
  }

  /** Throws TUNNEL_NO_KEYS before {@link ensureCurrent}. */
  get current(): TunnelKeys {
    if (this.#current === undefined)
      throw new TunnelError('TUNNEL_NO_KEYS', 'tunnel keys are not loaded');
    return this.#current;
  }

  /** Keys of an own record, also of the epoch before the current one. */
  async load(said: Said): Promise<TunnelKeys> {
    const loaded = this.#loaded.get(said);
    if (loaded !== undefined) return loaded;
    const { identity, records } = this.#deps;
    const stored = records.get(said)?.record;
    if (stored?.t !== 'tun' || stored.i !== identity.aid)
      throw new TunnelError('TUNNEL_NO_KEYS', `${said} is not an own tunnel key record`);
    const record = stored as Verified<TunRecord>;
    const { wireguard, mlKem } = await identity.tunnelSecrets(record.es.d, record.e);
    using unclamped = wireguard;
    const meanwhile = this.#loaded.get(said);
    if (meanwhile !== undefined) {
      mlKem[Symbol.dispose]();
      return meanwhile;
    }
    const keys = { record, wireguard: wireguardPrivateKey(unclamped), mlKemSeed: mlKem };
    this.#loaded.set(said, keys);
    return keys;
  }

  /** Wipes the secrets of a retired key. */
  forget(said: Said): void {
    const keys = this.#loaded.get(said);
    this.#loaded.delete(said);
    keys?.wireguard[Symbol.dispose]();
    keys?.mlKemSeed[Symbol.dispose]();
  }

  #use(keys: TunnelKeys): TunnelKeys {
    this.#current = keys;
    return keys;
  }

  async #issue(
    establishment: { sn: number; said: Said },
    epoch: number,
    beside: readonly Draft[] = [],
  ): Promise<TunnelKeys> {
    const { identity, issuer, mlKem, clock, rng, recordVersion } = this.#deps;
    const { wireguard, mlKem: seed } = await identity.tunnelSecrets(establishment.said, epoch);
    using secrets = new DisposableStack();
    const publicKeys = {
      wg: wireguardPublicKey(secrets.use(wireguard)),
      kem: { 'ml-kem-1024': mlKem.publicKey(secrets.use(seed).expose()) },
    };
    const now = clock.now();
    const [said] = await issuer.issueSealed([
      {
        type: 'tun',
        fields: {
          e: epoch,
          es: { s: establishment.sn, d: establishment.said },
          ...publicKeys,
          nb: formatDateTime(now - BACKDATE_MS),
          na: formatDateTime(now + VALIDITY_MS),
        },
        ...(recordVersion() === 1
          ? {}
          : {
              extensions: { x: {}, cr: [] },
              prover: {
                wg: (message) => signXEdDsa(wireguard, message, rng.bytes(XEDDSA_RANDOM_LENGTH)),
              },
            }),
      },
      ...beside,
    ]);
    if (said === undefined)
      throw new TunnelError('TUNNEL_NO_KEYS', 'the tunnel key record was not issued');
    return this.load(said);
  }
}

/** The newest `tun` record of a peer that holds now and belongs to its current establishment event. */
export function currentTunnelKeyOf(
  records: RecordStore,
  aid: Aid,
  establishment: Said,
  nowText: string,
): Verified<TunRecord> | undefined {
  const record = records.list('tun', aid).at(-1)?.record;
  return record?.es.d === establishment && record.nb <= nowText && nowText < record.na
    ? record
    : undefined;
}
