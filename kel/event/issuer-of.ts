/** Whose event a gossiped message is, read before any signature is checked. */
import { parseBody } from '#kel/cesr/body';
import { parseStream } from '#kel/cesr/stream';
import { claimedAid } from '#kel/event/parse';
import type { Aid } from '#kel/identifiers';

/**
 * Undefined unless `message` is exactly one message with the body of a key event or receipt. Nothing of the event is
 * computed or checked: whoever is no member pays for no more than the reading of its name. @param message attacker-controlled, bounded by the caller */
export function issuerOf(message: Uint8Array): Aid | undefined {
  try {
    const items = [...parseStream(message)];
    const [item] = items;
    if (items.length !== 1 || item?.type !== 'message') return undefined;
    return claimedAid(parseBody(item.body, 'KERI', item.version));
  } catch {
    return undefined;
  }
}
