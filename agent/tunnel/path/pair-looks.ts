/** How both ends of a tunnel stand, each as it says of itself: to tell why no packets pass. */
import type { Aid } from '#kel/identifiers';
import { Allowance } from '#src/allowance';
import type { Clock } from '#src/clock';
import type { Membership } from '../../mesh/membership/membership.ts';
import { askPeer, type ExchangeDeps, refusal, serveExchange } from '../../network/exchange.ts';
import type { EpochKeys } from '../pairs/epoch-keys.ts';
import type { PairAgreements } from '../pairs/pair-agreements.ts';
import type { Tunnels } from '../pairs/tunnels.ts';
import type { Views } from '../pairs/views.ts';
import type { Echoes } from './echoes.ts';
import { PathError } from './errors.ts';
import {
  type EndLook,
  expectLookRequest,
  lookAnswer,
  lookManners,
  lookRequest,
  parseLookAnswer,
} from './look-messages.ts';
import { type EndSeen, type Signature, signatureOf } from './signature.ts';

/** Looks that one member may ask for. */
const LOOKS = { burst: 16, perSecond: 1 / 2 };
/** WireGuard tries a handshake every 5 s, and a third of a second more. */
const WATCH_MS = 6_500;

export interface PairLooksDeps extends ExchangeDeps {
  readonly clock: Clock;
  readonly membership: Pick<Membership, 'standing'>;
  readonly views: Pick<Views, 'newest'>;
  readonly tunnels: Pick<Tunnels, 'standing'>;
  readonly agreements: Pick<PairAgreements, 'agreed'>;
  readonly epochKeys: Pick<EpochKeys, 'epochOf'>;
  readonly echoes: Pick<Echoes, 'reaches'>;
}

export class PairLooks {
  readonly #deps: PairLooksDeps;
  readonly #asked: Allowance<Aid>;

  constructor(deps: PairLooksDeps) {
    this.#deps = deps;
    this.#asked = new Allowance(deps.clock, LOOKS);
  }

  /** Answers members from now on. */
  start(): void {
    const { directory, membership } = this.#deps;
    serveExchange(this.#deps, lookManners, async (bytes, peer) => {
      expectLookRequest(bytes);
      const aid = directory.aidOf(peer);
      if (aid === undefined || membership.standing.other(aid) === undefined)
        return refusal(new PathError('PATH_REFUSED', 'not a member'), 'PATH_REFUSED');
      if (!this.#asked.take(aid))
        return refusal(new PathError('PATH_REFUSED', 'too often'), 'PATH_REFUSED');
      return lookAnswer(await this.#look(aid));
    });
  }

  /** Why no packets pass to each of these, watched for some seconds; those of which it cannot be told are left out. */
  async watch(aids: readonly Aid[], signal: AbortSignal): Promise<ReadonlyMap<Aid, Signature>> {
    const { clock, echoes } = this.#deps;
    const before = await Promise.all(aids.map((aid) => this.#both(aid)));
    // They give the devices something to count, too.
    const reached = Promise.all(aids.map((aid) => echoes.reaches(aid)));
    await clock.sleep(WATCH_MS, signal);
    const after = await Promise.all(aids.map((aid) => this.#both(aid)));
    const answers = await reached;
    const found = new Map<Aid, Signature>();
    for (const [at, aid] of aids.entries()) {
      const [first, last] = [before[at], after[at]];
      if (first === undefined || last === undefined) continue;
      const here = endSeen(first.here, last.here);
      const there =
        first.there === undefined || last.there === undefined
          ? undefined
          : endSeen(first.there, last.there);
      const signature = signatureOf(here, there, answers[at]);
      if (signature !== undefined) found.set(aid, signature);
    }
    return found;
  }

  async #both(aid: Aid) {
    const asked = askPeer(this.#deps, lookManners, aid, lookRequest).then(parseLookAnswer);
    const [here, there] = await Promise.all([
      this.#look(aid),
      // An older version, or one that is not connected: then this end alone is looked at.
      asked.catch(() => undefined),
    ]);
    return { here, there };
  }

  async #look(aid: Aid): Promise<EndLook> {
    const { views, tunnels, agreements, epochKeys, clock } = this.#deps;
    const newest = views.newest(aid);
    const standing = await tunnels.standing(aid);
    const { view, peer } = standing ?? {};
    const agreed = view && agreements.agreed(aid, view);
    return {
      own: newest?.own,
      peer: newest?.peer,
      view:
        view === undefined || peer === undefined
          ? undefined
          : {
              agreement: agreed?.th,
              // A chain that is gone has none.
              epoch: agreed === undefined ? 0 : await epochKeys.epochOf(aid, view).catch(() => 0),
              received: Number(peer.rxBytes),
              sent: Number(peer.txBytes),
              handshakeAge:
                peer.lastHandshake === 0
                  ? undefined
                  : Math.max(0, Math.round((clock.now() - peer.lastHandshake) / 1_000)),
              hasEndpoint: peer.endpoint !== undefined,
            },
    };
  }
}

function endSeen(before: EndLook, { own, peer, view }: EndLook): EndSeen {
  const since = (now: number, then: number | undefined) => now - Math.min(now, then ?? now);
  return {
    own,
    peer,
    presharedKey: view && `${view.agreement?.toHex() ?? ''} ${view.epoch}`,
    counted: view && {
      handshakeAge: view.handshakeAge === undefined ? undefined : view.handshakeAge * 1_000,
      rx: since(view.received, before.view?.received),
      tx: since(view.sent, before.view?.sent),
      hasEndpoint: view.hasEndpoint,
    },
  };
}
