import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { sealLong } from '#src/rosenpass/aead';
import { cookieKey, withCookie } from '#src/rosenpass/cookie';
import { hashDomains } from '#src/rosenpass/hash-domains';
import {
  authenticatedPart,
  formatMessage,
  macOf,
  parseMessage,
  type RespHello,
} from '#src/rosenpass/messages';
import { hashPublicKey, macFor } from '#src/rosenpass/public-key-hashes';
import { Secret } from '#src/secret';
import { SeededRng } from '../../../support/doubles/seeded-rng.ts';
import {
  addressOf,
  handshake,
  machineOptions,
  RosenpassEnd,
  rosenpassKeys,
  rosenpassPair,
} from '../../../support/kit/rosenpass-pair.ts';

const SECOND = 1_000;
const [keysA, keysB] = rosenpassKeys();
/** A poll at each moment at which one is due, until `end`; what is sent goes to `deliver`. */
function runUntil(
  end: RosenpassEnd,
  now: number,
  until: number,
  deliver: (datagram: Uint8Array, now: number) => void,
): void {
  for (let at = end.machine.wakeAt(); at <= until; at = end.machine.wakeAt())
    for (const datagram of end.poll(Math.max(at, now))) deliver(datagram, Math.max(at, now));
}

describe('an exchange of Rosenpass', () => {
  for (const version of ['V02', 'V03'] as const)
    it(`gives both ends one key, ${version}, with datagrams of the known lengths`, () => {
      const pair = rosenpassPair({ version });
      const datagrams = handshake(pair, 0);
      assert.deepEqual(
        datagrams.map(({ length }) => length),
        [1092, 1132, 176, 64],
      );
      assert.equal(pair.a.keys.length, 1);
      assert.deepEqual(pair.a.keys, pair.b.keys);
      assert.match(pair.a.keys[0] ?? '', /^exchanged [0-9a-f]{64}$/);
      assert.deepEqual([pair.a.refused, pair.b.refused], [{}, {}]);
    });

  it('needs the same preshared key at both ends', () => {
    const psk = () => new Secret(new Uint8Array(32).fill(7));
    const same = rosenpassPair({ a: { presharedKey: psk() }, b: { presharedKey: psk() } });
    handshake(same, 0);
    assert.deepEqual(same.a.keys, same.b.keys);
    const one = rosenpassPair({ a: { presharedKey: psk() } });
    const [hello = assert.fail()] = one.a.poll(0);
    assert.deepEqual(one.b.take(hello, 'a', 0), []);
    assert.deepEqual(one.b.refused, { 'not-authentic': 1 });
  });

  it('gives keys for different uses no common value', () => {
    const output = { organization: 'example.org', labels: ['x'] };
    const pair = rosenpassPair({ a: { output } });
    handshake(pair, 0);
    assert.notDeepEqual(pair.a.keys, pair.b.keys);
  });

  it('does not pass between the versions', () => {
    const a = new RosenpassEnd(
      'a',
      machineOptions('a', { address: addressOf('b') }, { version: 'V03' }),
    );
    const b = new RosenpassEnd('b', machineOptions('b', {}, { version: 'V02' }));
    const [hello = assert.fail()] = a.poll(0);
    assert.deepEqual(b.take(hello, 'a', 0), []);
    assert.deepEqual(b.refused, { 'wrong-mac': 1 });
  });

  it('ends the waiting of the initiator with the EmptyData alone', () => {
    const { a, b } = rosenpassPair();
    const [hello = assert.fail()] = a.poll(0);
    const [answer = assert.fail()] = b.take(hello, 'a', 0);
    const [confirmation = assert.fail()] = a.take(answer, 'b', 0);
    // The key is in force at the initiator before it hears that it is at the other end.
    assert.equal(a.keys.length, 1);
    const sent: Uint8Array[] = [];
    runUntil(a, 0, 10 * SECOND, (datagram) => sent.push(datagram));
    assert.ok(sent.length >= 4);
    for (const datagram of sent) assert.deepEqual(datagram, confirmation);
    const [data = assert.fail()] = b.take(confirmation, 'a', 10 * SECOND);
    a.take(data, 'b', 10 * SECOND);
    assert.ok(a.machine.wakeAt() >= 130 * SECOND);
    assert.deepEqual(a.keys, b.keys);
  });
});

