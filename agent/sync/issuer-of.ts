/** Whose event a gossiped message is, read before any signature is checked. */
import { parseBody } from '#kel/cesr/body';
import { parseStream } from '#kel/cesr/stream';
import { keyEventOf, receiptedEvent } from '#kel/event/parse';
import type { Aid } from '#kel/identifiers';

/** Undefined unless `message` is exactly one well-formed key event or receipt of one. @param message attacker-controlled, bounded by the caller */
export function issuerOf(message: Uint8Array): Aid | undefined {
  try {
    const items = [...parseStream(message)];
    const [item] = items;
    if (items.length !== 1 || item?.type !== 'message') return undefined;
    const body = parseBody(item.body, 'KERI');
    return body.fields.get('t') === 'rct'
      ? receiptedEvent(body).aid
      : keyEventOf(body, item.body).aid;
  } catch {
    return undefined;
  }
}
