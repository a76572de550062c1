/**
 * Where KERI verifiers disagree or are too lenient: each row with what KERIpy does and with our verdict. Rows marked
 * "behaviour" are KERIpy's that an independent verifier should not copy; the others are messages to refuse or to take.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { BodyValue } from '#kel/cesr/body-value';
import { encodeCounter } from '#kel/cesr/counter';
import { encodeDateTime } from '#kel/cesr/date-time';
import { encodeOrdinal } from '#kel/cesr/number';
import type { BuiltEvent } from '#kel/event/built-event';
import { buildInception } from '#kel/event/inception';
import { keyDigest } from '#kel/event/key-digest';
import { digestSeal, eventSeal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { concatBytes, utf8 } from '#src/bytes';
import { judges } from '../../../support/kit/judges.ts';
import {
  bare,
  changedBody,
  couple,
  delegation,
  inception,
  inceptionWithFields,
  interaction,
  interactionWithNumber,
  key,
  next,
  rotation,
  signed,
  started,
  withField,
  witness,
} from '../../../support/kit/keri-rows.ts';
import { ed25519, Organisation, sign, testKey, witnessKey } from '../../../support/kit/key-log.ts';

type Messages = readonly Uint8Array[];

interface Row {
  readonly row: string;
  readonly keripy: string;
  /** Each alternative of the row is a stream of its own. */
  readonly streams: () => readonly Messages[];
  /** Sequence number that the AID under test reaches; undefined when no event of it is accepted. */
  readonly sn?: number;
  readonly refused?: readonly string[];
  readonly waiting?: readonly string[];
}

/** Behind a plain inception of one key. */
const behind = (make: (org: Organisation) => Messages): Messages => {
  const org = started();
  return [org.stream, ...make(org)];
};

