/** One verdict per case that KERI verifiers get wrong or disagree on: never more lenient than the specification. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { BodyValue } from '#kel/cesr/body-value';
import { encodeCounter } from '#kel/cesr/counter';
import { encodeMatter } from '#kel/cesr/matter';
import { encodeWithSaid } from '#kel/cesr/said';
import { buildInception } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { keyDigest } from '#kel/event/key-digest';
import { buildRotation } from '#kel/event/rotation';
import { digestSeal, eventSeal, type Seal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { Aid, VerificationKey } from '#kel/identifiers';
import { LogVerifier } from '#kel/verify/log-verifier';
import { concatBytes, utf8 } from '#src/bytes';
import { type Judge, judges } from '../../../support/kit/judges.ts';
import {
  type Fields,
  inception,
  inceptionFields,
  interactionWithNumber,
  key,
  next,
  signedFields,
  started,
} from '../../../support/kit/keri-rows.ts';
import {
  ed25519,
  Organisation,
  sign,
  type TestKey,
  testKey,
  verifySignature,
  witnessKey,
} from '../../../support/kit/key-log.ts';

/** What both engines say; where they do not say the same, neither is believed. */
async function judge(...messages: Uint8Array[]): Promise<Judgement> {
  const [first, ...others] = await Promise.all(
    judges.map(async ([engine, ask]) => ({ engine, ...summary(await ask(messages)) })),
  );
  assert.ok(first !== undefined && others.length > 0);
  for (const { engine, ...verdict } of others) {
    const { engine: _, ...expected } = first;
    assert.deepEqual(verdict, expected, engine);
  }
  return first;
}

function summary({ states, refused, waiting }: Awaited<ReturnType<Judge>>): Judgement {
  const numbers = [...states.values()].map(({ aid, sn }) => [aid, sn] as const);
  return { states: new Map(numbers.toSorted(([a], [b]) => (a < b ? -1 : 1))), refused, waiting };
}

interface Judgement {
  readonly states: ReadonlyMap<string, number>;
  readonly refused: readonly string[];
  readonly waiting: readonly string[];
}

async function refuses(code: string, ...messages: Uint8Array[]): Promise<void> {
  const { refused, waiting } = await judge(...messages);
  assert.deepEqual([refused, waiting], [[code], []]);
}

async function waits(code: string, ...messages: Uint8Array[]): Promise<void> {
  const { refused, waiting } = await judge(...messages);
  assert.deepEqual([refused, waiting], [[], [code]]);
}

/** Accepted to the last event of the organisation. */
async function accepts(
  org: { readonly aid: Aid },
  sn: number,
  ...messages: Uint8Array[]
): Promise<void> {
  const { states, refused, waiting } = await judge(...messages);
  assert.deepEqual([refused, waiting], [[], []]);
  assert.equal(states.get(org.aid), sn);
}

describe('verdicts: form of a message', () => {
  it('the inception that the other cases spoil is good', async () => {
    const { states, refused } = await judge(inception());
    assert.deepEqual([[...states.values()], refused], [[0], []]);
  });

  it('spaces behind separators, though size and SAID count them', async () => {
    const { bytes } = encodeWithSaid('KERI', 'JSON', inceptionFields(), ['d', 'i']);
    const spaced = Buffer.from(bytes).toString().replaceAll(',', ', ');
    const size = spaced.length.toString(16).padStart(6, '0');
    const text = spaced.replace(/KERI10JSON[0-9a-f]{6}/, `KERI10JSON${size}`);
    await refuses('KEL_BAD_BODY', utf8(text));
  });

  it('two fields swapped, one more, one missing', async () => {
    const fields = inceptionFields();
    const swapped = [...fields.slice(0, 8), fields[9], fields[8], ...fields.slice(10)] as Fields;
    await refuses('KEL_BAD_SCHEMA', signedFields(swapped));
    await refuses('KEL_BAD_SCHEMA', signedFields([...fields, ['x', '']]));
    await refuses('KEL_BAD_SCHEMA', signedFields(fields.filter(([label]) => label !== 'c')));
  });

  it('sequence numbers in other forms than the canonical', async () => {
    await refuses('KEL_BAD_VALUE', inception({ s: '00' }));
    const org = started();
    for (const s of ['01', '0x1', 1, 'A', '', '0'])
      await refuses('KEL_BAD_VALUE', org.stream, interactionWithNumber(org, s));
    await accepts(org, 1, org.stream, interactionWithNumber(org, '1'));
  });

  it('a size that swallows the first character of the attachments', async () => {
    const text = Buffer.from(inception()).toString();
    const size = Number.parseInt(text.slice(16, 22), 16);
    await refuses(
      'KEL_BAD_STREAM',
      utf8(
        text.replace(
          /KERI10JSON[0-9a-f]{6}/,
          `KERI10JSON${(size + 1).toString(16).padStart(6, '0')}`,
        ),
      ),
    );
  });

  it('CBOR with a long map head, CBOR with a label twice', async () => {
    const { bytes } = encodeWithSaid('KERI', 'CBOR', inceptionFields(), ['d', 'i']);
    const longHead = concatBytes(Uint8Array.of(0xb8, 13), bytes.subarray(1));
    const size = (body: Uint8Array) =>
      Buffer.from(
        Buffer.from(body)
          .toString('latin1')
          .replace(/CBOR[0-9a-f]{6}/, `CBOR${body.length.toString(16).padStart(6, '0')}`),
        'latin1',
      );
    await refuses('KEL_BAD_BODY', size(longHead));
    const twice = concatBytes(Uint8Array.of(0xae), bytes.subarray(1), Buffer.from('616180', 'hex'));
    await refuses('KEL_BAD_BODY', size(twice));
  });
});

