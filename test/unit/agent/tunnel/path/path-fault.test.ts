import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { pathFault } from '#agent/tunnel/path/path-fault';
import type { Way } from '#src/wireguard/ways';

const own = 'fd00::1';
const peer = 'fd00::2';
const home: Way = { kind: 'local' };
const into = (device: string): Way => ({ kind: 'device', device });
const up = { isUp: true, mtu: 1_420 };

function fault(ways: readonly (readonly [string, Way])[], links = [['kelmesh1', up]] as const) {
  const devices = new Set(['kelmesh0', 'kelmesh1']);
  const look = { links: new Map<string, typeof up>(links), ways: new Map(ways) };
  return pathFault({ look, device: 'kelmesh1', devices, own, peer });
}

describe('why a packet would not go into its tunnel', () => {
  it('is nothing where it would, into whichever own device, and where nobody has asked', () => {
    assert.equal(
      fault([
        [own, home],
        [peer, into('kelmesh1')],
      ]),
      undefined,
    );
    assert.equal(
      fault([
        [own, home],
        [peer, into('kelmesh0')],
      ]),
      undefined,
    );
    assert.equal(fault([]), undefined);
  });

  it('is the cause before what follows from it', () => {
    const nowhere: Way = { kind: 'none', said: 'unreachable' };
    const device = 'kelmesh1';
    assert.deepEqual(
      fault(
        [
          [own, nowhere],
          [peer, nowhere],
        ],
        [] as never,
      ),
      {
        kind: 'link-down',
        device,
      },
    );
    assert.deepEqual(
      fault([
        [own, nowhere],
        [peer, nowhere],
      ]),
      {
        kind: 'address-missing',
        address: own,
      },
    );
    assert.deepEqual(
      fault([
        [own, home],
        [peer, nowhere],
      ]),
      {
        kind: 'not-routed',
        said: 'unreachable',
      },
    );
  });

  it('is the device that gets it, and the table where a rule does it', () => {
    const vpn: Way = { kind: 'device', device: 'vpn0', table: '51' };
    assert.deepEqual(
      fault([
        [own, home],
        [peer, vpn],
      ]),
      {
        kind: 'routed-elsewhere',
        device: 'vpn0',
        table: '51',
      },
    );
    assert.equal(
      fault([
        [own, home],
        [peer, into('vpn0')],
      ])?.kind,
      'routed-elsewhere',
    );
    assert.equal(
      fault([
        [own, home],
        [peer, home],
      ])?.kind,
      'routed-elsewhere',
    );
  });
});
