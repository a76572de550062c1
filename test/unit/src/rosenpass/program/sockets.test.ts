import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { before, describe, it } from 'mocha';
import type { RosenpassAddress } from '#src/rosenpass/peer-exchange';
import { openSockets, type RosenpassSockets } from '#src/rosenpass/program/sockets';
import { skip } from '../../../../support/skip.ts';

interface Got {
  readonly datagram: Uint8Array;
  readonly from: RosenpassAddress;
}

/** Sockets, and what comes in by them. */
async function opened(listen: readonly { host: string; port: number }[]) {
  const waiting: ((got: Got) => void)[] = [];
  const sockets = await openSockets(listen, (datagram, from) =>
    waiting.shift()?.({ datagram, from }),
  );
  const next = () => new Promise<Got>((resolve) => waiting.push(resolve));
  return { sockets, next };
}

const portOf = (sockets: RosenpassSockets, at = 0) => sockets.bound[at]?.port ?? assert.fail();

const hasIpv6 = Object.values(networkInterfaces()).some((list = []) =>
  list.some(({ address }) => address === '::1'),
);

describe('the sockets of an exchange', () => {
  before(function () {
    if (!hasIpv6) skip(this, 'this machine has no IPv6');
  });

  it('answer where the question came in, over either family, when nothing is said of where to listen', async () => {
    const one = await opened([]);
    await using _one = one.sockets;
    const port = portOf(one.sockets);
    for (const host of ['127.0.0.1', '::1']) {
      const other = await opened([{ host, port: 0 }]);
      await using _other = other.sockets;
      const to = other.sockets.address({ host, port }) ?? assert.fail();
      const [asked, answered] = [one.next(), other.next()];
      other.sockets.send(Uint8Array.of(1), to);
      const { from, datagram } = await asked;
      assert.deepEqual([...datagram], [1]);
      one.sockets.send(Uint8Array.of(2), from);
      assert.deepEqual([...(await answered).datagram], [2]);
      // The address of a peer that was configured, and the one that it writes from, are one text.
      const known = one.sockets.address({ host, port: portOf(other.sockets) });
      assert.deepEqual(known, from);
    }
  });

  it('count an IPv4 address, and the first 64 bits of an IPv6 one, as one source', async () => {
    const one = await opened([]);
    await using sockets = one.sockets;
    const source = (host: string) => sockets.address({ host, port: 1 })?.source;
    assert.equal(source('192.0.2.1'), 'c0000201');
    assert.equal(source('::ffff:192.0.2.1'), 'c0000201');
    assert.equal(source('2001:db8::1'), source('2001:db8::ffff:2'));
    assert.notEqual(source('2001:db8::1'), source('2001:db8:0:1::1'));
    assert.equal(source('fe80::1%lo'), source('fe80::2'));
  });

  it('know no way to an address of another family', async () => {
    const one = await opened([{ host: '127.0.0.1', port: 0 }]);
    await using sockets = one.sockets;
    assert.equal(sockets.address({ host: '::1', port: 1 }), undefined);
    assert.ok(sockets.address({ host: '127.0.0.2', port: 1 }));
  });

  it('stand beside each other for all addresses of both families at one port', async () => {
    const first = await opened([{ host: '0.0.0.0', port: 0 }]);
    const port = portOf(first.sockets);
    await first.sockets[Symbol.asyncDispose]();
    const both = await opened([
      { host: '0.0.0.0', port },
      { host: '::', port },
    ]);
    await using sockets = both.sockets;
    assert.deepEqual(sockets.bound, [
      { host: '0.0.0.0', port },
      { host: '::', port },
    ]);
    assert.match(sockets.address({ host: '127.0.0.1', port: 1 })?.endpoint ?? '', /^0\|/);
    assert.match(sockets.address({ host: '::1', port: 1 })?.endpoint ?? '', /^1\|/);
  });

  it('leave none open when one cannot be bound', async () => {
    const first = await opened([{ host: '127.0.0.1', port: 0 }]);
    await using sockets = first.sockets;
    const taken = { host: '127.0.0.1', port: portOf(sockets) };
    await assert.rejects(
      openSockets([{ host: '127.0.0.1', port: 0 }, taken], () => undefined),
      {
        code: 'ROSENPASS_NO_SOCKET',
      },
    );
  });
});
