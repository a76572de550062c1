/** Bundles with cross certificates: what is read of a damaged one, and what any row of bundles makes of the trust. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { before, describe, it } from 'mocha';
import { CaError } from '#agent/inner/ca/errors';
import { planImport } from '#agent/inner/ca/trust-import';
import { type CaCertificate, parseCaBundle, successionProof } from '#src/mtls/ca-certificate';
import {
  createCaCertificate,
  createCrossCertificate,
  createSuccessorCertificate,
} from '#src/mtls/certificate';
import { parseDnsName } from '#src/mtls/dns-name';
import { MtlsError } from '#src/mtls/errors';
import { generateKeyPair } from '#src/mtls/key-algorithm';

const NOW = Date.UTC(2026, 5, 1);
const HOUR = 3_600_000;
const validity = { notBefore: NOW - HOUR, notAfter: NOW + HOUR };

/** The blocks of a bundle. */
type Part = 'old' | 'next' | 'last' | 'fork' | 'other' | 'narrow' | keyof typeof crosses;

/** Who signs whose key. */
const crosses = {
  'old:next': ['old', 'next'],
  'next:last': ['next', 'last'],
  'old:fork': ['old', 'fork'],
  'other:next': ['other', 'next'],
  'other:old': ['other', 'old'],
  'old:narrow': ['old', 'narrow'],
} as const;

const proofs = new Map<string, boolean>();

/** Remembered: a signature takes its time. */
function isProven(successor: CaCertificate, former: CaCertificate): boolean {
  const key = [successor, former, ...successor.crosses].map(({ pem }) => pem).join();
  const known = proofs.get(key) ?? successionProof(successor, former) !== undefined;
  proofs.set(key, known);
  return known;
}

