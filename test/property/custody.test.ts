import assert from 'node:assert/strict';
import fc from 'fast-check';
import { after, before, describe, it } from 'mocha';
import { encodeCard, parseCard } from '#agent/identity/custody/card';
import { encodeCustodian, parseCustodian } from '#agent/identity/custody/custodian-file';
import { proposeInception, proposeInteraction } from '#agent/identity/custody/draft';
import { parseEnclosure } from '#agent/identity/custody/enclosure';
import { CustodyError } from '#agent/identity/custody/errors';
import { explainProposal } from '#agent/identity/custody/explain';
import {
  encodeProposal,
  mergeProposals,
  type Proposal,
  parseProposal,
  withSignatures,
} from '#agent/identity/custody/proposal';
import { reviewProposal } from '#agent/identity/custody/review';
import type { Said } from '#kel/identifiers';
import { logAfter, Party } from '../support/kit/custodian-party.ts';

const THING = 'EBkPreYpZfFk66jpf3uFv7vklXKhzBrAqjsKAn2EDIPM' as Said;

const bytes = fc.uint8Array({ maxLength: 60 });
const signatures = fc
  .uniqueArray(fc.nat(63), { maxLength: 6 })
  .chain((indices) =>
    fc.tuple(
      ...indices
        .sort((a, b) => a - b)
        .map((index) =>
          fc
            .uint8Array({ minLength: 64, maxLength: 64 })
            .map((signature) => ({ index, signature })),
        ),
    ),
  );
const proposals: fc.Arbitrary<Proposal> = fc.record(
  {
    event: bytes,
    log: bytes,
    cards: fc.array(bytes, { maxLength: 4 }),
    enclosures: fc.array(bytes, { maxLength: 4 }),
    signatures,
  },
  { noNullPrototype: true },
);

/** Parsing gives the value or the one error; what it gives encodes to the same bytes. */
function isExact<T>(parse: (bytes: Uint8Array) => T, encode: (value: T) => Uint8Array) {
  return (input: Uint8Array): boolean => {
    let value: T;
    try {
      value = parse(input);
    } catch (error) {
      return error instanceof CustodyError;
    }
    return Buffer.from(encode(value)).equals(input);
  };
}

describe('custody files, whatever they hold', () => {
  let party: Party;
  let card: Uint8Array;
  let proposal: Uint8Array;

  before(async () => {
    party = await Party.of('alice', 'bob', 'carol');
    const cards = party.cards('alice', 'bob', 'carol');
    const draft = proposeInception(
      { cards, kind: 'CBOR', signingThreshold: '2' },
      party.verifySignature,
    );
    const log = logAfter(await party.sign(draft, 'alice', 'bob'));
    card = encodeCard(party.get('alice').card);
    const { custodian } = party.get('carol');
    const interaction = proposeInteraction(
      { log, cards, saids: [THING], enclosures: [] },
      party.verifySignature,
    );
    proposal = encodeProposal(await custodian.sign(interaction, { allowUnknownSeals: true }));
  });

  after(() => party[Symbol.asyncDispose]());

  it('proposals come back as they were, from the same bytes', () => {
    fc.assert(
      fc.property(proposals, (value) => {
        const encoded = encodeProposal(value);
        assert.deepEqual(parseProposal(encoded), value);
        assert.deepEqual(encodeProposal(parseProposal(encoded)), encoded);
      }),
    );
  });

  it('merging copies is independent of their order and number', () => {
    fc.assert(
      fc.property(proposals, fc.array(fc.array(fc.boolean()), { maxLength: 4 }), (value, picks) => {
        const copies = picks.map((pick) => ({
          ...value,
          signatures: value.signatures.filter((_, i) => pick[i] === true),
        }));
        const merged = mergeProposals([value, ...copies]);
        assert.deepEqual(merged, value);
        assert.deepEqual(mergeProposals([...copies, value]), value);
        assert.deepEqual(withSignatures(value, value.signatures), value);
      }),
    );
  });

  it('any bytes are refused by code, or encode to themselves', () => {
    const input = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      mutated(() => proposal),
      mutated(() => card),
    );
    const parsers = [
      isExact(parseProposal, encodeProposal),
      isExact((file) => parseCard(file, party.verifySignature), encodeCard),
      isExact(parseCustodian, encodeCustodian),
      (file: Uint8Array) => {
        try {
          parseEnclosure(file);
          return true;
        } catch (error) {
          return error instanceof CustodyError;
        }
      },
    ];
    fc.assert(
      fc.property(input, (file) => {
        for (const parser of parsers) assert.ok(parser(file));
      }),
      { numRuns: 400 },
    );
  });

  it('a changed byte anywhere in a proposal or a card is refused', () => {
    for (const [file, parse] of [
      [proposal, parseProposal],
      [card, (changed: Uint8Array) => parseCard(changed, party.verifySignature)],
    ] as const)
      for (let at = 0; at < file.length; at++) {
        const changed = Uint8Array.from(file);
        changed[at] = (changed[at] as number) ^ (1 << (at % 8));
        assert.throws(() => parse(changed), CustodyError, `byte ${at}`);
      }
  });

  it('a changed byte of the event, the log or a signature is refused under a digest made anew', () => {
    const value = parseProposal(proposal);
    fc.assert(
      fc.property(
        fc.constantFrom('event' as const, 'log' as const, 'cards' as const, 'signatures' as const),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (field, where, flip) => {
          const change = (text: Uint8Array) => {
            const changed = Uint8Array.from(text);
            changed[where % text.length] = (changed[where % text.length] as number) ^ flip;
            return changed;
          };
          const changed: Proposal =
            field === 'cards'
              ? { ...value, cards: value.cards.map(change) }
              : field === 'signatures'
                ? {
                    ...value,
                    signatures: value.signatures.map(({ index, signature }) => ({
                      index,
                      signature: change(signature),
                    })),
                  }
                : { ...value, [field]: change(value[field]) };
          const file = parseProposal(encodeProposal(changed));
          let review: ReturnType<typeof reviewProposal>;
          try {
            review = reviewProposal(file, party.verifySignature);
          } catch (error) {
            assert.ok(error instanceof CustodyError, String(error));
            return;
          }
          // A signature of the log that nobody needs may go: what is signed and said stays the same.
          assert.equal(field, 'log');
          const same = reviewProposal(value, party.verifySignature);
          assert.deepEqual(explainProposal(review, new Set()), explainProposal(same, new Set()));
        },
      ),
      { numRuns: 150 },
    );
  });
});

function mutated(base: () => Uint8Array): fc.Arbitrary<Uint8Array> {
  return fc.tuple(fc.nat(), fc.nat(255), fc.nat(3)).map(([at, value, how]) => {
    const file = Uint8Array.from(base());
    const place = at % file.length;
    if (how === 0) return file.slice(0, place);
    if (how === 1) return Uint8Array.from([...file, value]);
    file[place] = value;
    return file;
  });
}