describe('the times of an exchange', () => {
  it('are those of the Rust program: the same InitHello again after 0.25 to 0.5 s, twice that each time, up to 5 to 10 s', () => {
    const { a } = rosenpassPair();
    const [hello = assert.fail()] = a.poll(0);
    const at: number[] = [0];
    runUntil(a, 0, 60 * SECOND, (datagram, now) => {
      assert.deepEqual(datagram, hello);
      at.push(now);
    });
    const pauses = at.slice(1).map((now, i) => now - (at[i] ?? 0));
    for (const [i, pause] of pauses.entries()) {
      const most = 500 * Math.min(2 ** i, 20);
      assert.ok(pause >= most / 2 && pause <= most, `pause ${i}: ${pause}`);
    }
    assert.ok(pauses.length >= 10);
  });

  it('begin a handshake anew after 180 s without an answer', () => {
    const { a } = rosenpassPair();
    const [hello = assert.fail()] = a.poll(0);
    const other: number[] = [];
    runUntil(a, 0, 185 * SECOND, (datagram, now) => {
      if (Buffer.compare(datagram, hello) !== 0) other.push(now);
    });
    assert.equal(other[0], 180 * SECOND);
    assert.deepEqual(a.keys, [], 'no key was there, so none is stale');
  });

  it('renew a session at 130 s by who began it, at 120 s by who answered and has an address', () => {
    const one = rosenpassPair();
    handshake(one, 0);
    assert.equal(one.a.machine.wakeAt(), 130 * SECOND);
    assert.equal(one.b.machine.wakeAt(), 150 * SECOND, 'an address that was only learned');
    const both = rosenpassPair();
    handshake(both, 0);
    handshake(both, 130 * SECOND);
    assert.deepEqual(both.a.keys, both.b.keys);
    assert.equal(new Set(both.a.keys).size, 2);
    const two = rosenpassPair({ begin: ['a', 'b'] });
    handshake(two, 0);
    assert.equal(two.b.machine.wakeAt(), 120 * SECOND);
  });

  it('replace a key that nobody renews by a random one after 180 s, once, at both ends', () => {
    const { a, b } = rosenpassPair();
    handshake({ a, b }, 0);
    for (const end of [a, b]) runUntil(end, 0, 400 * SECOND, () => undefined);
    for (const { keys } of [a, b]) {
      assert.equal(keys.length, 2);
      assert.match(keys[1] ?? '', /^stale /);
      assert.notEqual(keys[1]?.split(' ')[1], keys[0]?.split(' ')[1]);
    }
    assert.notEqual(a.keys[1], b.keys[1]);
  });

  it('forget an address that was learned when nobody answers there any more', () => {
    const { a, b } = rosenpassPair();
    handshake({ a, b }, 0);
    let sent = 0;
    runUntil(b, 0, 1_000 * SECOND, () => {
      sent += 1;
    });
    assert.ok(sent > 10);
    assert.equal(b.machine.wakeAt(), Number.POSITIVE_INFINITY);
  });

  it('begin anew where an InitConf meets a peer that has lost its biscuit keys', () => {
    const { a, b } = rosenpassPair();
    const [hello = assert.fail()] = a.poll(0);
    const [answer = assert.fail()] = b.take(hello, 'a', 0);
    a.take(answer, 'b', 0);
    const again = new RosenpassEnd('b', machineOptions('b', {}, { seed: 'again' }));
    const fresh: Uint8Array[] = [];
    runUntil(a, 0, 21 * SECOND, (datagram, now) => {
      again.take(datagram, 'a', now);
      if (datagram.length === 1092) fresh.push(datagram);
    });
    assert.ok(fresh.length > 0, 'a new InitHello within 21 s');
    assert.ok((again.refused['no-biscuit'] ?? 0) > 0);
  });

  it('are asked of few peers at a time', () => {
    const options = machineOptions('a', {});
    const peers = Array.from({ length: 20 }, (_, i) => ({
      version: 'V02' as const,
      publicKey: () => keysB.publicKey,
      address: addressOf(`peer ${i}`),
    }));
    const a = new RosenpassEnd('a', { ...options, peers });
    const polls = [a.poll(0), a.poll(0), a.poll(0), a.poll(0)].map(({ length }) => length);
    assert.deepEqual(polls, [8, 8, 4, 0]);
    assert.ok(a.machine.wakeAt() > 0);
  });
});

