/**
 * Which network peer speaks for which AID: bound by a signed `end` record that the sync protocol verified.
 * In memory only: each connection proves it again.
 */
import type { Aid } from '#kel/identifiers';
import type { PeerKey } from '../../network/network.ts';

export class PeerDirectory {
  readonly #byAid = new Map<Aid, PeerKey>();
  readonly #byPeer = new Map<PeerKey, Aid>();

  bind(peer: PeerKey, aid: Aid): void {
    // One peer, one AID, both ways: what either of the two was bound to before is not bound any more.
    const former = this.#byAid.get(aid);
    if (former !== undefined) this.#byPeer.delete(former);
    this.unbind(peer);
    this.#byAid.set(aid, peer);
    this.#byPeer.set(peer, aid);
  }

  unbind(peer: PeerKey): void {
    const aid = this.#byPeer.get(peer);
    if (aid !== undefined) this.#byAid.delete(aid);
    this.#byPeer.delete(peer);
  }

  aidOf(peer: PeerKey): Aid | undefined {
    return this.#byPeer.get(peer);
  }

  peerOf(aid: Aid): PeerKey | undefined {
    return this.#byAid.get(aid);
  }

  bound(): readonly PeerKey[] {
    return [...this.#byPeer.keys()];
  }
}
