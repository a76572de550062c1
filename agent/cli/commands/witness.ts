import type { ArgumentsOf, ResultOf } from '../../control/verb-table.ts';
import type { OwnWitness } from '../../control/witness-verbs.ts';
import { ask } from '../ask.ts';
import { type Command, type Invocation, type Option, optionText } from '../command.ts';
import { exitCodes, note, print, printJson, table, UsageError } from '../io.ts';

const thresholdOption: Option = {
  type: 'string',
  value: 'N',
  does: 'receipts that make an event final; default: as in force, and with more witnesses enough against any third of faulty ones',
};

export const witnessShow: Command = {
  name: 'witness show',
  summary: 'this agent as a witness of others: its witness AID, and what it has refused',
  run: async (invocation) => showOwn(invocation, await ask(invocation, 'witness.show', {})),
};

export const witnessList: Command = {
  name: 'witness list',
  summary: 'the witnesses of the own log, and how far each has come',
  async run(invocation) {
    return showList(invocation, await ask(invocation, 'witness.list', {}));
  },
};

export const witnessAdd: Command = {
  name: 'witness add',
  usage: 'MEMBER|AID...',
  summary: 'have every further own event receipted by the agents of these members',
  details: `Rotates the keys: a witness list changes with a rotation only. From then on nothing that the own log seals counts,
here or elsewhere, before enough witnesses have receipted it. Name all at once: each command is a rotation.`,
  minPositionals: 1,
  maxPositionals: 64,
  options: { threshold: thresholdOption },
  run: (invocation) => change(invocation, 'witness.add'),
};

export const witnessCut: Command = {
  name: 'witness cut',
  usage: 'MEMBER|AID...',
  summary: 'go on without these witnesses, also without one that is gone',
  details:
    'Rotates the keys. An own event that still waits for receipts gives way to the rotation, which seals the same.',
  minPositionals: 1,
  maxPositionals: 64,
  options: { threshold: thresholdOption },
  run: (invocation) => change(invocation, 'witness.cut'),
};

export const witnessAllow: Command = {
  name: 'witness allow',
  usage: 'AID',
  summary: 'receipt events of an AID that is no member of the mesh too',
  minPositionals: 1,
  async run(invocation) {
    const [aid = ''] = invocation.positionals;
    return showOwn(invocation, await ask(invocation, 'witness.allow', { aid }));
  },
};

export const witnessDeny: Command = {
  name: 'witness deny',
  usage: 'AID',
  summary: 'take back `witness allow`',
  minPositionals: 1,
  async run(invocation) {
    const [aid = ''] = invocation.positionals;
    return showOwn(invocation, await ask(invocation, 'witness.deny', { aid }));
  },
};

/** Rows for people: who, how far, and why not further. */
export function witnessTable(witnesses: readonly OwnWitness[]): readonly string[] {
  return table([
    ['witness', 'served by', 'connected', 'receipted up to', 'lag', ''],
    ...witnesses.map(({ aid, name, operator, connected, sn, lagSeconds, reason }) => [
      aid,
      name ?? operator ?? '-',
      connected === undefined ? '-' : connected ? 'yes' : 'no',
      sn === undefined || sn === null ? '-' : `event ${sn}`,
      lagSeconds === undefined ? '-' : `${lagSeconds} s`,
      reason ?? '',
    ]),
  ]);
}

async function change(
  invocation: Invocation,
  verb: 'witness.add' | 'witness.cut',
): Promise<number> {
  const result = await ask(invocation, verb, changeArgs(invocation));
  return showList(invocation, result);
}

function changeArgs(invocation: Invocation): ArgumentsOf<'witness.add'> {
  const who = [...invocation.positionals];
  const text = optionText(invocation, 'threshold');
  if (text === undefined) return { who };
  if (!/^(0|[1-9][0-9]{0,3})$/.test(text)) throw new UsageError('--threshold takes a whole number');
  return { who, threshold: Number(text) };
}

type WitnessList = ResultOf<'witness.list'> & Partial<Pick<ResultOf<'witness.add'>, 'before'>>;

function showList(invocation: Invocation, result: WitnessList): number {
  if (invocation.json) {
    printJson(invocation.io, result);
    return exitCodes.ok;
  }
  const { witnesses, waiting, before, threshold: now, sn } = result;
  if (witnesses.length === 0)
    print(invocation.io, 'no witnesses: events are final when they are signed');
  else {
    print(
      invocation.io,
      `${now} of ${witnesses.length} witnesses make an event final; the log stands at event ${sn}`,
    );
    print(invocation.io, ['', ...witnessTable(witnesses)]);
  }
  if (
    before !== undefined &&
    (now < before.threshold || now * before.of < before.threshold * witnesses.length)
  )
    note(
      invocation.io,
      `lowered: ${now} of ${witnesses.length} receipts are enough, before ${before.threshold} of ${before.of}`,
    );
  if (waiting !== null)
    note(invocation.io, `event ${waiting.sn} ${waiting.said} is signed and waits for receipts`);
  return exitCodes.ok;
}

function showOwn(invocation: Invocation, result: ResultOf<'witness.show'>): number {
  if (invocation.json) {
    printJson(invocation.io, result);
    return exitCodes.ok;
  }
  const { aid: own, allowed, receipts, refused, conflicts } = result;
  print(
    invocation.io,
    table([
      ['witness', own],
      ['serves', ['the members of the mesh', ...allowed].join(', ')],
      ['since the start', `${receipts} receipts, ${refused} refusals`],
    ]),
  );
  for (const { aid, sn, first, second } of conflicts)
    print(invocation.io, `second event ${sn} of ${aid}: ${first} was receipted, ${second} refused`);
  return exitCodes.ok;
}
