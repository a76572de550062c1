import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Agreement, AgreementEnds, LocalEnd } from '#agent/tunnel/agreement/agreement';
import { presharedKey } from '#agent/tunnel/agreement/chain';
import { AgreementError } from '#agent/tunnel/agreement/errors';
import { Initiator, Responder } from '#agent/tunnel/agreement/machine';
import {
  decodeMessage1,
  decodeMessage2,
  decodeMessage3,
  encodeMessage1,
  encodeMessage2,
  encodeMessage3,
} from '#agent/tunnel/agreement/messages';
import type { AgreementPolicy } from '#agent/tunnel/agreement/policy';
import type { Aid, Said } from '#kel/identifiers';
import { hmacSha256 } from '#src/crypto/hash';
import { pairMacLabel } from '#src/crypto/labels';
import type { CryptoSuite } from '#src/crypto/suite';
import { Secret } from '#src/secret';
import {
  a,
  aView,
  b,
  bView,
  depsOf,
  makeEnd,
  mesh,
  policy,
  suites,
  verifySignature,
} from '../../../../support/kit/agreements.ts';

interface Setup {
  readonly view?: AgreementEnds;
  readonly policy?: AgreementPolicy;
  readonly seed?: string;
  readonly suite?: CryptoSuite;
}

function initiator(setup: Setup = {}): Initiator {
  return new Initiator(
    depsOf(setup.seed ?? 'i', setup.suite),
    setup.view ?? aView,
    setup.policy ?? policy,
  );
}

function responder(setup: Setup = {}): Responder {
  return new Responder(
    depsOf(setup.seed ?? 'r', setup.suite),
    setup.view ?? bView,
    setup.policy ?? policy,
  );
}

async function agree(i: Initiator, r: Responder): Promise<readonly [Agreement, Agreement]> {
  const message2 = await r.receive1(i.start());
  const { message3, agreement } = await i.receive2(message2);
  return [agreement, await r.receive3(message3)];
}

const code = (expected: string) => ({ code: expected });
const hex = (secret: Secret) => Buffer.from(secret.expose()).toString('hex');

describe('pair agreement', () => {
  for (const [one, other] of [
    [0, 0],
    [1, 1],
    [0, 1],
    [1, 0],
  ] as const) {
    const [left, right] = [suites[one] as CryptoSuite, suites[other] as CryptoSuite];
    it(`gives both ends the same chain (${left.name} with ${right.name})`, async () => {
      const [ours, theirs] = await agree(initiator({ suite: left }), responder({ suite: right }));
      assert.ok(ours.chain.equals(theirs.chain));
      assert.deepEqual(ours.th, theirs.th);
      assert.equal(hex(presharedKey(ours.chain)), hex(presharedKey(theirs.chain)));
      assert.deepEqual({ ...ours, chain: 0 }, { ...theirs, chain: 0 });
    });
  }

  it('gives another key in each session', async () => {
    const [first] = await agree(initiator(), responder());
    const [second] = await agree(initiator({ seed: 'i2' }), responder());
    const [third] = await agree(initiator(), responder());
    assert.equal(new Set([first, second, third].map((agreement) => hex(agreement.chain))).size, 3);
  });

  it('names both ends, their states and the policy', async () => {
    const [agreement] = await agree(initiator(), responder());
    assert.equal(agreement.th.length, 32);
    assert.deepEqual(agreement.pair, {
      mesh,
      initiator: {
        aid: a.local.aid,
        establishment: a.local.establishment,
        tunnelRecord: a.local.tunnelRecord,
      },
      responder: {
        aid: b.local.aid,
        establishment: b.local.establishment,
        tunnelRecord: b.local.tunnelRecord,
      },
    });
    assert.equal(agreement.baseEpoch, policy.baseEpoch);
    assert.equal(agreement.epochSeconds, policy.epochSeconds);
  });

  it('works with a signing threshold of several keys, and refuses fewer signatures', async () => {
    const three = makeEnd('c', 3, 2);
    const withSigners = (indexes: readonly number[]): LocalEnd => ({
      ...three.local,
      sign: async (message) =>
        (await three.local.sign(message)).filter(({ index }) => indexes.includes(index)),
    });
    const run = (local: LocalEnd) =>
      agree(
        initiator({ view: { mesh, local: a.local, peer: three.peer } }),
        responder({ view: { mesh, local, peer: a.peer } }),
      );
    const [ours, theirs] = await run(withSigners([0, 2]));
    assert.ok(ours.chain.equals(theirs.chain));
    await assert.rejects(run(withSigners([1])), code('AGREEMENT_OWN_SIGNATURE'));
    await assert.rejects(
      run({ ...withSigners([1]), signingThreshold: '1' }),
      code('AGREEMENT_BAD_SIGNATURE'),
    );
  });

  it('leaves the ML-KEM seed of the record to its owner', async () => {
    await agree(initiator(), responder());
    assert.ok(a.local.mlKemSeed.expose().some((byte) => byte !== 0));
  });
});

