/** A witness asked for everything that the keys of one log can sign, in any order, over expiry, restarts and failing writes. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { Witness } from '#agent/identity/witness/witness';
import type { BuiltEvent } from '#kel/event/built-event';
import { buildInception } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { keyDigest } from '#kel/event/key-digest';
import { parseKeyEvent } from '#kel/event/parse';
import { buildRotation } from '#kel/event/rotation';
import { digestSeal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { Aid, Said } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import { concatBytes } from '#src/bytes';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { ed25519, sign, testKey, witnessKey } from '../support/kit/key-log.ts';
import { createParty, type Disk, openParty } from '../support/kit/party.ts';
import { openStore } from '../support/kit/store-kit.ts';

/** Two more witnesses, which sign whatever is shown to them: all three are needed. */
const careless = [witnessKey('careless one'), witnessKey('careless two')] as const;

interface Candidate {
  readonly name: string;
  readonly said: Said;
  readonly sn: number;
  readonly type: string;
  /** Said of the establishment event that it follows, with interactions between or not. */
  readonly under: string;
  /** With the receipts of the careless witnesses. */
  readonly message: Uint8Array;
}

/** Every event that a controller with two faces can sign within a few places, by the witness `aid` too. */
function candidates(name: string, aid: Aid): readonly Candidate[] {
  const made: Candidate[] = [];
  const key = (generation: number) => testKey(`${name}/${generation}`);
  const witnesses = [aid, ...careless.map((each) => each.aid)];
  const add = (label: string, event: BuiltEvent, generation: number, under: string): Said => {
    const witnessSignatures = careless.map(({ seed }, i) => ({
      index: i + 1,
      raw: ed25519.sign(event.bytes, seed),
    }));
    const message = encodeSignedEvent(event.bytes, sign(event.bytes, [key(generation)]), {
      witnessSignatures,
    });
    const { type } = parseKeyEvent(event.bytes);
    made.push({ name: label, said: event.said, sn: event.sn, type, under, message });
    return event.said;
  };
  const inception = buildInception({
    keys: [key(0).key],
    nextDigests: [keyDigest(key(1).key)],
    witnesses,
    witnessThreshold: 3,
  });
  const first = {
    aid: inception.aid,
    sn: 0,
    said: add('icp', inception, 0, 'none'),
    kind: 'JSON',
    witnesses,
    witnessThreshold: 3,
    delegator: undefined,
    // One key each time, as the first event has it.
    keys: [key(0).key],
    signingThreshold: '1',
    nextDigests: [keyDigest(key(1).key)],
    nextThreshold: '1',
  } as unknown as KeyState;
  /** Two of each kind after `prior`. @returns the states after the first interaction and after both rotations */
  const step = (prior: KeyState, label: string, generation: number, under: string) => {
    const after = (event: BuiltEvent) => ({ ...prior, sn: event.sn, said: event.said }) as KeyState;
    const [ixn] = [1, 2].map((n) => {
      const event = buildInteraction({ prior, anchors: n === 1 ? [] : [digestSeal(prior.said)] });
      add(`${label}i${n}`, event, generation, under);
      return after(event);
    });
    const rotations = [1, 2].map((n) => {
      const event = buildRotation({
        prior,
        keys: [key(generation + 1).key],
        nextDigests: [keyDigest(key(generation + 2).key)],
        anchors: n === 1 ? [] : [digestSeal(prior.said)],
      });
      add(`${label}r${n}`, event, generation + 1, under);
      return after(event);
    });
    return { ixn: ixn as KeyState, rotations: rotations as [KeyState, KeyState] };
  };
  const one = step(first, '1', 0, first.said);
  const two = step(one.ixn, '2', 0, first.said);
  step(two.ixn, '3', 0, first.said);
  for (const [n, rotated] of [one.rotations[0], two.rotations[0]].entries())
    step(rotated, `${'ab'[n]}`, 1, rotated.said);
  return made;
}

async function witnessOn(disk: Disk): Promise<{ witness: Witness; kel: Party['kel'] }> {
  const { kel, clock } = await openParty(disk);
  const table = await StateTable.open(disk.db as unknown as Database, 'witness');
  const witness = await Witness.open({
    keyStore: disk.keyStore,
    kel,
    table,
    clock,
    journal: { warn: () => undefined },
    algorithm: 'ed25519',
    isMember: () => true,
  });
  return { witness, kel };
}
type Party = Awaited<ReturnType<typeof openParty>>;

/** `tell`: the witness learns that what it receipted is final. */
type Act =
  | { readonly kind: 'ask' | 'tell'; readonly index: number }
  | { readonly kind: 'expire' | 'restart' }
  | { readonly kind: 'fail'; readonly at: number; readonly how: 'lost' | 'persisted' };

