/** What a member gone bad signs and says: with the keys of a real agent, for whatever peer it likes. */

import {
  decodeSyncMessage,
  encodeSyncMessage,
  type Hello,
  type Prove,
  type SyncMessage,
} from '#agent/mesh/sync/messages';
import type { MessageStream, PeerKey } from '#agent/network/network';
import type { LiveAgent } from './live-agents.ts';

/** The hello of `member`, with what shall be different. Anybody can say it. */
export function helloOf(member: LiveAgent, change: Partial<Hello> = {}): Hello {
  const { aid, sn, said } = member.organisation.identity.state;
  return {
    kind: 'hello',
    head: { aid, sn, said },
    mesh: member.organisation.membership.mesh ?? '',
    clock: Date.now(),
    want: 0,
    ...change,
  };
}

/** The proof that `peer` speaks for `member`: its log and an `end` record signed with its keys. */
export async function proofOf(member: LiveAgent, peer: PeerKey, want = 0): Promise<Prove> {
  const { identity, kel } = member.organisation;
  const { sn, said } = identity.state.establishment;
  const { message } = await identity.record('end', {
    es: { s: sn, d: said },
    p: peer,
    la: [],
    ue: [],
  });
  return { kind: 'prove', log: await kel.export(identity.aid), endpoints: message, want };
}

export async function say(stream: MessageStream, message: SyncMessage): Promise<void> {
  await stream.send(encodeSyncMessage(message));
}

/** The next message of a sync session; undefined: the agent has ended it. */
export async function hear(stream: MessageStream): Promise<SyncMessage | undefined> {
  const bytes = await stream.receive().catch(() => undefined);
  return bytes === undefined ? undefined : decodeSyncMessage(bytes);
}
