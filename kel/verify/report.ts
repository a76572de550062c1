/** Key states, and the result of verification, as `--json` prints them. */
import type { KeyState, SerializationKind, ThresholdForm } from '#kel/key-state/key-state';
import type { LeftOut, LogResult } from './log-verifier.ts';

export interface AidReport {
  readonly aid: string;
  readonly sn: number;
  readonly said: string;
  /** Serialization of the latest event. */
  readonly kind: SerializationKind;
  readonly keys: readonly string[];
  readonly nextDigests: readonly string[];
  readonly signingThreshold: ThresholdForm;
  readonly nextThreshold: ThresholdForm;
  readonly witnesses: readonly string[];
  readonly witnessThreshold: number;
  readonly delegator: string | null;
}

export interface KeyStateReport extends AidReport {
  readonly establishment: { readonly sn: number; readonly said: string };
}

export interface LeftOutReport {
  readonly code: string;
  readonly reason: string;
  readonly aid: string | null;
  readonly sn: number | null;
  readonly said: string | null;
  readonly offset: number;
  readonly file: string | null;
}

export interface LogReport {
  readonly aids: readonly AidReport[];
  readonly refused: readonly LeftOutReport[];
  readonly waiting: readonly LeftOutReport[];
  /** How many of each kind a bound left out of the lists above. */
  readonly dropped: LogResult['dropped'];
}

/** Plain data, in the order of the result. */
export function reportOf({ aids, refused, waiting, dropped }: LogResult): LogReport {
  return {
    aids: aids.map(aidReport),
    refused: refused.map(leftOutReport),
    waiting: waiting.map(leftOutReport),
    dropped,
  };
}

/** Of one's own AID: also which event set the keys in force. */
export function keyStateReport(state: KeyState): KeyStateReport {
  const { sn, said } = state.establishment;
  return { ...aidReport(state), establishment: { sn, said } };
}

function aidReport(state: KeyState): AidReport {
  return {
    aid: state.aid,
    sn: state.sn,
    said: state.said,
    kind: state.kind,
    keys: state.keys,
    nextDigests: state.nextDigests,
    signingThreshold: state.signingThreshold,
    nextThreshold: state.nextThreshold,
    witnesses: state.witnesses,
    witnessThreshold: state.witnessThreshold,
    delegator: state.delegator ?? null,
  };
}

function leftOutReport({ code, reason, aid, sn, said, offset, file }: LeftOut): LeftOutReport {
  return {
    code,
    reason,
    aid: aid ?? null,
    sn: sn ?? null,
    said: said ?? null,
    offset,
    file: file ?? null,
  };
}
