/** Being a member: own tunnel keys sealed, device up, endpoints published, proofs answered. */

import { isDeepStrictEqual } from 'node:util';
import type { GatewayFields, NodeExtensions } from '#kel/record/extension';
import { capabilities } from '../../mesh/membership/capabilities.ts';
import { overlayAddress } from '../../mesh/membership/overlay-address.ts';
import type { OwnEndpoints } from '../../mesh/sync/own-endpoints.ts';
import type { Tunnels } from '../../tunnel/pairs/tunnels.ts';
import type { TunnelProofs } from '../../tunnel/proof/tunnel-proofs.ts';
import type { Organisation } from '../organisation.ts';
import type { OwnKeyRotations } from './own-key-rotations.ts';

export interface MeshPresenceDeps {
  readonly organisation: Organisation;
  readonly ownKeyRotations: OwnKeyRotations;
  readonly tunnels: Tunnels;
  readonly endpoints: OwnEndpoints;
  readonly proofs: TunnelProofs;
  /** What this node says of prefixes behind it. */
  readonly gateway: GatewayFields | undefined;
  readonly signal: AbortSignal;
}

export class MeshPresence {
  readonly #deps: MeshPresenceDeps;
  #entered: Promise<void> | undefined;

  constructor(deps: MeshPresenceDeps) {
    this.#deps = deps;
  }

  /** Entered, or about to. */
  get isEntered(): boolean {
    return this.#entered !== undefined;
  }

  /** Called again it brings the devices level. What fails can be tried again. */
  async enter(): Promise<void> {
    if (this.#entered !== undefined) {
      await this.#entered;
      await this.#deps.tunnels.reconcile();
      // Nothing to do in the same mesh; in another one the address is another.
      await this.#announceNode();
      await this.#deps.endpoints.current();
      return this.#deps.proofs.listen();
    }
    this.#entered = this.#enterOnce().catch((error: unknown) => {
      this.#entered = undefined;
      throw error;
    });
    return this.#entered;
  }

  async #enterOnce(): Promise<void> {
    await this.#deps.ownKeyRotations.ensure();
    await this.#announceNode();
    await this.#deps.tunnels.start(this.#deps.signal);
    await this.#deps.endpoints.current();
    await this.#deps.proofs.listen();
    for (const { aid, view } of await this.#deps.tunnels.status())
      if (view !== undefined) this.#deps.proofs.prove(aid);
  }

  async #announceNode(): Promise<void> {
    const { records, identity, issuer, membership } = this.#deps.organisation;
    const { gateway } = this.#deps;
    const { mesh, charter } = membership;
    const member = charter?.members.get(identity.aid);
    if (mesh === undefined || member === undefined) return;
    const address = overlayAddress(mesh, identity.aid);
    const last = records.latest('nod', identity.aid)?.record;
    const x: NodeExtensions | undefined =
      membership.recordVersion === 1
        ? undefined
        : { cap: capabilities, ...(gateway === undefined ? {} : { gw: gateway }) };
    if (
      last?.role === member.role &&
      last.region === member.region &&
      last.ov[0] === address &&
      isDeepStrictEqual(last.x, x)
    )
      return;
    await issuer.issueSealed([
      {
        type: 'nod',
        fields: {
          o: identity.aid,
          role: member.role,
          region: member.region,
          of: ['A'],
          rq: ['A'],
          ov: [address],
        },
        ...(x === undefined ? {} : { extensions: { x, cr: [] } }),
      },
    ]);
  }
}