describe('verdicts: inception', () => {
  it('the same inception twice changes nothing', async () => {
    const org = started();
    await accepts(org, 0, org.stream, org.stream);
  });

  it('two inceptions of one basic AID: the first stays, the second is duplicity', async () => {
    const basic = (seed: string) => {
      const event = buildInception({
        keys: [key.key],
        nextDigests: [keyDigest(testKey(seed).key)],
        isBasic: true,
      });
      return encodeSignedEvent(event.bytes, sign(event.bytes, [key]));
    };
    await refuses('KEL_DUPLICITOUS', basic('x'), basic('y'));
    const forged = buildInception({ keys: [key.key], nextDigests: [], isBasic: true });
    await refuses('KEL_BAD_SIGNATURE', encodeSignedEvent(forged.bytes, sign(forged.bytes, [next])));
    await refuses(
      'KEL_CONFLICT_UNVERIFIED',
      basic('x'),
      encodeSignedEvent(forged.bytes, sign(forged.bytes, [next])),
    );
  });

  it('thresholds that cannot be met, are zero, or are no numbers', async () => {
    for (const kt of [
      '2',
      '0',
      '1.0',
      '01',
      'A',
      1,
      [],
      ['1/3'],
      ['2/4'],
      ['3/2'],
      ['0.5'],
      ['1/2', '1/2'],
    ]) {
      await refuses('KEL_BAD_THRESHOLD', inception({ kt }));
    }
    for (const nt of ['2', '0', [], ['1/3']]) await refuses('KEL_BAD_THRESHOLD', inception({ nt }));
  });

  it('an unknown trait is carried', async () => {
    const { states, refused } = await judge(inception({ c: ['XYZ'] }));
    assert.deepEqual([[...states.values()], refused], [[0], []]);
  });

  it('witness thresholds against the list, a witness twice, a transferable witness', async () => {
    const { aid } = witnessKey('w');
    const witnesses = (bt: string, b: BodyValue) => inception({ bt, b });
    await refuses('KEL_BAD_WITNESSES', witnesses('1', []));
    await refuses('KEL_BAD_WITNESSES', witnesses('2', [aid]));
    await refuses('KEL_BAD_WITNESSES', witnesses('0', [aid]));
    await refuses('KEL_BAD_WITNESSES', witnesses('1', [aid, aid]));
    await refuses('KEL_BAD_WITNESSES', witnesses('1', [testKey('w').key]));
    await waits('KEL_AWAITS_WITNESSES', witnesses('1', [aid]));
  });

  it('a key twice, a next digest twice', async () => {
    await refuses('KEL_BAD_KEYS', inception({ kt: '2', k: [key.key, key.key] }));
    const digest = keyDigest(next.key);
    await refuses('KEL_BAD_KEYS', inception({ n: [digest, digest] }));
  });

  it('a prefix that is not derived from the event', async () => {
    await refuses('KEL_BAD_PREFIX', signedFields(inceptionFields({ i: next.key }), ['d']));
    await refuses(
      'KEL_BAD_PREFIX',
      signedFields(
        [...inceptionFields({ t: 'dip', i: key.key }), ['di', 'E'.padEnd(44, 'A')]],
        ['d'],
      ),
    );
    await refuses('KEL_BAD_SAID', signedFields(inceptionFields({ i: 'E'.padEnd(44, 'A') }), ['d']));
    const b = witnessKey('a');
    await refuses(
      'KEL_BAD_PREFIX',
      signedFields(inceptionFields({ i: b.aid, k: [b.key] }), ['d'], [b]),
    );
  });
});

