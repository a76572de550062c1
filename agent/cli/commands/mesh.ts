import type { ResultOf } from '../../control/verb-table.ts';
import { ask } from '../ask.ts';
import { type Command, type Invocation, optionText } from '../command.ts';
import { exitCodes, note, print, printJson, table, UsageError } from '../io.ts';
import { knockLine } from '../knocks.ts';

type MeshJson = ResultOf<'mesh.show'>['mesh'];

interface Shown {
  readonly mesh: MeshJson;
  readonly knocks?: ResultOf<'mesh.show'>['knocks'];
}

function show(invocation: Invocation, result: Shown, next?: string): number {
  if (invocation.json) {
    printJson(invocation.io, result);
    return exitCodes.ok;
  }
  const { mesh, knocks = [] } = result;
  print(
    invocation.io,
    mesh === null
      ? 'no mesh: `kelmesh mesh create NAME`, or `kelmesh mesh join LINE`'
      : describe(mesh),
  );
  for (const knock of knocks)
    print(invocation.io, ['', knockLine(knock, mesh?.isGovernor === true)]);
  if (next !== undefined) note(invocation.io, next);
  return exitCodes.ok;
}

function describe(mesh: NonNullable<MeshJson>): readonly string[] {
  const standing =
    mesh.revoked !== null
      ? `removed since ${mesh.revoked.from}: ${mesh.revoked.reason || 'no reason given'}`
      : mesh.isMember
        ? 'member'
        : 'not admitted yet';
  return [
    ...table([
      ['mesh', `${mesh.mesh}${mesh.name === null ? '' : ` (${mesh.name})`}`],
      [
        'charter',
        mesh.version === null
          ? 'not received yet'
          : `version ${mesh.version}, PSK epochs of ${mesh.epochSeconds} s`,
      ],
      ['records', `version ${mesh.recordVersion}`],
      ['governed by', mesh.governors.join(', ')],
      ...(mesh.successor === null
        ? []
        : [['next governor', `${mesh.successor}, when it has run \`kelmesh mesh accept\``]]),
      ['this organisation', standing],
      ...(mesh.setBack === null
        ? []
        : [
            [
              'refused',
              `charter version ${mesh.setBack.version}, ${mesh.setBack.charter}, by ${mesh.setBack.by}: it would take the mesh back to an earlier version of records`,
            ],
          ]),
    ]),
    ...(mesh.members.length === 0
      ? []
      : [
          '',
          ...table([
            ['name', 'role', 'region', 'overlay', 'aid'],
            ...mesh.members.map((m) => [
              m.name,
              m.role,
              m.region || '-',
              m.overlay.join(','),
              m.aid,
            ]),
          ]),
        ]),
  ];
}

export const meshCreate: Command = {
  name: 'mesh create',
  usage: 'NAME',
  summary: 'found a mesh that this organisation governs',
  minPositionals: 1,
  options: {
    'epoch-seconds': {
      type: 'string',
      value: 'N',
      does: 'length of a preshared-key epoch, 120 to 86400; default 3600',
    },
  },
  async run(invocation) {
    const epochSeconds = Number(optionText(invocation, 'epoch-seconds') ?? 3_600);
    if (!Number.isInteger(epochSeconds) || epochSeconds < 120 || epochSeconds > 86_400)
      throw new UsageError('--epoch-seconds takes 120 to 86400');
    const result = await ask(invocation, 'mesh.create', {
      name: invocation.positionals[0] ?? '',
      epochSeconds,
    });
    return show(
      invocation,
      result,
      'next: `kelmesh up`, then `kelmesh mesh invite` prints the line to hand to others',
    );
  },
};

export const meshInvite: Command = {
  name: 'mesh invite',
  summary: 'one line that another organisation joins with; it holds no secret',
  options: {
    'for-release': {
      type: 'string',
      value: 'RELEASE',
      does: 'a line that release 0.1 reads: without a check, and with the governor alone',
    },
  },
  async run(invocation) {
    const release = optionText(invocation, 'for-release');
    if (release !== undefined && release !== '0.1')
      throw new UsageError(
        `--for-release takes 0.1: later ones read the line as it is, got ${release}`,
      );
    const first = release !== undefined;
    const result = await ask(invocation, 'mesh.invite', { first });
    if (invocation.json) printJson(invocation.io, result);
    else {
      print(invocation.io, result.line);
      note(
        invocation.io,
        result.governs
          ? 'next, on the other side: `kelmesh mesh join LINE` and `kelmesh up`; then here: `kelmesh mesh admit AID`'
          : 'next, on the other side: `kelmesh mesh join LINE` and `kelmesh up`; the knock is passed on to the governor, which admits',
      );
    }
    return exitCodes.ok;
  },
};

export const meshJoin: Command = {
  name: 'mesh join',
  usage: 'LINE',
  summary: 'ask to join the mesh of an invite line',
  minPositionals: 1,
  async run(invocation) {
    const result = await ask(invocation, 'mesh.join', { line: invocation.positionals[0] ?? '' });
    return show(
      invocation,
      result,
      result.mesh?.isMember === true
        ? 'next: `kelmesh up`; the charter has this organisation as a member already'
        : `next: \`kelmesh up\`; tell the governor your AID over a channel you both trust: ${result.aid}`,
    );
  },
};