const ROWS: readonly Row[] = [
  {
    row: 'JSON body with spaces after separators (SAID and size computed over them)',
    keripy: 'drop',
    streams: () => [
      [
        changedBody('JSON', (body) => {
          const spaced = body.toString().replaceAll(',', ', ');
          const size = spaced.length.toString(16).padStart(6, '0');
          return utf8(spaced.replace(/JSON[0-9a-f]{6}/, `JSON${size}`));
        }),
      ],
    ],
    refused: ['KEL_BAD_BODY'],
  },
  {
    row: 'two fields swapped (bt, b); extra field; missing c',
    keripy: 'drop',
    streams: () => [
      [
        inceptionWithFields((fields) => {
          const [bt, b] = [fields[8], fields[9]] as [(typeof fields)[0], (typeof fields)[0]];
          return fields.with(8, b).with(9, bt);
        }),
      ],
      [inceptionWithFields((fields) => [...fields, ['x', '']])],
      [inceptionWithFields((fields) => fields.filter(([label]) => label !== 'c'))],
    ],
    refused: ['KEL_BAD_SCHEMA'],
  },
  {
    row: 'icp s "00"',
    keripy: 'accepted',
    streams: () => [[inception({ s: '00' })]],
    refused: ['KEL_BAD_VALUE'],
  },
  {
    row: 'ixn s "01", "0x1", integer 1',
    keripy: 'accepted',
    streams: () =>
      ['01', '0x1', 1].map((s) => behind((org) => [interactionWithNumber(org, s as BodyValue)])),
    sn: 0,
    refused: ['KEL_BAD_VALUE'],
  },
  {
    row: 'size field one too large (swallows the first attachment character)',
    keripy: 'drop',
    streams: () => {
      const text = Buffer.from(inception()).toString('latin1');
      const size = Number.parseInt(text.slice(16, 22), 16) + 1;
      const larger = `JSON${size.toString(16).padStart(6, '0')}`;
      return [[Buffer.from(text.replace(/JSON[0-9a-f]{6}/, larger), 'latin1')]];
    },
    refused: ['KEL_BAD_STREAM'],
  },
  {
    row: 'CBOR with 16-bit map head',
    keripy: 'drop',
    streams: () => [
      [changedBody('CBOR', (body) => concatBytes(Uint8Array.of(0xb9, 0, 13), body.subarray(1)))],
    ],
    refused: ['KEL_BAD_VERSION'],
  },
  {
    row: 'CBOR with a duplicate key',
    keripy: 'drop',
    // The label `a` becomes a second `c`.
    streams: () => [
      [changedBody('CBOR', (body) => body.fill('c', body.length - 2, body.length - 1))],
    ],
    refused: ['KEL_BAD_BODY'],
  },
  {
    row: 'same icp twice',
    keripy: 'state unchanged, signatures merged',
    streams: () => [[inception(), inception()]],
    sn: 0,
  },
  {
    row: 'two different icp for one basic D AID',
    keripy: 'first stays, second in LDE',
    streams: () => [
      [next, testKey('other')].map((committed) =>
        signed(
          buildInception({
            keys: [key.key],
            nextDigests: [keyDigest(committed.key)],
            isBasic: true,
          }),
        ),
      ),
    ],
    sn: 0,
    refused: ['KEL_DUPLICITOUS'],
  },
  {
    row: 'nt "2" for one digest; kt "2" for one key',
    keripy: 'drop',
    streams: () => [[inception({ nt: '2' })], [inception({ kt: '2' })]],
    refused: ['KEL_BAD_THRESHOLD'],
  },
  {
    row: 'kt "0"',
    keripy: 'PSE for ever',
    streams: () => [[inception({ kt: '0' })]],
    refused: ['KEL_BAD_THRESHOLD'],
  },
  {
    row: 'nt "0" with one digest',
    keripy: 'accepted, can never rotate',
    streams: () => [[inception({ nt: '0' })]],
    refused: ['KEL_BAD_THRESHOLD'],
  },
  {
    row: 'kt "1.0"; weights summing below 1',
    keripy: 'drop',
    streams: () => [[inception({ kt: '1.0' })], [inception({ kt: ['1/2'] })]],
    refused: ['KEL_BAD_THRESHOLD'],
  },
  {
    row: 'unknown trait',
    keripy: 'accepted',
    streams: () => [[inception({ c: ['XYZ'] })]],
    sn: 0,
  },
  {
    row: 'toad 1 without witnesses; toad 2 of 1; toad 0 with witnesses; duplicate witness',
    keripy: 'drop',
    streams: () => [
      [inception({ bt: '1' })],
      [inception({ bt: '2', b: [witness.aid] })],
      [inception({ bt: '0', b: [witness.aid] })],
      [inception({ bt: '1', b: [witness.aid, witness.aid] })],
    ],
    refused: ['KEL_BAD_WITNESSES'],
  },
  {
    row: 'rot whose own signature is fine but the key was never committed',
    keripy: 'PSE',
    streams: () => {
      const stranger = testKey('stranger');
      return [behind((org) => [signed(rotation(org, { keys: [stranger.key] }), [stranger])])];
    },
    sn: 0,
    waiting: ['KEL_AWAITS_NEXT_KEYS'],
  },
  {
    row: 'rot signed only with a B-code signature',
    keripy: 'PSE (no ondex)',
    streams: () => [
      behind((org) => {
        const { bytes } = rotation(org);
        const signatures = sign(bytes, [next]).map((one) => ({ ...one, currentOnly: true }));
        return [encodeSignedEvent(bytes, signatures)];
      }),
    ],
    sn: 0,
    waiting: ['KEL_AWAITS_NEXT_KEYS'],
  },
  {
    row: 'rot with keys in another order than committed, A codes',
    keripy: 'PSE',
    streams: () => [reordered(false)],
    sn: 0,
    waiting: ['KEL_AWAITS_NEXT_KEYS'],
  },
  {
    row: 'same with 2A codes carrying the right ondex',
    keripy: 'accepted',
    streams: () => [reordered(true)],
    sn: 1,
  },
  {
    row: 'rot with wrong p',
    keripy: 'drop',
    streams: () => [
      behind((org) => [
        signed(rotation(org, { after: { sn: 0, said: keyDigest(key.key) as never } }), [next]),
      ]),
    ],
    sn: 0,
    refused: ['KEL_BAD_PRIOR'],
  },
  {
    row: 'ixn on an EO identifier',
    keripy: 'drop',
    streams: () => {
      const org = started({ configTraits: ['EO'] });
      return [[org.stream, signed(interaction(org.state))]];
    },
    sn: 0,
    refused: ['KEL_ESTABLISHMENT_ONLY'],
  },
  {
    row: 'ixn after abandonment',
    keripy: 'drop',
    streams: () => {
      const org = started();
      org.rotate({ nextCount: 0 });
      return [[org.stream, signed(interaction(org.state), [next])]];
    },
    sn: 1,
    refused: ['KEL_NOT_TRANSFERABLE'],
  },
  {
    row: 'ixn after a basic B icp',
    keripy: 'drop',
    streams: () => {
      const icp = buildInception({ keys: [witness.key], nextDigests: [], isBasic: true });
      const after = interaction({ ...started().state, ...icp });
      return [[signed(icp, [witness]), signed(after, [witness])]];
    },
    sn: 0,
    refused: ['KEL_NOT_TRANSFERABLE'],
  },
  {
    row: 'rot at sn 1 over ixn 1 and 2',
    keripy: 'supersedes, state sn 1',
    streams: () => {
      const org = started();
      org.anchor();
      org.anchor();
      const recovered = org.fork(1);
      return [[org.stream, recovered.rotate().message]];
    },
    sn: 1,
  },
  {
    row: 'rot over rot at one sn; ixn over ixn',
    keripy: 'LDE, first stays (main: nothing stored)',
    streams: () => {
      const [rotated, interacted] = [started(), started()];
      const other = rotated.fork(1);
      rotated.rotate();
      interacted.anchor();
      return [
        [rotated.stream, other.rotate({ anchors: [digestSeal(other.state.said)] }).message],
        [interacted.stream, other.fork(1).anchor([digestSeal(other.aid as never)]).message],
      ];
    },
    sn: 1,
    refused: ['KEL_DUPLICITOUS'],
  },
  {
    row: 'ixn at sn 2 when sn 1 is missing',
    keripy: 'OOE',
    streams: () => {
      const org = started();
      const first = org.stream;
      org.anchor();
      return [[first, org.anchor().message]];
    },
    sn: 0,
    waiting: ['KEL_AWAITS_PRIOR'],
  },
  {
    row: 'cut of a non-witness; add of an existing witness',
    keripy: 'drop',
    streams: () => {
      const org = started(
        { witnesses: [witness.aid], witnessThreshold: 1 },
        { witnesses: [witness] },
      );
      const changes = [
        { witnessCuts: [witnessKey('x').aid], witnessThreshold: 1 },
        { witnessAdds: [witness.aid], witnessThreshold: 1 },
      ];
      return changes.map((change) => [org.stream, signed(rotation(org, change), [next])]);
    },
    sn: 0,
    refused: ['KEL_BAD_WITNESSES'],
  },
  {
    row: 'same AID in cut and add',
    keripy: 'drop',
    streams: () => {
      const org = started(
        { witnesses: [witness.aid], witnessThreshold: 1 },
        { witnesses: [witness] },
      );
      const both = [witnessKey('x').aid];
      const rot = rotation(org, { witnessAdds: both });
      return [[org.stream, signed(withField(rot, 'br', both), [next])]];
    },
    sn: 0,
    refused: ['KEL_BAD_WITNESSES'],
  },
  {
    row: 'witness couple -C on the event, toad 1',
    keripy: 'PWE, never completes',
    streams: () => [couples()],
    sn: 0,
  },
  {
    row: 'one valid signature plus one with index 9',
    keripy: 'dropped (main: accepted)',
    streams: () => [
      twoSignatures((raw) => [
        { index: 9, raw },
        { index: 0, raw },
      ]),
    ],
    sn: 0,
  },
  {
    row: 'one valid signature plus one invalid',
    keripy: 'accepted',
    streams: () => [
      twoSignatures((raw) => [
        { index: 0, raw: new Uint8Array(64) },
        { index: 0, raw },
      ]),
    ],
    sn: 0,
  },
  {
    row: '2-of-2 with one key, A code and B code; with 2A and another ondex',
    keripy: 'accepted everywhere',
    streams: () => [
      twoOfTwo((raw) => [
        { index: 0, raw },
        { index: 0, raw, currentOnly: true },
      ]),
      twoOfTwo((raw) => [
        { index: 0, raw },
        { index: 0, ondex: 1, raw },
      ]),
    ],
    waiting: ['KEL_AWAITS_SIGNATURES'],
  },
  {
    row: '2-of-2 with one signature',
    keripy: 'PSE',
    streams: () => [twoOfTwo((raw) => [{ index: 0, raw }])],
    waiting: ['KEL_AWAITS_SIGNATURES'],
  },
  {
    row: 'dip with -G, delegator event present',
    keripy: 'accepted',
    streams: () => [delegated(({ log, coupled }) => [log, coupled])],
    sn: 0,
  },
  {
    row: "dip without -G, seal exists in the delegator's log",
    keripy: 'waits; accepted on the next escrow pass',
    streams: () => [delegated(({ log, plain }) => [log, plain])],
    sn: 0,
  },
  {
    row: "dip with -G before the delegator's event arrives",
    keripy: 'waits; accepted on a pass after it arrived',
    streams: () => [delegated(({ log, coupled }) => [coupled, log])],
    sn: 0,
  },
  {
    row: 'delegator seal as {d}, other key order, extra key, s "00"',
    keripy: 'drop',
    streams: () => {
      const { parent, dip, seal } = delegation();
      const [i, s, d] = seal;
      const forms = [[d], [d, i, s], [i, s, d, ['x', '']], [i, ['s', '00'], d]];
      return forms.map((form) => {
        const log = parent.fork(1);
        log.anchor([new Map(form as [string, BodyValue][])]);
        return [log.stream, signed(dip)];
      });
    },
    waiting: ['KEL_AWAITS_DELEGATOR'],
  },
  {
    row: 'delegator with DND',
    keripy: 'drop',
    streams: () => {
      const strict = new Organisation('strict');
      strict.incept({ configTraits: ['DND'] });
      const dip = buildInception({ keys: [key.key], nextDigests: [], delegator: strict.aid });
      strict.anchor([eventSeal(dip)]);
      return [[strict.stream, signed(dip)]];
    },
    refused: ['KEL_BAD_DELEGATION'],
  },
  {
    row: 'drt over the latest ixn',
    keripy: 'accepted',
    streams: () => [delegatedRotation(1)],
    sn: 1,
  },
  {
    row: 'drt over drt with a later delegating event',
    keripy: 'rejected',
    streams: () => [delegatedTwice()],
    sn: 1,
  },
  {
    row: 'behaviour a: one witness reaches a toad of two by several codes',
    keripy: 'accepted',
    streams: () => [witnessedTwiceByOne()],
    waiting: ['KEL_AWAITS_WITNESSES'],
  },
  {
    row: 'behaviour b: duplicate keys in k, each counts',
    keripy: 'accepted',
    streams: () => [[inception({ kt: '2', k: [key.key, key.key] })]],
    refused: ['KEL_BAD_KEYS'],
  },
  {
    row: 'behaviour c: a signature with an index outside the list drops the event',
    keripy: 'drop',
    streams: () => [
      twoSignatures((raw) => [
        { index: 0, raw },
        { index: 1, raw },
      ]),
    ],
    sn: 0,
  },
  {
    row: 'behaviour d: transferable D witness',
    keripy: 'accepted with -B signatures',
    streams: () => [[inception({ bt: '1', b: [testKey('w').key] })]],
    refused: ['KEL_BAD_WITNESSES'],
  },
  {
    row: 'behaviour e: -C couples attached to an event',
    keripy: 'not counted',
    streams: () => [couples()],
    sn: 0,
  },
  {
    row: 'behaviour f: conflicts with unverified signatures are kept as duplicity',
    keripy: 'LDE',
    streams: () => {
      const org = started();
      const forged = interaction(org.state, [digestSeal(org.state.said)]);
      org.anchor();
      return [[org.stream, signed(forged, [testKey('forger')])]];
    },
    sn: 1,
    refused: ['KEL_CONFLICT_UNVERIFIED'],
  },
  {
    row: 'behaviour f2: a real conflict vanishes',
    keripy: 'main: raises and vanishes',
    streams: () => {
      const org = started();
      const other = org.fork(1);
      org.anchor();
      return [[org.stream, other.anchor([digestSeal(org.state.said)]).message]];
    },
    sn: 1,
    refused: ['KEL_DUPLICITOUS'],
  },
  {
    row: 'behaviour g: drt at sn 1 over ixn 1 and 2',
    keripy: 'rejected',
    streams: () => [delegatedRotation(2)],
    sn: 1,
  },
  {
    row: 'behaviour h: what comes out of order loses its attachments',
    keripy: 'delegation couple and first-seen couple lost',
    streams: () => [
      delegated(({ log, coupled }) => [coupled, coupled, log]),
      // Everything but the inception comes first, with its only receipt as a couple.
      outOfOrderWitnessed(),
    ],
    sn: 0,
  },
  {
    row: 'behaviour i: a delegated event without a couple is skipped in a replay',
    keripy: 'skipped silently',
    streams: () => [delegated(({ log, plain }) => [log, plain])],
    sn: 0,
  },
  {
    row: 'behaviour j: first-seen couples of others',
    keripy: 'used in cloned mode only; mismatch is a cue',
    streams: () => {
      const org = started();
      const [step] = org.steps;
      const time = encodeDateTime('2020-01-01T00:00:00.000000+00:00');
      const group = utf8(`${encodeCounter('E', 1)}${encodeOrdinal(77)}${time}`);
      return [[bare(step?.message as Uint8Array, step as BuiltEvent, group)]];
    },
    sn: 0,
  },
  {
    row: 'behaviour k: a malformed message flushes the rest of the buffer',
    keripy: 'rest lost',
    streams: () => {
      const org = started();
      const broken = Buffer.from(org.anchor().message);
      broken[40] = (broken[40] ?? 0) ^ 1;
      org.steps.pop();
      org.anchor();
      return [
        [
          concatBytes(
            org.steps[0]?.message as Uint8Array,
            broken,
            org.steps[1]?.message as Uint8Array,
          ),
        ],
      ];
    },
    sn: 1,
    refused: ['KEL_BAD_SAID'],
  },
];

