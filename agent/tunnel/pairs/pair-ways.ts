/** The views of the pairs as whoever looks for ways between devices sees them: where each stands, whether it lives, how it is changed. */
import type { Aid } from '#kel/identifiers';
import type { Clock } from '#src/clock';
import type { KeyPairing } from '../reach/device-ways.ts';
import type { SeenTunnel } from '../reach/messages.ts';
import type { OwnDevicePlace } from '../reach/observation.ts';
import type { ViewLife } from '../reach/search.ts';
import type { Devices } from './devices.ts';
import type { Reconciler } from './reconciler.ts';
import { type PlacedView, sameView, type TunnelView } from './view.ts';

/** A session is renewed after 120 s: one that is older has not been renewed (WireGuard whitepaper 6.1). */
const RENEWED_MS = 150_000;

/** What is to be known of a pair with an active view. */
interface ActiveLook {
  readonly aid: Aid;
  readonly view: PlacedView | undefined;
  /** Milliseconds; undefined: there was none. */
  readonly handshakeAge: number | undefined;
  /** How long nothing has come although it was asked; undefined: it is alive. */
  readonly silentMs: number | undefined;
}

export interface PairWaysDeps {
  readonly reconciler: Reconciler;
  readonly devices: Devices;
  readonly clock: Clock;
  readonly status: () => Promise<readonly ActiveLook[]>;
  /** Who relays the view; undefined: nobody. */
  readonly relayOf: (aid: Aid, view: TunnelView) => Aid | undefined;
  /** Whether nothing comes on the active view although it was asked. */
  readonly isSilent: (aid: Aid) => boolean;
}

export class PairWays {
  readonly #deps: PairWaysDeps;

  constructor(deps: PairWaysDeps) {
    this.#deps = deps;
  }

  /** The own device on which the view stands; undefined: on none. */
  placeOf(aid: Aid, keys: KeyPairing): OwnDevicePlace | undefined {
    const view = this.#placed(aid, keys);
    return view && this.#deps.devices.at(view.slot);
  }

  async lifeOf(aid: Aid, keys: KeyPairing): Promise<ViewLife> {
    const { reconciler, clock, isSilent } = this.#deps;
    const view = this.#placed(aid, keys);
    const { lastHandshake = 0 } = (view && (await reconciler.peerState(view))) ?? {};
    const isActive = sameView(reconciler.pairs.get(aid)?.active, keys);
    const hasSession = lastHandshake > clock.now() - RENEWED_MS;
    return { lastHandshake, isAlive: hasSession && !(isActive && isSilent(aid)) };
  }

  /** Active views without a session, or on which nothing comes although it was asked. */
  async faint(): Promise<readonly { readonly aid: Aid; readonly keys: KeyPairing }[]> {
    // All of them at once: a device is read as a whole.
    const { status } = this.#deps;
    return (await status()).flatMap(({ aid, view, handshakeAge = RENEWED_MS, silentMs }) =>
      view !== undefined && (handshakeAge >= RENEWED_MS || silentMs !== undefined)
        ? [{ aid, keys: view }]
        : [],
    );
  }

  /** Under which endpoints the own devices see the tunnels of `aid`. */
  async tunnelsWith(aid: Aid): Promise<readonly SeenTunnel[]> {
    const { reconciler } = this.#deps;
    const seen: SeenTunnel[] = [];
    for (const view of reconciler.pairs.get(aid)?.placed() ?? []) {
      const { endpoint, lastHandshake = 0 } = (await reconciler.peerState(view)) ?? {};
      // One that was never heard from there is only what this end was told; what comes over a relay shows the relay.
      const isRelayed = this.#deps.relayOf(aid, view) !== undefined;
      if (endpoint !== undefined && lastHandshake > 0 && !isRelayed)
        seen.push({ tunnelKey: view.peer, from: endpoint });
    }
    return seen;
  }

  /** Writes what was found. @param begins with a handshake at once */
  async apply(aid: Aid, keys: KeyPairing, begins: boolean): Promise<void> {
    const view = this.#placed(aid, keys);
    if (view === undefined) return;
    const { reconciler } = this.#deps;
    await (begins ? reconciler.beginAnew(view) : reconciler.reconcileSlot(view.slot));
  }

  #placed(aid: Aid, keys: KeyPairing): PlacedView | undefined {
    return this.#deps.reconciler.pairs
      .get(aid)
      ?.placed()
      .find((view) => sameView(view, keys));
  }
}
