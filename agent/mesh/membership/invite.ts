/**
 * The invite: one line that a person can paste, with the mesh, its governor and where the governor is reached.
 *
 * `kelmesh:2:CHECK:MESH:GOVERNOR@ADDRESS,ADDRESS`, and behind it `+MEMBER@ADDRESS,…` where a member that does not govern
 * has made it: a second door, at which the knock is passed on. CHECK is a digest of what follows it, so that a line that
 * was cut short or mistyped is refused. The line holds no secret: who pastes it is still a stranger until the governor
 * admits the AID, and the AIDs in the line are what the other ends have to prove.
 *
 * Release 0.1 makes and reads `kelmesh:1:MESH:GOVERNOR@ADDRESS,ADDRESS`, which has no check. It is read for the sake of such a governor, with
 * the peer at the end of each address, so that a line that was cut short is refused too; and made where it is asked for.
 */
import { type Aid, parseAid, parseSaid, type Said } from '#kel/identifiers';
import { utf8 } from '#src/bytes';
import { sha256 } from '#src/crypto/hash';
import { inviteCheckLabel } from '#src/crypto/labels';
import { type PeerAddress, parsePeerAddress } from '../../network/network.ts';
import { MembershipError } from './errors.ts';

/** Who is reached where. */
export interface Contact {
  readonly aid: Aid;
  readonly addresses: readonly PeerAddress[];
}

export interface Invite {
  readonly mesh: Said;
  readonly governor: Aid;
  /** May be empty where `through` is not. */
  readonly addresses: readonly PeerAddress[];
  /** The member that made the line and does not govern. */
  readonly through?: Contact;
}

/** Longest line that is read, and addresses per door. */
const MAX_LENGTH = 4_096;
const MAX_ADDRESSES = 16;
/** Of the digest, in bytes: against mistakes, not against forgers, who can compute it too. */
const CHECK_BYTES = 6;
const SCHEME = 'kelmesh:';
const VERSION = '2';
/** Of release 0.1. */
const FIRST_VERSION = '1';
/** As agents of it have them, whole: a key of Ed25519. */
const PEER = /\/p2p\/12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/;

/** As {@link formatInvite}, for release 0.1. Throws MESH_BAD_INVITE. */
export function formatFirstInvite({
  mesh,
  governor,
  addresses,
}: Pick<Invite, 'mesh' | 'governor' | 'addresses'>): string {
  const reached = addresses.filter((address) => PEER.test(address));
  const door = formatDoor({ aid: governor, addresses: reached }, MAX_LENGTH);
  if (door.endsWith('@')) throw noAddress();
  return `${SCHEME}${FIRST_VERSION}:${mesh}:${door}`;
}

/** A line that {@link parseInvite} reads: addresses that do not fit are left out. Throws MESH_BAD_INVITE when none is left. */
export function formatInvite({ mesh, governor, addresses, through }: Invite): string {
  const room = MAX_LENGTH / (through === undefined ? 1 : 2);
  const doors = [formatDoor({ aid: governor, addresses }, room)];
  if (through !== undefined && through.addresses.length > 0) doors.push(formatDoor(through, room));
  if (doors.every((door) => door.endsWith('@'))) throw noAddress();
  const content = `${mesh}:${doors.join('+')}`;
  return `${SCHEME}${VERSION}:${checkOf(content)}:${content}`;
}

function noAddress(): MembershipError {
  return bad('there is no address to put into the line', {
    hint: 'Set `listen` or `announce` in the section [network] to an address that others reach',
  });
}

function formatDoor({ aid, addresses }: Contact, room: number): string {
  let door = `${aid}@`;
  const usable = addresses.filter((address) => !/[,+]/.test(address)).slice(0, MAX_ADDRESSES);
  for (const address of usable) {
    const longer = door.endsWith('@') ? `${door}${address}` : `${door},${address}`;
    // Scheme, check and mesh stand before it.
    if (longer.length + 80 <= room) door = longer;
  }
  return door;
}

/** Throws MESH_BAD_INVITE. @param line attacker-controlled */
export function parseInvite(line: string): Invite {
  const text = line.trim();
  if (text.length > MAX_LENGTH)
    throw bad(`the line has ${text.length} characters, at most ${MAX_LENGTH} are read`);
  if (!text.startsWith(SCHEME))
    throw bad(
      SCHEME.startsWith(text) && text !== ''
        ? 'the line was cut short: it ends within its first word'
        : 'the line does not begin with `kelmesh:`',
    );
  const [, version = '', check = '', content = ''] =
    /^kelmesh:([^:]*):?([^:]*):?(.*)$/s.exec(text) ?? [];
  if (version === FIRST_VERSION) return parseFirst(text);
  if (version !== VERSION)
    throw bad(
      check === '' && content === ''
        ? 'the line was cut short: it ends before its check'
        : `the line has version ${version.slice(0, 16) || 'none'}, this program reads version ${VERSION}`,
    );
  if (check !== checkOf(content))
    throw bad(
      content === ''
        ? 'the line was cut short: there is nothing behind its check'
        : `the line was cut short or mistyped: its check is ${check.slice(0, 16)}, what follows gives ${checkOf(content)}`,
    );
  return parseContent(content);
}

/** Of release 0.1: no check, no second door. */
function parseFirst(text: string): Invite {
  const invite = parseContent(text.slice(`${SCHEME}${FIRST_VERSION}:`.length));
  if (invite.through !== undefined || invite.addresses.some((address) => !PEER.test(address)))
    throw bad(
      'the line has version 1, and was cut short or mistyped: an address ends without its peer',
    );
  return invite;
}

function parseContent(content: string): Invite {
  const [, mesh = '', doors = ''] = /^([^:]*):(.*)$/s.exec(content) ?? [];
  const [governor, through, ...more] = doors.split('+').map(parseDoor);
  if (governor === undefined || more.length > 0)
    throw bad('the line is not of the form kelmesh:2:CHECK:MESH:GOVERNOR@ADDRESSES');
  if (governor.addresses.length === 0 && (through?.addresses.length ?? 0) === 0)
    throw bad('there is no address in the line');
  if (through?.addresses.length === 0) throw bad('a member without an address');
  try {
    return {
      mesh: parseSaid(mesh),
      governor: governor.aid,
      addresses: governor.addresses,
      ...(through === undefined ? {} : { through }),
    };
  } catch (cause) {
    throw bad('the mesh in the line is not a valid identifier', { cause });
  }
}

function parseDoor(text: string): Contact {
  const [, aid = '', list = ''] = /^([^@]*)@(.*)$/s.exec(text) ?? [];
  const parts = list === '' ? [] : list.split(',');
  if (parts.length > MAX_ADDRESSES)
    throw bad(`${parts.length} addresses, at most ${MAX_ADDRESSES} are read`);
  const addresses = parts.map((address) => {
    const parsed = parsePeerAddress(address);
    if (parsed === undefined) throw bad(`not a multiaddr: ${address.slice(0, 64)}`);
    return parsed;
  });
  try {
    return { aid: parseAid(aid), addresses };
  } catch (cause) {
    throw bad('who is to be reached is not a valid identifier', { cause });
  }
}

function checkOf(content: string): string {
  return Buffer.from(sha256(inviteCheckLabel(utf8(content))).subarray(0, CHECK_BYTES)).toString(
    'base64url',
  );
}

function bad(message: string, details?: { readonly hint?: string; readonly cause?: unknown }) {
  return new MembershipError('MESH_BAD_INVITE', message, details);
}
