import { ask, type JsonObject } from '../ask.ts';
import { type Command, type Invocation, type Option, optionText } from '../command.ts';
import { confirm, yesOption } from '../confirm.ts';
import { exitCodes, note, print, printJson, table } from '../io.ts';

type Kind = 'psk' | 'tunnel' | 'id' | 'all';

interface Plan {
  readonly obstacle: string | null;
  readonly steps: readonly { readonly step: string; readonly does: string }[];
  readonly pairs: readonly {
    readonly pair: string;
    readonly when: string;
    readonly clockSkewMs: number | null;
    readonly epochsPostponed: boolean;
    /** Absent at rest. */
    readonly leftBehind?: boolean;
  }[];
}

interface Row {
  readonly kind: string;
  readonly pair: string;
  readonly epoch: number;
  readonly step: string;
  readonly detail: string;
  readonly since: string;
  readonly deadline: string;
  readonly waitsFor: string | null;
}

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
  const peer = optionText(invocation, 'peer');
  const args = { kind, ...(peer === undefined ? {} : { peer }) };
  const plan = await ask(invocation, 'rotate.plan', args, { atRest: true });
  if (invocation.json) {
    printJson(invocation.io, plan);
    return exitCodes.ok;
  }
  const { obstacle, steps, pairs } = plan as unknown as Plan;
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
      const peer = optionText(invocation, 'peer');
      const of = optionText(invocation, 'of');
      const args = {
        ...(peer === undefined ? {} : { peer }),
        ...(of === undefined ? {} : { of }),
        ...(invocation.options['prove'] === true ? { prove: true } : {}),
      };
      const result = await ask(invocation, `rotate.${kind}`, args, { atRest: false });
      return show(invocation, kind, result);
    },
  };
}

function show(invocation: Invocation, kind: Kind, result: JsonObject): number {
  const pairs = result['pairs'] as readonly JsonObject[];
  const members = (result['members'] ?? []) as readonly JsonObject[];
  const failed =
    (kind === 'psk' && pairs.some(({ agreed }) => agreed !== true)) ||
    members.some(({ rotated }) => rotated !== true);
  if (invocation.json) printJson(invocation.io, result);
  else if (kind === 'psk')
    print(
      invocation.io,
      table([
        ['peer', 'agreed', 'epoch', 'agreement', 'proven', ''],
        ...pairs.map((row) => [
          String(row['pair']),
          row['agreed'] === true ? 'yes' : 'no',
          String(row['epoch'] ?? '-'),
          String(row['agreement'] ?? '-'),
          row['proven'] === true ? 'yes' : 'with the next handshake',
          String(row['reason'] ?? ''),
        ]),
      ]),
    );
  else {
    if (members.length > 0)
      print(
        invocation.io,
        table([
          ['member', 'rotated', 'event', ''],
          ...members.map((row) => [
            String(row['member']),
            row['rotated'] === true ? 'yes' : 'no',
            String(row['sn'] ?? '-'),
            String(row['reason'] ?? ''),
          ]),
        ]),
      );
    if (result['sn'] === undefined && kind !== 'tunnel')
      return failed ? exitCodes.failed : exitCodes.ok;
    print(
      invocation.io,
      kind === 'tunnel'
        ? `key epoch ${result['epoch']}, record ${result['record']}`
        : `event ${result['sn']}, ${result['said']}`,
    );
    note(invocation.io, 'next: `kelmesh rotate status` shows the tunnels change over');
    if (kind === 'all')
      note(invocation.io, 'the inner CA is apart from all this: `kelmesh rotate ca` rotates it');
  }
  return failed ? exitCodes.failed : exitCodes.ok;
}

export const rotatePsk = rotation(
  'psk',
  {
    summary: 'a fresh preshared key with each peer, or with one, now',
    details: `Both ends agree afresh and write the new key; the session goes on, and the next handshake takes it, within 120 s
while packets flow. With --prove the end that starts the handshakes forces one at once: packets wait for a round trip, up
to 128 of them per peer of the interface.`,
    question: 'agree on fresh preshared keys?',
  },
  { prove: { type: 'boolean', does: 'force a handshake with the new key, and wait for it' } },
);

export const rotateTunnel = rotation('tunnel', {
  summary: 'the next tunnel keys under the same event of the log, for all tunnels of this node',
  details: `The key is one for all tunnels of this node: each moves to it by itself, with an agreement of its own, without losing a
packet. --peer only makes sure that the peer is there to follow.`,
  question: 'change the tunnel keys of this node?',
});

export const rotateId = rotation('id', {
  summary: 'as `id rotate`: the log goes to its pre-rotated keys, the tunnel keys in step',
  question: 'rotate the keys of this organisation?',
});

export const rotateAll = rotation(
  'all',
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
    const result = await ask(invocation, 'rotate.status', {}, { atRest: false });
    if (invocation.json) {
      printJson(invocation.io, result);
      return exitCodes.ok;
    }
    const rows = result['rotations'] as unknown as readonly Row[];
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
    const next = result['next'] as JsonObject;
    print(
      invocation.io,
      `next by the clock: tunnel keys ${next['tunnel'] ?? 'on demand'}, log ${next['id'] ?? 'on demand'}`,
    );
    if (next['putOff'] !== null) note(invocation.io, `put off: ${next['putOff']}`);
    return exitCodes.ok;
  },
};