describe('verdicts: signatures', () => {
  it('one valid and one invalid, one valid and one with an index out of range', async () => {
    const event = started().steps[0];
    const bytes = event?.bytes as Uint8Array;
    const raw = ed25519.sign(bytes, key.seed);
    await accepts(
      { aid: event?.aid as Aid },
      0,
      encodeSignedEvent(bytes, [
        { index: 0, raw: new Uint8Array(64) },
        { index: 0, raw },
      ]),
    );
    await accepts(
      { aid: event?.aid as Aid },
      0,
      encodeSignedEvent(bytes, [
        { index: 9, raw },
        { index: 0, raw },
      ]),
    );
    await refuses(
      'KEL_BAD_SIGNATURE',
      encodeSignedEvent(bytes, [{ index: 0, raw: new Uint8Array(64) }]),
    );
    await refuses('KEL_BAD_SIGNATURE', encodeSignedEvent(bytes, []));
    await refuses(
      'KEL_BAD_SIGNATURE',
      encodeSignedEvent(bytes, [{ index: 0, raw, algorithm: 'p256' }]),
    );
  });

  it('2 of 2 by one key under several codes waits for the other key', async () => {
    const org = new Organisation('a');
    const { bytes } = org.incept({ keyCount: 2, signingThreshold: '2' });
    const raw = ed25519.sign(bytes, key.seed);
    const forms = [
      { index: 0, raw },
      { index: 0, raw, currentOnly: true },
      { index: 0, ondex: 1, raw },
    ];
    await waits('KEL_AWAITS_SIGNATURES', encodeSignedEvent(bytes, forms));
    const both = sign(bytes, org.keys(0, 2));
    await waits('KEL_AWAITS_SIGNATURES', encodeSignedEvent(bytes, both.slice(0, 1)));
    await accepts(org, 0, encodeSignedEvent(bytes, both));
    // In two messages.
    await accepts(
      org,
      0,
      encodeSignedEvent(bytes, both.slice(0, 1)),
      encodeSignedEvent(bytes, both.slice(1)),
    );
  });

  it('weights are summed clause by clause', async () => {
    const org = new Organisation('a');
    const { bytes } = org.incept({
      keyCount: 4,
      signingThreshold: [['1/2', '1/2', '1/3'], ['1']],
      nextThreshold: '1',
    });
    const all = sign(bytes, org.keys(0, 4));
    await waits('KEL_AWAITS_SIGNATURES', encodeSignedEvent(bytes, all.slice(0, 3)));
    await waits('KEL_AWAITS_SIGNATURES', encodeSignedEvent(bytes, all.slice(1)));
    await accepts(org, 0, encodeSignedEvent(bytes, [...all.slice(0, 2), ...all.slice(3)]));
  });

  it('one witness that signs twice is one receipt; a couple counts; a stranger does not', async () => {
    const witnesses = [witnessKey('w0'), witnessKey('w1')];
    const org = new Organisation('a');
    const { bytes } = org.incept(
      { witnesses: witnesses.map(({ aid }) => aid), witnessThreshold: 2 },
      { witnesses },
    );
    const own = sign(bytes, org.keys(0));
    const receipts = sign(bytes, witnesses);
    const first = receipts[0] as (typeof receipts)[number];
    const twice = [first, { ...first, ondex: 1 }, { ...first, currentOnly: true }];
    await waits(
      'KEL_AWAITS_WITNESSES',
      encodeSignedEvent(bytes, own, { witnessSignatures: twice }),
    );
    await accepts(org, 0, encodeSignedEvent(bytes, own, { witnessSignatures: receipts }));
    const couple = ({ aid, seed }: { aid: Aid; seed: Uint8Array }) =>
      utf8(`${encodeCounter('C', 1)}${aid}${encodeMatter('0B', ed25519.sign(bytes, seed))}`);
    const bare = (more: Uint8Array) => {
      const framed = Buffer.from(
        encodeSignedEvent(bytes, own, { witnessSignatures: [first] }),
      ).toString('latin1');
      const groups = framed.slice(bytes.length + 4);
      return concatBytes(bytes, utf8(groups), more);
    };
    await accepts(org, 0, bare(couple(witnesses[1] as (typeof witnesses)[number])));
    await waits('KEL_AWAITS_WITNESSES', bare(couple(witnessKey('stranger'))));
  });
});

