/**
 * What follows the body of a record: one `-V` frame with one `-F` counter and its signature groups, each
 * AID, sequence number and SAID of the signer's establishment event, and `-A` indexed signatures.
 */
import { decodeCounter, encodeCounter } from '#kel/cesr/counter';
import {
  decodeIndexedSignature,
  encodeIndexedSignature,
  type IndexedSignature,
  type IndexedSignatureInput,
  indexedSignatureLength,
} from '#kel/cesr/indexer';
import { MATTER_HEAD_LENGTH, matterLength } from '#kel/cesr/matter';
import { decodeOrdinal, encodeOrdinal } from '#kel/cesr/number';
import type { Aid, Said } from '#kel/identifiers';
import { RecordError } from './errors.ts';
import { isAid, isSaid } from './qualified.ts';

/** The establishment event under which a party signs. */
export interface Signer {
  readonly aid: Aid;
  readonly sn: number;
  readonly said: Said;
}

export interface SignatureGroup<S = IndexedSignature> extends Signer {
  readonly signatures: readonly S[];
}

/** Two parties sign a tunnel proof, one everything else. */
const MAX_GROUPS = 2;
/** Signatures of one group. */
const MAX_SIGNATURES = 64;

/** @param groups in the order of the parties  @throws RangeError for a group without signatures */
export function encodeSignatureGroups(
  groups: readonly SignatureGroup<IndexedSignatureInput>[],
): string {
  const content = encodeCounter('F', groups.length) + groups.map(encodeGroup).join('');
  return encodeCounter('V', content.length / 4) + content;
}

/** @param text attacker-controlled  @throws RECORD_BAD_ATTACHMENT, KEL_BAD_CODE, KEL_BAD_VALUE */
export function parseSignatureGroups(text: string): readonly SignatureGroup[] {
  const reader = new TextReader(text);
  const quadlets = reader.counter('V', text.length / 4);
  if (quadlets * 4 !== reader.left) {
    throw refused(`a frame of ${quadlets * 4} characters`, `${reader.left}`);
  }
  const count = reader.counter('F', MAX_GROUPS);
  const groups: SignatureGroup[] = [];
  for (let left = count; left > 0; left--) groups.push(readGroup(reader));
  if (reader.left !== 0)
    throw refused('nothing behind the last group', `${reader.left} characters`);
  // One form per content: a big counter around a small count would be another.
  if (encodeSignatureGroups(groups.map(toInput)) !== text) {
    throw refused('counters and codes in their shortest form', 'a longer one');
  }
  return groups;
}

function encodeGroup({ aid, sn, said, signatures }: SignatureGroup<IndexedSignatureInput>): string {
  if (signatures.length < 1 || signatures.length > MAX_SIGNATURES) {
    throw new RangeError(`a group has 1 to ${MAX_SIGNATURES} signatures, got ${signatures.length}`);
  }
  const head = aid + encodeOrdinal(sn) + said + encodeCounter('A', signatures.length);
  return head + signatures.map(encodeIndexedSignature).join('');
}

function readGroup(reader: TextReader): SignatureGroup {
  const aid = reader.matter();
  const sn = decodeOrdinal(reader.matter());
  const said = reader.matter();
  if (!isAid(aid)) throw refused('the AID of a signer', aid);
  if (!isSaid(said)) throw refused('the SAID of an establishment event', said);
  const signatures: IndexedSignature[] = [];
  for (let left = reader.counter('A', MAX_SIGNATURES); left > 0; left--) {
    signatures.push(decodeIndexedSignature(reader.signature()));
  }
  return { aid, sn, said, signatures };
}

function toInput(group: SignatureGroup): SignatureGroup<IndexedSignatureInput> {
  const signatures = group.signatures.map(({ ondex, ...signature }) =>
    ondex === undefined ? signature : { ...signature, ondex },
  );
  return { ...group, signatures };
}

class TextReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get left(): number {
    return this.#text.length - this.#at;
  }

  counter(code: 'A' | 'F' | 'V', max: number): number {
    const counter = decodeCounter(this.#text.slice(this.#at, this.#at + 8));
    if (counter.code !== code || counter.count < 1 || counter.count > max) {
      throw refused(`-${code} with a count of 1 to ${max}`, `-${counter.code} ${counter.count}`);
    }
    this.#at += counter.length;
    return counter.count;
  }

  matter(): string {
    return this.#take(matterLength(this.#text.slice(this.#at, this.#at + MATTER_HEAD_LENGTH)));
  }

  signature(): string {
    return this.#take(indexedSignatureLength(this.#text.slice(this.#at, this.#at + 2)));
  }

  #take(length: number): string {
    if (length > this.left) throw refused(`${length} characters`, `${this.left}`);
    this.#at += length;
    return this.#text.slice(this.#at - length, this.#at);
  }
}

function refused(expected: string, got: string): RecordError {
  return new RecordError(
    'RECORD_BAD_ATTACHMENT',
    `signature groups: expected ${expected}, got ${got.slice(0, 64)}`,
  );
}
