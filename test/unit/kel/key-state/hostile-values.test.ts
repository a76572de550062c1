/** Numbers, lists and values that a stranger chooses: bounded before anything is computed, refused with a code, never a crash. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'mocha';
import { emptyAttachments } from '#kel/cesr/attachments';
import { encodeBody, parseBody } from '#kel/cesr/body';
import type { BodyValue } from '#kel/cesr/body-value';
import { encodeMatter } from '#kel/cesr/matter';
import { encodeWithSaid } from '#kel/cesr/said';
import { KelError } from '#kel/errors';
import { Escrow } from '#kel/escrow/escrow';
import { buildInception } from '#kel/event/inception';
import { keyDigest } from '#kel/event/key-digest';
import { parseKeyEvent } from '#kel/event/parse';
import type { VerificationKey } from '#kel/identifiers';
import { checkThreshold, satisfies } from '#kel/key-state/threshold';
import { decodeRecordBody } from '#kel/record/cbor';
import { verifyKeySignatures } from '#kel/state/key-signatures';
import { LogVerifier } from '#kel/verify/log-verifier';
import { concatBytes, utf8 } from '#src/bytes';
import { decodeCbor } from '#src/cbor';
import {
  ed25519,
  Organisation,
  sign,
  testKey,
  verifySignature,
} from '../../../support/kit/key-log.ts';
import { openStore } from '../../../support/kit/store-kit.ts';

const codeOf = (task: () => unknown): string => {
  try {
    task();
    return 'none';
  } catch (error) {
    assert.ok(error instanceof KelError, `expected a KelError, got ${String(error)}`);
    return error.code;
  }
};

/** Primes: denominators that share nothing with each other. */
function coprime(from: number, count: number): number[] {
  const primes: number[] = [];
  for (let n = from; primes.length < count; n++) {
    let isPrime = n > 1;
    for (let d = 2; d * d <= n && isPrime; d++) isPrime = n % d !== 0;
    if (isPrime) primes.push(n);
  }
  return primes;
}

describe('thresholds of a stranger', () => {
  const sane: readonly (readonly string[])[] = [
    ['1/2', '1/2', '1/2'],
    ['1/2', '1/2', '1/4', '1/4', '1/4', '1/4'],
    ['1/2', '1/3', '1/4', '1/5', '1/6', '1/7', '1/8', '1/9', '1/10'],
    ['1', '0', '1'],
    Array.from({ length: 59 }, (_, i) => `1/${i + 2}`),
    Array.from({ length: 256 }, () => '1/256'),
    Array.from({ length: 100 }, () => '12347/1000000'),
  ];
  for (const weights of sane) {
    it(`are accepted as before where they are sane: ${weights.length} of ${weights[0]}, …`, () => {
      assert.deepEqual(checkThreshold('kt', weights, weights.length), weights);
      assert.equal(satisfies(weights, weights.keys()), true);
      assert.equal(satisfies(weights, []), false);
    });
  }

  for (const from of [1_000, 100_000, 900_000, 999_000_000]) {
    it(`cost a bound, whatever the numbers: 256 coprime denominators from ${from} on`, () => {
      const weights = coprime(from, 256).map((n) => `${n - 1}/${n}`);
      const code = codeOf(() => checkThreshold('kt', weights, 256));
      assert.equal(code, from > 1_000_000 ? 'KEL_BAD_THRESHOLD' : 'KEL_LIMIT');
      assert.notEqual(
        codeOf(() => satisfies(weights, weights.keys())),
        'none',
      );
    });
  }

  it('are bounded in clauses and weights before a weight is read', () => {
    const clauses = Array.from({ length: 65 }, () => ['x']);
    assert.equal(
      codeOf(() => checkThreshold('kt', clauses, 65)),
      'KEL_LIMIT',
    );
    const weights = Array.from({ length: 100_000 }, () => 'x');
    assert.equal(
      codeOf(() => checkThreshold('kt', weights, 100_000)),
      'KEL_LIMIT',
    );
  });
});

