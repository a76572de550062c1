/** Signed records of test organisations, and the lookup that verifies them. */
import type { Aid } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import { buildRecord, encodeSignedRecord } from '#kel/record/build';
import type { Extensions, RecordExtensions } from '#kel/record/extension';
import { parseRecord } from '#kel/record/parse';
import type { PossessionProver } from '#kel/record/possession';
import type { AnyRecord, RecordFields, RecordType, Verified } from '#kel/record/record';
import { type RecordVerification, verifyRecord } from '#kel/record/verify';
import { type Organisation, sign, type TestKey, verifySignature } from './key-log.ts';
import { dt, salt, samples } from './record-samples.ts';

export interface RecordOptions<T extends RecordType> {
  readonly fields?: RecordFields[T];
  readonly aid?: Aid;
  readonly dt?: string;
  readonly salt?: Uint8Array;
  /** Makes it one of version 2. */
  readonly extensions?: Extensions<RecordExtensions[T]>;
  readonly prover?: PossessionProver;
  /** Instead of the current keys of the organisation. */
  readonly signedBy?: readonly TestKey[];
}

/** A record of `org` under its current establishment event. */
export function recordOf<T extends RecordType>(
  type: T,
  org: Organisation,
  options: RecordOptions<T> = {},
): Uint8Array {
  const { establishment, keys } = org.state;
  const { bytes } = buildRecord(type, {
    aid: options.aid ?? org.aid,
    salt: options.salt ?? salt,
    dt: options.dt ?? dt,
    fields: options.fields ?? samples[type],
    ...(options.extensions === undefined ? {} : { extensions: options.extensions }),
    ...(options.prover === undefined ? {} : { prover: options.prover }),
  });
  const signers = options.signedBy ?? org.keys(org.generation, keys.length);
  return encodeSignedRecord(bytes, [
    { aid: org.aid, ...establishment, signatures: sign(bytes, signers) },
  ]);
}

/** Knows the establishment events of these organisations, past ones included. */
export function verification(...orgs: readonly Organisation[]): RecordVerification {
  const states = new Map<string, KeyState>();
  for (const { steps } of orgs) {
    for (const { state } of steps) states.set(`${state.aid} ${state.sn} ${state.said}`, state);
  }
  return {
    verifySignature,
    async establishment(aid, sn, said) {
      const state = states.get(`${aid} ${sn} ${said}`);
      if (state === undefined || state.eventType === 'ixn') return undefined;
      return { aid, sn, said, keys: state.keys, signingThreshold: state.signingThreshold };
    },
  };
}

export function verified(
  message: Uint8Array,
  ...orgs: readonly Organisation[]
): Promise<Verified<AnyRecord>> {
  return verifyRecord(parseRecord(message), verification(...orgs));
}