describe('pair agreement: roles and order', () => {
  it('lets only the lower AID initiate', () => {
    assert.throws(() => initiator({ view: bView }), code('AGREEMENT_WRONG_ROLE'));
    assert.throws(() => responder({ view: aView }), code('AGREEMENT_WRONG_ROLE'));
    assert.throws(
      () => initiator({ view: { mesh, local: a.local, peer: a.peer } }),
      code('AGREEMENT_WRONG_ROLE'),
    );
  });

  it('refuses every step out of order and stays closed', async () => {
    const message2 = await responder().receive1(initiator().start());
    const early = initiator();
    await assert.rejects(early.receive2(message2), code('AGREEMENT_WRONG_STATE'));
    assert.throws(() => early.start(), code('AGREEMENT_WRONG_STATE'));

    const twice = initiator();
    twice.start();
    assert.throws(() => twice.start(), code('AGREEMENT_WRONG_STATE'));
    await assert.rejects(twice.receive2(message2), code('AGREEMENT_WRONG_STATE'));

    const r = responder();
    await assert.rejects(r.receive3(message2), code('AGREEMENT_WRONG_STATE'));
    await assert.rejects(r.receive1(initiator().start()), code('AGREEMENT_WRONG_STATE'));
  });

  it('does not go on when it was disposed of while the token signed', async () => {
    let release: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow: LocalEnd = {
      ...b.local,
      sign: async (message) => {
        await gate;
        return b.local.sign(message);
      },
    };
    const r = responder({ view: { ...bView, local: slow } });
    const pending = r.receive1(initiator().start());
    r[Symbol.dispose]();
    release();
    await assert.rejects(pending, code('AGREEMENT_WRONG_STATE'));
  });

  it('fails with the error of the token and stays closed', async () => {
    const failure = new Error('token removed');
    const r = responder({
      view: { ...bView, local: { ...b.local, sign: () => Promise.reject(failure) } },
    });
    await assert.rejects(r.receive1(initiator().start()), failure);
    await assert.rejects(r.receive3(new Uint8Array(2)), code('AGREEMENT_WRONG_STATE'));
  });
});