describe('bodies of a stranger', () => {
  const hostile: ReadonlyMap<string, BodyValue> = new Map<string, BodyValue>([
    ['an integer beyond 2^53', 2n ** 60n],
    ['a number', 7],
    ['a fraction', 0.5],
    ['null', null],
    ['true', true],
    ['an empty text', ''],
    ['a long text', 'A'.repeat(50_000)],
    ['a list of integers beyond 2^53', [2n ** 60n, 2n ** 60n]],
    ['a list of lists', [[[]], []]],
    ['a map', new Map<string, BodyValue>([['d', 2n ** 60n]])],
  ]);

  for (const kind of ['JSON', 'CBOR', 'MGPK'] as const) {
    it(`give a code of their own for every value in every field, ${kind}: no value is the cause of a crash`, () => {
      const org = new Organisation(`hostile ${kind}`);
      const steps = [org.incept(), org.anchor(), org.rotate()];
      for (const { bytes } of steps) {
        const { fields } = parseBody(bytes, 'KERI');
        for (const label of fields.keys()) {
          if (label === 'v' || label === 'd') continue;
          for (const [what, value] of hostile) {
            const changed = new Map(fields).set(label, value);
            const { bytes: body } = encodeWithSaid('KERI', kind, changed);
            assert.doesNotThrow(() => codeOf(() => parseKeyEvent(body)), `${label}: ${what}`);
          }
        }
      }
    });
  }

  it('leave the store as it was, whatever they hold', async () => {
    const { store } = await openStore();
    const org = new Organisation('after noise');
    org.incept();
    const { fields } = parseBody(org.rotate().bytes, 'KERI');
    const noise = ['s', 'kt', 'n', 'bt', 'i'].flatMap((label) =>
      [...hostile.values()].map(
        (value) => encodeWithSaid('KERI', 'CBOR', new Map(fields).set(label, value)).bytes,
      ),
    );
    const outcomes = await store.process(concatBytes(...noise, org.stream));
    assert.equal(outcomes.at(-1)?.verdict, 'accepted');
    assert.ok(outcomes.slice(0, -2).every(({ verdict }) => verdict === 'refused'));
    // A reason goes into logs and answers: it never carries the value whole.
    for (const { reason = '' } of outcomes) assert.ok(reason.length < 1_000, reason);
  });

  it('are refused where they explode: values are counted before they are made, in every encoding', () => {
    const size = 200_000;
    const shapes: ReadonlyMap<string, BodyValue> = new Map<string, BodyValue>([
      ['empty maps', Array.from({ length: size }, () => new Map<string, BodyValue>())],
      ['empty lists', Array.from({ length: size }, () => [])],
      ['zeros', Array.from({ length: size / 2 }, () => 0)],
      ['small maps', Array.from({ length: size / 4 }, () => new Map([['a', 0]]))],
    ]);
    for (const kind of ['JSON', 'CBOR', 'MGPK'] as const) {
      for (const [what, value] of shapes) {
        let body: Uint8Array;
        try {
          body = encodeBody('KERI', kind, [['a', value]]);
        } catch {
          continue; // longer than a body may be in this encoding
        }
        assert.equal(
          codeOf(() => parseBody(body, 'KERI')),
          'KEL_BAD_BODY',
          `${kind}: ${what}`,
        );
      }
    }
    for (const item of [0xa0, 0x80, 0x00]) {
      const list = new Uint8Array(size + 5).fill(item);
      list.set([0x9a, size >>> 24, (size >> 16) & 0xff, (size >> 8) & 0xff, size & 0xff]);
      assert.throws(() => decodeCbor(list), { code: 'CBOR_MALFORMED' });
      const record = concatBytes(Uint8Array.of(0xa1, 0x61, 0x61), list);
      assert.equal(
        codeOf(() => decodeRecordBody(record)),
        'KEL_BAD_BODY',
      );
    }
  });

  it('may be as full as honest ones are: seals of all the room of an event', () => {
    const org = new Organisation('full');
    const { said } = org.incept();
    const { bytes } = org.anchor(
      Array.from({ length: 4_700 }, () => new Map<string, BodyValue>([['d', said]])),
    );
    assert.ok(bytes.length > 230_000);
    assert.equal(parseKeyEvent(bytes).anchors.length, 4_700);
  });

  it('do not hold a value that looks like more than it is: commas and brackets in a text are text', () => {
    const text = '[{,:"\\'.repeat(5_000);
    const body = encodeBody('KERI', 'JSON', [['a', text]]);
    assert.equal(parseBody(body, 'KERI').fields.get('a'), text);
  });
});

describe('logs of a file', () => {
  it('are as many as there is memory for: one too many is refused and said, and those before it stand', () => {
    const verifier = new LogVerifier(verifySignature, { maxLogs: 3 });
    const orgs = [1, 2, 3, 4].map((n) => new Organisation(`log ${n}`));
    for (const org of orgs) {
      org.incept();
      verifier.feed(org.stream);
    }
    const [first] = orgs;
    first?.anchor();
    verifier.feed(first?.steps[1]?.message as Uint8Array);
    const { aids, refused } = verifier.finish();
    assert.deepEqual([aids.length, aids[0]?.sn], [3, 1]);
    assert.deepEqual(
      refused.map(({ code, aid }) => [code, aid]),
      [['KEL_LIMIT', orgs[3]?.aid]],
    );
  });

  it('wait within the memory that they take, not the bytes that they are: events full of small values', () => {
    const escrow = new Escrow<number>({
      maxMessages: 1_000,
      maxMessagesPerAid: 1_000,
      maxBytes: 1_000_000,
    });
    const org = new Organisation('full of values');
    org.incept();
    const { bytes } = org.anchor(Array.from({ length: 1_000 }, () => new Map()));
    const event = parseKeyEvent(bytes);
    let added = 0;
    for (let n = 0; n < 100; n++) {
      const said = `${event.said.slice(0, -3)}${n + 100}` as typeof event.said;
      const message = { event: { ...event, said }, bytes, attachments: emptyAttachments() };
      const waits = { code: 'KEL_AWAITS_PRIOR', reason: '', origin: n } as const;
      if (escrow.add({ message, ...waits })) added += 1;
    }
    // 1,000 empty maps are a kilobyte in the body, and some 200 in memory.
    assert.equal(added, 4);
    for (const waiting of [...escrow.all()]) escrow.remove(waiting.message.event.said);
    assert.equal(escrow.size, 0);
  });
});

