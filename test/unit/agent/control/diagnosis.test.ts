import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { type CheckCode, checkKinds } from '#agent/control/checks';
import { diagnose, toWatch } from '#agent/control/diagnosis';
import type { PeerRow, StatusJson } from '#agent/control/status';
import { reasonCodes } from '#agent/control/tunnel-reason';
import { signatures } from '#agent/tunnel/path/signature';
import type { Aid } from '#kel/identifiers';

const NOW = Date.parse('2026-05-01T12:00:00Z');

const up = {
  aid: 'EB',
  name: 'beta',
  state: 'up',
  reason: null,
  reasonCode: null,
  proof: 'EP',
  agreedAt: '2026-05-01T11:00:00Z',
  connected: true,
  clockSkewMs: 20,
  change: null,
  mtu: { bytes: 1420, reason: null },
  twoPlaces: null,
} as unknown as PeerRow;

const down = (reasonCode: string, more: object = {}): PeerRow =>
  ({ ...up, state: 'down', reasonCode, reason: `because of ${reasonCode}`, ...more }) as PeerRow;

const fine = {
  aid: 'EA',
  driver: 'kernel 6.1',
  clockStep: null,
  disk: null,
  twin: null,
  stepBack: null,
  foreignEvents: false,
  waiting: null,
  suspended: [],
  admission: null,
  mesh: { isMember: true, revoked: null, governors: ['EA'] },
  peers: [up],
} as unknown as StatusJson;

const codes = (status: object, only?: string): readonly string[] =>
  diagnose({ ...fine, ...status } as StatusJson, { now: NOW, only }).map(({ code }) => code);

