import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import {
  changeReason,
  type ReasonCode,
  reasonCodes,
  type TunnelLook,
  tunnelReason,
} from '#agent/control/tunnel-reason';
import { policyOf } from '#agent/mesh/membership/policy/edge-policy';

const END = { name: 'a', role: 'server', region: '' } as const;
const ports = { own: 51_820, peer: '198.51.100.7:51821' };
const alive = { ports, handshakeAge: 20_000, silentMs: undefined, isUnanswered: false };
const fine: TunnelLook = {
  edge: { kind: 'none' },
  isAsleep: false,
  hasLog: true,
  hasTunnelKeys: true,
  isConnected: true,
  active: undefined,
  coming: undefined,
  isLeftBehind: false,
  isOutdated: false,
  isApart: false,
  failure: undefined,
  peerRefusal: undefined,
  ownDevice: undefined,
  path: undefined,
  hasAddress: true,
};
const closed = (rule: number | null, closedBy: 'rule' | 'topology') => {
  const terms = policyOf([], [END, END]);
  return { kind: 'closed', terms: { ...terms, peer: false, rule, closedBy } } as const;
};
const coming = (isAgreed: boolean, stagedMs?: number) => ({ isAgreed, stagedMs, ports });

describe('the reason why a tunnel is not up', () => {
  const rows: readonly [string, Partial<TunnelLook>, ReasonCode | null, RegExp?][] = [
    ['a recent handshake', { active: alive }, null],
    ['one, and the agent of the other end is down', { active: alive, isConnected: false }, null],
    [
      'one, while other keys are on their way',
      { active: alive, coming: coming(true, 60_000) },
      null,
    ],
    ['its log is not here', { hasLog: false, hasTunnelKeys: false }, 'no-log'],
    ['its keys are not here', { hasTunnelKeys: false }, 'no-tunnel-keys'],
    ['it is away', { isConnected: false, coming: coming(false) }, 'not-connected'],
    ['the agreement has begun', { coming: coming(false) }, 'agreeing'],
    [
      'the agreement is refused',
      {
        coming: coming(false),
        failure: { code: 'AGREEMENT_CLOCK_SKEW', message: 'it refused' },
      },
      'agreement-failed',
      /AGREEMENT_CLOCK_SKEW/,
    ],
    ['agreed, and a device is being made', { coming: coming(true) }, 'setting-up'],
    ['agreed and staged a moment ago', { coming: coming(true, 2_000) }, 'setting-up'],
    [
      'UDP is dropped from the start',
      { coming: coming(true, 20_000) },
      'no-handshake',
      /a key is agreed.*51820.*198\.51\.100\.7:51821/,
    ],
    [
      'the name of the own interface is taken',
      {
        ownDevice: { message: 'kelmesh0 is taken' },
        coming: coming(true),
      },
      'own-device-failed',
      /kelmesh0 is taken/,
    ],
    [
      'that of the other end is',
      { coming: coming(true, 60_000), peerRefusal: 'WIREGUARD_NAME_TAKEN' },
      'peer-device-failed',
      /a key is agreed.*WIREGUARD_NAME_TAKEN/,
    ],
    [
      'the machine has lost its addresses, a moment after a handshake',
      { active: alive, hasAddress: false },
      'no-address',
    ],
    [
      'the other end has vanished, within the life of the session',
      { active: { ...alive, silentMs: 30_000 }, isConnected: false },
      'silent',
      /30 s.*51820.*198\.51\.100\.7:51821.*not connected/,
    ],
    [
      'WireGuard answers, and nothing behind it',
      { active: { ...alive, isUnanswered: true } },
      'unanswered',
      /51820.*no packet/,
    ],
    [
      'and after it',
      { active: { ...alive, silentMs: 300_000, handshakeAge: 200_000 } },
      'session-ended',
    ],
    [
      'no session for long',
      { active: { ...alive, handshakeAge: 181_000 } },
      'session-ended',
      /181 s/,
    ],
    [
      'a device made anew',
      { active: { ...alive, handshakeAge: undefined } },
      'no-handshake',
      /51820/,
    ],
    [
      'the ends are at different epochs',
      { active: { ...alive, handshakeAge: 200_000 }, isApart: true },
      'epochs-apart',
    ],
    [
      'the rule of somebody else leads packets away, whatever was heard a moment ago',
      { active: alive, path: { kind: 'routed-elsewhere', device: 'vpn0', table: '51' } },
      'routed-elsewhere',
      /vpn0.*table 51/,
    ],
    [
      'a route of somebody else does',
      { active: alive, path: { kind: 'routed-elsewhere', device: 'vpn0', table: undefined } },
      'routed-elsewhere',
      /vpn0: not/,
    ],
    [
      'a rule refuses',
      { active: alive, path: { kind: 'not-routed', said: 'Invalid argument' } },
      'not-routed',
      /Invalid argument/,
    ],
    [
      'the link was taken down',
      { active: alive, path: { kind: 'link-down', device: 'kelmesh0' } },
      'link-down',
      /kelmesh0/,
    ],
    [
      'the address was taken away',
      { active: alive, path: { kind: 'address-missing', address: 'fd00::1' } },
      'address-missing',
      /fd00::1/,
    ],
    [
      'the own interface cannot be made, which is why packets go elsewhere',
      {
        active: alive,
        ownDevice: { message: 'kelmesh0 is taken' },
        path: { kind: 'link-down', device: 'kelmesh0' },
      },
      'own-device-failed',
    ],
    [
      'it did not follow',
      { isLeftBehind: true, coming: coming(false), isConnected: false },
      'left-behind',
    ],
    [
      'its program is too old for the mesh',
      { isOutdated: true, isLeftBehind: true, coming: coming(false), isConnected: false },
      'old-version',
      /version 1/,
    ],
    [
      'its program is too old, and the tunnel of before lives',
      { isOutdated: true, active: alive },
      null,
    ],
    ['nobody wants it', { isAsleep: true, coming: coming(false) }, 'asleep'],
    ['a rule has no such tunnel', { edge: closed(2, 'rule') }, 'policy-closed', /rule 3/],
    [
      'nor has the topology, whatever was up a moment ago',
      { edge: closed(null, 'topology'), active: alive },
      'policy-closed',
      /topology/,
    ],
    [
      'what is required cannot be mixed in',
      { edge: { kind: 'lacking', lacking: ['hqc-256', 'broker:north'] }, coming: coming(false) },
      'policy-lacking',
      /hqc-256, broker:north/,
    ],
  ];
  for (const [what, look, code, words] of rows)
    it(`${code ?? 'none, it is up'}: ${what}`, () => {
      const found = tunnelReason({ ...fine, ...look });
      assert.equal(found.reasonCode, code);
      assert.equal(found.state === 'up', code === null);
      assert.equal(found.reason === null, code === null);
      if (words !== undefined) assert.match(found.reason ?? '', words);
    });

  it('is told of newer keys that wait for a port while packets go on under the former ones', () => {
    const waits = { ...fine, active: alive, coming: coming(true, 20_000) };
    assert.equal(tunnelReason(waits).state, 'up');
    const reason = changeReason(waits);
    assert.equal(reason?.reasonCode, 'change-blocked');
    assert.match(reason.reason, /newer keys wait.*51820.*198\.51\.100\.7:51821/);
    const old = changeReason({ ...fine, active: alive, isOutdated: true });
    assert.equal(old?.reasonCode, 'old-version');
    assert.match(old.reason, /no newer keys come.*updated/);
    for (const look of [
      { ...waits, coming: coming(true, 2_000) },
      { ...waits, coming: coming(false, 20_000) },
      { ...waits, coming: undefined },
      { ...waits, active: undefined },
    ])
      assert.equal(changeReason(look), undefined);
  });

  it('has every code in the table, and in the page for operators with what to look at', () => {
    const seen = new Set(rows.map(([, , code]) => code));
    const page = readFileSync(new URL('../../../../docs/operations.md', import.meta.url), 'utf8');
    const documented = [...page.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, code]) => code);
    for (const code of reasonCodes) {
      assert.ok(seen.has(code) || ['suspended', 'change-blocked'].includes(code), code);
      assert.ok(documented.includes(code), `${code} is not in docs/operations.md`);
    }
    const known: readonly string[] = reasonCodes;
    assert.deepEqual(
      documented.filter((code) => !known.includes(code ?? '')),
      [],
    );
  });
});