describe('pair agreement: changed messages', () => {
  const lengths = { 1: 3182, 2: 3287, 3: 107 } as const;

  /** A whole run in which the path flips one bit of one message. @returns the ends that confirmed */
  async function runWithFlip(number: 1 | 2 | 3, at: number): Promise<readonly string[]> {
    const confirmed: string[] = [];
    const carry = (message: Uint8Array, which: 1 | 2 | 3) => {
      assert.equal(message.length, lengths[which]);
      if (which === number) message[at] = (message[at] as number) ^ (1 << (at % 8));
      return message;
    };
    const i = initiator();
    const r = responder();
    try {
      const message2 = await r.receive1(carry(i.start().slice(), 1));
      const { message3 } = await i.receive2(carry(message2.slice(), 2));
      confirmed.push('initiator');
      await r.receive3(carry(message3.slice(), 3));
      confirmed.push('responder');
    } catch (error) {
      assert.ok(error instanceof AgreementError, `${error}`);
    }
    return confirmed;
  }

  it('both ends confirm when nothing is changed (control)', async () => {
    assert.deepEqual(await runWithFlip(1, lengths[1] + 1), ['initiator', 'responder']);
  });

  for (const [number, expected] of [
    [1, []],
    [2, []],
    [3, ['initiator']],
  ] as const) {
    it(`the receiver of message ${number} ${number === 1 ? 'and its sender do' : 'does'} not confirm when one bit of it differs`, async () => {
      const step = number === 3 ? 1 : 61;
      for (let at = 0; at < lengths[number]; at += at < 48 ? 1 : step) {
        assert.deepEqual(await runWithFlip(number, at), expected, `bit ${at % 8} of byte ${at}`);
      }
    });
  }

  it('refuses a shortened and a lengthened message', async () => {
    for (const resize of [
      (bytes: Uint8Array) => bytes.subarray(0, -1),
      (bytes: Uint8Array) => Uint8Array.of(...bytes, 0),
    ]) {
      await assert.rejects(
        responder().receive1(resize(initiator().start())),
        code('AGREEMENT_BAD_MESSAGE'),
      );
      const i = initiator();
      await assert.rejects(
        i.receive2(resize(await responder().receive1(i.start()))),
        code('AGREEMENT_BAD_MESSAGE'),
      );
    }
  });

  it('refuses X25519 points of small order', async () => {
    const orderEight = Buffer.from(
      'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
      'hex',
    );
    for (const point of [new Uint8Array(32), Uint8Array.of(1, ...new Uint8Array(31)), orderEight]) {
      const message1 = { ...decodeMessage1(initiator().start()), x25519: point };
      await assert.rejects(
        responder().receive1(encodeMessage1(message1)),
        code('AGREEMENT_BAD_KEY'),
      );
      const i = initiator();
      const message2 = { ...decodeMessage2(await responder().receive1(i.start())), x25519: point };
      await assert.rejects(i.receive2(encodeMessage2(message2)), code('AGREEMENT_BAD_KEY'));
    }
  });

  it('refuses an ephemeral ML-KEM key with a coefficient out of range', async () => {
    const message1 = {
      ...decodeMessage1(initiator().start()),
      ephemeralKem: new Uint8Array(1568).fill(255),
    };
    await assert.rejects(responder().receive1(encodeMessage1(message1)), code('AGREEMENT_BAD_KEY'));
  });

  it('refuses an unknown signature index, a wrong signature and a wrong MAC', async () => {
    const change = async (
      alter: (
        message: ReturnType<typeof decodeMessage2>,
      ) => Partial<ReturnType<typeof decodeMessage2>>,
    ) => {
      const i = initiator();
      const message2 = decodeMessage2(await responder().receive1(i.start()));
      await i.receive2(encodeMessage2({ ...message2, ...alter(message2) }));
    };
    const unknown = change(({ signatures }) => ({
      signatures: signatures.map(({ raw }) => ({ index: 1, raw })),
    }));
    await assert.rejects(unknown, code('AGREEMENT_BAD_SIGNATURE'));
    await assert.rejects(
      change(() => ({ signatures: [{ index: 0, raw: new Uint8Array(64) }] })),
      code('AGREEMENT_BAD_SIGNATURE'),
    );
    await assert.rejects(
      change(() => ({ mac: new Uint8Array(32) })),
      code('AGREEMENT_BAD_MAC'),
    );
  });
});

