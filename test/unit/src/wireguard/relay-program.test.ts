/** The relay of the data-plane program, as a process: started when it is needed, found again, ended. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, describe, it } from 'mocha';
import { RelayProgram } from '#src/wireguard/relay-program';
import { skip } from '../../../support/skip.ts';

const path = fileURLToPath(new URL('../../../../.tools/bin/kelmesh-dataplane', import.meta.url));
const PORTS = [43_170, 43_189] as const;
const terms = {
  ends: [undefined, '192.0.2.1'],
  quotaBytes: 1_000,
  bytesPerSecond: 1_000,
  idleSeconds: 60,
} as const;

describe('the relay as a process', () => {
  let stateDir: string;
  let relay: RelayProgram;

  before(async function () {
    if (!existsSync(path)) skip(this, 'there is no data-plane program here');
    stateDir = await mkdtemp(join(tmpdir(), 'kelmesh-relay-'));
    relay = new RelayProgram({ path, stateDir, ports: PORTS });
  });
  after(async () => {
    await relay?.stop();
    if (stateDir !== undefined) await rm(stateDir, { recursive: true, force: true });
  });

  it('is started by the first session, in its ports, and another takes the place of one', async () => {
    assert.deepEqual(await relay.sessions(), []);
    for (const name of ['a', 'b', 'a']) {
      const ports = await relay.open(name, terms);
      for (const port of ports) assert.ok(port >= PORTS[0] && port <= PORTS[1], `${port}`);
    }
    const names = (await relay.sessions()).map(({ name, bytes }) => [name, bytes]);
    assert.deepEqual(names.toSorted(), [
      ['a', 0],
      ['b', 0],
    ]);
  });

  it('goes on without who has started it, and is found by its socket', async () => {
    const next = new RelayProgram({ path, stateDir, ports: PORTS });
    assert.equal((await next.sessions()).length, 2);
    await next.close('b');
    await next.close('b');
    assert.equal((await relay.sessions()).length, 1);
    await next.stop();
    assert.deepEqual(await relay.sessions(), []);
    assert.ok(!existsSync(join(stateDir, 'relay.sock')));
  });

  it('says what cannot be: terms that it does not take, a program that is none', async () => {
    await assert.rejects(relay.open('a/b', terms), { code: 'WIREGUARD_UAPI_REFUSED' });
    await relay.stop();
    const none = new RelayProgram({ path: '/nowhere/program', stateDir, ports: PORTS });
    await assert.rejects(none.open('a', terms), { code: 'WIREGUARD_PROGRAM_DIED' });
  });
});