describe('verdicts: rotation', () => {
  it('by a key that was never committed to', async () => {
    const org = started();
    const stranger = testKey('stranger');
    const rot = buildRotation({ prior: org.state, keys: [stranger.key], nextDigests: [] });
    await waits(
      'KEL_AWAITS_NEXT_KEYS',
      org.stream,
      encodeSignedEvent(rot.bytes, sign(rot.bytes, [stranger])),
    );
  });

  it('a current-only signature exposes no next key', async () => {
    const org = started();
    const currentOnly = (bytes: Uint8Array) =>
      sign(bytes, org.keys(1)).map((one) => ({ ...one, currentOnly: true }));
    const { message } = org.rotate({}, { signatures: currentOnly });
    await waits('KEL_AWAITS_NEXT_KEYS', org.steps[0]?.message as Uint8Array, message);
  });

  it('keys in another order than committed: only with the right ondex', async () => {
    const org = started({ keyCount: 2, signingThreshold: '2', nextThreshold: '2' });
    const [a, b] = org.keys(1, 2) as [TestKey, TestKey];
    const rot = buildRotation({
      prior: org.state,
      keys: [b.key, a.key],
      signingThreshold: '2',
      nextDigests: [],
    });
    const plain = sign(rot.bytes, [b, a]);
    await waits('KEL_AWAITS_NEXT_KEYS', org.stream, encodeSignedEvent(rot.bytes, plain));
    const dual = plain.map((one, i) => ({ ...one, ondex: 1 - i }));
    await accepts(org, 1, org.stream, encodeSignedEvent(rot.bytes, dual));
  });

  it('one exposed key does not stand for two digests', async () => {
    const org = started({ keyCount: 2, signingThreshold: '1', nextThreshold: '2' });
    const [a] = org.keys(1, 2) as [TestKey, TestKey];
    const rot = buildRotation({ prior: org.state, keys: [a.key], nextDigests: [] });
    const raw = ed25519.sign(rot.bytes, a.seed);
    await waits(
      'KEL_AWAITS_NEXT_KEYS',
      org.stream,
      encodeSignedEvent(rot.bytes, [
        { index: 0, raw },
        { index: 0, ondex: 1, raw },
      ]),
    );
  });

  it('a wrong prior event', async () => {
    const org = started();
    const elsewhere = { ...org.state, said: digestSeal(org.state.said).get('d') as never };
    const rot = buildRotation({
      prior: { ...elsewhere, said: keyDigest(key.key) as never },
      keys: [next.key],
      nextDigests: [],
    });
    await refuses(
      'KEL_BAD_PRIOR',
      org.stream,
      encodeSignedEvent(rot.bytes, sign(rot.bytes, [next])),
    );
  });

  it('witness cuts and adds that contradict the list', async () => {
    const witness = witnessKey('w');
    const other = witnessKey('x');
    const org = started(
      { witnesses: [witness.aid], witnessThreshold: 1 },
      { witnesses: [witness] },
    );
    const rotation = (input: Partial<Parameters<typeof buildRotation>[0]>) => {
      const rot = buildRotation({
        prior: org.state,
        keys: [next.key],
        nextDigests: [],
        witnessThreshold: 1,
        ...input,
      });
      return encodeSignedEvent(rot.bytes, sign(rot.bytes, [next]), {
        witnessSignatures: sign(rot.bytes, [witness]),
      });
    };
    await refuses('KEL_BAD_WITNESSES', org.stream, rotation({ witnessCuts: [other.aid] }));
    await refuses('KEL_BAD_WITNESSES', org.stream, rotation({ witnessAdds: [witness.aid] }));
    await refuses('KEL_BAD_WITNESSES', org.stream, rotation({ witnessThreshold: 2 }));
    await refuses(
      'KEL_BAD_WITNESSES',
      org.stream,
      rotation({ witnessCuts: [witness.aid], witnessThreshold: 1 }),
    );
    assert.throws(() => rotation({ witnessCuts: [other.aid], witnessAdds: [other.aid] }), {
      code: 'KEL_BAD_WITNESSES',
    });
    await accepts(org, 1, org.stream, rotation({}));
  });

  it('nothing follows the end of an AID, or a non-transferable one', async () => {
    const org = started();
    org.rotate({ nextCount: 0 });
    const ixn = buildInteraction({ prior: org.state, anchors: [] });
    await refuses(
      'KEL_NOT_TRANSFERABLE',
      org.stream,
      encodeSignedEvent(ixn.bytes, sign(ixn.bytes, org.keys(1))),
    );
    const basic = witnessKey('b');
    const icp = buildInception({ keys: [basic.key], nextDigests: [], isBasic: true });
    const first = encodeSignedEvent(icp.bytes, sign(icp.bytes, [basic]));
    const after = buildInteraction({ prior: { ...org.state, ...icp }, anchors: [] });
    await refuses(
      'KEL_NOT_TRANSFERABLE',
      first,
      encodeSignedEvent(after.bytes, sign(after.bytes, [basic])),
    );
  });

  it('an establishment-only AID interacts', async () => {
    const org = started({ configTraits: ['EO'] });
    const ixn = buildInteraction({ prior: org.state, anchors: [] });
    await refuses(
      'KEL_ESTABLISHMENT_ONLY',
      org.stream,
      encodeSignedEvent(ixn.bytes, sign(ixn.bytes, [key])),
    );
  });
});

