/** Old copies of a store, put back beside newer ones: every pair of moments, and what is signed before somebody has said which is right. */
import assert from 'node:assert/strict';
import { MemoryLevel } from 'memory-level';
import { describe, it } from 'mocha';
import type { LocalDrivers } from '#agent/organisation/drivers';
import {
  confirmOrganisation,
  createOrganisation,
  type Organisation,
  openOrganisation,
} from '#agent/organisation/organisation';
import { digestSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import { journalOf } from '#src/journal';
import type { KeyStore } from '#src/keystore/key-store';
import type { Database } from '#src/store/durable-table';
import { seededKeyStore } from '../../../support/doubles/seeded-key-store.ts';
import { SeededRng } from '../../../support/doubles/seeded-rng.ts';
import { MemoryLogFiles } from '../../../support/kit/audit-log.ts';
import { codeOf, suite } from '../../../support/kit/party.ts';
import { SimulatedClock } from '../../../support/simulation/simulated-clock.ts';

type Rows = readonly (readonly [string, Uint8Array])[];

/** One moment of a state directory. */
interface Moment {
  readonly rows: Rows;
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Own events and leaves so far: what somebody may have seen. */
  readonly sn: number;
  readonly leaves: number;
}

const view = { keyEncoding: 'utf8', valueEncoding: 'view' } as const;
const some = digestSeal(`E${'s'.repeat(43)}` as Said);

class Machine {
  readonly told: string[] = [];
  readonly #clock = new SimulatedClock();
  readonly #rng = new SeededRng('step back');
  readonly #keyStore: KeyStore;
  #level = new MemoryLevel<string, Uint8Array>({ valueEncoding: 'view', storeEncoding: 'view' });
  #files = new Map<string, Uint8Array>();

  constructor() {
    const keys = seededKeyStore(this.#rng.fork('keys'));
    this.#keyStore = { ...keys, close: async () => undefined };
  }

  drivers(): LocalDrivers {
    const journal = journalOf((_level, event) => this.told.push(event));
    return {
      clock: this.#clock,
      rng: this.#rng,
      suite,
      db: this.#level as unknown as Database,
      keyStore: this.#keyStore,
      logFiles: new MemoryLogFiles(this.#files),
      journal,
    };
  }

  async moment({ identity, provenance }: Organisation): Promise<Moment> {
    const rows: [string, Uint8Array][] = [];
    for await (const [key, value] of this.#level.iterator<string, Uint8Array>(view))
      rows.push([key, value.slice()]);
    return {
      rows,
      files: new Map(this.#files),
      ...{ sn: identity.state.sn, leaves: provenance.log.size },
    };
  }

  /** A fresh disk with the event store as at one moment and the audit log as at another. */
  async putBack(store: Moment, audit: Moment): Promise<void> {
    this.#level = new MemoryLevel({ valueEncoding: 'view', storeEncoding: 'view' });
    for (const [key, value] of store.rows) await this.#level.put(key, value.slice(), view);
    this.#files = new Map(audit.files);
    this.told.length = 0;
  }
}

/** An organisation at several moments of its life, each with one thing more than the one before. */
async function life(): Promise<{ machine: Machine; moments: readonly Moment[] }> {
  const machine = new Machine();
  const organisation = await createOrganisation(machine.drivers(), {
    algorithm: 'ed25519',
    kind: 'CBOR',
  });
  const { identity, keeper } = organisation;
  const moments = [await machine.moment(organisation)];
  const steps: readonly (() => Promise<unknown>)[] = [
    () => identity.anchor([some]),
    () => keeper.record('gap', { reason: 'one' }),
    () => keeper.anchor(),
    () => identity.anchor([]),
    () => keeper.record('gap', { reason: 'two' }),
    () => keeper.checkpoint(),
  ];
  for (const step of steps) {
    await step();
    moments.push(await machine.moment(organisation));
  }
  return { machine, moments };
}

/** Opens, makes an own event and a checkpoint, and says how far it came. */
async function live(open: () => Promise<Organisation>): Promise<string | undefined> {
  let organisation: Organisation;
  try {
    organisation = await open();
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
  const { identity, keeper } = organisation;
  const { said } = identity.state;
  const code = await codeOf(identity.anchor([]));
  if (code === undefined) assert.notEqual(identity.state.said, said);
  else assert.equal(identity.state.said, said);
  await keeper.checkpoint();
  return code;
}

describe('a store that was put back', () => {
  it('is noticed and named beside any newer one, and nothing is signed before the operator has confirmed: every pair of moments', async () => {
    const { machine, moments } = await life();
    for (const [i, store] of moments.entries())
      for (const [j, audit] of moments.entries()) {
        const where = `event store of moment ${i}, audit log of moment ${j}`;
        await machine.putBack(store, audit);
        const code = await live(() => openOrganisation(machine.drivers()));
        const isStoreOlder = store.sn < audit.sn || store.leaves < audit.leaves;
        const isAuditOlder = audit.leaves < store.leaves;
        const expected = isAuditOlder
          ? 'AUDIT_ROLLBACK'
          : isStoreOlder
            ? 'IDENTITY_AWAITS_CONFIRMATION'
            : undefined;
        assert.equal(code, expected, where);
        if (code === 'IDENTITY_AWAITS_CONFIRMATION')
          assert.ok(machine.told.includes('identity.stepped-back'), where);
        // Asked again it says so again: a start that was refused anything has changed nothing of that.
        if (code !== undefined) {
          assert.equal(await live(() => openOrganisation(machine.drivers())), code, where);
          const confirmed = async () => (await confirmOrganisation(machine.drivers())).organisation;
          assert.equal(await live(confirmed), undefined, where);
        }
        assert.equal(await live(() => openOrganisation(machine.drivers())), undefined, where);
      }
  });

  it('is confirmed by a leaf that says what was lost', async () => {
    const { machine, moments } = await life();
    const [first, last] = [moments[0], moments.at(-1)];
    assert.ok(first !== undefined && last !== undefined);
    await machine.putBack(last, first);
    const { organisation } = await confirmOrganisation(machine.drivers());
    const { provenance } = organisation;
    const leaf = Buffer.from(await provenance.log.leaf(provenance.log.size - 1)).toString('latin1');
    assert.ok(leaf.includes('gap'));
    assert.equal(provenance.log.size, first.leaves + 1);
  });

  it('is right again when a member brings the event that was made here', async () => {
    const { machine, moments } = await life();
    const [first, last] = [moments[0], moments.at(-1)];
    assert.ok(first !== undefined && last !== undefined);
    await machine.putBack(last, last);
    const newer = await openOrganisation(machine.drivers());
    const log = await newer.kel.export(newer.identity.aid);
    await machine.putBack(first, last);
    const older = await openOrganisation(machine.drivers());
    const { identity, kel } = older;
    assert.match(identity.stepBack ?? '', /was made here and is not in it/);
    // A member that holds nothing later is no word about an event that was made here.
    identity.compareWith(async () => true);
    assert.equal(await codeOf(identity.anchor([])), 'IDENTITY_AWAITS_CONFIRMATION');
    await kel.process(log);
    await identity.anchor([]);
    assert.equal(identity.stepBack, undefined);
    assert.equal(identity.state.sn, newer.identity.state.sn + 1);
  });

  it('raises no alarm after a crash at any write of an own event, a leaf or a checkpoint', async () => {
    for (let write = 0; write < 12; write++)
      for (const persisted of [0, 1]) {
        const machine = new Machine();
        const options = { algorithm: 'ed25519', kind: 'CBOR' } as const;
        const made = await createOrganisation(machine.drivers(), options);
        const moment = await machine.moment(made);
        const files = new Map(moment.files);
        const broken = {
          ...machine.drivers(),
          logFiles: new MemoryLogFiles(files, { write, persisted }),
        };
        const crashed = await openOrganisation(broken).catch(() => undefined);
        const acts: readonly (() => Promise<unknown> | undefined)[] = [
          () => crashed?.identity.anchor([some]),
          () => crashed?.keeper.record('gap', { reason: 'x' }),
          () => crashed?.keeper.anchor(),
          () => crashed?.identity.rotate(),
        ];
        for (const act of acts)
          await Promise.resolve()
            .then(act)
            .catch(() => undefined);
        const now = crashed === undefined ? moment : await machine.moment(crashed);
        await machine.putBack(now, { ...now, files });
        const where = `write ${write}, ${persisted}`;
        assert.equal(await live(() => openOrganisation(machine.drivers())), undefined, where);
        assert.ok(!machine.told.includes('identity.stepped-back'), where);
      }
  });
});
