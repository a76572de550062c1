import type { ResultOf } from '../../control/verb-table.ts';
import { ask } from '../ask.ts';
import type { Command } from '../command.ts';
import { exitCodes, print, printJson, table } from '../io.ts';
import { knockLine } from '../knocks.ts';
import { peerTable } from './peer.ts';
import { witnessTable } from './witness.ts';

type Status = ResultOf<'status'>;

export const status: Command = {
  name: 'status',
  summary: 'what is up, what is not, and why',
  async run(invocation) {
    const s = await ask(invocation, 'status', {});
    if (invocation.json) {
      printJson(invocation.io, s);
      return exitCodes.ok;
    }
    print(
      invocation.io,
      table([
        ['identity', `${s.aid}, event ${s.sn}${s.rotating ? ', tunnels change over' : ''}`],
        ['mesh', meshLine(s.mesh, s.admission)],
        ['overlay', s.overlay.join(', ') || '-'],
        [
          'interface',
          s.interface === null ? '-' : `${s.interface}, UDP port ${s.port}, ${s.driver}`,
        ],
        ['peers', `${s.peersUp} of ${s.peers.length} up, next key epoch ${s.nextEpoch}`],
        ...(s.clockStep === null ? [] : [['clock', clockLine(s.clockStep)]]),
        ['audit log', `${s.auditLeaves} leaves`],
        ...(s.waiting === null
          ? []
          : [['waiting', `event ${s.waiting.sn} ${s.waiting.said} is signed and not final yet`]]),
        ...(s.witnesses.length === 0
          ? []
          : [['witnesses', `${s.witnessThreshold} of ${s.witnesses.length} make an event final`]]),
      ]),
    );
    if (s.disk !== null && s.disk.warning !== null)
      print(invocation.io, ['', `warning: ${s.disk.warning}`]);
    if (s.witnesses.length > 0) print(invocation.io, ['', ...witnessTable(s.witnesses)]);
    if (s.peers.length > 0) print(invocation.io, ['', ...peerTable(s.peers)]);
    if (s.stepBack !== null)
      print(invocation.io, [
        '',
        `warning: own events wait: ${s.stepBack}: the newest state directory, a member in reach, or \`kelmesh id confirm\``,
      ]);
    if (s.twin !== null)
      print(invocation.io, [
        '',
        `warning: since ${s.twin.since} another agent runs with the keys of this one, at ${s.twin.addresses.join(', ') || 'an unknown address'}: stop one of the two, or \`kelmesh id rotate\` if it is not yours; no own event is made unasked`,
      ]);
    for (const { aid, name, twoPlaces } of s.peers)
      if (twoPlaces !== null)
        print(invocation.io, [
          '',
          `warning: two agents speak for ${name || aid}, from ${twoPlaces.join(', ') || 'unknown addresses'}: tell its operator`,
        ]);
    for (const { aid, name, own, reason } of s.suspended)
      print(invocation.io, [
        '',
        own
          ? `warning: the own log has forked: ${reason}; somebody else signs with its keys: \`kelmesh id rotate\``
          : `${name ?? aid} is suspended: ${reason}: \`kelmesh id evidence list\``,
      ]);
    for (const knock of s.knocks)
      print(invocation.io, ['', knockLine(knock, s.mesh?.isGovernor === true)]);
    return exitCodes.ok;
  },
};

function clockLine({ byMs, at }: NonNullable<Status['clockStep']>): string {
  const seconds = Math.round(Math.abs(byMs) / 1_000);
  return `was set ${byMs > 0 ? 'ahead' : 'back'} by ${seconds} s at ${at}: key epochs go on as before until members confirm it`;
}

function meshLine(mesh: Status['mesh'], admission: Status['admission']): string {
  if (mesh === null) return 'none: `kelmesh mesh create NAME`, or `kelmesh mesh join LINE`';
  if (mesh.revoked !== null)
    return `removed by the governor: ${mesh.revoked.reason || 'no reason given'}`;
  if (!mesh.isMember)
    return admission?.state === 'not-reached'
      ? `not reached, so nobody knows that this organisation asks: ${admission.reason}`
      : `not admitted yet: ${admission?.reason ?? 'the agent has not asked'}`;
  return `${mesh.name}, charter version ${mesh.version}`;
}
