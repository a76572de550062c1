/** Who is lent a relay, what of it is counted, and what a restart knows of it. */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { Lending } from '#agent/tunnel/relay/lending';
import type { Aid } from '#kel/identifiers';
import { createJournal } from '#src/journal';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import type { Relay, RelaySession, RelayTerms } from '#src/wireguard/relay-program';
import { FailingLevel } from '../../../../support/kit/failing-level.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const [SELF, ANNA, BERT, CARL] = ['EA', 'EB', 'EC', 'ED'].map((head) => head.padEnd(44, 'a')) as [
  Aid,
  Aid,
  Aid,
  Aid,
];
const DAY_MS = 86_400_000;
const refused = { code: 'REACH_REFUSED' };

/** What a relay has been told, and what it says to have forwarded. */
class Ledger implements Relay {
  readonly terms = new Map<string, RelayTerms>();
  readonly forwarded = new Map<string, number>();
  #nextPort = 51_824;

  async open(name: string, terms: RelayTerms): Promise<readonly [number, number]> {
    this.terms.set(name, terms);
    this.forwarded.set(name, 0);
    return [this.#nextPort++, this.#nextPort++];
  }

  async sessions(): Promise<readonly RelaySession[]> {
    return [...this.forwarded].map(([name, bytes]) => ({ name, ports: [1, 2], packets: 1, bytes }));
  }

  async close(name: string): Promise<void> {
    this.forwarded.delete(name);
  }

  async stop(): Promise<void> {
    this.forwarded.clear();
  }
}

describe('a relay that is lent', () => {
  let clock: SimulatedClock;
  let disk: FailingLevel;
  let relay: Ledger;
  let members: Set<Aid>;
  let hosts: readonly string[];

  const lender = async () =>
    new Lending(
      {
        relay,
        clock,
        journal: createJournal(clock, 'error', () => undefined),
        table: await StateTable.open(disk as unknown as Database, 'lent'),
        self: SELF,
        isMember: (aid) => members.has(aid),
        hosts: async () => hosts,
        hostOf: (aid) => (aid === ANNA ? '45.77.0.101' : undefined),
      },
      { dailyBytes: 1_000, bytesPerSecond: 100 },
    );

  beforeEach(() => {
    clock = new SimulatedClock();
    disk = new FailingLevel();
    relay = new Ledger();
    members = new Set([ANNA, BERT, CARL]);
    hosts = ['45.77.0.1'];
  });

  it('is one for both ends, whoever of them asks, with the addresses that are known', async () => {
    const lending = await lender();
    const { port, peerPort } = await lending.lend(ANNA, BERT);
    assert.deepEqual(
      [...relay.terms.values()].map(({ ends }) => ends),
      [['45.77.0.101', undefined]],
    );
    const other = await lending.lend(BERT, ANNA);
    assert.equal(relay.terms.size, 1);
    assert.deepEqual([port < peerPort, other.port > other.peerPort], [true, true]);
    assert.deepEqual(other.hosts, ['45.77.0.1']);
  });

  it('is for two other members, at a member with a public address', async () => {
    const lending = await lender();
    await assert.rejects(lending.lend(ANNA, ANNA), refused);
    await assert.rejects(lending.lend(ANNA, SELF), refused);
    members.delete(CARL);
    await assert.rejects(lending.lend(ANNA, CARL), refused);
    await assert.rejects(lending.lend(CARL, ANNA), refused);
    hosts = [];
    await assert.rejects(lending.lend(ANNA, BERT), refused);
    assert.equal(relay.terms.size, 0);
  });

  it('has a quota a day for each end, which a restart and another session go on with', async () => {
    const first = await lender();
    await first.lend(ANNA, BERT);
    const [name = ''] = relay.terms.keys();
    relay.forwarded.set(name, 600);
    const second = await lender();
    await second.lend(ANNA, CARL);
    assert.deepEqual([...second.usage()].toSorted(), [
      [ANNA, 600],
      [BERT, 600],
    ]);
    assert.equal([...relay.terms.values()].at(-1)?.quotaBytes, 400);
    relay.forwarded.set(name, 1_000);
    await assert.rejects(second.lend(BERT, CARL), refused);
    clock.stepWall(DAY_MS);
    await second.lend(BERT, CARL);
    assert.equal([...relay.terms.values()].at(-1)?.quotaBytes, 1_000);
  });

  it('ends for who is no member any more', async () => {
    const lending = await lender();
    await lending.lend(ANNA, BERT);
    await lending.lend(ANNA, CARL);
    members.delete(CARL);
    await lending.expel();
    assert.equal(relay.forwarded.size, 1);
  });
});