describe('pair agreement: attacks', () => {
  const said = (letter: string) => `E${letter.repeat(43)}` as Said;
  const altered: Readonly<Record<string, { view?: AgreementEnds; policy?: AgreementPolicy }>> = {
    'another mesh': { view: { ...bView, mesh: said('x') } },
    'another establishment sn of the peer': {
      view: { ...bView, peer: { ...a.peer, establishment: { ...a.peer.establishment, sn: 4 } } },
    },
    'another establishment SAID of the peer': {
      view: { ...bView, peer: { ...a.peer, establishment: { sn: 3, said: said('x') } } },
    },
    'another establishment of the own end': {
      view: { ...bView, local: { ...b.local, establishment: { sn: 3, said: said('x') } } },
    },
    'another tun record of the peer': {
      view: { ...bView, peer: { ...a.peer, tunnelRecord: said('x') } },
    },
    'another tun record of the own end': {
      view: { ...bView, local: { ...b.local, tunnelRecord: said('x') } },
    },
    'another AID of the peer': {
      view: { ...bView, peer: { ...a.peer, aid: said('A') as unknown as Aid } },
    },
    'another ML-KEM key of the peer': {
      view: { ...bView, peer: { ...a.peer, mlKemPublicKey: b.peer.mlKemPublicKey } },
    },
    'another own ML-KEM key': {
      view: { ...bView, local: { ...b.local, mlKemSeed: new Secret(new Uint8Array(64).fill(7)) } },
    },
    'another epoch length': { policy: { ...policy, epochSeconds: 1800 } },
    'another base epoch': { policy: { ...policy, baseEpoch: policy.baseEpoch + 1 } },
  };
  for (const [name, setup] of Object.entries(altered)) {
    it(`ends without agreement on both sides: ${name}`, async () => {
      const i = initiator();
      const r = responder(setup);
      const message2 = await r.receive1(i.start());
      await assert.rejects(i.receive2(message2), AgreementError);
      // The initiator never made message 3; nothing else that it sent is taken for one.
      await assert.rejects(r.receive3(message2), code('AGREEMENT_BAD_MESSAGE'));
    });
  }

  it('does not let a third identity pass for the peer (unknown key share)', async () => {
    const c = makeEnd('c');
    const i = initiator();
    const toB = i.start();
    // C relays A's message 1 to B as its own: B takes part with C, and its answer is no answer to A.
    const r = responder({
      view: {
        mesh,
        local: b.local,
        peer: { ...a.peer, ...c.peer, aid: said('A') as unknown as Aid },
      },
    });
    await assert.rejects(i.receive2(await r.receive1(toB)), code('AGREEMENT_BAD_SIGNATURE'));
    // C answers A in B's place with its own keys.
    const impostor = responder({
      view: {
        mesh,
        local: {
          ...c.local,
          aid: b.local.aid,
          establishment: b.local.establishment,
          tunnelRecord: b.local.tunnelRecord,
        },
        peer: a.peer,
      },
    });
    const again = initiator();
    await assert.rejects(
      again.receive2(await impostor.receive1(again.start())),
      code('AGREEMENT_BAD_SIGNATURE'),
    );
  });

  it('needs the key besides the signature: another holder of the KEL keys alone fails', async () => {
    const other = { ...b.local, mlKemSeed: new Secret(new Uint8Array(64).fill(1)) };
    const i = initiator();
    const message2 = await responder({ view: { ...bView, local: other } }).receive1(i.start());
    await assert.rejects(i.receive2(message2), code('AGREEMENT_BAD_MAC'));
  });

  it('refuses its own messages back (reflection)', async () => {
    const i = initiator();
    const message1 = i.start();
    await assert.rejects(i.receive2(message1), code('AGREEMENT_BAD_MESSAGE'));
    const r = responder();
    const message2 = await r.receive1(message1);
    await assert.rejects(r.receive3(message2), code('AGREEMENT_BAD_MESSAGE'));
    // Also as message 3: the responder's signature and MAC stand under the responder's label.
    const mirrored = responder();
    const own = decodeMessage2(await mirrored.receive1(message1));
    await assert.rejects(mirrored.receive3(encodeMessage3(own)), code('AGREEMENT_BAD_SIGNATURE'));
    // Even towards a peer that has the same keys.
    const twin = responder({ view: { ...bView, peer: { ...a.peer, keys: b.local.keys } } });
    const answer = decodeMessage2(await twin.receive1(message1));
    await assert.rejects(twin.receive3(encodeMessage3(answer)), code('AGREEMENT_BAD_SIGNATURE'));
  });

  it('takes a replayed message 1 nowhere: its sender never confirms', async () => {
    const i = initiator();
    const message1 = i.start();
    const first = responder({ seed: 'r1' });
    const { message3 } = await i.receive2(await first.receive1(message1));
    await first.receive3(message3);
    const second = responder({ seed: 'r2' });
    await second.receive1(message1);
    await assert.rejects(second.receive3(message3), code('AGREEMENT_BAD_SIGNATURE'));
  });

  it('refuses message 2 of another session', async () => {
    const one = initiator({ seed: 'i1' });
    const other = initiator({ seed: 'i2' });
    other.start();
    const message2 = await responder().receive1(one.start());
    await assert.rejects(other.receive2(message2), code('AGREEMENT_BAD_SIGNATURE'));
  });

  it('refuses a right signature with the MAC of another label', async () => {
    const i = initiator();
    const r = responder();
    const { message3 } = await i.receive2(await r.receive1(i.start()));
    const wrong = {
      ...decodeMessage3(message3),
      mac: hmacSha256(new Uint8Array(32), pairMacLabel('initiator')),
    };
    await assert.rejects(r.receive3(encodeMessage3(wrong)), code('AGREEMENT_BAD_MAC'));
  });

  it('refuses an index outside the key list whatever the verifier thinks of it', async () => {
    const careless = { ...depsOf('i'), verifySignature: () => true };
    const i = new Initiator(careless, aView, policy);
    const message2 = decodeMessage2(await responder().receive1(i.start()));
    const signatures = message2.signatures.map(({ raw }) => ({ index: 1, raw }));
    await assert.rejects(
      i.receive2(encodeMessage2({ ...message2, signatures })),
      code('AGREEMENT_BAD_SIGNATURE'),
    );
  });

  it('does not send signatures that do not satisfy the own log', async () => {
    const deps = { ...depsOf('r'), verifySignature: () => false };
    const r = new Responder(deps, bView, policy);
    await assert.rejects(r.receive1(initiator().start()), code('AGREEMENT_OWN_SIGNATURE'));
    assert.equal(verifySignature(b.local.keys, '1', new Uint8Array(1), []), false);
  });
});
