import { resolve } from 'node:path';
import { ask, type JsonObject } from '../ask.ts';
import { type Command, type Invocation, optionText } from '../command.ts';
import { exitCodes, note, print, printJson, table, UsageError } from '../io.ts';

interface Watched {
  readonly aid: string;
  readonly source: { readonly kind: string; readonly path?: string; readonly url?: string };
  readonly fetched: string | null;
  readonly failure: { readonly at: string; readonly message: string } | null;
  readonly sn: number | null;
  readonly duplicitous: boolean;
}

function show(invocation: Invocation, result: JsonObject): number {
  if (invocation.json) {
    printJson(invocation.io, result);
    return exitCodes.ok;
  }
  const watched = result['watched'] as unknown as readonly Watched[];
  if (watched.length === 0) note(invocation.io, 'no foreign AID is watched');
  else
    print(
      invocation.io,
      table([
        ['aid', 'sn', 'source', 'fetched', ''],
        ...watched.map(({ aid, sn, source, fetched, failure, duplicitous }) => [
          aid,
          sn === null ? '-' : String(sn),
          source.path ?? source.url ?? source.kind,
          fetched ?? '-',
          duplicitous ? 'duplicitous' : failure === null ? '' : `failed: ${failure.message}`,
        ]),
      ]),
    );
  return exitCodes.ok;
}

export const watchAdd: Command = {
  name: 'watch add',
  usage: 'AID',
  summary: 'keep and follow the log of an AID that is no member',
  details: `The agent asks the source every 10 minutes; what it gives is verified like everything else. A watched AID gets
nothing: no sync, no tunnel.`,
  minPositionals: 1,
  options: {
    file: { type: 'string', value: 'FILE', does: 'a CESR file, read again each time' },
    url: { type: 'string', value: 'URL', does: 'http or https; redirects are not followed' },
    members: { type: 'boolean', does: 'whatever the other members hold' },
  },
  async run(invocation) {
    const file = optionText(invocation, 'file');
    const url = optionText(invocation, 'url');
    const members = invocation.options['members'] === true;
    if ([file !== undefined, url !== undefined, members].filter(Boolean).length !== 1)
      throw new UsageError('kelmesh watch add takes one of --file, --url and --members');
    const args = {
      aid: invocation.positionals[0] ?? '',
      ...(file === undefined ? {} : { file: resolve(file) }),
      ...(url === undefined ? {} : { url }),
      ...(members ? { members } : {}),
    };
    return show(invocation, await ask(invocation, 'watch.add', args, { atRest: true }));
  },
};

export const watchList: Command = {
  name: 'watch list',
  summary: 'the watched AIDs, how far their logs are held, and what failed',
  async run(invocation) {
    return show(invocation, await ask(invocation, 'watch.list', {}, { atRest: true }));
  },
};

export const watchRemove: Command = {
  name: 'watch remove',
  usage: 'AID',
  summary: 'do not follow an AID any more; the log that is held stays',
  minPositionals: 1,
  async run(invocation) {
    const aid = invocation.positionals[0] ?? '';
    return show(invocation, await ask(invocation, 'watch.remove', { aid }, { atRest: true }));
  },
};