describe('verdicts: order, recovery, duplicity', () => {
  it('an interaction before its prior event waits', async () => {
    const org = started();
    org.anchor();
    org.anchor();
    await waits(
      'KEL_AWAITS_PRIOR',
      org.steps[0]?.message as Uint8Array,
      org.steps[2]?.message as Uint8Array,
    );
    await waits('KEL_AWAITS_PRIOR', org.steps[2]?.message as Uint8Array);
  });

  it('a rotation takes the place of interactions, and the log goes on behind it', async () => {
    const org = started();
    org.anchor();
    org.anchor();
    const recovered = org.fork(1);
    recovered.rotate();
    recovered.anchor();
    await accepts(org, 2, org.stream, recovered.stream);
    // Seen late, the replaced interaction is no duplicity.
    await refuses('KEL_SUPERSEDED', recovered.stream, org.steps[1]?.message as Uint8Array);
  });

  it('a rotation does not take the place of a rotation, nor an interaction of an interaction', async () => {
    const org = started();
    const fork = org.fork(1);
    org.rotate();
    fork.rotate({ anchors: [digestSeal(org.state.said)] });
    await refuses('KEL_DUPLICITOUS', org.stream, fork.steps[1]?.message as Uint8Array);
    const left = started();
    const right = left.fork(1);
    left.anchor();
    right.anchor([digestSeal(left.state.said)]);
    await refuses('KEL_DUPLICITOUS', left.stream, right.steps[1]?.message as Uint8Array);
  });

  it('a rotation before the last rotation does not recover', async () => {
    const org = started();
    const fork = org.fork(1);
    org.anchor();
    org.rotate();
    fork.rotate();
    await refuses('KEL_DUPLICITOUS', org.stream, fork.steps[1]?.message as Uint8Array);
  });

  it('a contradiction that the keys in force have not signed is no duplicity', async () => {
    const org = started();
    const forged = buildInteraction({ prior: org.state, anchors: [digestSeal(org.state.said)] });
    org.anchor();
    await refuses(
      'KEL_CONFLICT_UNVERIFIED',
      org.stream,
      encodeSignedEvent(forged.bytes, sign(forged.bytes, [next])),
    );
  });

  it('names both events of a duplicity', async () => {
    const left = started();
    const right = left.fork(1);
    const a = left.anchor();
    const b = right.anchor([digestSeal(a.said)]);
    const verifier = new LogVerifier(verifySignature);
    verifier.feed(left.stream);
    verifier.feed(b.message);
    const [refusal] = verifier.finish().refused;
    assert.equal(refusal?.said, b.said);
    assert.ok(refusal?.reason.includes(a.said));
  });
});