for (const [engine, judge] of judges)
  describe(`rows of the table of KERI verdicts: ${engine}`, () => {
    for (const { row, keripy, streams, sn, refused = [], waiting = [] } of ROWS) {
      it(`${row} (KERIpy: ${keripy})`, async () => {
        for (const stream of streams()) {
          const result = await judge(stream);
          // The AID under test comes last: a delegator stands before its delegate, or is another AID.
          const tested = [...result.states.values()].filter(
            ({ aid }) => aid !== delegation().parent.aid,
          );
          assert.deepEqual(
            {
              sn: tested.find((state) => !isStrict(state.configTraits))?.sn,
              refused: result.refused,
              waiting: result.waiting,
            },
            { sn, refused: refused.toSorted(), waiting: waiting.toSorted() },
          );
        }
      });
    }
  });

/** The delegator of the row about DND is not the AID under test. */
function isStrict(traits: readonly string[]): boolean {
  return traits.includes('DND');
}

function reordered(withOndex: boolean): Messages {
  const org = started({ keyCount: 2, signingThreshold: '2', nextThreshold: '2' });
  const [a, b] = org.keys(1, 2) as [typeof key, typeof key];
  const { bytes } = rotation(org, { keys: [b.key, a.key], signingThreshold: '2' });
  const signatures = sign(bytes, [b, a]).map((one, i) =>
    withOndex ? { ...one, ondex: 1 - i } : one,
  );
  return [org.stream, encodeSignedEvent(bytes, signatures)];
}

