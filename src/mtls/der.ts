/** The little of DER (X.690) that names in certificates need: elements with one-byte tags and definite, shortest lengths. */
import { concatBytes } from '#src/bytes';
import { MtlsError } from './errors.ts';

export interface DerElement {
  readonly tag: number;
  /** A view. */
  readonly content: Uint8Array;
}

export const derTags = { boolean: 0x01, octetString: 0x04, oid: 0x06, sequence: 0x30 } as const;

const MAX_LENGTH_BYTES = 3;

/** @param bytes attacker-controlled; elements one after the other  @throws MTLS_BAD_CERTIFICATE */
export function readDer(bytes: Uint8Array): readonly DerElement[] {
  const elements: DerElement[] = [];
  let at = 0;
  while (at < bytes.length) {
    const { tag, start, end } = header(bytes, at);
    elements.push({ tag, content: bytes.subarray(start, end) });
    at = end;
  }
  return elements;
}

/** The children of the one element that `bytes` must be. @throws MTLS_BAD_CERTIFICATE */
export function readDerSequence(bytes: Uint8Array): readonly DerElement[] {
  const [element, ...more] = readDer(bytes);
  if (element?.tag !== derTags.sequence || more.length > 0)
    throw bad(`expected one sequence, got tag ${element?.tag}`);
  return readDer(element.content);
}

function header(bytes: Uint8Array, at: number) {
  const tag = bytes[at] as number;
  const first = bytes[at + 1];
  if (first === undefined || (tag & 0x1f) === 0x1f) throw bad(`element of tag ${tag}`);
  const count = first < 0x80 ? 0 : first & 0x7f;
  if (first === 0x80 || count > MAX_LENGTH_BYTES) throw bad(`length of ${count} bytes`);
  const start = at + 2 + count;
  let length = count === 0 ? first : 0;
  for (const byte of bytes.subarray(at + 2, start)) length = (length << 8) | byte;
  const isShortest = count === 0 || (length >= 0x80 && length >= 1 << (8 * (count - 1)));
  const end = start + length;
  if (!isShortest || end > bytes.length) throw bad(`length ${length} at ${at} of ${bytes.length}`);
  return { tag, start, end };
}

export function writeDer(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = concatBytes(...content);
  return concatBytes(Uint8Array.of(tag, ...lengthBytes(body.length)), body);
}

function lengthBytes(length: number): readonly number[] {
  if (length < 0x80) return [length];
  if (length < 0x100) return [0x81, length];
  return [0x82, length >> 8, length & 0xff];
}

function bad(reason: string): MtlsError {
  return new MtlsError('MTLS_BAD_CERTIFICATE', `certificate: its encoding is not DER: ${reason}`);
}
