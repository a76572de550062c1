/** Own events that others must confirm: witnesses are asked, the delegator is, and what waited is finished when they have. */

import { SerialQueue } from '#src/serial-queue';
import { ticks } from '#src/ticks';
import { takeApproval } from '../../identity/node/approval.ts';
import { bringRequest } from '../../identity/node/node-service.ts';
import { requestStream } from '../../identity/node/request.ts';
import type { OwnWitnesses } from '../../identity/witness/own-witnesses.ts';
import type { Gossip } from '../../mesh/sync/gossip.ts';
import type { PeerDirectory } from '../../mesh/sync/peer-directory.ts';
import type { Network } from '../../network/network.ts';
import type { Organisation } from '../organisation.ts';
import type { Background } from './background.ts';
import type { MeshPresence } from './mesh-presence.ts';
import type { OwnKeyRotations } from './own-key-rotations.ts';

/** An own event that waits for receipts is tried again this often, and witnesses that were away are asked again. */
const CONFIRM_MS = 5_000;

export interface OwnEventConfirmationDeps {
  readonly organisation: Organisation;
  readonly network: Network;
  readonly directory: PeerDirectory;
  readonly witnesses: OwnWitnesses;
  readonly gossip: Gossip;
  readonly ownKeyRotations: OwnKeyRotations;
  readonly presence: MeshPresence;
  readonly background: Background;
  readonly signal: AbortSignal;
}

export class OwnEventConfirmation {
  readonly #deps: OwnEventConfirmationDeps;
  readonly #confirming = new SerialQueue();

  constructor(deps: OwnEventConfirmationDeps) {
    this.#deps = deps;
  }

  /** From now on own events are brought to their witnesses. */
  start(): void {
    const { organisation, witnesses, gossip, background } = this.#deps;
    const { identity } = organisation;
    identity.confirmWith({
      expectReachable: (aids, threshold) => witnesses.expectReachable(aids, threshold),
      recall: (aids) => witnesses.recall(aids),
      collect: (event, aids, take) =>
        witnesses.collect(event, aids, async (receipt) => {
          const isLate = identity.pending?.said !== event.said;
          const isEnough = await take(receipt);
          if (isLate) background.run(gossip.publish(receipt));
          return isEnough;
        }),
    });
  }

  /** Until the agent stops. */
  async run(): Promise<void> {
    const { organisation, background, signal } = this.#deps;
    const { clock } = organisation.drivers;
    const failed = (error: unknown) => background.failed(error);
    await ticks({ clock, signal, pauseMs: () => CONFIRM_MS, failed }, () => this.confirm());
  }

  /** Finishes what waited, and brings witnesses level that were away. */
  confirm(): Promise<void> {
    return this.#confirming.run(() => this.#confirmOnce());
  }

  async #confirmOnce(): Promise<void> {
    const { organisation, ownKeyRotations, presence, witnesses, gossip, background } = this.#deps;
    const { identity, issuer, membership } = organisation;
    if (identity.pending !== undefined && !(await identity.resume())) {
      await this.#askDelegator();
      return;
    }
    await issuer.settle();
    if (!ownKeyRotations.isLevel) await ownKeyRotations.follow();
    if (membership.isIn && !presence.isEntered)
      await presence.enter().catch((error: unknown) => background.deferIfAwaiting(error));
    await witnesses.catchUp(identity.state, async (receipt) => {
      if (await identity.takeReceipt(receipt)) await gossip.publish(receipt);
    });
  }

  /** A rotation of a node waits for its organisation: it is brought there as long as it does. */
  async #askDelegator(): Promise<void> {
    const { organisation, network, directory } = this.#deps;
    const { identity, kel, membership, drivers } = organisation;
    const { pending, state } = identity;
    const peer = state.delegator === undefined ? undefined : directory.peerOf(state.delegator);
    if (pending?.type !== 'drt' || peer === undefined) return;
    const name = membership.charter?.members.get(identity.aid)?.name ?? 'node';
    const request = await requestStream(kel, pending);
    const answer = await bringRequest(network, drivers.clock, peer, name, request);
    if (answer.kind === 'refused')
      drivers.journal.warn('node.refused', { code: answer.code, reason: answer.reason });
    if (answer.kind !== 'approved') return;
    await takeApproval(kel, pending, answer.stream);
  }
}
