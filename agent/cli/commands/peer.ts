import type { PeerRow } from '../../control/status.ts';
import { ask } from '../ask.ts';
import type { Command } from '../command.ts';
import { exitCodes, print, printJson, table } from '../io.ts';

export const peerList: Command = {
  name: 'peer list',
  summary: 'the other members and the tunnel to each',
  async run(invocation) {
    const result = await ask(invocation, 'peer.list', {});
    const { peers } = result;
    if (invocation.json) printJson(invocation.io, result);
    else print(invocation.io, peers.length === 0 ? 'no other members' : peerTable(peers));
    return exitCodes.ok;
  },
};

export function peerTable(peers: readonly PeerRow[]): readonly string[] {
  const rows = peers.map((peer) => [
    peer.name,
    peer.overlay.join(','),
    peer.state,
    peer.level ?? '-',
    peer.epoch === null ? '-' : String(peer.epoch),
    peer.sn === null ? '-' : String(peer.sn),
    peer.endpoint ?? '-',
    `${peer.rxBytes}/${peer.txBytes}`,
    peer.proof === null ? 'not proven' : 'proven',
    [peer.reason ?? peer.change?.reason, controlNote(peer)]
      .filter((note) => note != null)
      .join('; '),
  ]);
  return table([
    ['name', 'overlay', 'state', 'level', 'epoch', 'sn', 'endpoint', 'rx/tx', 'proof', ''],
    ...rows,
  ]);
}

/** What is usual is not said. */
function controlNote({ control }: PeerRow): string | null {
  return control?.path === 'relayed' ? `control relayed by ${control.by}` : null;
}
