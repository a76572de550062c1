/** Seals: what an event's `a` list commits to. A list may hold other data too; that is carried and not read. */
import { type BodyMap, type BodyValue, isBodyMap } from '#kel/cesr/body-value';
import type { Aid, Said } from '#kel/identifiers';

/** Any value that an event anchors; the builders below make the ones with a meaning. */
export type Seal = BodyMap;

/** SAID of a record or other data: `{d}`. */
export function digestSeal(said: Said): Seal {
  return new Map<string, BodyValue>([['d', said]]);
}

/** Root of a Merkle tree: `{rd}`. @param root qualified digest */
export function rootSeal(root: string): Seal {
  return new Map<string, BodyValue>([['rd', root]]);
}

/** An event of any AID: `{i, s, d}`. Delegators approve with it. */
export function eventSeal(event: {
  readonly aid: Aid;
  readonly sn: number;
  readonly said: Said;
}): Seal {
  return new Map<string, BodyValue>([
    ['i', event.aid],
    ['s', event.sn.toString(16)],
    ['d', event.said],
  ]);
}

/** The last establishment event of an AID, whichever it is: `{i}`. */
export function lastEventSeal(aid: Aid): Seal {
  return new Map<string, BodyValue>([['i', aid]]);
}

/** An event of the AID that the context names: `{s, d}`. */
export function sourceSeal(event: { readonly sn: number; readonly said: Said }): Seal {
  return new Map<string, BodyValue>([
    ['s', event.sn.toString(16)],
    ['d', event.said],
  ]);
}

/** Metadata of a backer or registrar: `{bi, d}`. */
export function backerSeal(backer: Aid, said: Said): Seal {
  return new Map<string, BodyValue>([
    ['bi', backer],
    ['d', said],
  ]);
}

/** The SAID of a digest seal; undefined for anything that is not exactly `{d}`. */
export function sealedDigest(value: BodyValue): string | undefined {
  if (!isBodyMap(value) || value.size !== 1) return undefined;
  const said = value.get('d');
  return typeof said === 'string' ? said : undefined;
}

export interface SealedEvent {
  readonly aid: string;
  /** As written: canonical hex or not. */
  readonly sn: string;
  readonly said: string;
}

/** The event of an event seal; undefined unless the map has exactly `i`, `s`, `d` in this order. */
export function sealedEvent(value: BodyValue): SealedEvent | undefined {
  if (!isBodyMap(value) || value.size !== 3) return undefined;
  const [i, s, d] = value;
  if (i?.[0] !== 'i' || s?.[0] !== 's' || d?.[0] !== 'd') return undefined;
  const [aid, sn, said] = [i[1], s[1], d[1]];
  if (typeof aid !== 'string' || typeof sn !== 'string' || typeof said !== 'string')
    return undefined;
  return { aid, sn, said };
}
