/** What a body can hold. Maps keep the order of their fields, which plain objects do not for every key. */
export type BodyValue =
  | string
  | number
  /** Integers beyond 2^53 − 1 only. */
  | bigint
  | boolean
  | null
  | readonly BodyValue[]
  | BodyMap;

export type BodyMap = ReadonlyMap<string, BodyValue>;

export const MAX_BODY_DEPTH = 32;

export function isBodyMap(value: BodyValue | undefined): value is BodyMap {
  return value instanceof Map;
}

export function isBodyList(value: BodyValue | undefined): value is readonly BodyValue[] {
  return Array.isArray(value);
}
