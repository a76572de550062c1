import type { ResultOf } from '../../control/verb-table.ts';
import { ask } from '../ask.ts';
import { type Command, type Invocation, type Option, optionText } from '../command.ts';
import { confirm, yesOption } from '../confirm.ts';
import { exitCodes, note, print, printJson, table } from '../io.ts';

type Kind = 'psk' | 'tunnel' | 'id' | 'all';

export const planOption: Option = {
  type: 'boolean',
  does: 'say what would happen, to whom and when; change nothing',
};

export const peerOption: Option = {
  type: 'string',
  value: 'NAME',
  does: 'a member of the mesh, by name or AID; one that is not in the charter is refused before anything is touched',
};

/** Shows the plan, for `--plan`. */
export async function showPlan(invocation: Invocation, kind: Kind): Promise<number> {
  const args = { kind, peer: optionText(invocation, 'peer'), of: optionText(invocation, 'of') };
  const plan = await ask(invocation, 'rotate.plan', args);
  if (invocation.json) {
    printJson(invocation.io, plan);
    return exitCodes.ok;
  }
  const { obstacle, steps, pairs } = plan;
  print(invocation.io, table(steps.map(({ step, does }) => [step, does])));
  if (pairs.length > 0)
    print(invocation.io, [
      '',
      ...table([
        ['peer', 'when', 'its clock'],
        ...pairs.map(({ pair, when, clockSkewMs, epochsPostponed }) => [
          pair,
          when,
          `${clockSkewMs === null ? 'not known' : `${clockSkewMs} ms ahead`}${epochsPostponed ? ', epochs wait' : ''}`,
        ]),
      ]),
    ]);
  const behind = pairs.filter(({ leftBehind }) => leftBehind === true).map(({ pair }) => pair);
  if (behind.length > 0)
    note(
      invocation.io,
      `left behind until they follow, without a tunnel: ${behind.join(', ')} (they have not followed the last rotation)`,
    );
  if (obstacle !== null) note(invocation.io, `not now: ${obstacle}`);
  return exitCodes.ok;
}

function rotation(
  kind: Kind,
  rotate: (invocation: Invocation) => Promise<number>,
  about: Pick<Command, 'summary' | 'details'> & { readonly question: string },
  options: Readonly<Record<string, Option>> = {},
): Command {
  const { question, ...texts } = about;
  return {
    name: `rotate ${kind}`,
    ...texts,
    options: {
      peer: peerOption,
      plan: planOption,
      yes: yesOption,
      ...options,
    },
    async run(invocation) {
      if (invocation.options['plan'] === true) return showPlan(invocation, kind);
      if (!(await confirm(invocation, question))) return exitCodes.ok;
      return rotate(invocation);
    },
  };
}

function showPsk(invocation: Invocation, result: ResultOf<'rotate.psk'>): number {
  const { pairs } = result;
  if (invocation.json) printJson(invocation.io, result);
  else
    print(
      invocation.io,
      table([
        ['peer', 'agreed', 'epoch', 'agreement', 'proven', ''],
        ...pairs.map(({ pair, agreed, epoch, agreement, proven, reason }) => [
          pair,
          agreed ? 'yes' : 'no',
          String(epoch ?? '-'),
          agreement ?? '-',
          proven ? 'yes' : 'with the next handshake',
          reason ?? '',
        ]),
      ]),
    );
  return pairs.every(({ agreed }) => agreed) ? exitCodes.ok : exitCodes.failed;
}

/** @param done what the keys are now, in words */
function showDone(invocation: Invocation, kind: Kind, result: object, done: string): number {
  if (invocation.json) {
    printJson(invocation.io, result);
    return exitCodes.ok;
  }
  print(invocation.io, done);
  note(invocation.io, 'next: `kelmesh rotate status` shows the tunnels change over');
  if (kind === 'all')
    note(invocation.io, 'the inner CA is apart from all this: `kelmesh rotate ca` rotates it');
  return exitCodes.ok;
}

