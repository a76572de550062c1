/** Whose event a gossiped message is, read before any signature is checked. */
import { parseStream } from '#kel/cesr/stream';
import { parseKeyEvent } from '#kel/event/parse';
import type { Aid } from '#kel/identifiers';

/** Undefined unless `message` is exactly one well-formed key event. @param message attacker-controlled, bounded by the caller */
export function issuerOf(message: Uint8Array): Aid | undefined {
  try {
    const items = [...parseStream(message)];
    const [item] = items;
    if (items.length !== 1 || item?.type !== 'message') return undefined;
    return parseKeyEvent(item.body).aid;
  } catch {
    return undefined;
  }
}
