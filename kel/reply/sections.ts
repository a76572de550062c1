/** Cuts a stream between messages: key events with their receipts, replies, and queries go different ways. */
import { parseBody } from '#kel/cesr/body';
import { parseStream, type StreamItem } from '#kel/cesr/stream';
import { KelError } from '#kel/errors';

export interface Section {
  readonly kind: 'events' | 'replies' | 'queries';
  /** Of the first byte, in the stream. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** @param pieceBytes a section that is longer is cut at the next message  @returns sections that joined are `stream` */
export function* sectionsOf(stream: Uint8Array, pieceBytes: number): Generator<Section> {
  let kind: Section['kind'] = 'events';
  let offset = 0;
  for (const item of parseStream(stream)) {
    const next = kindOf(item);
    const isLong = item.type === 'message' && item.offset - offset >= pieceBytes;
    if (next === kind && !isLong) continue;
    if (item.offset > offset) yield { kind, offset, bytes: stream.subarray(offset, item.offset) };
    kind = next;
    offset = item.offset;
  }
  yield { kind, offset, bytes: stream.subarray(offset) };
}

/** Bytes in which version string and type stand, in every serialization. */
const HEAD_LENGTH = 40;

function kindOf(item: StreamItem): Section['kind'] {
  if (item.type === 'fault' || item.version.protocol !== 'KERI') return 'events';
  // Long logs pass here, so that a body is parsed only where it may be one of the two.
  const head = Buffer.from(item.body.subarray(0, HEAD_LENGTH)).toString('latin1');
  if (!head.includes('rpy') && !head.includes('qry')) return 'events';
  try {
    const type = parseBody(item.body, 'KERI', item.version).fields.get('t');
    return type === 'rpy' ? 'replies' : type === 'qry' ? 'queries' : 'events';
  } catch (error) {
    if (error instanceof KelError) return 'events';
    throw error;
  }
}
