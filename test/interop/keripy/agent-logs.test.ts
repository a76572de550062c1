/**
 * The logs that an agent writes in its life (charters, tunnel keys, audit anchors, rotations) go through KERIpy:
 * the shape of what `npm start` leaves in `logs/`, which `test/e2e/demo.test.ts` checks on a real run.
 */
import assert from 'node:assert/strict';
import { MemoryLevel } from 'memory-level';
import { after, describe, it } from 'mocha';
import { createOrganisation, type Organisation } from '#agent/organisation/organisation';
import { OwnTunnelKeys } from '#agent/tunnel/pairs/own-tunnel-keys';
import type { Aid } from '#kel/identifiers';
import { loadCryptoSuite } from '#src/crypto/suites';
import type { SigningAlgorithm } from '#src/keystore/key-store';
import type { Database } from '#src/store/durable-table';
import { seededKeyStore } from '../../support/doubles/seeded-key-store.ts';
import { SeededRng } from '../../support/doubles/seeded-rng.ts';
import { systemClock } from '../../support/doubles/system-clock.ts';
import { MemoryLogFiles } from '../../support/kit/audit-log.ts';
import { keripyMissing, keripyStates } from '../../support/machines/keripy.ts';
import { skip } from '../../support/skip.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {}, failed() {} };

describe('logs of agents, read by KERIpy', () => {
  const opened: Organisation[] = [];
  after(async () => {
    for (const organisation of opened) await organisation.close();
  });

  for (const [kind, algorithm] of [
    ['CBOR', 'ed25519'],
    ['JSON', 'ed25519'],
    ['JSON', 'p256'],
  ] as const) {
    it(`${kind}, ${algorithm}: charters, tunnel keys, anchors and rotations, to the same event`, async function () {
      this.timeout(300_000);
      const missing = await keripyMissing();
      if (missing !== undefined) skip(this, missing);
      const organisation = await live(kind, algorithm);
      opened.push(organisation);
      const { identity, kel } = organisation;
      const [state] = await keripyStates([await kel.export(identity.aid)]);
      assert.equal(state?.aid, identity.aid);
      assert.equal(state?.sn, identity.state.sn);
      assert.equal(state?.said, identity.state.said);
      assert.ok(identity.state.sn > 12, `only ${identity.state.sn} events`);
    });
  }

  async function live(kind: 'CBOR' | 'JSON', algorithm: SigningAlgorithm): Promise<Organisation> {
    const rng = new SeededRng(`keripy-${kind}-${algorithm}`);
    const suite = await loadCryptoSuite();
    const organisation = await createOrganisation(
      {
        clock: systemClock,
        rng,
        suite,
        db: new MemoryLevel({ valueEncoding: 'view' }) as unknown as Database,
        keyStore: seededKeyStore(rng.fork('keys')),
        logFiles: new MemoryLogFiles(),
        journal: silent,
      },
      { kind, algorithm },
    );
    const { identity, governing, keeper, records, issuer } = organisation;
    const keys = new OwnTunnelKeys({
      identity,
      records,
      issuer,
      mlKem: suite.mlKem1024,
      clock: systemClock,
      rng,
      recordVersion: () => 1,
    });
    await governing.create({ name: 'interop', memberName: 'one', epochSeconds: 3_600 });
    for (let round = 0; round < 3; round++) {
      await keys.ensureCurrent();
      await governing.admit(
        identity.aid.replace(/..$/, `A${'ABC'[round]}`) as Aid,
        `member-${round}`,
      );
      await keeper.record('gap', { reason: `round ${round}` });
      await keeper.anchor();
      await identity.rotate();
    }
    await governing.remove('member-0', 'interop');
    return organisation;
  }
});
