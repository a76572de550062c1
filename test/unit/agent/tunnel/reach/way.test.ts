/** Which way two ends take, decided at each of them from what both have seen: over models of what translates their addresses. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type Candidate, candidatesOf } from '#agent/tunnel/reach/candidate';
import {
  attemptsOf,
  chooseWay,
  type FoundWay,
  nextAttempt,
  type Sighting,
} from '#agent/tunnel/reach/way';
import type { UdpEndpoint } from '#src/wireguard/tunnel-driver';
import { parseUdpEndpoint } from '#src/wireguard/values';
import { SimulatedSite, type Translation } from '../../../../support/simulation/simulated-site.ts';

const candidatesAt = (site: SimulatedSite, observer: UdpEndpoint): readonly Candidate[] =>
  candidatesOf({
    port: site.port,
    own: [site.innerHost],
    configured: [],
    observed: [site.send(observer)],
  });

const OBSERVER = parseUdpEndpoint('45.77.0.1:51820');

/** Some rounds of probes between two sites. @param lan whether the inner address of the one leads to the other */
function probe(a: SimulatedSite, b: SimulatedSite, lan: boolean) {
  const candidates = [candidatesAt(a, OBSERVER), candidatesAt(b, OBSERVER)] as const;
  const seen: [Sighting[], Sighting[]] = [[], []];
  const sites = [a, b] as const;
  for (let round = 0; round < 3; round++)
    for (const [n, site] of sites.entries()) {
      const other = 1 - n;
      const target = sites[other] as SimulatedSite;
      for (const [index, { kind, endpoint }] of (
        candidates[other] as readonly Candidate[]
      ).entries()) {
        if (kind === 'lan') {
          if (lan) note(seen[other] as Sighting[], { index, source: site.inner });
          continue;
        }
        const source = site.send(endpoint);
        if (target.takes(endpoint, source)) note(seen[other] as Sighting[], { index, source });
      }
    }
  return [
    { candidates: candidates[0], seen: seen[0] },
    { candidates: candidates[1], seen: seen[1] },
  ] as const;
}

function note(seen: Sighting[], sighting: Sighting): void {
  const isKnown = seen.some(
    ({ index, source }) => index === sighting.index && source === sighting.source,
  );
  if (!isKnown) seen.push(sighting);
}

/** Both ends decide the same, whoever of them is the lower one. */
function agreed(a: SimulatedSite, b: SimulatedSite, lan = false): FoundWay | undefined {
  const [atA, atB] = probe(a, b, lan);
  for (const isLower of [true, false]) {
    const one = chooseWay(atA, atB, isLower);
    const other = chooseWay(atB, atA, !isLower);
    assert.deepEqual(other && { own: other.peer, peer: other.own }, one);
  }
  return chooseWay(atA, atB, true);
}

const behind = (kind: Translation, n: number) =>
  new SimulatedSite(kind, `192.168.${n}.2:51820`, `45.77.0.10${n}`);
const open = () => new SimulatedSite('none', '45.77.0.9:51820', '');

const table: readonly [Translation, Translation, boolean][] = [
  ['none', 'none', true],
  ['none', 'keeps-ports', true],
  ['none', 'same-for-all', true],
  ['none', 'per-destination', true],
  ['keeps-ports', 'keeps-ports', true],
  ['keeps-ports', 'same-for-all', true],
  ['same-for-all', 'same-for-all', true],
  ['keeps-ports', 'per-destination', false],
  ['same-for-all', 'per-destination', false],
  ['per-destination', 'per-destination', false],
];