function twoSignatures(
  signatures: (raw: Uint8Array) => Parameters<typeof encodeSignedEvent>[1],
): Messages {
  const { bytes } = started().steps[0] as BuiltEvent;
  return [encodeSignedEvent(bytes, signatures(ed25519.sign(bytes, key.seed)))];
}

function twoOfTwo(
  signatures: (raw: Uint8Array) => Parameters<typeof encodeSignedEvent>[1],
): Messages {
  const { bytes } = started({ keyCount: 2, signingThreshold: '2' }).steps[0] as BuiltEvent;
  return [encodeSignedEvent(bytes, signatures(ed25519.sign(bytes, key.seed)))];
}

function couples(): Messages {
  const org = new Organisation('a');
  const event = org.incept({ witnesses: [witness.aid], witnessThreshold: 1 });
  return [bare(event.message, event, couple(witness, event))];
}

function witnessedTwiceByOne(): Messages {
  const org = new Organisation('a');
  const witnesses = [witness, witnessKey('x')];
  const { bytes } = org.incept({ witnesses: witnesses.map(({ aid }) => aid), witnessThreshold: 2 });
  const raw = ed25519.sign(bytes, witness.seed);
  const witnessSignatures = [
    { index: 0, raw },
    { index: 0, raw, currentOnly: true },
    { index: 0, ondex: 1, raw },
  ];
  return [encodeSignedEvent(bytes, sign(bytes, org.keys(0)), { witnessSignatures })];
}

