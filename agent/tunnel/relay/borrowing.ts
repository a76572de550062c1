/** Asks members for a relay to another one: whoever is connected without a relay itself, those with a public address first. */
import type { Aid } from '#kel/identifiers';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import { scopeOf } from '#src/net/address-scope';
import { converse } from '../../network/conversation.ts';
import type { Network, PeerKey } from '../../network/network.ts';
import { directHosts } from '../reach/observation.ts';
import type { Loan } from '../reach/search.ts';
import { hear, reachManners, say } from '../reach/session.ts';

/** Members that are asked one after the other. */
const MAX_ASKED = 4;

export interface BorrowingDeps {
  readonly network: Pick<Network, 'open' | 'handle' | 'addressesOf'>;
  readonly directory: {
    aidOf(peer: PeerKey): Aid | undefined;
    bound(): readonly PeerKey[];
  };
  readonly clock: Clock;
  readonly journal: Journal;
}

/** @returns undefined where nobody lends one */
export async function borrowRelay(deps: BorrowingDeps, aid: Aid): Promise<Loan | undefined> {
  const { network, directory, journal } = deps;
  const isPublic = (host: string | undefined) => host !== undefined && scopeOf(host) === 'public';
  const lenders = directory
    .bound()
    .map((peer) => ({ peer, relay: directory.aidOf(peer), host: directHosts(network, peer)[0] }))
    .filter(({ relay, host }) => host !== undefined && relay !== aid)
    .sort((a, b) => Number(isPublic(b.host)) - Number(isPublic(a.host)))
    .slice(0, MAX_ASKED);
  for (const { peer, relay } of lenders) {
    if (relay === undefined) continue;
    try {
      return await converse(deps, reachManners, peer, async (conversation) => {
        await say(conversation, { kind: 'lend', to: aid });
        const { port, peerPort, hosts } = await hear(conversation, 'lent');
        return { relay, port, peerPort, hosts };
      });
    } catch (error) {
      journal.failed('relay.not-lent', error, { aid: relay }, 'debug');
    }
  }
  return undefined;
}