describe('a way between two devices', () => {
  for (const [a, b, isFound] of table)
    it(`is ${isFound ? 'found' : 'not there'} between ${a} and ${b}`, () => {
      const one = a === 'none' ? open() : behind(a, 1);
      const other = b === 'none' ? new SimulatedSite('none', '45.77.0.8:51820', '') : behind(b, 2);
      const way = agreed(one, other);
      assert.equal(way !== undefined, isFound);
      if (way === undefined) return;
      // It carries packets both ways, from the very sockets that were probed.
      assert.ok(other.takes(way.peer, one.send(way.peer)));
      assert.ok(one.takes(way.own, other.send(way.own)));
    });

  it('is that of the LAN where both stand behind one router', () => {
    const way = agreed(behind('keeps-ports', 1), behind('keeps-ports', 2), true);
    assert.deepEqual(way, { own: '192.168.1.2:51820', peer: '192.168.2.2:51820' });
  });

  it('is one on which probes came both ways, where there is one', () => {
    const at = parseUdpEndpoint;
    const own = {
      candidates: [
        { kind: 'lan', endpoint: at('10.0.0.1:1') },
        { kind: 'observed', endpoint: at('45.77.0.1:1') },
      ] as const,
      seen: [
        { index: 0, source: at('10.0.0.2:1') },
        { index: 1, source: at('45.77.0.2:1') },
      ],
    };
    const peer = {
      candidates: [{ kind: 'observed', endpoint: at('45.77.0.2:1') }] as const,
      seen: [{ index: 0, source: at('45.77.0.1:1') }],
    };
    assert.deepEqual(chooseWay(own, peer, true), { own: '45.77.0.1:1', peer: '45.77.0.2:1' });
  });

  it('is none where candidates are named that nobody has', () => {
    const nobody = { candidates: [], seen: [{ index: 7, source: OBSERVER }] };
    assert.equal(chooseWay(nobody, nobody, true), undefined);
  });
});

describe('ways that are tried without probes', () => {
  const site = (lan: string, outer: string): readonly Candidate[] =>
    candidatesOf({ port: 7, own: [lan], configured: [], observed: [parseUdpEndpoint(outer)] });

  it('begin with the LAN behind one router, and leave it for the last elsewhere', () => {
    const near = attemptsOf(site('10.0.0.1', '45.77.0.1:7'), site('10.0.0.2', '45.77.0.1:8'), true);
    assert.deepEqual(near[0], { own: '10.0.0.1:7', peer: '10.0.0.2:7' });
    const far = attemptsOf(site('10.0.0.1', '45.77.0.1:7'), site('10.0.0.2', '45.77.0.2:7'), true);
    assert.deepEqual(far[0], { own: '45.77.0.1:7', peer: '45.77.0.2:7' });
    assert.deepEqual(far.at(-1), { own: '10.0.0.1:7', peer: '10.0.0.2:7' });
  });

  it('are the same at both ends, of one family, and few', () => {
    const a = candidatesOf({
      port: 7,
      own: ['10.0.0.1', '2001:db8::1'],
      configured: ['198.51.100.1'],
      observed: [],
    });
    const b = candidatesOf({
      port: 8,
      own: ['10.0.0.2', '2001:db8::2'],
      configured: ['198.51.100.2'],
      observed: [],
    });
    const atA = attemptsOf(a, b, true);
    const atB = attemptsOf(b, a, false);
    assert.deepEqual(
      atB.map(({ own, peer }) => ({ own: peer, peer: own })),
      atA,
    );
    assert.ok(atA.length <= 4);
    for (const { own, peer } of atA) assert.equal(own.startsWith('['), peer.startsWith('['));
  });

  it('follow each other by the time since both began', () => {
    const attempts = attemptsOf(
      site('10.0.0.1', '45.77.0.1:7'),
      site('10.0.0.2', '45.77.0.2:7'),
      true,
    );
    const at = (ms: number) => attempts.indexOf(nextAttempt(attempts, ms)?.way as FoundWay);
    assert.deepEqual([at(-5), at(0), at(1_999), at(2_000)], [0, 0, 0, 1]);
    assert.equal(nextAttempt(attempts, 2_000 * attempts.length), undefined);
    assert.equal(nextAttempt(attempts, 500)?.forMs, 1_500);
  });
});
