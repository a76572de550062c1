import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { overlayAddress } from '#agent/mesh/membership/overlay-address';
import { encodeEcho } from '#agent/tunnel/path/echo-messages';
import { Echoes, type EchoesDeps } from '#agent/tunnel/path/echoes';
import type { Aid, Said } from '#kel/identifiers';
import { systemClock } from '../../../../support/doubles/system-clock.ts';

const mesh = 'EMESH' as Said;
const [a, b, c] = ['EA', 'EB', 'EC'] as [Aid, Aid, Aid];

type Receive = (message: Uint8Array, from: string) => void;

/** Sockets that hand datagrams to each other, as far as `passes` lets them. */
class Wire {
  readonly sockets = new Map<string, Receive>();
  readonly sent: { readonly from: string; readonly to: string; readonly length: number }[] = [];
  passes: (length: number) => boolean = () => true;
  n = 0;

  echoes(aid: Aid, members: readonly Aid[]): Echoes {
    const standing = {
      otherAt: (address: string) => {
        const found = members.find((one) => overlayAddress(mesh, one) === address);
        return found === undefined ? undefined : { aid: found };
      },
    };
    const deps = {
      overlay: {
        datagrams: async (address: string, receive: Receive) => {
          this.sockets.set(address, receive);
          return {
            send: (to: string, message: Uint8Array) => {
              this.sent.push({ from: address, to, length: message.length });
              if (this.passes(message.length)) this.sockets.get(to)?.(message, address);
            },
            close: () => this.sockets.delete(address),
          };
        },
      },
      membership: { mesh, standing },
      identity: { aid },
      clock: systemClock,
      rng: { bytes: (length: number) => new Uint8Array(length).fill(++this.n) },
    } as unknown as EchoesDeps;
    return new Echoes(deps);
  }
}

async function pair() {
  const wire = new Wire();
  const stop = new AbortController();
  const ends = [wire.echoes(a, [b]), wire.echoes(b, [a])] as const;
  for (const end of ends) {
    end.start(stop.signal);
    await end.listen();
  }
  return { wire, stop, near: ends[0], far: ends[1] };
}

describe('echoes', () => {
  it('tell how long there and back takes, and nothing of packets that are lost', async () => {
    const { wire, near } = await pair();
    assert.ok(((await near.ask(b, 1_420, 1_000)) ?? -1) >= 0);
    wire.passes = (length) => length < 1_000;
    assert.equal(await near.ask(b, 1_420, 5), undefined);
    assert.ok((await near.ask(b, 200, 1_000)) !== undefined);
  });

  it('say that a member is not reached only of one that has answered before', async () => {
    const { wire, near } = await pair();
    wire.passes = () => false;
    assert.equal(await near.reaches(b), true, 'perhaps it is an older version');
    wire.passes = () => true;
    assert.equal(await near.reaches(b), true);
    wire.passes = () => false;
    assert.equal(await near.reaches(b), false);
  }).timeout(20_000);

  it('are answered to members alone, never with more than was sent, and no more than the bound', async () => {
    const { wire, near } = await pair();
    const own = overlayAddress(mesh, a);
    const ask = encodeEcho({ kind: 'ask', size: 600, token: new Uint8Array(8) });
    const before = wire.sent.length;
    wire.sockets.get(own)?.(ask, overlayAddress(mesh, c));
    wire.sockets.get(own)?.(ask, '192.0.2.1');
    assert.equal(wire.sent.length, before);
    for (let n = 0; n < 5_000; n++) wire.sockets.get(own)?.(ask, overlayAddress(mesh, b));
    const answers = wire.sent.slice(before);
    assert.ok(answers.length > 0 && answers.length < 2_000, `${answers.length}`);
    assert.ok(answers.every(({ length }) => length === 16));
    assert.ok((await near.ask(b, 100, 1_000)) !== undefined, 'own ones go on');
  });

  it('believe no answer but that of the member that was asked, of the length that was asked', async () => {
    const wire = new Wire();
    const near = wire.echoes(a, [b, c]);
    near.start(new AbortController().signal);
    await near.listen();
    const own = overlayAddress(mesh, a);
    const size = 100 - 48;
    const forge = (token: number, length: number, from: Aid) =>
      wire.sockets.get(own)?.(
        encodeEcho({ kind: 'answer', size: length, token: new Uint8Array(8).fill(token) }),
        overlayAddress(mesh, from),
      );
    const asked = near.ask(b, 100, 50);
    forge(1, size, c);
    forge(2, size, b);
    forge(1, size + 1, b);
    assert.equal(await asked, undefined);
    const again = near.ask(b, 100, 1_000);
    forge(2, size, b);
    assert.ok((await again) !== undefined);
  });

  it('end with the agent, and are of no length that no packet has', async () => {
    const { wire, stop, near } = await pair();
    assert.equal(await near.ask(b, 40, 5), undefined);
    assert.equal(await near.ask(b, 70_000, 5), undefined);
    stop.abort();
    assert.equal(wire.sockets.size, 0);
    assert.equal(await near.ask(b, 100, 5), undefined);
    await near.listen();
    assert.equal(wire.sockets.size, 0);
  });
});
