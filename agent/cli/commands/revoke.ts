import { ask } from '../ask.ts';
import { type Command, optionText } from '../command.ts';
import { confirm, yesOption } from '../confirm.ts';
import { exitCodes, note, print, printJson, table } from '../io.ts';

function revocation(
  kind: 'node' | 'epoch' | 'organisation',
  usage: string,
  texts: Pick<Command, 'summary' | 'details'>,
): Command {
  return {
    name: `revoke ${kind}`,
    usage,
    ...texts,
    minPositionals: 1,
    options: {
      reason: { type: 'string', value: 'TEXT', does: 'why; sealed, and read by everybody' },
      yes: yesOption,
    },
    async run(invocation) {
      const [who = ''] = invocation.positionals;
      if (!(await confirm(invocation, `revoke ${kind} ${who}? It cannot be taken back.`)))
        return exitCodes.ok;
      const reason = optionText(invocation, 'reason') ?? '';
      const result = await ask(invocation, `revoke.${kind}` as const, { who, reason });
      if (invocation.json) printJson(invocation.io, result);
      else {
        print(invocation.io, `${kind} ${result.who} is out; sealed at ${result.sealedAt}`);
        note(
          invocation.io,
          'next: `kelmesh revoke status` shows who has applied it, and who has not',
        );
      }
      return exitCodes.ok;
    },
  };
}

export const revokeNode = revocation('node', 'AID|NAME', {
  summary: 'a node of this organisation is out, for ever, everywhere, at once',
  details: `A member that cannot be reached keeps its tunnel to the node until it hears of it; WireGuard ends a session 180 s
after its last handshake, and the two renew it for as long as neither hears.`,
});

export const revokeEpoch = revocation('epoch', 'RECORD|EPOCH|current', {
  summary: 'tunnel keys of this organisation are out, at once and without overlap',
  details: `The current ones are replaced by the same event of the log; the tunnels come back with the next keys after a new
agreement, in about a second. Packets are lost meanwhile: for a change without loss there is \`kelmesh rotate tunnel\`.`,
});

export const revokeOrganisation = revocation('organisation', 'AID|NAME', {
  summary: 'an organisation is out of the mesh: as `mesh remove`, for its governor',
  details: 'It may be admitted again.',
});

export const revokeStatus: Command = {
  name: 'revoke status',
  summary: 'every revocation, who has applied it, who has not and since when that one is silent',
  async run(invocation) {
    const result = await ask(invocation, 'revoke.status', {});
    if (invocation.json) {
      printJson(invocation.io, result);
      return exitCodes.ok;
    }
    const { revocations: rows } = result;
    if (rows.length === 0) print(invocation.io, 'nothing is revoked');
    for (const row of rows) {
      print(
        invocation.io,
        `${row.kind} ${row.name || row.who}, sealed ${row.sealedAt}: ${row.reason}`,
      );
      print(
        invocation.io,
        table([
          ...row.applied.map(({ node, name, at }) => ['  applied', name || node, at]),
          ...row.missing.map(({ node, name, silentSince }) => [
            '  missing',
            name || node,
            silentSince === null ? 'never heard' : `last heard ${silentSince}`,
          ]),
        ]),
      );
    }
    return exitCodes.ok;
  },
};