describe('datagrams that change nothing', () => {
  it('are those of any other length than that of their type, 0 to 1.2 times it', () => {
    const pair = rosenpassPair();
    const datagrams = handshake(pair, 0);
    const { a, b } = rosenpassPair();
    let given = 0;
    for (const datagram of datagrams)
      for (let length = 0; length <= 1.2 * datagram.length; length++) {
        if (length === datagram.length) continue;
        const cut = new Uint8Array(length);
        cut.set(datagram.subarray(0, length));
        assert.deepEqual(a.take(cut, 'b', 0), []);
        assert.deepEqual(b.take(cut, 'a', 0), []);
        given++;
      }
    assert.deepEqual([a.refused, b.refused], [{ malformed: given }, { malformed: given }]);
  });

  it('are those with a bit changed anywhere but in the cookie', () => {
    const pair = rosenpassPair();
    const [hello, answer, confirmation, data] = handshake(pair, 0) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    const rng = new SeededRng('bits');
    for (const [datagram, kind] of [
      [hello, 'b'],
      [answer, 'a'],
      [confirmation, 'b'],
      [data, 'a'],
    ] as const) {
      const fresh = rosenpassPair();
      fresh.a.poll(0);
      const end = fresh[kind];
      for (let at = 0; at < datagram.length - 16; at++) {
        const changed = datagram.slice();
        changed[at] = (changed[at] ?? 0) ^ (1 << rng.int(8));
        assert.deepEqual(end.take(changed, 'x', 0), [], `${kind} byte ${at}`);
      }
      assert.deepEqual(end.keys, []);
      // One of another type is none, every other one has a MAC that does not fit.
      const { malformed = 0, 'wrong-mac': wrong = 0, 'no-session': other = 0 } = end.refused;
      assert.equal(malformed + wrong + other, datagram.length - 16);
      assert.ok(malformed <= 1);
    }
  });

  it('but reserved bytes and cookies are anybody’s: they are not looked at', () => {
    const { a, b } = rosenpassPair();
    const [hello = assert.fail()] = a.poll(0);
    const noisy = hello.slice();
    noisy.fill(0xaa, -16);
    assert.equal(b.take(noisy, 'a', 0).length, 1);
  });

  it('are those of a handshake that is over, each of the four', () => {
    const pair = rosenpassPair();
    const { a, b } = pair;
    const [, answer, confirmation, data] = handshake(pair, 0);
    const keys = [...a.keys, ...b.keys];
    assert.deepEqual(a.take(answer ?? assert.fail(), 'b', 1), []);
    assert.deepEqual(a.take(data ?? assert.fail(), 'b', 1), []);
    assert.deepEqual(a.refused, { 'no-session': 2 });
    // The answer was lost: it comes again, and no key with it.
    assert.deepEqual(b.take(confirmation ?? assert.fail(), 'a', 1), [data]);
    assert.deepEqual(b.take(confirmation ?? assert.fail(), 'a', 119_999), [data]);
    assert.deepEqual(b.take(confirmation ?? assert.fail(), 'a', 120_000), []);
    assert.deepEqual(b.refused, { replay: 1 });
    assert.deepEqual([...a.keys, ...b.keys], keys);
  });

  it('are InitConf of biscuits that are older than one that was used', () => {
    const { a, b } = rosenpassPair();
    const [hello = assert.fail()] = a.poll(0);
    const [first = assert.fail()] = b.take(hello, 'a', 0);
    const [second = assert.fail()] = b.take(hello, 'a', 1);
    const [late = assert.fail()] = a.take(first, 'b', 2);
    assert.deepEqual(a.take(second, 'b', 3), []);
    const restarted = rosenpassPair({ seed: 'later' });
    const other = restarted.a.poll(4)[0] ?? assert.fail();
    const [third = assert.fail()] = b.take(other, 'a', 5);
    const [newer = assert.fail()] = restarted.a.take(third, 'b', 6);
    assert.equal(b.take(newer, 'a', 7).length, 1);
    assert.equal(b.keys.length, 1);
    assert.deepEqual(b.take(late, 'a', 8), []);
    assert.equal(b.keys.length, 1);
    assert.deepEqual(b.refused, { replay: 1 });
  });

  it('are InitConf of biscuits whose key is gone', () => {
    const { a, b } = rosenpassPair();
    const [hello = assert.fail()] = a.poll(0);
    const [answer = assert.fail()] = b.take(hello, 'a', 0);
    const [confirmation = assert.fail()] = a.take(answer, 'b', 1);
    assert.deepEqual(b.take(confirmation, 'a', 600_000), []);
    assert.deepEqual(b.refused, { 'no-biscuit': 1 });
    assert.deepEqual(b.keys, []);
  });

  it('are InitHello of nobody that is configured', () => {
    const { a } = rosenpassPair();
    const b = new RosenpassEnd('b', {
      ...machineOptions('b', {}),
      peers: [{ version: 'V02', publicKey: () => keysB.publicKey }],
    });
    assert.deepEqual(b.take(a.poll(0)[0] ?? assert.fail(), 'a', 0), []);
    assert.deepEqual(b.refused, { 'unknown-peer': 1 });
  });

  it('are InitHello beyond a rate, before anything is decapsulated', () => {
    const options = machineOptions('b', {});
    let decapsulated = 0;
    const staticKem = {
      ...options.kems.staticKem,
      decapsulate(ciphertext: Uint8Array) {
        decapsulated++;
        return options.kems.staticKem.decapsulate(ciphertext);
      },
    };
    const b = new RosenpassEnd('b', { ...options, kems: { ...options.kems, staticKem } });
    const [hello = assert.fail()] = rosenpassPair().a.poll(0);
    for (let i = 0; i < 50; i++) b.take(hello, 'one', 0);
    assert.equal(decapsulated, 8);
    // From as many sources as one likes.
    for (let i = 0; i < 1_000; i++) b.take(hello, `source ${i}`, 0);
    assert.equal(decapsulated, 32);
    for (let i = 0; i < 1_000; i++) b.take(hello, `source ${i}`, 10 * SECOND);
    assert.equal(decapsulated, 64);
    assert.equal(b.refused['over-rate'], 2_050 - 64);
  });

  it('are RespHello beyond a rate, which cost a decapsulation each', () => {
    const { a, b } = rosenpassPair();
    const [hello = assert.fail()] = a.poll(0);
    const [answer = assert.fail()] = b.take(hello, 'a', 0);
    // Whoever knows the public key of A can make this MAC: B answers to a chaining key that is another one.
    const own = hashPublicKey(hashDomains.V02, keysA.publicKey);
    const forged = parseMessage(answer, 188) ?? assert.fail();
    assert.equal(forged.kind, 'resp-hello');
    const wrong = formatMessage({ ...(forged as RespHello), auth: new Uint8Array(16) }, (bytes) =>
      macFor(own, bytes),
    );
    for (let i = 0; i < 20; i++) assert.deepEqual(a.take(wrong, 'b', 0), []);
    assert.deepEqual(a.refused, { 'not-authentic': 8, 'over-rate': 12 });
    assert.deepEqual(a.keys, []);
    // The true one is not lost for it.
    assert.equal(a.take(answer, 'b', 2 * SECOND).length, 1);
  });
});