const act = (count: number): fc.Arbitrary<Act> => {
  // What comes early in the log makes all that follows possible.
  const index = fc.oneof(fc.nat(8), fc.nat(count - 1));
  return fc.oneof(
    { weight: 12, arbitrary: fc.record({ kind: fc.constant('ask' as const), index }) },
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('tell' as const), index }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('expire', 'restart') }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('fail' as const),
        at: fc.integer({ min: 1, max: 3 }),
        how: fc.constantFrom('lost', 'persisted'),
      }),
    },
  );
};

/** Two hours: longer than anything waits in the event store. */
const EXPIRY_MS = 7_200_000;

/** @returns the receipted events, each with its receipt, in order */
async function run(name: string, acts: readonly Act[]) {
  const { disk } = await createParty(name);
  let { witness, kel } = await witnessOn(disk);
  const events = candidates(name, witness.aid);
  const receipts = new Map<Said, Uint8Array>();
  const first = events[0] as Candidate;
  const all: readonly Act[] = [{ kind: 'ask', index: 0 }, { kind: 'tell', index: 0 }, ...acts];
  for (const each of all) {
    switch (each.kind) {
      case 'expire':
        await disk.clock.advance(EXPIRY_MS);
        break;
      case 'restart':
        ({ witness, kel } = await witnessOn(disk));
        break;
      case 'fail':
        disk.db.failAt(each.at, each.how);
        break;
      case 'tell': {
        const { said, message } = events[each.index] ?? first;
        const receipt = receipts.get(said);
        if (receipt !== undefined)
          await kel.process(concatBytes(message, receipt)).catch(() => undefined);
        break;
      }
      case 'ask': {
        const { said, message } = events[each.index] ?? first;
        const answer = await witness.receipt(message).catch(() => undefined);
        disk.db.heal();
        if (answer?.kind === 'receipted') receipts.set(said, answer.receipt);
      }
    }
  }
  disk.db.heal();
  // What was receipted stays receipted: the same is asked again, after a restart.
  ({ witness, kel } = await witnessOn(disk));
  const again = new Map<Said, string>();
  for (const { said, message } of events) {
    if (!receipts.has(said)) continue;
    const answer = await witness.receipt(message);
    if (answer.kind === 'refused') again.set(said, answer.code);
  }
  return { events, receipts, again };
}

/** What somebody holds who gets `messages` in this order, until nothing more follows. */
async function verifier(messages: readonly Uint8Array[], aid: Aid) {
  const { store } = await openStore();
  for (let round = 0; round < 4; round++)
    for (const message of messages) await store.process(message);
  return { head: store.state(aid)?.said, forks: store.duplicityCases().length };
}

describe('a witness, asked for everything in any order, over expiry, restarts and failing writes', () => {
  const count = candidates('count', witnessKey('count').aid).length;

  it('receipts one rotation after an establishment event and one interaction at a place, so no verifier sees a fork', async () => {
    let receipted = 0;
    let supersessions = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(act(count), { minLength: 6, maxLength: 60 }),
        fc.infiniteStream(fc.nat(1_000_000)),
        async (acts, order) => {
          const { events, receipts, again } = await run('any order', acts);
          const given = events.filter(({ said }) => receipts.has(said));
          receipted += given.length;
          const places = new Map<string, string>();
          for (const { name, sn, type, under } of given) {
            const place = type === 'ixn' ? `${under} ${sn}` : under;
            assert.equal(places.get(place), undefined, `${places.get(place)} and ${name}`);
            places.set(place, name);
          }
          for (const sn of [0, 1, 2, 3, 4]) {
            const rotations = given.filter((event) => event.sn === sn && event.type === 'rot');
            assert.ok(rotations.length <= 1, `two rotations ${sn}`);
          }
          for (const [said, code] of again)
            assert.notEqual(code, 'WITNESS_SECOND_EVENT', `${said} is refused the second time`);
          const aid = parseAid(events);
          const messages = given.map(({ said, message }) =>
            concatBytes(message, receipts.get(said) as Uint8Array),
          );
          const shuffled = messages
            .map((message) => ({ message, key: order.next().value as number }))
            .sort((a, b) => a.key - b.key)
            .map(({ message }) => message);
          const seen = await verifier(messages, aid);
          assert.equal(seen.forks, 0);
          assert.deepEqual(await verifier(shuffled, aid), seen);
          if (given.some((a) => given.some((b) => a.sn === b.sn && a.type !== b.type)))
            supersessions += 1;
        },
      ),
      { numRuns: process.env['SLOW'] === undefined ? 150 : 3_000 },
    );
    assert.ok(
      receipted > 300 && supersessions > 0,
      `the property saw ${receipted} receipts, ${supersessions} supersessions`,
    );
  }).timeout(600_000);
});

function parseAid([first]: readonly Candidate[]): Aid {
  return (first as Candidate).said as string as Aid;
}