describe('what doctor finds', () => {
  const rows: readonly [string, object, CheckCode][] = [
    ['the clock was set', { clockStep: { byMs: 60_000, at: '' } }, 'clock-stepped'],
    ['the disk fills', { disk: { warning: '12 MiB are free' } }, 'disk'],
    ['the own log has forked', { suspended: [{ own: true, reason: 'two at 3' }] }, 'own-fork'],
    ['a copy runs', { twin: { since: '', addresses: [] } }, 'twin'],
    ['an old store was put back', { stepBack: 'the audit log is older' }, 'step-back'],
    ['somebody else made events', { foreignEvents: true }, 'foreign-events'],
    ['witnesses are away', { waiting: { sn: 3, said: 'E3' } }, 'event-waits'],
    ['there is no mesh', { mesh: null }, 'no-mesh'],
    ['it was removed', { mesh: { ...fine.mesh, revoked: { reason: 'gone' } } }, 'removed'],
    [
      'the governor was not reached',
      { mesh: { ...fine.mesh, isMember: false }, admission: { state: 'not-reached', reason: 'x' } },
      'governor-not-reached',
    ],
    [
      'a member was reached that does not reach the governor',
      { mesh: { ...fine.mesh, isMember: false }, admission: { state: 'door-only', reason: 'x' } },
      'governor-not-reached',
    ],
    [
      'the governor was reached and has not decided',
      { mesh: { ...fine.mesh, isMember: false }, admission: { state: 'asked', reason: 'x' } },
      'not-admitted',
    ],
    [
      'the governor is away',
      { mesh: { ...fine.mesh, governors: ['EB'] }, peers: [{ ...up, connected: false }] },
      'governor-away',
    ],
    [
      'large packets were lost',
      { peers: [{ ...up, mtu: { bytes: 1_216, reason: 'longer packets do not arrive' } }] },
      'mtu-lowered',
    ],
    ['no proof after a minute', { peers: [{ ...up, proof: null }] }, 'not-proven'],
    ['clocks are apart', { peers: [{ ...up, clockSkewMs: -45_000 }] }, 'clock-skew'],
    ['a member has a copy', { peers: [{ ...up, twoPlaces: ['192.0.2.1'] }] }, 'two-places'],
    [
      'a change waits for a port',
      { peers: [{ ...up, change: { reasonCode: 'change-blocked', reason: 'port 51821' } }] },
      'change-blocked',
    ],
    ...reasonCodes
      .filter((code) => code !== 'change-blocked')
      .map((code): [string, object, CheckCode] => [code, { peers: [down(code)] }, code]),
  ];
  for (const [what, status, code] of rows)
    it(`${code}: ${what}`, () => {
      const found = diagnose({ ...fine, ...status } as StatusJson, { now: NOW });
      const check = found.find((one) => one.code === code);
      assert.ok(check, found.map((one) => one.code).join());
      assert.equal(check.severity, checkKinds[code].severity);
      assert.ok(check.text !== '' && (check.cure !== '' || check.severity === 'ok'));
      const isTunnel = (reasonCodes as readonly string[]).includes(code);
      if (isTunnel && code !== 'change-blocked')
        assert.ok(!found.some((one) => one.code === 'tunnels'));
    });

  it('is nothing but what is in order where all is', () => {
    assert.deepEqual(codes({}), ['driver', 'tunnels']);
    assert.deepEqual(codes({ peers: [{ ...up, proof: null, agreedAt: '2026-05-01T11:59:50Z' }] }), [
      'driver',
      'tunnels',
    ]);
  });

  it('is a root cause once, with the members that it concerns', () => {
    const peers = Array.from({ length: 20 }, (_, n) =>
      down('silent', { aid: `E${n}`, name: `m${n}` }),
    );
    const [check] = diagnose({ ...fine, peers } as unknown as StatusJson, { now: NOW }).filter(
      ({ code }) => code === 'silent',
    );
    assert.equal(check?.peers.length, 17);
    assert.equal(check?.peers.at(-1), 'and 4 more');
    const own = peers.map((peer) => ({ ...peer, reasonCode: 'own-device-failed' }));
    const checks = diagnose({ ...fine, peers: own } as unknown as StatusJson, { now: NOW });
    assert.deepEqual(
      checks
        .filter(({ severity }) => severity === 'error')
        .map(({ code, peers: of }) => [code, of]),
      [['own-device-failed', []]],
    );
  });

  it('is of one member where one is asked about, by name or AID', () => {
    const other = down('silent', { aid: 'EC', name: 'gamma' });
    assert.deepEqual(codes({ peers: [up, other] }, 'beta'), ['driver', 'tunnels']);
    for (const only of ['gamma', 'EC'])
      assert.deepEqual(codes({ peers: [up, other] }, only), ['driver', 'silent']);
  });

  it('is what a look at both ends tells, in place of what one end sees', () => {
    const peers = [down('no-handshake'), down('silent', { aid: 'EC', name: 'gamma' }), up];
    const status = { ...fine, peers } as unknown as StatusJson;
    assert.deepEqual(toWatch(status), ['EB', 'EC']);
    assert.deepEqual(toWatch(status, 'gamma'), ['EC']);
    const signed = new Map(signatures.map((signature, n) => [`E${n}` as Aid, signature]));
    const rowsDown = signatures.map((_, n) =>
      down('no-handshake', { aid: `E${n}`, name: `m${n}` }),
    );
    const found = diagnose({ ...fine, peers: rowsDown } as unknown as StatusJson, {
      now: NOW,
      signatures: signed,
    });
    assert.deepEqual(
      found.filter(({ severity }) => severity === 'error').map(({ code }) => code),
      signatures,
    );
    assert.deepEqual(
      toWatch({ ...fine, peers: [down('routed-elsewhere')] } as unknown as StatusJson),
      [],
    );
  });

  it('has the codes and severities of the page for operators', () => {
    const page = readFileSync(new URL('../../../../docs/doctor.md', import.meta.url), 'utf8');
    const documented = [...page.matchAll(/^\| `([a-z-]+)` \| (ok|info|warning|error) \|/gm)];
    const ofTunnels: readonly string[] = reasonCodes;
    const own = Object.entries(checkKinds).filter(([code]) => !ofTunnels.includes(code));
    assert.deepEqual(
      documented.map(([, code, severity]) => `${code} ${severity}`).sort(),
      own.map(([code, { severity }]) => `${code} ${severity}`).sort(),
    );
    const words = /Of a tunnel that is not up.*?\n\n/s.exec(page)?.[0] ?? '';
    const [infos = '', warnings = ''] = words.split(/are `info`;/);
    for (const code of reasonCodes) {
      const { severity } = checkKinds[code];
      assert.equal(infos.includes(`\`${code}\``), severity === 'info', code);
      assert.equal(warnings.includes(`\`${code}\``), severity === 'warning', code);
    }
  });
});