describe('two ends that begin at once', () => {
  it('end with one key, whatever order their datagrams come in', () => {
    for (let seed = 0; seed < 12; seed++) {
      const rng = new SeededRng(`crossing ${seed}`);
      const { a, b } = rosenpassPair({ begin: ['a', 'b'], seed: `crossing ${seed}` });
      const wire: {
        readonly to: RosenpassEnd;
        readonly from: string;
        datagram: Uint8Array;
        at: number;
      }[] = [];
      const put = (from: RosenpassEnd, datagrams: readonly Uint8Array[], now: number) => {
        for (const datagram of datagrams)
          wire.push({
            to: from === a ? b : a,
            from: from.name,
            datagram,
            at: now + 1 + rng.int(200),
          });
      };
      for (let now = 0; now < 30 * SECOND; ) {
        const next = Math.min(a.machine.wakeAt(), b.machine.wakeAt(), ...wire.map(({ at }) => at));
        now = Math.max(now, next);
        for (const end of [a, b]) if (end.machine.wakeAt() <= now) put(end, end.poll(now), now);
        const due = wire.findIndex(({ at }) => at <= now);
        const [one] = due < 0 ? [] : wire.splice(due, 1);
        if (one !== undefined) put(one.to, one.to.take(one.datagram, one.from, now), now);
      }
      assert.ok(a.keys.length > 0);
      // One that is settled is over: no exchange follows from it for ever.
      assert.ok(a.keys.length <= 4 && b.keys.length <= 4, `${a.keys.length}, ${b.keys.length}`);
      assert.equal(a.keys.at(-1), b.keys.at(-1), `seed ${seed}`);
    }
  });
});

