import { resolve } from 'node:path';
import type { ResultOf } from '../../control/verb-table.ts';
import { ask } from '../ask.ts';
import { type Command, type Invocation, optionText } from '../command.ts';
import { exitCodes, note, print, printJson, table, UsageError } from '../io.ts';

function show(invocation: Invocation, result: ResultOf<'watch.list'>): number {
  if (invocation.json) {
    printJson(invocation.io, result);
    return exitCodes.ok;
  }
  const { watched } = result;
  if (watched.length === 0) note(invocation.io, 'no foreign AID is watched');
  else
    print(
      invocation.io,
      table([
        ['aid', 'sn', 'source', 'fetched', ''],
        ...watched.map(({ aid, sn, source, fetched, failure, duplicitous }) => [
          aid,
          sn === null ? '-' : String(sn),
          placeOf(source),
          fetched ?? '-',
          duplicitous ? 'duplicitous' : failure === null ? '' : `failed: ${failure.message}`,
        ]),
      ]),
    );
  return exitCodes.ok;
}

function placeOf(source: ResultOf<'watch.list'>['watched'][number]['source']): string {
  switch (source.kind) {
    case 'file':
      return source.path;
    case 'url':
      return source.url;
    default:
      return source.kind;
  }
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
      file: file === undefined ? undefined : resolve(file),
      url,
      members,
    };
    return show(invocation, await ask(invocation, 'watch.add', args));
  },
};

export const watchList: Command = {
  name: 'watch list',
  summary: 'the watched AIDs, how far their logs are held, and what failed',
  async run(invocation) {
    return show(invocation, await ask(invocation, 'watch.list', {}));
  },
};

export const watchRemove: Command = {
  name: 'watch remove',
  usage: 'AID',
  summary: 'do not follow an AID any more; the log that is held stays',
  minPositionals: 1,
  async run(invocation) {
    const aid = invocation.positionals[0] ?? '';
    return show(invocation, await ask(invocation, 'watch.remove', { aid }));
  },
};
