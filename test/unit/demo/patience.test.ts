import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Patience } from '../../../demo/patience.ts';

const never = async () => false;

describe('patience of the demonstration', () => {
  it('goes with the speed of the machine, so that a slow start is no failure', async () => {
    const patience = new Patience(new AbortController().signal);
    patience.calibrate(100_000, 1_000);
    let asked = 0;
    await patience.until(10, 'the tenth time', async () => ++asked === 10);
    assert.equal(asked, 10);
  });

  it('is no longer than on a machine of our days where the machine is faster', async () => {
    const patience = new Patience(new AbortController().signal);
    patience.calibrate(1, 1_000);
    let asked = 0;
    await patience.until(10_000, 'the third time', async () => ++asked === 3);
    assert.equal(asked, 3);
  });

  it('ends with what was waited for when that never comes', async () => {
    const patience = new Patience(new AbortController().signal);
    await assert.rejects(patience.until(1, 'the tunnel is up', never), /the tunnel is up/);
  });

  it('ends with the reason when an agent falls meanwhile', async () => {
    const fallen = new AbortController();
    const waiting = new Patience(fallen.signal).until(600_000, 'the tunnel is up', never);
    fallen.abort(new Error('the agent of bravo ended with 1'));
    await assert.rejects(waiting, /the agent of bravo ended with 1/);
  });
});