describe('bundles of a CA that rotates', () => {
  const pem = new Map<Part, string>();
  const bundleOf = (parts: readonly Part[]) => parts.map((part) => pem.get(part) ?? '').join('');

  before(async () => {
    const domain = parseDnsName('alba.example');
    const base = { ...validity, name: 'Alba', domain, ipPrefixes: [] };
    const keys = new Map<Part, Awaited<ReturnType<typeof generateKeyPair>>>();
    for (const [i, part] of (
      ['old', 'next', 'last', 'fork', 'other', 'narrow'] as const
    ).entries()) {
      const pair = await generateKeyPair('p256');
      keys.set(part, pair);
      const serial = `4${i}`.repeat(16);
      const former = pem.get('old');
      // `narrow` has another IP range than the CA that signs its key.
      const made =
        former === undefined || part === 'narrow'
          ? createCaCertificate(
              {
                ...base,
                serial,
                ipPrefixes:
                  part === 'narrow' ? [{ bytes: Uint8Array.of(10, 0, 0, 0), length: 8 }] : [],
              },
              'p256',
              pair,
            )
          : createSuccessorCertificate(former, { ...validity, serial }, 'p256', pair);
      pem.set(part, await made);
    }
    for (const [name, [signer, subject]] of Object.entries(crosses)) {
      const pair = keys.get(signer);
      const certificate = pem.get(signer);
      const key = keys.get(subject)?.publicKey;
      assert.ok(pair !== undefined && certificate !== undefined && key !== undefined);
      const issuer = { certificate, algorithm: 'p256', privateKey: pair.privateKey } as const;
      pem.set(
        name as Part,
        await createCrossCertificate(issuer, key, { ...validity, serial: '5'.repeat(32) }),
      );
    }
  });

  it('are read to the byte, with each cross certificate at the CA of its key', () => {
    const [old, next, ...more] = parseCaBundle(bundleOf(['old', 'next', 'old:next']));
    assert.equal(more.length, 0);
    assert.deepEqual(old?.crosses, []);
    assert.deepEqual(
      next?.crosses.map((cross) => cross.pem),
      [pem.get('old:next')],
    );
    assert.ok(old !== undefined && next !== undefined);
    assert.ok(successionProof(next, old, NOW));
    assert.equal(successionProof(next, old, NOW + HOUR), undefined);
    assert.equal(successionProof(next, old, NOW - HOUR - 1), undefined);
  });

  it('are refused with a cross certificate whose bounds are not those of its CA', () => {
    assert.throws(() => parseCaBundle(bundleOf(['old', 'narrow', 'old:narrow'])), {
      code: 'MTLS_BAD_CERTIFICATE',
    });
  });

  it('are refused with more cross certificates than a CA can have', () => {
    const many: Part[] = ['next', 'old:next', 'other:next', 'old:next'];
    assert.throws(() => parseCaBundle(bundleOf(many)), { code: 'MTLS_BAD_CERTIFICATE' });
  });

  it('prove nothing that was not signed, whatever is changed in them', () => {
    const whole = bundleOf(['old', 'next', 'old:next']);
    const known = new Set(pem.values());
    fc.assert(
      fc.property(
        fc.nat(whole.length - 1),
        fc.string({ maxLength: 3 }),
        fc.nat(2),
        (at, text, cut) => {
          const changed = whole.slice(0, at) + text + whole.slice(at + cut);
          try {
            for (const ca of parseCaBundle(changed)) {
              assert.ok(known.has(ca.pem));
              for (const other of parseCaBundle(bundleOf(['old', 'other']))) {
                const proof = successionProof(ca, other);
                assert.ok(proof === undefined || known.has(proof.pem));
              }
            }
          } catch (error) {
            assert.ok(error instanceof MtlsError, String(error));
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it('leave no two CAs for one domain trusted but with a proof of succession, in whatever row they come', () => {
    const parts: readonly Part[] = ['old', 'next', 'last', 'fork', 'other'];
    const signed: readonly Part[] = [
      'old:next',
      'next:last',
      'old:fork',
      'other:next',
      'other:old',
    ];
    const any = fc
      .tuple(fc.shuffledSubarray([...parts], { minLength: 1 }), fc.subarray([...signed]))
      .map(([anchors, proofs]) => {
        const fitting = proofs.filter((proof) =>
          anchors.some((anchor) => proof.endsWith(`:${anchor}`)),
        );
        return [...anchors, ...fitting];
      });
    // As an owner and a thief would hand them out, and any at all.
    const bundle = fc.oneof(
      any,
      fc.constantFrom<Part[]>(
        ['old'],
        ['old', 'next', 'old:next'],
        ['next', 'old:next'],
        ['next'],
        ['next', 'last', 'old:next', 'next:last'],
        ['last', 'next:last'],
        ['old', 'fork', 'old:fork'],
        ['other', 'next', 'other:next'],
      ),
    );
    fc.assert(
      fc.property(fc.array(bundle, { minLength: 1, maxLength: 6 }), (bundles) => {
        let others: readonly CaCertificate[] = [];
        for (const each of bundles) {
          const offered = parseCaBundle(bundleOf(each));
          const before = others;
          try {
            const change = planImport({
              own: [],
              others,
              offered,
              fingerprint: undefined,
              now: NOW,
            });
            others = [...others, ...change.taken].filter((ca) => !change.ended.includes(ca));
          } catch (error) {
            assert.ok(error instanceof CaError, String(error));
            assert.equal(error.code, 'CA_OVERLAP');
          }
          // One line of succession, each with the proof of the one before it.
          for (const ca of others) {
            const rest = others.filter((other) => other !== ca);
            const linked = rest.filter((other) => isProven(ca, other) || isProven(other, ca));
            assert.ok(rest.length === 0 || linked.length > 0);
          }
          // Who was trusted goes only for a successor that has its word.
          for (const gone of before.filter((ca) => !others.includes(ca)))
            assert.ok(others.some((ca) => leadsBackTo(ca, gone, [...before, ...others])));
          // A CA that was never offered with the word of a trusted one comes first, or not at all.
          if (before.length > 0)
            for (const ca of others.filter((other) => !before.includes(other)))
              assert.ok([...before, ...others].some((other) => isProven(ca, other)));
        }
      }),
      {
        numRuns: 60,
        examples: [
          [
            [
              ['other', 'next', 'other:next'],
              ['other', 'last', 'next:last'],
            ],
          ],
        ],
      },
    );
  });
});

function leadsBackTo(
  ca: CaCertificate,
  former: CaCertificate,
  among: readonly CaCertificate[],
): boolean {
  return among.some(
    (other) =>
      isProven(ca, other) &&
      (other.fingerprint === former.fingerprint ||
        leadsBackTo(
          other,
          former,
          among.filter((each) => each !== ca),
        )),
  );
}
