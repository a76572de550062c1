/** What was found for each view of a pair: where its device sends, in place of the address that a record names. In memory. */
import type { Aid, Said } from '#kel/identifiers';
import type { UdpEndpoint } from '#src/wireguard/tunnel-driver';

/** SAIDs of the `tun` records of a view, named from this end. */
export interface KeyPairing {
  readonly own: Said;
  readonly peer: Said;
}

export interface DeviceWay {
  readonly endpoint: UdpEndpoint;
  /** Seconds; undefined: as configured. */
  readonly keepalive: number | undefined;
  /** Who relays; undefined: nobody. */
  readonly relay: Aid | undefined;
  /** The endpoint is written again where the device has roamed back to a former one. */
  readonly insists: boolean;
}

export class DeviceWays {
  readonly #ways = new Map<
    string,
    { readonly aid: Aid; readonly keys: KeyPairing; way: DeviceWay }
  >();

  of(aid: Aid, keys: KeyPairing): DeviceWay | undefined {
    return this.#ways.get(nameOf(aid, keys))?.way;
  }

  set(aid: Aid, { own, peer }: KeyPairing, way: DeviceWay): void {
    this.#ways.set(nameOf(aid, { own, peer }), { aid, keys: { own, peer }, way });
  }

  /** From now on the device may roam. */
  relent(aid: Aid, keys: KeyPairing): void {
    const held = this.#ways.get(nameOf(aid, keys));
    if (held?.way.insists === true) held.way = { ...held.way, insists: false };
  }

  /** Forgets what stands nowhere any more. */
  keep(isPlaced: (aid: Aid, keys: KeyPairing) => boolean): void {
    for (const [name, { aid, keys }] of this.#ways)
      if (!isPlaced(aid, keys)) this.#ways.delete(name);
  }

  relayed(): readonly { readonly aid: Aid; readonly keys: KeyPairing }[] {
    return [...this.#ways.values()].filter(({ way }) => way.relay !== undefined);
  }
}

function nameOf(aid: Aid, { own, peer }: KeyPairing): string {
  return `${aid} ${own} ${peer}`;
}
