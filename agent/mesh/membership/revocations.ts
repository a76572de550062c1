/**
 * Which key epochs and nodes are out, as the sealed `rvk` records say by whoever may say it: an organisation of its own
 * epochs and of the nodes that it delegated. What the governors say of organisations is the charter's affair.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { RvkRecord, Verified } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import type { KelStore } from '#kel/store/kel-store';
import type { RecordIntake } from '../../identity/records/record-intake.ts';

type Revocation = Verified<RvkRecord>;

export interface RevocationsDeps {
  readonly records: Pick<RecordStore, 'get' | 'list'>;
  readonly kel: Pick<KelStore, 'state' | 'subscribe'>;
  readonly intake: Pick<RecordIntake, 'subscribe'>;
}

export class Revocations {
  readonly #deps: RevocationsDeps;
  readonly #listeners = new Set<() => void>();
  /** By `who`; nothing is believed yet of who may have said it. */
  #byWho: ReadonlyMap<string, readonly Revocation[]> = new Map();

  constructor(deps: RevocationsDeps) {
    this.#deps = deps;
    this.#read();
    deps.intake.subscribe((record) => {
      if (record.t === 'rvk') this.#refresh();
    });
    // The log may come after the revocation: only then is it known who delegated the node.
    deps.kel.subscribe(({ aid }) => {
      if (this.#named('node', aid).length > 0) this.#tell();
    });
  }

  /** Called after a revocation has arrived, or the log that it waited for. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #refresh(): void {
    this.#read();
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  /** @param tunnelKey SAID of a `tun` record */
  ofEpoch(tunnelKey: Said): Revocation | undefined {
    const named = this.#named('epoch', tunnelKey);
    if (named.length === 0) return undefined;
    const record = this.#deps.records.get(tunnelKey)?.record;
    if (record?.t !== 'tun') return undefined;
    return named.find(({ i }) => i === record.i || i === this.#delegatorOf(record.i));
  }

  ofNode(aid: Aid): Revocation | undefined {
    const named = this.#named('node', aid);
    const delegator = named.length === 0 ? undefined : this.#delegatorOf(aid);
    return named.find(({ i }) => i === delegator);
  }

  /** Every node that is out. */
  ofNodes(): ReadonlyMap<Aid, Revocation> {
    const nodes = new Map<Aid, Revocation>();
    for (const who of this.#byWho.keys()) {
      const revocation = this.ofNode(who as Aid);
      if (revocation !== undefined) nodes.set(who as Aid, revocation);
    }
    return nodes;
  }

  #named(kind: RvkRecord['k'], who: string): readonly Revocation[] {
    return (this.#byWho.get(who) ?? []).filter(({ k }) => k === kind);
  }

  #delegatorOf(aid: Aid): Aid | undefined {
    return this.#deps.kel.state(aid)?.delegator;
  }

  #read(): void {
    const byWho = new Map<string, Revocation[]>();
    for (const { record } of this.#deps.records.list('rvk'))
      byWho.set(record.who, [...(byWho.get(record.who) ?? []), record]);
    this.#byWho = byWho;
  }
}
