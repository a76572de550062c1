import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  encodeContents,
  type FormerState,
  parseContents,
} from '#agent/organisation/state/former-state';
import { MARK } from '../../../../support/kit/state-dirs.ts';

const sample: FormerState = {
  format: 1,
  at: '2026-11-30T20:47:46.410Z',
  mark: MARK,
  files: [
    { path: 'keys.sealed', bytes: 7, digest: 'ab'.repeat(32) },
    { path: 'store/000005.ldb', bytes: 0, digest: null },
  ],
};
const json = JSON.parse(Buffer.from(encodeContents(sample)).toString());
const parse = (value: unknown) => parseContents(Buffer.from(JSON.stringify(value)));

describe('the contents of a backup', () => {
  it('are read as they were written', () => {
    assert.deepEqual(parse(json), sample);
    const bare = { ...sample, mark: { head: null, pending: null, receipted: [] }, files: [] };
    assert.deepEqual(parseContents(encodeContents(bare)), bare);
  });

  const file = (change: object) => ({ ...json, files: [{ ...json.files[0], ...change }] });
  const bad: Readonly<Record<string, unknown>> = {
    'no object': 7,
    'of another schema': { ...json, schema: 'kelmesh.former-state/2' },
    'with more than is known': { ...json, more: 1 },
    'without a mark': { ...json, mark: null },
    'with a head that is none': { ...json, mark: { ...json.mark, head: { sn: 1 } } },
    'with a receipt that is none': { ...json, mark: { ...json.mark, receipted: [null] } },
    'with a path that leads out': file({ path: 'store/../../etc/passwd' }),
    'with a path of no part': file({ path: 'secret' }),
    'with an absolute path': file({ path: '/store/x' }),
    'with a length below nothing': file({ bytes: -1 }),
    'with half a digest': file({ digest: 'ab' }),
  };
  for (const [what, value] of Object.entries(bad))
    it(`are refused ${what}`, () => assert.equal(parse(value), undefined));

  it('are refused or the same bytes when any byte is another', () => {
    const bytes = encodeContents(sample);
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => {
        const changed = Uint8Array.from(bytes);
        changed[at] = byte;
        let read: FormerState | undefined;
        try {
          read = parseContents(changed);
        } catch (error) {
          assert.ok(error instanceof SyntaxError);
        }
        if (read !== undefined) assert.deepEqual(encodeContents(read), changed);
      }),
    );
  });
});