/** What the members made of it that were asked; and the own log, when it was one of them. */
function showAll(invocation: Invocation, result: ResultOf<'rotate.all'>): number {
  const members = 'members' in result ? result.members : [];
  if (members.length > 0 && !invocation.json)
    print(
      invocation.io,
      table([
        ['member', 'rotated', 'event', ''],
        ...members.map(({ member, rotated, sn, reason }) => [
          member,
          rotated ? 'yes' : 'no',
          String(sn ?? '-'),
          reason ?? '',
        ]),
      ]),
    );
  if (result.sn !== undefined)
    showDone(invocation, 'all', result, `event ${result.sn}, ${result.said}`);
  else if (invocation.json) printJson(invocation.io, result);
  return members.every(({ rotated }) => rotated) ? exitCodes.ok : exitCodes.failed;
}

export const rotatePsk = rotation(
  'psk',
  async (invocation) =>
    showPsk(
      invocation,
      await ask(invocation, 'rotate.psk', {
        peer: optionText(invocation, 'peer'),
        prove: invocation.options['prove'] === true,
      }),
    ),
  {
    summary: 'a fresh preshared key with each peer, or with one, now',
    details: `Both ends agree afresh and write the new key; the session goes on, and the next handshake takes it, within 120 s
while packets flow. With --prove the end that starts the handshakes forces one at once: packets wait for a round trip, up
to 128 of them per peer of the interface.`,
    question: 'agree on fresh preshared keys?',
  },
  { prove: { type: 'boolean', does: 'force a handshake with the new key, and wait for it' } },
);

export const rotateTunnel = rotation(
  'tunnel',
  async (invocation) => {
    const result = await ask(invocation, 'rotate.tunnel', { peer: optionText(invocation, 'peer') });
    const { epoch, record } = result;
    return showDone(invocation, 'tunnel', result, `key epoch ${epoch}, record ${record}`);
  },
  {
    summary: 'the next tunnel keys under the same event of the log, for all tunnels of this node',
    details: `The key is one for all tunnels of this node: each moves to it by itself, with an agreement of its own, without losing a
packet. --peer only makes sure that the peer is there to follow.`,
    question: 'change the tunnel keys of this node?',
  },
);

export const rotateId = rotation(
  'id',
  async (invocation) => {
    const result = await ask(invocation, 'rotate.id', { peer: optionText(invocation, 'peer') });
    return showDone(invocation, 'id', result, `event ${result.sn}, ${result.said}`);
  },
  {
    summary: 'as `id rotate`: the log goes to its pre-rotated keys, the tunnel keys in step',
    question: 'rotate the keys of this organisation?',
  },
);

export const rotateAll = rotation(
  'all',
  async (invocation) =>
    showAll(
      invocation,
      await ask(invocation, 'rotate.all', {
        peer: optionText(invocation, 'peer'),
        of: optionText(invocation, 'of'),
      }),
    ),
  {
    summary:
      'everything that follows from the log: its keys, the tunnel keys, fresh agreements everywhere',
    details: `For an emergency: afterwards nothing that somebody copied before is of use, but the inner CA.
With --of NAME a governor of the mesh, or whoever delegated the node, asks that member to do the same with its own pre-rotated
keys; with --of all, every member, and this organisation last. A member does so once an hour at most, and says at which event it
is then; its configuration says who may ask (rotation.asked-by).`,
    question: 'rotate the keys and everything that follows from them?',
  },
  {
    of: {
      type: 'string',
      value: 'WHO',
      does: 'whose keys, in place of the own ones: a member by name or AID, or `all`: every member and this organisation',
    },
  },
);

export const rotateStatus: Command = {
  name: 'rotate status',
  summary: 'the changes of keys under way, pair by pair, and what is scheduled',
  async run(invocation) {
    const result = await ask(invocation, 'rotate.status', {});
    if (invocation.json) {
      printJson(invocation.io, result);
      return exitCodes.ok;
    }
    const { rotations: rows, next } = result;
    print(
      invocation.io,
      rows.length === 0
        ? 'no rotation is under way'
        : table([
            ['kind', 'peer', 'epoch', 'step', 'since', 'deadline', ''],
            ...rows.map((row) => [
              row.kind,
              row.pair,
              String(row.epoch),
              `${row.step}: ${row.detail}`,
              row.since,
              row.deadline,
              row.waitsFor ?? '',
            ]),
          ]),
    );
    print(
      invocation.io,
      `next by the clock: tunnel keys ${next.tunnel ?? 'on demand'}, log ${next.id ?? 'on demand'}`,
    );
    if (next.putOff !== null) note(invocation.io, `put off: ${next.putOff}`);
    return exitCodes.ok;
  },
};
