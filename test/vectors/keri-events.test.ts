/** Known answers of KERIpy for events and whole logs (`fixtures/keri/events.json`). */
import assert from 'node:assert/strict';
import { argon2Sync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { encodeBody, parseBody } from '#kel/cesr/body';
import { decodeIndexedSignature } from '#kel/cesr/indexer';
import { encodeWithSaid } from '#kel/cesr/said';
import type { BuiltEvent } from '#kel/event/built-event';
import { buildInception, type InceptionInput } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { keyDigest } from '#kel/event/key-digest';
import { parseKeyEvent, receiptedEvent } from '#kel/event/parse';
import { buildRotation } from '#kel/event/rotation';
import { eventSeal, type Seal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { encodeVerificationKey } from '#kel/event/verification-key';
import type { Aid, VerificationKey } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import { LogVerifier } from '#kel/verify/log-verifier';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { concatBytes, utf8 } from '#src/bytes';
import { loadCryptoSuite } from '#src/crypto/suites';

const vectors = JSON.parse(
  readFileSync(new URL('../../fixtures/keri/events.json', import.meta.url), 'utf8'),
);
const { ed25519 } = await loadCryptoSuite();
const verifySignature = createSignatureVerifier(ed25519);

function stretch(saltText: string, path: string) {
  const parameters = {
    message: utf8(path),
    nonce: utf8(saltText),
    parallelism: 1,
    tagLength: 32,
    memory: 8,
    passes: 1,
  };
  const seed = new Uint8Array(argon2Sync('argon2id', parameters));
  return { seed, key: encodeVerificationKey('ed25519', ed25519.publicKey(seed)) };
}

/** The state that a builder needs, as if the event had been accepted. */
function stateOf({ bytes }: BuiltEvent, before: KeyState | undefined): KeyState {
  const event = parseKeyEvent(bytes);
  const { said, sn, kind } = event;
  if (event.type === 'ixn') return { ...(before as KeyState), said, sn, kind };
  return {
    witnesses: [],
    delegator: undefined,
    configTraits: [],
    ...before,
    ...event,
    eventType: event.type,
    establishment: { sn, said },
  };
}

interface EventVector extends Partial<Omit<InceptionInput, 'kind'>> {
  readonly type: string;
  readonly keys: readonly VerificationKey[];
  readonly nextDigests: readonly string[];
  readonly seals: readonly Readonly<Record<string, string>>[];
}

function build(
  vector: EventVector,
  kind: KeyState['kind'],
  prior: KeyState | undefined,
): BuiltEvent {
  const { type, seals } = vector;
  if (type === 'icp' || type === 'dip') return buildInception({ ...vector, kind });
  if (type === 'ixn') {
    const anchors = seals.map((seal): Seal => new Map(Object.entries(seal)));
    return buildInteraction({ prior: prior as KeyState, anchors });
  }
  return buildRotation({ ...vector, prior: prior as KeyState });
}

describe('KERI events, known answers', () => {
  for (const log of vectors.logs) {
    it(`the log ${log.name}`, () => {
      let state: KeyState | undefined;
      for (const vector of log.events) {
        const event = build(vector, log.kind, state);
        assert.equal(event.said, vector.said);
        if (vector.version !== undefined)
          assert.equal(parseBody(event.bytes, 'KERI').fields.get('v'), vector.version);
        if (vector.text !== undefined)
          assert.equal(Buffer.from(event.bytes).toString(), vector.text);
        if (vector.hex !== undefined)
          assert.equal(Buffer.from(event.bytes).toString('hex'), vector.hex);
        state = stateOf(event, state);
        for (const text of vector.signatures ?? []) {
          const { index, raw } = decodeIndexedSignature(text);
          assert.equal(
            verifySignature(state.keys[index] as VerificationKey, raw, event.bytes),
            true,
          );
        }
      }
    });
  }

  for (const { name, kind, fields, version, said } of vectors.single) {
    it(`the event: ${name}`, () => {
      const { bytes } = encodeWithSaid('KERI', kind, fields);
      assert.equal(parseKeyEvent(bytes).said, said);
      assert.equal(parseBody(bytes, 'KERI').fields.get('v'), version);
    });
  }

  it('a delegation: every signature, and both AIDs accepted to the end', () => {
    const { delegator, delegate } = vectors.delegation;
    const bobKey = stretch(delegator.saltText, delegator.inception.key);
    const bob = buildInception({
      kind: 'JSON',
      keys: [bobKey.key],
      nextDigests: [keyDigest(stretch(delegator.saltText, delegator.inception.next).key)],
    });
    const first = stretch(delegate.saltText, delegate.inception.key);
    const second = stretch(delegate.saltText, delegate.rotation.key);
    const dip = buildInception({
      kind: 'JSON',
      keys: [first.key],
      nextDigests: [keyDigest(second.key)],
      delegator: bob.aid,
    });
    const drt = buildRotation({
      prior: stateOf(dip, undefined),
      keys: [second.key],
      nextDigests: [keyDigest(stretch(delegate.saltText, delegate.rotation.next).key)],
    });
    let bobState = stateOf(bob, undefined);
    const approvals = [dip, drt].map((event) => {
      const approval = buildInteraction({ prior: bobState, anchors: [eventSeal(event)] });
      bobState = stateOf(approval, bobState);
      return approval;
    });
    const signed = [
      [bob, bobKey, delegator.inception],
      [dip, first, delegate.inception],
      [approvals[0], bobKey, delegator.approvals[0]],
      [drt, second, delegate.rotation],
      [approvals[1], bobKey, delegator.approvals[1]],
    ] as const;
    const verifier = new LogVerifier(verifySignature);
    for (const [event, { seed, key }, { said, signature }] of signed) {
      assert.equal(event?.said, said);
      const bytes = event?.bytes ?? new Uint8Array();
      const raw = ed25519.sign(bytes, seed);
      if (signature !== undefined) {
        assert.equal(
          Buffer.from(decodeIndexedSignature(signature).raw).toString('hex'),
          Buffer.from(raw).toString('hex'),
        );
        assert.equal(verifySignature(key, raw, bytes), true);
      }
      verifier.feed(encodeSignedEvent(bytes, [{ index: 0, raw }]));
    }
    const { aids, refused, waiting } = verifier.finish();
    assert.deepEqual([refused, waiting], [[], []]);
    assert.deepEqual(
      aids.map(({ aid, sn }) => [aid, sn]),
      [
        [bob.aid, 2],
        [dip.aid, 1],
      ],
    );
    assert.equal(verifier.state(dip.aid)?.delegator, bob.aid);
  });

  it('the inceptions of the partial rotation tests, and the rotation on them', () => {
    for (const { saltText, key, next, nextThreshold, aid } of vectors.partialRotations) {
      const all = next.map((path: string) => stretch(saltText, path)) as ReturnType<
        typeof stretch
      >[];
      const current = stretch(saltText, key);
      const icp = buildInception({
        kind: 'JSON',
        keys: [current.key],
        nextDigests: all.map((each) => keyDigest(each.key)),
        nextThreshold,
      });
      assert.equal(icp.aid, aid);
      const exposed = [1, 3, 4].map((ondex) => ({
        ondex,
        ...(all[ondex] as (typeof all)[number]),
      }));
      const rot = buildRotation({
        prior: stateOf(icp, undefined),
        keys: exposed.map((each) => each.key),
        signingThreshold: '3',
        nextDigests: [keyDigest(current.key)],
      });
      const verifier = new LogVerifier(verifySignature);
      verifier.feed(
        encodeSignedEvent(icp.bytes, [{ index: 0, raw: ed25519.sign(icp.bytes, current.seed) }]),
      );
      const signatures = exposed.map(({ ondex, seed }, index) => ({
        index,
        ondex,
        raw: ed25519.sign(rot.bytes, seed),
      }));
      verifier.feed(encodeSignedEvent(rot.bytes, signatures));
      assert.deepEqual(verifier.finish().refused, []);
      assert.equal(verifier.state(aid as Aid)?.sn, 1);
    }
  });

  it('receipts', () => {
    for (const { kind, aid, sn, said, version, hex } of vectors.receipts) {
      const fields = Object.entries({ t: 'rct', d: said, i: aid, s: sn.toString(16) });
      const bytes = encodeBody('KERI', kind, fields);
      const body = parseBody(bytes, 'KERI');
      assert.equal(body.fields.get('v'), version);
      if (hex !== undefined) assert.equal(Buffer.from(bytes).toString('hex'), hex);
      assert.deepEqual(receiptedEvent(body), { aid, sn, said });
    }
  });

  it('a changed byte anywhere in an event is refused', () => {
    const bytes = Buffer.from(vectors.logs[0].events[0].text);
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      assert.throws(() => parseKeyEvent(changed), { name: 'KelError' }, `byte ${at}`);
    }
    assert.throws(() => parseKeyEvent(concatBytes(bytes, utf8(' '))), { code: 'KEL_BAD_VERSION' });
  });
});
