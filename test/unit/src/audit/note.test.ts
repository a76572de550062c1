import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import { checkpointOfNote, formatCheckpoint, parseCheckpoint } from '#src/audit/checkpoint';
import {
  ed25519NoteSigner,
  formatVerifierKey,
  parseNote,
  parseVerifierKey,
  signNote,
  type VerifierKey,
  verifierKey,
  verifyNote,
} from '#src/audit/note';
import type { CryptoSuite } from '#src/crypto/suite';
import { loadCryptoSuite } from '#src/crypto/suites';

const seed = new Uint8Array(32).fill(1);
const otherSeed = new Uint8Array(32).fill(2);
const root = new Uint8Array(32).fill(9);
const body = formatCheckpoint({ origin: 'log.example/a', size: 12, root });
let suite: CryptoSuite;
let key: VerifierKey;

before(async () => {
  suite = await loadCryptoSuite();
  key = verifierKey('log.example/a', suite.ed25519.publicKey(seed));
});

const code = (expected: string) => (error: unknown) =>
  (error as { code?: string }).code === expected;
const signer = (name: string, from: Uint8Array) => ed25519NoteSigner(suite.ed25519, name, from);

describe('signed note', () => {
  it('verifies with any known key and ignores signatures of others', async () => {
    const note = await signNote(body, [
      signer('log.example/a', seed),
      signer('witness', otherSeed),
    ]);
    assert.deepEqual(verifyNote(parseNote(note), [key], suite.ed25519), [key]);
    assert.equal(checkpointOfNote(note).size, 12);
  });

  it('fails when no known key signed', async () => {
    const note = await signNote(body, [signer('witness', otherSeed)]);
    assert.throws(
      () => verifyNote(parseNote(note), [key], suite.ed25519),
      code('AUDIT_NO_SIGNATURE'),
    );
  });

  it('fails when the signature of a known key does not fit the text', async () => {
    const note = await signNote(body, [signer('log.example/a', seed)]);
    const changed = note.replace('\n12\n', '\n13\n');
    assert.throws(
      () => verifyNote(parseNote(changed), [key], suite.ed25519),
      code('AUDIT_BAD_SIGNATURE'),
    );
  });

  const line = `\u2014 a ${'AAAAAAA='}\n`;
  for (const [why, note] of [
    ['an empty note', ''],
    ['no signature block', 'text\n'],
    ['an empty signature block', 'text\n\n'],
    ['no final line feed', `text\n\n${line.trimEnd()}`],
    ['a carriage return', `te\rxt\n\n${line}`],
    ['half a surrogate pair', `te\ud800xt\n\n${line}`],
    ['a hyphen in place of the em dash', `text\n\n- a AAAAAAA=\n`],
    ['a plus in the key name', `text\n\n\u2014 a+b AAAAAAA=\n`],
    ['two spaces', `text\n\n\u2014 a  AAAAAAA=\n`],
    ['a signature without bytes', `text\n\n\u2014 a AAAAAA==\n`],
    ['base64 without padding', `text\n\n\u2014 a AAAAAAA\n`],
    ['base64 with stray bits', `text\n\n\u2014 a AAAAAAB=\n`],
    ['two signatures of one key', `text\n\n${line}${line}`],
    [
      '101 signatures',
      `text\n\n${Array.from({ length: 101 }, (_, i) => `\u2014 a${i} AAAAAAA=\n`).join('')}`,
    ],
    ['more than a megabyte', `${'x'.repeat(1_000_001)}\n\n${line}`],
  ] as const) {
    it(`refuses ${why}`, () => {
      assert.throws(() => parseNote(note), code('AUDIT_BAD_NOTE'));
    });
  }
});

describe('verifier key string', () => {
  it('refuses another hash, another type, another length and text around it', () => {
    const text = formatVerifierKey(key);
    assert.deepEqual(formatVerifierKey(parseVerifierKey(text)), text);
    const [name, , encoded] = text.split('+') as [string, string, string];
    for (const bad of [
      `${name}+00000000+${encoded}`,
      text.replace('+A', '+B'),
      `${text.slice(0, -4)}`,
      ` ${text}`,
      `${text}\n`,
      text.replace('log', 'lo g'),
    ]) {
      assert.throws(() => parseVerifierKey(bad), code('AUDIT_BAD_KEY'), bad);
    }
  });
});

describe('checkpoint body', () => {
  for (const [why, text] of [
    ['an extension line', `${body}more\n`],
    ['a leading zero', body.replace('\n12', '\n012')],
    ['a sign', body.replace('\n12', '\n+12')],
    ['a size above 2^53 - 1', body.replace('\n12', '\n9007199254740992')],
    ['a root of 31 bytes', `o\n1\n${new Uint8Array(31).toBase64()}\n`],
    ['no origin', body.replace('log.example/a', '')],
    ['no final line feed', body.slice(0, -1)],
  ] as const) {
    it(`refuses ${why}`, () => {
      assert.throws(() => parseCheckpoint(text), code('AUDIT_BAD_CHECKPOINT'));
    });
  }
});
