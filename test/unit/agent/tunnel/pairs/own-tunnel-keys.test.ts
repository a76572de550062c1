import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { currentTunnelKeyOf, OwnTunnelKeys } from '#agent/tunnel/pairs/own-tunnel-keys';
import type { Said } from '#kel/identifiers';
import type { RecordVersion } from '#kel/record/schemas';
import { formatDateTime } from '#src/clock';
import type { Secret } from '#src/secret';
import { wireguardPublicKey } from '#src/wireguard/static-key';
import {
  codeOf,
  createParty,
  openParty,
  type Party,
  suite,
} from '../../../../support/kit/party.ts';

const keysOf = (
  { identity, records, issuer, clock, rng }: Party,
  recordVersion: () => RecordVersion = () => 1,
) =>
  new OwnTunnelKeys({
    identity,
    records,
    issuer,
    clock,
    mlKem: suite.mlKem1024,
    rng,
    recordVersion,
  });
const DAY = 86_400_000;

describe('own tunnel keys', () => {
  it('are there once per establishment event, sealed, and the same after a restart', async () => {
    const party = await createParty('keys');
    const keys = keysOf(party);
    assert.throws(() => keys.current, { code: 'TUNNEL_NO_KEYS' });
    const { record, wireguard } = await keys.ensureCurrent();
    assert.equal(keys.current.record.d, record.d);
    assert.deepEqual(record.wg, wireguardPublicKey(wireguard));
    assert.equal(record.e, 0);
    assert.ok(await party.intake.sealedIn(party.identity.aid, record.d));
    assert.equal((await keys.ensureCurrent()).record.d, record.d);
    const again = await keysOf(await openParty(party.disk)).ensureCurrent();
    assert.equal(again.record.d, record.d);
    assert.ok(again.wireguard.equals(wireguard) && again.mlKemSeed.length === 64);
    assert.equal(party.identity.state.sn, 1);
  });

  it('prove their possession as soon as the mesh writes records of version 2, in the next key epoch', async () => {
    const party = await createParty('proven keys');
    let version: RecordVersion = 1;
    const keys = keysOf(party, () => version);
    const first = await keys.ensureCurrent();
    assert.equal(first.record.x, undefined);
    version = 2;
    await party.clock.advance(1);
    const second = await keys.ensureCurrent();
    assert.equal(second.record.e, first.record.e + 1);
    assert.equal(second.record.x?.pop?.length, 64);
    assert.ok(await party.intake.sealedIn(party.identity.aid, second.record.d));
    assert.equal((await keys.ensureCurrent()).record.d, second.record.d);
    await party.clock.advance(1);
    const third = await keys.renew();
    assert.equal(third.record.x?.pop?.length, 64);
    assert.notDeepEqual(third.record.x?.pop, second.record.x?.pop);
    const again = await keysOf(await openParty(party.disk), () => 2).ensureCurrent();
    assert.equal(again.record.d, third.record.d);
  });

  it('follow a rotation, and those before can still be loaded', async () => {
    const party = await createParty('rotated keys');
    const keys = keysOf(party);
    const first = await keys.ensureCurrent();
    const wireguard = Buffer.from(first.wireguard.expose());
    await party.identity.rotate();
    const second = await keys.ensureCurrent();
    assert.equal(second.record.e, 1);
    assert.equal(second.record.es.d, party.identity.state.establishment.said);
    assert.notDeepEqual(second.record.wg, first.record.wg);
    const former = await keysOf(await openParty(party.disk)).load(first.record.d);
    assert.deepEqual(Buffer.from(former.wireguard.expose()), wireguard);
    keys.forget(first.record.d);
    assert.ok(
      first.wireguard.expose().every((byte) => byte === 0) &&
        first.mlKemSeed.expose().every((byte) => byte === 0),
    );
    keys.forget('none' as Said);
  });

  it('leave no secret behind but those that are loaded: not where they are issued, loaded twice at once, or half derived', async () => {
    const party = await createParty('wiped keys');
    const handed: Secret[] = [];
    const { identity } = party;
    const recorded = {
      aid: identity.aid,
      get state() {
        return identity.state;
      },
      tunnelSecrets: async (establishment: Said, epoch: number) => {
        const secrets = await identity.tunnelSecrets(establishment, epoch);
        handed.push(secrets.wireguard, secrets.mlKem);
        return secrets;
      },
    };
    const keys = keysOf({ ...party, identity: recorded as unknown as Party['identity'] });
    const isLive = (secret: Secret) => secret.expose().some((byte) => byte !== 0);
    const { record } = await keys.ensureCurrent();
    assert.ok(handed.length >= 4);
    assert.equal(handed.filter(isLive).length, 1, 'the seed that is loaded');
    keys.forget(record.d);
    assert.equal(handed.filter(isLive).length, 0);
    const [one, other] = await Promise.all([keys.load(record.d), keys.load(record.d)]);
    assert.equal(one, other);
    assert.equal(handed.filter(isLive).length, 1);
    keys.forget(record.d);
    assert.equal(handed.filter(isLive).length, 0);
  });

  it('are renewed before they run out, without a rotation', async () => {
    const party = await createParty('renewed');
    const first = await keysOf(party).ensureCurrent();
    const { aid } = party.identity;
    const establishment = party.identity.state.establishment.said;
    const now = () => formatDateTime(party.clock.now());
    await party.clock.advance(360 * DAY);
    assert.equal((await keysOf(party).ensureCurrent()).record.d, first.record.d);
    await party.clock.advance(20 * DAY);
    const second = await keysOf(party).ensureCurrent();
    assert.equal(second.record.e, 1);
    assert.notDeepEqual(second.record.wg, first.record.wg);
    assert.equal(currentTunnelKeyOf(party.records, aid, establishment, now())?.d, second.record.d);
    await party.clock.advance(401 * DAY);
    assert.equal(currentTunnelKeyOf(party.records, aid, establishment, now()), undefined);
  });

  it('are current for others under the establishment event of the log alone', async () => {
    const party = await createParty('current');
    const { record } = await keysOf(party).ensureCurrent();
    const { aid, state } = party.identity;
    const now = formatDateTime(party.clock.now());
    const current = (...args: [Said, string]) => currentTunnelKeyOf(party.records, aid, ...args)?.d;
    assert.equal(current(state.establishment.said, now), record.d);
    assert.equal(current('other' as Said, now), undefined);
    assert.equal(
      current(state.establishment.said, formatDateTime(party.clock.now() - 600_000)),
      undefined,
    );
    assert.equal(current(state.establishment.said, record.nb), record.d);
    assert.equal(current(state.establishment.said, record.na), undefined);
  });

  it('are not those of somebody else', async () => {
    const party = await createParty('mine');
    assert.equal(await codeOf(keysOf(party).load('none' as Said)), 'TUNNEL_NO_KEYS');
  });

  for (const kind of ['lost', 'persisted'] as const) {
    it(`are one per establishment event after a failure at any write (${kind})`, async () => {
      for (let n = 1; ; n++) {
        const party = await createParty(`keys ${kind} ${n}`);
        party.disk.db.failAt(n, kind);
        const failed = await codeOf(keysOf(party).ensureCurrent());
        party.disk.db.heal();
        const again = await openParty(party.disk);
        const { record } = await keysOf(again).ensureCurrent();
        assert.deepEqual(
          again.records.list('tun').map(({ record: { d } }) => d),
          [record.d],
        );
        assert.equal(again.identity.state.sn, 1);
        if (failed === undefined) break;
        assert.ok(n < 30);
      }
    });
  }
});
