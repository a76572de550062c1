/** Published vectors: RFC 6962 tree hashes of the Certificate Transparency test leaves, C2SP signed-note example. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import {
  completeSubtrees,
  emptyRoot,
  foldSubtrees,
  inclusionRanges,
  leafHash,
  subtreeRoot,
  verifyConsistency,
  verifyInclusion,
} from '#src/audit/merkle';
import {
  ed25519NoteSigner,
  formatVerifierKey,
  parseNote,
  parseVerifierKey,
  signNote,
  verifyNote,
} from '#src/audit/note';
import { tilePath } from '#src/audit/tile';
import type { CryptoSuite } from '#src/crypto/suite';
import { loadCryptoSuite } from '#src/crypto/suites';

const leaves = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
].map((hex) => Uint8Array.fromHex(hex));
const roots = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

function rangeRoot(start: number, end: number): Uint8Array {
  return foldSubtrees(
    completeSubtrees({ start, end }).map(({ level, index }) =>
      subtreeRoot(leaves.slice(index * 2 ** level, (index + 1) * 2 ** level).map(leafHash)),
    ),
  );
}

describe('RFC 6962 tree hashes', () => {
  it('gives the published roots of 0 to 8 leaves', () => {
    assert.equal(emptyRoot().toHex(), roots[0]);
    for (let size = 0; size <= 8; size++) assert.equal(rangeRoot(0, size).toHex(), roots[size]);
  });

  it('gives the published inclusion path of leaf 5 of 8', () => {
    const path = inclusionRanges(5, 8).map(({ start, end }) => rangeRoot(start, end).toHex());
    assert.deepEqual(path, [
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ]);
  });

  it('accepts the published consistency proof of sizes 6 and 8 and no shorter one', () => {
    const proof = [
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ].map((hex) => Uint8Array.fromHex(hex));
    const [six, eight] = [roots[6], roots[8]].map((hex) => Uint8Array.fromHex(hex as string));
    assert.ok(six !== undefined && eight !== undefined);
    assert.equal(verifyConsistency(6, 8, six, eight, proof), true);
    assert.equal(verifyConsistency(6, 8, six, eight, proof.slice(1)), false);
    assert.equal(verifyConsistency(6, 8, eight, six, proof), false);
    assert.equal(verifyInclusion(leafHash(leaves[0] as Uint8Array), 0, 8, proof, eight), false);
  });
});

describe('C2SP signed-note', () => {
  const vkey = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
  const seed = Uint8Array.fromBase64('gQoUAtUUbI2E8kQzMPVAgOv5juF9nHT2JS/F1ccoMXM=');
  const text =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
  const note = `${text}\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`;
  let suite: CryptoSuite;
  before(async () => {
    suite = await loadCryptoSuite();
  });

  it('verifies the example of the specification', () => {
    const key = parseVerifierKey(vkey);
    assert.equal(formatVerifierKey(key), vkey);
    assert.deepEqual(verifyNote(parseNote(note), [key], suite.ed25519), [key]);
  });

  it('signs the example to the same bytes', async () => {
    const signer = ed25519NoteSigner(suite.ed25519, 'PeterNeumann', seed);
    assert.equal(await signNote(text, [signer]), note);
  });
});

describe('C2SP tlog-tiles paths', () => {
  it('groups the index by three digits', () => {
    assert.equal(tilePath(0, 1234067), 'tile/0/x001/x234/067');
    assert.equal(tilePath('entries', 0), 'tile/entries/000');
    assert.equal(tilePath(1, 1000), 'tile/1/x001/000');
  });
});