describe('verdicts: delegation', () => {
  const delegator = new Organisation('delegator');
  delegator.incept();
  const dip = buildInception({
    keys: [key.key],
    nextDigests: [keyDigest(next.key)],
    delegator: delegator.aid,
  });
  const child = encodeSignedEvent(dip.bytes, sign(dip.bytes, [key]));

  function sealedBy(seal: Seal): Uint8Array {
    const copy = delegator.fork(1);
    copy.anchor([seal]);
    return copy.stream;
  }

  it('with and without the couple, before and after the seal', async () => {
    const parent = sealedBy(eventSeal(dip));
    const source = { sn: 1, said: dip.said };
    const coupled = encodeSignedEvent(dip.bytes, sign(dip.bytes, [key]), { sealSource: source });
    for (const message of [child, coupled]) {
      await accepts(dip, 0, parent, message);
      await accepts(dip, 0, message, parent);
    }
    await waits('KEL_AWAITS_DELEGATOR', child);
    await waits('KEL_AWAITS_DELEGATOR', delegator.stream, child);
  });

  it('a seal in any other form does not approve', async () => {
    const [i, s, d] = [...eventSeal(dip)] as [[string, string], [string, string], [string, string]];
    const forms: [string, BodyValue][][] = [
      [d],
      [d, i, s],
      [i, s, d, ['x', '']],
      [i, ['s', '00'], d],
      [i, ['s', 0], d],
      [['i', delegator.aid], s, d],
    ];
    for (const form of forms) await waits('KEL_AWAITS_DELEGATOR', sealedBy(new Map(form)), child);
  });

  it('a delegator that does not delegate', async () => {
    const strict = new Organisation('strict');
    strict.incept({ configTraits: ['DND'] });
    const event = buildInception({ keys: [key.key], nextDigests: [], delegator: strict.aid });
    strict.anchor([eventSeal(event)]);
    await refuses(
      'KEL_BAD_DELEGATION',
      strict.stream,
      encodeSignedEvent(event.bytes, sign(event.bytes, [key])),
    );
  });

  it('a delegated AID takes drt only, another one rot only', async () => {
    const parent = delegator.fork(1);
    parent.anchor([eventSeal(dip)]);
    const state = { ...delegator.state, ...dip, delegator: undefined, witnessThreshold: 0 };
    const rot = buildRotation({ prior: state, keys: [next.key], nextDigests: [], kind: 'CBOR' });
    await refuses(
      'KEL_BAD_DELEGATION',
      parent.stream,
      child,
      encodeSignedEvent(rot.bytes, sign(rot.bytes, [next])),
    );
    const org = started();
    const drt = buildRotation({
      prior: { ...org.state, delegator: delegator.aid },
      keys: [next.key],
      nextDigests: [],
    });
    await refuses(
      'KEL_BAD_DELEGATION',
      org.stream,
      encodeSignedEvent(drt.bytes, sign(drt.bytes, [next])),
    );
  });

  it('a delegated rotation over an interaction, and over a delegated rotation that was approved earlier', async () => {
    const parent = delegator.fork(1);
    parent.anchor([eventSeal(dip)]);
    const state = { ...delegator.state, ...dip, keys: [key.key], delegator: delegator.aid };
    const ixn = buildInteraction({ prior: state, anchors: [], kind: 'CBOR' });
    const rotation = (keys: readonly VerificationKey[], anchors: readonly Seal[]) => {
      const drt = buildRotation({ prior: state, keys, nextDigests: [], anchors, kind: 'CBOR' });
      return { ...drt, message: encodeSignedEvent(drt.bytes, sign(drt.bytes, [next])) };
    };
    const first = rotation([next.key], []);
    const second = rotation([next.key], [digestSeal(dip.said)]);
    parent.anchor([eventSeal(first)]);
    const interaction = encodeSignedEvent(ixn.bytes, sign(ixn.bytes, [key]));
    await accepts(dip, 1, parent.stream, child, interaction, first.message);
    await waits('KEL_AWAITS_DELEGATOR', parent.stream, child, first.message, second.message);
    parent.anchor([eventSeal(second)]);
    await accepts(dip, 1, parent.stream, child, first.message, second.message);
    const [, ask] = judges[0] ?? assert.fail();
    const { states } = await ask([parent.stream, child, first.message, second.message]);
    assert.equal(states.get(dip.aid)?.said, second.said);
    // The other way round the later approval stands already.
    await refuses('KEL_SUPERSEDED', parent.stream, child, second.message, first.message);
  });
});