export const meshAdmit: Command = {
  name: 'mesh admit',
  usage: 'AID',
  summary: 'admit an organisation: a new version of the charter',
  minPositionals: 1,
  details: 'Without --name it gets the name that it proposes.',
  options: {
    name: { type: 'string', value: 'NAME', does: 'its name in the charter' },
    role: {
      type: 'string',
      value: 'ROLE',
      does: 'its role in the charter: server, relay or device; default server',
    },
    region: { type: 'string', value: 'REGION', does: 'its region in the charter' },
    again: { type: 'boolean', does: 'also one that was removed before' },
    yes: { type: 'boolean', short: 'y', does: 'also one that has not asked to join' },
  },
  async run(invocation) {
    const args = {
      aid: invocation.positionals[0] ?? '',
      name: optionText(invocation, 'name'),
      role: roleOption(invocation),
      region: optionText(invocation, 'region'),
      again: invocation.options['again'] === true,
      yes: invocation.options['yes'] === true,
    };
    return show(invocation, await ask(invocation, 'mesh.admit', args));
  },
};

export const meshRemove: Command = {
  name: 'mesh remove',
  usage: 'AID|NAME',
  summary: 'remove an organisation: a new version of the charter, and its tunnels go at once',
  details:
    'A node that cannot be reached keeps its tunnels until it hears of it; WireGuard ends a session 180 s after its last handshake.',
  minPositionals: 1,
  options: { reason: { type: 'string', value: 'TEXT', does: 'told to the removed organisation' } },
  async run(invocation) {
    return show(
      invocation,
      await ask(invocation, 'mesh.remove', {
        who: invocation.positionals[0] ?? '',
        reason: optionText(invocation, 'reason'),
      }),
    );
  },
};

export const meshRename: Command = {
  name: 'mesh rename',
  usage: 'AID|NAME NEW-NAME',
  summary: 'give a member another name: a new version of the charter',
  minPositionals: 2,
  async run(invocation) {
    const [who = '', name = ''] = invocation.positionals;
    return show(invocation, await ask(invocation, 'mesh.rename', { who, name }));
  },
};

export const meshAssign: Command = {
  name: 'mesh assign',
  usage: 'AID|NAME',
  summary: 'give a member another role or region: a new version of the charter',
  details: 'Policy goes by them: `kelmesh mesh policy show` has the rules and the topology.',
  minPositionals: 1,
  options: {
    role: { type: 'string', value: 'ROLE', does: 'server, relay or device' },
    region: { type: 'string', value: 'REGION', does: 'its region' },
    'no-region': { type: 'boolean', does: 'it is in no region' },
  },
  async run(invocation) {
    const role = roleOption(invocation);
    const region = optionText(invocation, 'region');
    const noRegion = invocation.options['no-region'] === true;
    if ([role, region, noRegion || undefined].every((given) => given === undefined))
      throw new UsageError('mesh assign takes --role, --region or --no-region');
    if (region !== undefined && noRegion)
      throw new UsageError('mesh assign takes --region or --no-region, not both');
    const [who = ''] = invocation.positionals;
    return show(invocation, await ask(invocation, 'mesh.assign', { who, role, region, noRegion }));
  },
};

function roleOption(invocation: Invocation): 'server' | 'relay' | 'device' | undefined {
  const given = optionText(invocation, 'role');
  if (given === undefined || given === 'server' || given === 'relay' || given === 'device')
    return given;
  throw new UsageError('--role takes server, relay or device');
}

export const meshHandOver: Command = {
  name: 'mesh hand-over',
  usage: '[AID|NAME]',
  summary: 'name the member that governs from when it accepts',
  details: `Until then this organisation governs, and may take it back. Afterwards it is a member like the others, and may leave.`,
  minPositionals: 0,
  maxPositionals: 1,
  options: { withdraw: { type: 'boolean', does: 'name nobody any more' } },
  async run(invocation) {
    const [who] = invocation.positionals;
    const withdraw = invocation.options['withdraw'] === true;
    if ((who === undefined) !== withdraw)
      throw new UsageError('mesh hand-over takes a member, or --withdraw');
    const result = await ask(invocation, 'mesh.hand-over', { who });
    return show(
      invocation,
      result,
      withdraw ? undefined : 'next, at the member: `kelmesh mesh accept`',
    );
  },
};

export const meshAccept: Command = {
  name: 'mesh accept',
  summary: 'govern from now on, as the governor has named this organisation',
  async run(invocation) {
    return show(invocation, await ask(invocation, 'mesh.accept', {}));
  },
};

export const meshLeave: Command = {
  name: 'mesh leave',
  summary: 'follow this mesh no more; identity, log and audit log stay',
  details: `For a mesh that was joined by mistake, and before another is joined. A governor hands the governing over first. The tunnels
of this end go at once; the others keep theirs, without an answer, until the governor removes this organisation.`,
  options: {
    yes: { type: 'boolean', short: 'y', does: 'also when the charter names this organisation' },
  },
  async run(invocation) {
    const yes = invocation.options['yes'] === true;
    return show(invocation, await ask(invocation, 'mesh.leave', { yes }));
  },
};

export const meshShow: Command = {
  name: 'mesh show',
  summary: 'the charter in force, and who asks to join',
  async run(invocation) {
    return show(invocation, await ask(invocation, 'mesh.show', {}));
  },
};
