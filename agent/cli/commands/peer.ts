import { ask } from '../ask.ts';
import type { Command } from '../command.ts';
import { exitCodes, print, printJson, table } from '../io.ts';

export interface PeerRow {
  readonly aid: string;
  readonly name: string;
  readonly overlay: readonly string[];
  readonly state: string;
  readonly reason: string | null;
  readonly level: string | null;
  readonly epoch: number | null;
  readonly sn: number | null;
  readonly endpoint: string | null;
  readonly lastHandshake: string | null;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly proof: string | null;
  /** Addresses of two agents that speak for it; null: there is one, as far as is known. */
  readonly twoPlaces: readonly string[] | null;
}

export const peerList: Command = {
  name: 'peer list',
  summary: 'the other members and the tunnel to each',
  async run(invocation) {
    const result = await ask(invocation, 'peer.list', {}, { atRest: false });
    const peers = result['peers'] as unknown as readonly PeerRow[];
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
    peer.reason ?? '',
  ]);
  return table([
    ['name', 'overlay', 'state', 'level', 'epoch', 'sn', 'endpoint', 'rx/tx', 'proof', ''],
    ...rows,
  ]);
}
