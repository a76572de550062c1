/** Asking to join: at the governor, at a member that passes it on, and where nobody answers. */
import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'mocha';
import { formatInvite, parseInvite } from '#agent/mesh/membership/invite';
import {
  decodeKnockMessage,
  encodeKnockMessage,
  knockLimits,
  knockProtocol,
} from '#agent/mesh/sync/knock-messages';
import type { PeerAddress } from '#agent/network/network';
import type { Aid } from '#kel/identifiers';
import { type CborValue, encodeCbor } from '#src/cbor';
import { SimulatedFederation } from '../support/simulation/simulated-agent.ts';

describe('asking to join', () => {
  let federation: SimulatedFederation;

  afterEach(() => federation?.abandon());

  /** Two members, the first of which governs, and a third organisation that does not run yet. */
  async function world(seed: string) {
    federation = await SimulatedFederation.create({ seed, size: 3 });
    const [governor, member, newcomer] = federation.agents;
    assert.ok(governor && member && newcomer);
    await federation.found([member]);
    await federation.admit([member]);
    const isIn = () => member.organisation.membership.isIn;
    await federation.until(isIn, 300_000, () => 'the member has its charter');
    return { governor, member, newcomer };
  }

  it('shows the governor the name that the newcomer proposes, and the newcomer that it was asked', async () => {
    const { governor, newcomer } = await world('knock at the governor');
    await newcomer.join();
    const knock = () => governor.running.sync.knocks.get(newcomer.aid);
    await federation.until(
      () => knock()?.name === newcomer.name,
      120_000,
      () => 'the name is told',
    );
    assert.equal(knock()?.via, undefined);
    const asked = () => newcomer.running.knocking.admission()?.state === 'asked';
    await federation.until(asked, 60_000, () => 'the newcomer knows that it was heard');
  });

  it('reaches the governor through the member that made the line, also when the newcomer cannot reach the governor', async () => {
    const { governor, member, newcomer } = await world('knock at a member');
    const line = member.organisation.governing.invite(member.running.network.addresses());
    const invite = parseInvite(line);
    assert.equal(invite.governor, governor.aid);
    assert.deepEqual(invite.addresses, governor.running.network.addresses());
    assert.equal(invite.through?.aid, member.aid);
    // As if the governor were behind a firewall for the newcomer.
    await newcomer.join(formatInvite({ ...invite, addresses: [] }));
    const knock = () => governor.running.sync.knocks.get(newcomer.aid);
    await federation.until(
      () => knock() !== undefined,
      120_000,
      () => 'the knock is passed on',
    );
    assert.deepEqual([knock()?.via, knock()?.name], [member.aid, newcomer.name]);
    const passed = () => newcomer.running.knocking.admission();
    await federation.until(
      () => passed()?.state === 'passed-on',
      60_000,
      () => 'it is told so',
    );
    assert.equal(passed()?.by, member.aid);
    assert.equal(member.running.sync.knocks.get(newcomer.aid)?.isPassedOn, true);
    await federation.perform(governor.organisation.governing.admit(newcomer.aid, newcomer.name));
    const isIn = () => newcomer.organisation.membership.isIn;
    await federation.until(isIn, 120_000, () => 'the charter comes through the member');
    assert.equal(newcomer.running.knocking.admission(), undefined);
  });

  it('tells "not reached" from "not admitted", with the addresses that do not answer', async () => {
    const { governor, newcomer } = await world('nobody answers');
    const dead = '/ip4/192.0.2.99/tcp/7400' as PeerAddress;
    const { mesh } = governor.organisation.membership;
    assert.ok(mesh !== undefined);
    await newcomer.join(formatInvite({ mesh, governor: governor.aid, addresses: [dead] }));
    await federation.clock.advance(60_000);
    const standing = newcomer.running.knocking.admission();
    assert.equal(standing?.state, 'not-reached');
    assert.match(standing?.reason ?? '', /no answer at .*192\.0\.2\.99/);
  });

  it('is passed on by nobody but a member, and by one for so many strangers at a time', async () => {
    const { governor, member, newcomer } = await world('passed on by whom');
    const { knocks } = governor.running.sync;
    for (let i = 0; i < 20; i++)
      knocks.add({
        aid: `EA${String(i).padStart(42, 'x')}` as Aid,
        peer: `peer ${i}` as never,
        addresses: [],
        log: new Uint8Array(0),
        endpoints: new Uint8Array(0),
        at: 0,
        via: member.aid,
      });
    assert.equal(knocks.list().length, 8);
    assert.ok(knocks.dropped >= 12);
    await newcomer.join();
    await federation.until(
      () => knocks.get(newcomer.aid) !== undefined,
      120_000,
      () => 'it knocks',
    );
    const { log, endpoints } = knocks.get(newcomer.aid) ?? assert.fail();
    // The stranger says that it passes somebody on.
    const { network } = newcomer.running;
    const stream = await federation.perform(
      network.open(governor.running.network.self, knockProtocol, knockLimits),
    );
    const told = async () => {
      await stream.send(encodeKnockMessage({ kind: 'pass', name: 'mallory', log, endpoints }));
      return stream.receive();
    };
    await assert.rejects(federation.perform(told()));
    assert.notEqual(knocks.get(newcomer.aid)?.name, 'mallory');
    // What a member passes on is verified as if the stranger had come itself.
    const forged = Uint8Array.from(endpoints);
    forged[forged.length - 5] = (forged[forged.length - 5] ?? 0) ^ 1;
    knocks.delete(newcomer.aid);
    const { sync } = governor.running;
    for (const bad of [forged, new Uint8Array(8)])
      await assert.rejects(federation.perform(sync.takePassedOn(member.aid, log, bad, 'x')));
    assert.equal(knocks.get(newcomer.aid), undefined);
  });

  it('reads no message of another form, and each in one form alone', () => {
    const bytes = new Uint8Array(3);
    const good = [
      { kind: 'name', name: '' },
      { kind: 'name', name: 'university-b' },
      { kind: 'pass', name: 'b', log: bytes, endpoints: bytes },
      { kind: 'heard', governs: true, isPassedOn: false },
    ] as const;
    for (const message of good)
      assert.deepEqual(decodeKnockMessage(encodeKnockMessage(message)), message);
    const long = new Uint8Array(256 * 1024 + 1);
    for (const bad of [
      ['name'],
      ['name', 'b', 'c'],
      ['name', '\u001b[2J'],
      ['name', 'A'],
      ['name', 'a'.repeat(64)],
      ['pass', 'b', long, bytes],
      ['pass', 'b', bytes, bytes, bytes],
      ['heard', 1, false],
      ['heard', true, false, false],
      [],
      'name',
    ] as CborValue[])
      assert.throws(() => decodeKnockMessage(encodeCbor(bad)), { code: 'SYNC_BAD_MESSAGE' });
    assert.throws(() => decodeKnockMessage(Uint8Array.of(0xff)), { code: 'SYNC_BAD_MESSAGE' });
  });
}).timeout(60_000);
