/** Whose connections stay once their handshake is done: asks the door after each new one, and ends those that are too many. */
import type { Door, Guest } from './door.ts';
import { sourceIn } from './host-of.ts';
import type { Libp2pConnection, Libp2pNode } from './libp2p-node.ts';
import type { PeerKey } from './network.ts';
import { addressText } from './peer-key.ts';

export function watchGuests(node: Libp2pNode, door: Door): void {
  /** Not by their time: a clock may jump. */
  const order = new WeakMap<Libp2pConnection, number>();
  let opened = 0;
  node.addEventListener('connection:open', ({ detail }) => {
    opened += 1;
    order.set(detail, opened);
    // The node's own list has it once all listeners were told.
    queueMicrotask(() => {
      const open = node.getConnections().filter(({ status }) => status === 'open');
      const guests = new Map(open.map((one) => [guestOf(one, order.get(one) ?? 0), one]));
      for (const guest of door.tooMany([...guests.keys()]))
        guests.get(guest)?.abort(new Error('too many connections of strangers, or of one peer'));
    });
  });
}

function guestOf(connection: Libp2pConnection, since: number): Guest {
  return {
    peer: connection.remotePeer.toString() as PeerKey,
    host: sourceIn(addressText(connection.remoteAddr)),
    isInbound: connection.direction === 'inbound',
    since,
  };
}
