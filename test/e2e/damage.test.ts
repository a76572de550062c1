/** Somebody takes from a device what makes it carry packets: it is put back within seconds, without a restart. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  eventually,
  joinTwoMachines,
  type Machine,
  tunnelUp,
} from '../support/machines/federation.ts';
import { withMachines } from '../support/machines/with-machines.ts';

describe('a device that is damaged from outside', function () {
  this.timeout(120_000);
  let a: Machine;
  let b: Machine;
  let device = '';
  let own = '';
  let other = '';

  withMachines(
    ['a', 'b'],
    async (machines) => {
      a = machines.get('a');
      b = machines.get('b');
      await joinTwoMachines(a, b);
      const [ofA, ofB] = await Promise.all([tunnelUp(a), tunnelUp(b)]);
      device = ofA.interface;
      own = ofA.overlay[0];
      other = ofB.overlay[0];
    },
    120_000,
  );

  /** A connection through the tunnel, to the port of the proof. */
  const passes = async () => {
    const code = `const s = require('node:net').connect({ host: '${other}', port: 7411 });
s.setTimeout(1500, () => process.exit(2)); s.on('error', () => process.exit(1)); s.on('connect', () => process.exit(0));`;
    return (await a.run(process.execPath, '-e', code)).code === 0;
  };

  const damages: readonly [string, () => string][] = [
    ['its routes', () => `ip -6 route flush dev ${device}`],
    ['one route', () => `ip -6 route del ${other}/128 dev ${device}`],
    ['its address', () => `ip -6 addr del ${own}/128 dev ${device}`],
    ['the link, taken down', () => `ip link set dev ${device} down`],
  ];
  for (const [what, command] of damages)
    it(`has back within seconds: ${what}`, async () => {
      assert.ok(await passes());
      await a.shell(command());
      await eventually('packets pass again', passes, 15_000);
    });
});
