import { resolve } from 'node:path';
import { ask } from '../ask.ts';
import type { Command } from '../command.ts';
import { exitCodes, note, print, printJson, table } from '../io.ts';

export const idLog: Command = {
  name: 'id log',
  usage: '[AID]',
  summary:
    'the events of a log in the order in which they were first seen, superseded ones included',
  maxPositionals: 1,
  async run(invocation) {
    const [aid] = invocation.positionals;
    const result = await ask(invocation, 'id.log', { aid });
    if (invocation.json) {
      printJson(invocation.io, result);
      return exitCodes.ok;
    }
    const { events } = result;
    print(
      invocation.io,
      table([
        ['seen', 'sn', 'type', 'first seen', 'said', ''],
        ...events.map((event) => [
          String(event.ordinal),
          String(event.sn),
          event.type,
          event.firstSeen,
          event.said,
          event.superseded ? 'superseded by a recovery' : '',
        ]),
      ]),
    );
    return exitCodes.ok;
  },
};

export const idEscrow: Command = {
  name: 'id escrow',
  summary: 'events that wait: what for, since when, from whom, and what would release them',
  async run(invocation) {
    const result = await ask(invocation, 'id.escrow', {});
    if (invocation.json) {
      printJson(invocation.io, result);
      return exitCodes.ok;
    }
    const { escrow } = result;
    for (const event of escrow)
      print(invocation.io, [
        ...table([
          ['event', `${event.sn} of ${event.aid}`],
          ['said', event.said],
          ['waits for', `${event.waitsFor} (${event.code})`],
          ['since', `${event.since}, dropped at ${event.expires}`],
          ['from', event.from.join(', ')],
          ['released by', event.releasedBy],
        ]),
        '',
      ]);
    if (escrow.length === 0) note(invocation.io, 'nothing waits');
    return exitCodes.ok;
  },
};

export const idImport: Command = {
  name: 'id import',
  usage: 'FILE',
  summary:
    'take key event logs from a CESR stream of any origin; foreign AIDs are watched from then on',
  details: `Every event is verified as one from the network is. Exit code 0 when every event was accepted or known, 1 when
any was refused or waits; what was accepted stays accepted.`,
  minPositionals: 1,
  async run(invocation) {
    const file = resolve(invocation.positionals[0] ?? '');
    const result = await ask(invocation, 'id.import', { file });
    const { aids, outcomes, accepted, duplicate, waiting, refused } = result;
    const left = waiting + refused;
    if (invocation.json) printJson(invocation.io, result);
    else {
      if (aids.length > 0)
        print(
          invocation.io,
          table([
            ['aid', 'sn', ''],
            ...aids.map(({ aid, sn, watched }) => [aid, String(sn), watched ? 'now watched' : '']),
          ]),
        );
      for (const { verdict, code, reason, said, offset } of outcomes)
        if (code !== null)
          print(
            invocation.io,
            `${verdict}: ${code} at byte ${offset}: ${reason}${said === null ? '' : ` (${said})`}`,
          );
      note(
        invocation.io,
        `${accepted} accepted, ${duplicate} known, ${waiting} waiting, ${refused} refused`,
      );
    }
    return left === 0 ? exitCodes.ok : exitCodes.failed;
  },
};
