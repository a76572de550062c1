/**
 * Why two ends that hold each other's keys shake no hands, or shake hands and pass no packets: told from what the devices of both have
 * counted over some seconds, and from which keys each goes by. Pure.
 *
 * WireGuard begins a handshake every 5 s with 148 bytes and answers with 92; the preshared key is first used in that answer, so a wrong
 * one looks like an answer that got lost, and a wrong key of the other end like a blocked port (whitepaper 5.4).
 */

export const signatures = [
  'no-endpoint',
  'key-unknown-there',
  'key-outdated-here',
  'psk-mismatch',
  'reply-blocked',
  'own-reply-blocked',
  'udp-blocked',
  'allowed-ips-wrong',
] as const;

export type Signature = (typeof signatures)[number];

/** Of the other end on the own device: bytes that came and went meanwhile. */
export interface Counted {
  /** Milliseconds; undefined: there was none. */
  readonly handshakeAge: number | undefined;
  readonly rx: number;
  readonly tx: number;
  readonly hasEndpoint: boolean;
}

export interface EndSeen {
  /** Its own newest key, and the newest of the other end that it knows, by their records. */
  readonly own: string | undefined;
  readonly peer: string | undefined;
  /** Agreement and epoch of the preshared key on the device. */
  readonly presharedKey: string | undefined;
  /** Undefined: the other end does not stand on its device. */
  readonly counted: Counted | undefined;
}

/** WireGuard rejects a session that is older (REJECT_AFTER_TIME). */
const REJECT_AFTER_MS = 180_000;

/**
 * @param there as the other end says; undefined: it was not asked, or did not answer
 * @param isAnswered whether packets through the tunnel were answered; undefined: none was sent, or nobody can say
 * @returns undefined: nothing is wrong, or it cannot be told
 */
export function signatureOf(
  here: EndSeen,
  there: EndSeen | undefined,
  isAnswered: boolean | undefined,
): Signature | undefined {
  const { counted } = here;
  if (counted === undefined) return undefined;
  const { handshakeAge } = counted;
  if (handshakeAge !== undefined && handshakeAge < REJECT_AFTER_MS)
    return isAnswered === false ? ofSession(there) : undefined;
  if (there === undefined)
    return isMute(counted) && !counted.hasEndpoint ? 'no-endpoint' : undefined;
  return ofKeys(here, there) ?? ofWay(counted, there.counted);
}

/** Packets are lost although hands were shaken: what arrives there is not taken from this end. */
function ofSession(there: EndSeen | undefined): Signature | undefined {
  return (there?.counted?.rx ?? 0) > 0 ? 'allowed-ips-wrong' : undefined;
}

function ofKeys(here: EndSeen, there: EndSeen): Signature | undefined {
  if (there.counted === undefined || there.peer !== here.own) return 'key-unknown-there';
  if (here.peer !== there.own) return 'key-outdated-here';
  return here.presharedKey === there.presharedKey ? undefined : 'psk-mismatch';
}

/** All is right at both ends: it is the way between them. */
function ofWay(here: Counted, there: Counted | undefined): Signature | undefined {
  if (there === undefined) return undefined;
  if (isMute(here) && isMute(there))
    return here.hasEndpoint || there.hasEndpoint ? undefined : 'no-endpoint';
  if (here.rx > 0) return there.rx > 0 ? undefined : 'own-reply-blocked';
  return there.rx > 0 ? 'reply-blocked' : 'udp-blocked';
}

function isMute({ rx, tx }: Counted): boolean {
  return rx === 0 && tx === 0;
}
