import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  type Counted,
  type EndSeen,
  type Signature,
  signatureOf,
  signatures,
} from '#agent/tunnel/path/signature';

const counted = (rx: number, tx: number, more: Partial<Counted> = {}): Counted => ({
  handshakeAge: undefined,
  rx,
  tx,
  hasEndpoint: true,
  ...more,
});
const end = (own: string, peer: string, of: Counted | undefined, psk = 'th 7'): EndSeen => ({
  own,
  peer,
  presharedKey: psk,
  counted: of,
});
const here = (of: Counted | undefined, psk?: string) => end('a', 'b', of, psk);
const there = (of: Counted | undefined, psk?: string) => end('b', 'a', of, psk);
const fresh = { handshakeAge: 20_000 };

describe('the signature of a tunnel that passes nothing', () => {
  /** Bytes as two devices counted them in 12 s: 148 for each try, 92 for each answer. */
  const rows: readonly [
    string,
    EndSeen,
    EndSeen | undefined,
    boolean | undefined,
    Signature | undefined,
  ][] = [
    [
      'all is well',
      here(counted(800, 900, fresh)),
      there(counted(900, 800, fresh)),
      true,
      undefined,
    ],
    ['nobody can say', here(counted(800, 900, fresh)), undefined, undefined, undefined],
    [
      'another epoch',
      here(counted(0, 296)),
      there(counted(296, 184), 'th 8'),
      undefined,
      'psk-mismatch',
    ],
    [
      'another agreement, seen from the end that answers',
      here(counted(296, 184)),
      there(counted(0, 296), 'ht 7'),
      undefined,
      'psk-mismatch',
    ],
    [
      'the answers get lost',
      here(counted(0, 296)),
      there(counted(296, 184)),
      undefined,
      'reply-blocked',
    ],
    [
      'the own answers get lost',
      here(counted(296, 184)),
      there(counted(0, 296)),
      undefined,
      'own-reply-blocked',
    ],
    [
      'nothing arrives there',
      here(counted(0, 296)),
      there(counted(0, 0, { hasEndpoint: false })),
      undefined,
      'udp-blocked',
    ],
    [
      'the other end does not have this one',
      here(counted(0, 296)),
      there(undefined),
      undefined,
      'key-unknown-there',
    ],
    [
      'it goes by a former key of this end',
      here(counted(0, 296)),
      end('b', 'a0', counted(0, 0)),
      undefined,
      'key-unknown-there',
    ],
    [
      'this end goes by a former key of it',
      end('a', 'b0', counted(0, 296)),
      there(counted(0, 0)),
      undefined,
      'key-outdated-here',
    ],
    [
      'packets arrive and are dropped',
      here(counted(64, 9_000, fresh)),
      there(counted(9_000, 64, fresh)),
      false,
      'allowed-ips-wrong',
    ],
    [
      'packets do not arrive, within the life of the session',
      here(counted(0, 9_000, fresh)),
      there(counted(0, 0, fresh)),
      false,
      undefined,
    ],
    [
      'no end knows where the other is',
      here(counted(0, 0, { hasEndpoint: false })),
      there(counted(0, 0, { hasEndpoint: false })),
      undefined,
      'no-endpoint',
    ],
    [
      'the same, and the other end is not asked',
      here(counted(0, 0, { hasEndpoint: false })),
      undefined,
      undefined,
      'no-endpoint',
    ],
    [
      'it does not answer, and this end waits to be called',
      here(counted(0, 0)),
      undefined,
      undefined,
      undefined,
    ],
    ['it tries, and one end alone is seen', here(counted(0, 296)), undefined, undefined, undefined],
    ['there is no device yet', here(undefined), there(counted(0, 0)), undefined, undefined],
    [
      'both begin at one moment',
      here(counted(148, 148)),
      there(counted(148, 148)),
      undefined,
      undefined,
    ],
    [
      'the session has ended, and nothing arrives',
      here(counted(0, 296, { handshakeAge: 200_000 })),
      there(counted(0, 0)),
      false,
      'udp-blocked',
    ],
  ];
  for (const [what, near, far, isAnswered, expected] of rows)
    it(`${expected ?? 'none'}: ${what}`, () => {
      assert.equal(signatureOf(near, far, isAnswered), expected);
    });

  it('has a row for each', () => {
    const seen = new Set(rows.map(([, , , , signature]) => signature));
    assert.deepEqual(
      signatures.filter((signature) => !seen.has(signature)),
      [],
    );
  });
});