describe('signatures that fail', () => {
  it('are tried a bounded number of times, however many keys and signatures there are: each hashes the whole message', () => {
    const raw = new Uint8Array(64);
    const keys = Array.from({ length: 256 }, (_, n) => testKey(`many/${n}`).key);
    const signatures = keys.flatMap((_, index) =>
      [1, 2, 3, 4].map(() => ({
        index,
        ondex: index,
        raw,
        code: '2A',
        algorithm: 'ed25519' as const,
      })),
    );
    let tries = 0;
    const failing = () => {
      tries += 1;
      return false;
    };
    verifyKeySignatures(failing, keys, '1', utf8('message'), signatures);
    assert.equal(tries, 64);
  });
});

describe('receipts of a waiting event', () => {
  it('cost what they bring, not what the event has: signatures tried grow with the bytes', () => {
    const triesOf = (receipts: number): number => {
      let tries = 0;
      const org = new Organisation('receipted');
      const witnesses = ['BAaq', 'BBbq'].map(
        (_, i) => new Organisation(`witness ${i}`).keys(0)[0]?.key.replace(/^D/, 'B') as never,
      );
      const step = org.incept({ keyCount: 20, witnesses, witnessThreshold: 2 });
      const { fields } = parseBody(step.bytes, 'KERI');
      const receipt = encodeBody('KERI', 'JSON', [
        ['t', 'rct'],
        ['d', step.said],
        ['i', fields.get('i') as string],
        ['s', '0'],
      ]);
      const noise = utf8(`-CAB${witnesses[0]}0B${'A'.repeat(86)}`);
      const verifier = new LogVerifier((key, signature, message) => {
        tries += 1;
        return verifySignature(key, signature, message);
      });
      verifier.feed(step.message);
      for (let n = 0; n < receipts; n++) verifier.feed(concatBytes(receipt, noise));
      assert.deepEqual(
        verifier.finish().waiting.map(({ code }) => code),
        ['KEL_AWAITS_WITNESSES'],
      );
      return tries;
    };
    const [few, many] = [triesOf(10), triesOf(210)];
    assert.equal(many - few, 200);
  });
});

describe('one key is one signer', () => {
  const half = ['1/2', '1/2'];

  it('under whichever of its codes: a list with D… and B… of one key is refused', () => {
    const org = new Organisation('two names');
    const [{ key } = { key: '' }] = org.keys(0);
    const both = [key, key.replace(/^D/, 'B')] as never[];
    const input = { keys: both, signingThreshold: half, nextDigests: [] };
    assert.equal(
      codeOf(() => buildInception(input)),
      'KEL_BAD_KEYS',
    );
  });

  it('in a list that was accepted before: both names together count once', () => {
    const org = new Organisation('two names held');
    const [{ key, seed } = { key: '', seed: new Uint8Array() }] = org.keys(0);
    const message = utf8('anything');
    const raw = ed25519.sign(message, seed);
    const signatures = [0, 1].map((index) => {
      return { index, ondex: index, raw, code: 'A', algorithm: 'ed25519' as const };
    });
    const keys = [key, key.replace(/^D/, 'B')] as VerificationKey[];
    const { valid, isSatisfied } = verifyKeySignatures(
      verifySignature,
      keys,
      half,
      message,
      signatures,
    );
    assert.deepEqual([valid.length, isSatisfied], [2, false]);
  });

  it('under two digests of it: it exposes one of the places that a log committed to', () => {
    const org = new Organisation('two digests');
    const next = org.keys(1)[0]?.key as VerificationKey;
    const sha = encodeMatter('I', new Uint8Array(createHash('sha256').update(next).digest()));
    org.incept({ nextDigests: [keyDigest(next), sha], nextThreshold: '2' });
    const twice = (bytes: Uint8Array) =>
      sign(bytes, org.keys(1)).flatMap(({ raw }) => [
        { index: 0, ondex: 0, raw },
        { index: 0, ondex: 1, raw, code: '2A' },
      ]);
    const step = org.rotate({ keyCount: 1, nextCount: 1 }, { signatures: twice });
    const verifier = new LogVerifier(verifySignature);
    verifier.feed(org.stream);
    const { aids, waiting } = verifier.finish();
    assert.deepEqual(
      [aids[0]?.sn, waiting[0]?.code, waiting[0]?.said],
      [0, 'KEL_AWAITS_NEXT_KEYS', step.said],
    );
  });
});