function outOfOrderWitnessed(): Messages {
  const witnessed = (event: BuiltEvent) => couple(witness, event);
  const org = new Organisation('a');
  const icp = org.incept({ witnesses: [witness.aid], witnessThreshold: 1 });
  const receipt = witnessed(icp);
  return [bare(icp.message, icp), bare(icp.message, icp, receipt)];
}

function delegated(
  order: (parts: { log: Uint8Array; plain: Uint8Array; coupled: Uint8Array }) => Messages,
): Messages {
  const { parent, dip } = delegation();
  const source = parent.anchor([eventSeal(dip)]);
  const coupled = encodeSignedEvent(dip.bytes, sign(dip.bytes, [key]), { sealSource: source });
  return order({ log: parent.stream, plain: signed(dip), coupled });
}

/** A delegated rotation in the place of `count` interactions. */
function delegatedRotation(count: number): Messages {
  const { parent, dip, state, drt } = delegation();
  const rotated = drt([]);
  parent.anchor([eventSeal(dip)]);
  parent.anchor([eventSeal(rotated)]);
  const interactions: Uint8Array[] = [];
  let prior = state;
  for (let i = 0; i < count; i++) {
    const event = interaction(prior);
    interactions.push(signed(event));
    prior = { ...prior, ...event };
  }
  return [parent.stream, signed(dip), ...interactions, signed(rotated, [next])];
}

function delegatedTwice(): Messages {
  const { parent, dip, drt } = delegation();
  const [first, second] = [drt([]), drt([digestSeal(dip.said)])];
  parent.anchor([eventSeal(dip)]);
  parent.anchor([eventSeal(first)]);
  parent.anchor([eventSeal(second)]);
  return [parent.stream, signed(dip), signed(first, [next]), signed(second, [next])];
}
