/**
 * The invite: one line that a person can paste, with the mesh, its governor and where the governor is reached.
 *
 * `kelmesh:1:MESH:GOVERNOR@ADDRESS,ADDRESS`. It holds no secret: who pastes it is still a stranger until the
 * governor admits the AID, and the AID in the line is what the governor has to prove.
 */
import { type Aid, parseAid, parseSaid, type Said } from '#kel/identifiers';
import { type PeerAddress, parsePeerAddress } from '../network/network.ts';
import { MembershipError } from './errors.ts';

export interface Invite {
  readonly mesh: Said;
  readonly governor: Aid;
  readonly addresses: readonly PeerAddress[];
}

/** Longest line that is read, and addresses in it. */
const MAX_LENGTH = 4_096;
const MAX_ADDRESSES = 16;

/** A line that {@link parseInvite} reads: addresses that do not fit are left out. Throws MESH_BAD_INVITE when none is left. */
export function formatInvite({ mesh, governor, addresses }: Invite): string {
  let line = '';
  for (const address of addresses
    .filter((address) => !address.includes(','))
    .slice(0, MAX_ADDRESSES)) {
    const longer = line === '' ? `kelmesh:1:${mesh}:${governor}@${address}` : `${line},${address}`;
    if (longer.length <= MAX_LENGTH) line = longer;
  }
  if (line === '')
    throw new MembershipError('MESH_BAD_INVITE', 'there is no address to put into the line', {
      hint: 'Set `listen` or `announce` in the section [network] to an address that others reach',
    });
  return line;
}

/** Throws MESH_BAD_INVITE. */
export function parseInvite(line: string): Invite {
  const text = line.trim();
  if (text.length > MAX_LENGTH)
    throw new MembershipError(
      'MESH_BAD_INVITE',
      `the line has ${text.length} characters, at most ${MAX_LENGTH} are read`,
    );
  const match = /^kelmesh:(\d+):([^:@]+):([^:@]+)@(.*)$/.exec(text);
  if (match === null)
    throw new MembershipError(
      'MESH_BAD_INVITE',
      'the line is not of the form kelmesh:1:MESH:GOVERNOR@ADDRESSES',
    );
  const [, version, mesh = '', governor = '', list = ''] = match;
  if (version !== '1')
    throw new MembershipError(
      'MESH_BAD_INVITE',
      `the line has version ${version}, this program reads version 1`,
    );
  const addresses = list.split(',').map((address) => {
    const parsed = parsePeerAddress(address);
    if (parsed === undefined)
      throw new MembershipError('MESH_BAD_INVITE', `not a multiaddr: ${address.slice(0, 64)}`);
    return parsed;
  });
  if (addresses.length > MAX_ADDRESSES)
    throw new MembershipError(
      'MESH_BAD_INVITE',
      `${addresses.length} addresses, at most ${MAX_ADDRESSES} are read`,
    );
  try {
    return { mesh: parseSaid(mesh), governor: parseAid(governor), addresses };
  } catch (error) {
    throw new MembershipError(
      'MESH_BAD_INVITE',
      'the mesh or the governor in the line is not a valid identifier',
      { cause: error },
    );
  }
}