describe('the cookie of a responder under load', () => {
  const value = new Uint8Array(16).fill(9);
  /** As the responder makes it: bound to the MAC of the InitHello, padded to its length. */
  const reply = (hello: Uint8Array, cookieValue = value) => {
    const out = new Uint8Array(1092);
    out.set([0x86, 0, 0, 0]);
    out.set(hello.subarray(4, 8), 4);
    const nonce = new Uint8Array(24).fill(5);
    out.set(sealLong(cookieKey(keysB.publicKey), nonce, cookieValue, macOf(hello)), 8);
    return out;
  };

  it('goes into the InitHello, at once and in every repetition, for two minutes', () => {
    const { a } = rosenpassPair();
    const [hello = assert.fail()] = a.poll(0);
    const again = a.take(reply(hello), 'b', 100);
    assert.deepEqual(again, [withCookie(hello, value)]);
    assert.deepEqual(again[0]?.subarray(0, -16), hello.subarray(0, -16));
    const sent: (readonly [number, Uint8Array])[] = [];
    runUntil(a, 100, 179 * SECOND, (datagram, now) => sent.push([now, datagram]));
    for (const [now, datagram] of sent)
      assert.deepEqual(datagram, now < 120_100 ? withCookie(hello, value) : hello);
    assert.ok(sent.some(([now]) => now > 121 * SECOND));
  });

  it('is refused when it answers another InitHello, comes twice, or nothing waits', () => {
    const { a } = rosenpassPair();
    assert.deepEqual(a.take(reply(new Uint8Array(1092)), 'b', 0), []);
    const [hello = assert.fail()] = a.poll(0);
    const changed = reply(hello);
    changed[40] = (changed[40] ?? 0) ^ 1;
    assert.deepEqual(a.take(changed, 'b', 0), []);
    assert.equal(a.take(reply(hello), 'b', 0).length, 1);
    assert.deepEqual(a.take(reply(hello), 'b', 0), []);
    assert.deepEqual(a.refused, { 'no-session': 1, 'not-authentic': 1, replay: 1 });
  });

  it('is no part of what the MAC covers', () => {
    const { a, b } = rosenpassPair();
    const [hello = assert.fail()] = a.poll(0);
    const [again = assert.fail()] = a.take(reply(hello), 'b', 0);
    assert.deepEqual(authenticatedPart(again), authenticatedPart(hello));
    assert.equal(b.take(again, 'a', 0).length, 1);
  });
});

describe('a public key that cannot be read', () => {
  it('is told, holds up that peer alone, and is tried again after a minute', () => {
    let isThere = false;
    const publicKey = () => {
      if (!isThere) throw new Error('no such file');
      return keysB.publicKey;
    };
    isThere = true;
    const options = machineOptions('a', { publicKey, address: addressOf('b') });
    const a = new RosenpassEnd('a', options);
    isThere = false;
    const [trouble] = a.machine.poll(0);
    assert.equal(trouble?.kind, 'trouble');
    assert.equal(a.machine.wakeAt(), 60 * SECOND);
    isThere = true;
    assert.equal(a.poll(60 * SECOND).length, 1);
    assert.notEqual(keysA.publicKey, keysB.publicKey);
  });
});
