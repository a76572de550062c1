/**
 * What taking in a bundle makes of the trust in others: decided before anything is written.
 *
 * Two CAs for one domain could each certify the other's services. So a second one is taken in on proof of succession
 * alone: a CA that is trusted already signed the key of the new one, for the same name and within the same bounds
 * (RFC 4210 4.4, "new with old"), and that signature is valid now. The other way is a person who has the fingerprint from
 * the owner. Own CAs are never succeeded from outside.
 *
 * A former CA goes when it has expired, or when a bundle has its successor and not itself: that is how its owner says that
 * it is retired. An older bundle brings it back to nobody: it does not succeed its successor.
 */
import { type CaCertificate, requireBounds, successionProof } from '#src/mtls/ca-certificate';
import { isWithin } from '#src/mtls/dns-name';
import { CaError } from './errors.ts';

export interface TrustImport {
  readonly taken: readonly CaCertificate[];
  readonly ended: readonly CaCertificate[];
}

export interface ImportRequest {
  readonly own: readonly CaCertificate[];
  /** Of others, trusted until now. */
  readonly others: readonly CaCertificate[];
  /** In the order of the bundle: a successor behind the CA before it. */
  readonly offered: readonly CaCertificate[];
  /** Of the offered CA for which a person speaks. */
  readonly fingerprint: string | undefined;
  readonly now: number;
}

/**
 * Version 0.1 took in CAs that are bound in DNS names alone. They are not cut off in silence: they are named until then, and so
 * their owners have time to make others. Milliseconds since the Unix epoch.
 */
const UNBOUNDED_UNTIL = Date.UTC(2027, 3, 1);

/** When a CA that was trusted before, and could speak for others, stops being trusted; undefined for one that is bound. */
export function worksUntil({ unbounded, notAfter }: CaCertificate): number | undefined {
  return unbounded.length === 0 ? undefined : Math.min(UNBOUNDED_UNTIL, notAfter);
}

/** @throws MTLS_UNCONSTRAINED, CA_OVERLAP, CA_WRONG_FINGERPRINT, CA_TRUST_EXPIRED */
export function planImport(request: ImportRequest): TrustImport {
  const { own, others, offered, now } = request;
  const expired = others.filter((ca) => now >= (worksUntil(ca) ?? ca.notAfter));
  const replaced = replacedBy(request);
  const trusted = others.filter((ca) => !expired.includes(ca) && !replaced.includes(ca));
  const taken: CaCertificate[] = [];
  for (const ca of offered) {
    if (isAmong(ca, own) || isAmong(ca, trusted)) continue;
    if (now >= ca.notAfter)
      throw new CaError(
        'CA_TRUST_EXPIRED',
        `CA ${ca.name}: valid until ${new Date(ca.notAfter).toISOString()}`,
      );
    requireBounds(ca);
    refuseOverlap(ca, [...own, ...unproven(ca, trusted, now)]);
    trusted.push(ca);
    taken.push(ca);
  }
  // As they are trusted: the file may come without the proof that was taken in before.
  const present = trusted.filter((ca) => isAmong(ca, offered));
  // One between two that are offered stays: without it the two would stand side by side, unproven.
  const succeeded = trusted.filter(
    (ca) =>
      !present.includes(ca) &&
      present.some((head) => precedes(ca, head, trusted)) &&
      !present.some((tail) => precedes(tail, ca, trusted)),
  );
  return { taken, ended: [...new Set([...expired, ...replaced, ...succeeded])] };
}

/** Those whose place the CA takes for which a person speaks. */
function replacedBy({ others, offered, fingerprint }: ImportRequest): readonly CaCertificate[] {
  if (fingerprint === undefined) return [];
  const chosen = offered.find((ca) => ca.fingerprint === fingerprint);
  if (chosen === undefined)
    throw new CaError(
      'CA_WRONG_FINGERPRINT',
      `expected the CA ${fingerprint}, the file has ${offered.map((ca) => ca.fingerprint).join(', ')}`,
    );
  // A cross certificate is the word of the older CA for the newer, never the other way: anyone can make one for a key that
  // is public. So the person's word covers what comes after, and what came before only if it is trusted already.
  const stranger = offered.find(
    (ca) => ca !== chosen && !isAmong(ca, others) && !precedes(chosen, ca, offered),
  );
  if (stranger !== undefined)
    throw new CaError(
      'CA_WRONG_FINGERPRINT',
      `expected the CA ${fingerprint} and its successors, the file has ${stranger.fingerprint} too`,
    );
  return others.filter((ca) => !isAmong(ca, offered) && sharedDomain(ca, chosen) !== undefined);
}

/** Those of `trusted` that `ca` does not succeed by a proof that is valid now. */
function unproven(
  ca: CaCertificate,
  trusted: readonly CaCertificate[],
  now: number,
): readonly CaCertificate[] {
  const before = trusted.filter((other) => successionProof(ca, other, now) !== undefined);
  return trusted.filter(
    (other) => !before.some((each) => each === other || precedes(other, each, trusted)),
  );
}

/** True when `ca` succeeded `former`, through others of `among` perhaps. */
function precedes(
  former: CaCertificate,
  ca: CaCertificate,
  among: readonly CaCertificate[],
): boolean {
  const seen = new Set([ca.fingerprint]);
  let generation = [ca];
  while (generation.length > 0) {
    generation = among.filter(
      (other) =>
        !seen.has(other.fingerprint) &&
        generation.some((each) => successionProof(each, other) !== undefined),
    );
    if (isAmong(former, generation)) return true;
    for (const each of generation) seen.add(each.fingerprint);
  }
  return false;
}

function refuseOverlap(ca: CaCertificate, others: readonly CaCertificate[]): void {
  for (const other of others) {
    const shared = sharedDomain(ca, other);
    if (shared !== undefined)
      throw new CaError(
        'CA_OVERLAP',
        `CA ${ca.name} and CA ${other.name} (${other.fingerprint.slice(0, 16)}) are both for ${shared}`,
      );
  }
}

function sharedDomain(one: CaCertificate, other: CaCertificate): string | undefined {
  return one.domains.find((domain) =>
    other.domains.some((theirs) => isWithin(domain, theirs) || isWithin(theirs, domain)),
  );
}

function isAmong(ca: CaCertificate, list: readonly CaCertificate[]): boolean {
  return list.some(({ fingerprint }) => fingerprint === ca.fingerprint);
}
