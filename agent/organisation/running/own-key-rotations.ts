/** What follows when own keys change: new tunnel keys are sealed, the audit log tells of them, the peers hear. */
import type { Said } from '#kel/identifiers';
import type { TunRecord } from '#kel/record/record';
import { sha256 } from '#src/crypto/hash';
import { SerialQueue } from '#src/serial-queue';
import type { StateTable } from '#src/store/state-table';
import type { Draft } from '../../identity/records/record-issuer.ts';
import type { OwnEndpoints } from '../../mesh/sync/own-endpoints.ts';
import type { Sync } from '../../mesh/sync/sync.ts';
import type { OwnTunnelKeys } from '../../tunnel/pairs/own-tunnel-keys.ts';
import type { Tunnels } from '../../tunnel/pairs/tunnels.ts';
import { type Organisation, recordOwnEvents } from '../organisation.ts';

export interface OwnKeyRotationsDeps {
  readonly organisation: Organisation;
  readonly ownKeys: OwnTunnelKeys;
  readonly tunnels: Tunnels;
  readonly endpoints: OwnEndpoints;
  readonly sync: Sync;
  /** Which establishment event was followed last. */
  readonly progress: StateTable;
}

export class OwnKeyRotations {
  readonly #deps: OwnKeyRotationsDeps;
  readonly #changing = new SerialQueue();

  constructor(deps: OwnKeyRotationsDeps) {
    this.#deps = deps;
  }

  /** The newest establishment event of the own log has been followed. */
  get isLevel(): boolean {
    const { progress, organisation } = this.#deps;
    return progress.get('establishment') === organisation.identity.state.establishment.said;
  }

  /** Tunnel keys under the newest event of the own log, sealed, and none that is revoked. */
  async ensure(): Promise<void> {
    const { records, identity } = this.#deps.organisation;
    const before = records.list('tun', identity.aid).at(-1)?.record.d;
    const { record } = await this.#deps.ownKeys.ensureCurrent();
    if (record.d !== before) await this.#recordTunnelKey(record.d);
    await this.replaceRevoked();
  }

  /** Whoever delegated this node may revoke its keys: then the next ones follow at once. */
  async replaceRevoked(): Promise<void> {
    const { records, identity, revocations } = this.#deps.organisation;
    const newest = records.list('tun', identity.aid).at(-1)?.record.d;
    if (newest === undefined || revocations.ofEpoch(newest) === undefined) return;
    const { record } = await this.#deps.ownKeys.renew();
    await this.#recordTunnelKey(record.d);
  }

  /** The next key epoch under the same event of the log, with what `beside` seals in that event. */
  async renew(beside: readonly Draft[]): Promise<TunRecord> {
    const { record } = await this.#deps.ownKeys.renew(beside);
    await this.#recordTunnelKey(record.d);
    await this.#tunnelKeysChanged();
    this.#deps.sync.push();
    return record;
  }

  /** After a rotation, whoever noticed it first: its second call finds nothing to do. */
  follow(): Promise<void> {
    return this.#changing.run(() => this.#follow());
  }

  async #follow(): Promise<void> {
    const { identity, keeper, membership } = this.#deps.organisation;
    await recordOwnEvents(identity, keeper, this.#deps.progress);
    if (membership.isIn) {
      await this.ensure();
      await this.#tunnelKeysChanged();
    }
    this.#deps.sync.push();
  }

  async #tunnelKeysChanged(): Promise<void> {
    await this.#deps.tunnels.reconcile();
    await this.#deps.endpoints.current();
    this.#deps.tunnels.pokeAll();
  }

  async #recordTunnelKey(said: Said): Promise<void> {
    const { records, keeper } = this.#deps.organisation;
    const message = records.get(said)?.message;
    if (message !== undefined)
      await keeper.record('tunnel-key', { record: said, digest: sha256(message) });
  }
}
