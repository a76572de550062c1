import assert from 'node:assert/strict';
import { deserialize, serialize } from 'node:v8';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  isResult,
  type KeyStoreRequest,
  parseReply,
  parseRequest,
} from '#src/keystore/process/protocol';

const bytes = (minLength: number, maxLength = minLength) => fc.uint8Array({ minLength, maxLength });
const text = fc.string({ minLength: 1, maxLength: 40 });
const id = bytes(16);

const request: fc.Arbitrary<KeyStoreRequest> = fc.oneof(
  record({ op: fc.constantFrom('open', 'initialise'), module: text, tokenLabel: text }),
  record({ op: fc.constant('openFile'), path: text }),
  record({
    op: fc.constant('createFile'),
    path: text,
    cost: record({ memory: fc.nat(), passes: fc.nat(), lanes: fc.nat() }),
  }),
  record({ op: fc.constant('backUp'), ids: fc.array(bytes(16), { maxLength: 4 }), path: text }),
  record({
    op: fc.constant('generateSigningKey'),
    algorithm: fc.constantFrom('ed25519', 'p256', undefined),
  }),
  record({ op: fc.constantFrom('signingKey', 'destroy'), id }),
  record({ op: fc.constant('sign'), id, message: bytes(1, 100) }),
  record({
    op: fc.constant('prf'),
    id,
    label: bytes(0, 50),
    length: fc.integer({ min: 1, max: 8160 }),
  }),
  record({ op: fc.constantFrom('generateRoot', 'list', 'close') }),
) as fc.Arbitrary<KeyStoreRequest>;

function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

describe('key process protocol', () => {
  it('a request arrives as it was sent', () => {
    fc.assert(
      fc.property(request, (sent) => {
        assert.deepEqual(parseRequest(deserialize(serialize(sent))), sent);
      }),
    );
  });

  it('anything else is no request and no reply, and drops what it does not know', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        assert.equal(parseRequest(value), undefined);
        assert.equal(parseReply(value), undefined);
      }),
    );
    assert.deepEqual(parseRequest({ op: 'list', pin: 'x' }), { op: 'list' });
  });

  it('a request with one field missing or of another type is none', () => {
    fc.assert(
      fc.property(
        request,
        fc.nat(),
        fc.constantFrom<unknown>(undefined, null, 7, '', {}),
        (sent, which, other) => {
          const fields = Object.keys(sent).filter((name) => name !== 'algorithm');
          const changed: Record<string, unknown> = {
            ...sent,
            [fields[which % fields.length] as string]: other,
          };
          if ('length' in changed && changed['length'] === 7) return;
          assert.equal(parseRequest(changed), undefined);
        },
      ),
    );
  });

  it('keeps the bounds of lengths', () => {
    const id16 = new Uint8Array(16);
    for (const bad of [
      { op: 'sign', id: new Uint8Array(15), message: id16 },
      { op: 'sign', id: id16, message: new Uint8Array(0) },
      { op: 'sign', id: id16, message: new Uint8Array((1 << 20) + 1) },
      { op: 'prf', id: id16, label: new Uint8Array((1 << 16) + 1), length: 1 },
      { op: 'prf', id: id16, label: id16, length: 0 },
      { op: 'prf', id: id16, label: id16, length: 8161 },
      { op: 'open', module: '', tokenLabel: 't' },
      { op: 'open', module: 'm', tokenLabel: 't'.repeat(4_097) },
      { op: 'openFile', path: '' },
      { op: 'backUp', ids: [new Uint8Array(15)], path: 'p' },
      { op: 'createFile', path: 'p', cost: { memory: 8, passes: 1 } },
    ]) {
      assert.equal(parseRequest(bad), undefined);
    }
  });

  it('a failure has a code of the table', () => {
    const failure = { code: 'KEYSTORE_FULL', message: 'full', recovery: 'none' };
    assert.deepEqual(parseReply({ ok: false, failure }), { ok: false, failure });
    for (const bad of [
      { code: 'KEYSTORE_X' },
      { code: 'toString' },
      { message: 1 },
      { recovery: 'panic' },
    ]) {
      assert.equal(parseReply({ ok: false, failure: { ...failure, ...bad } }), undefined);
    }
  });

  it('a result must have the form and the length that was asked for', () => {
    const prf: KeyStoreRequest = {
      op: 'prf',
      id: new Uint8Array(16),
      label: new Uint8Array(1),
      length: 32,
    };
    assert.ok(isResult.prf(new Uint8Array(32), prf));
    assert.ok(!isResult.prf(new Uint8Array(31), prf));
    assert.ok(!isResult.sign(new Uint8Array(63), { op: 'list' }));
    const entry = { id: new Uint8Array(16), kind: 'root', algorithm: undefined };
    assert.ok(isResult.list([entry], { op: 'list' }));
    assert.ok(!isResult.list([{ ...entry, algorithm: 'p256' }], { op: 'list' }));
    assert.ok(!isResult.list([{ ...entry, kind: 'signing' }], { op: 'list' }));
    const key = { id: new Uint8Array(16), algorithm: 'p256', publicKey: new Uint8Array(33) };
    assert.ok(isResult.signingKey(key, { op: 'list' }));
    assert.ok(!isResult.signingKey({ ...key, algorithm: 'ed25519' }, { op: 'list' }));
  });
});
