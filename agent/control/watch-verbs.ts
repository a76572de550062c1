/** Foreign AIDs whose logs are kept and followed. */
import type { Aid } from '#kel/identifiers';
import { isAid } from '#kel/record/qualified';
import { WatchError } from '../mesh/watch/errors.ts';
import { checkUrl, readLogFile } from '../mesh/watch/log-source.ts';
import type { Watched, WatchSource } from '../mesh/watch/watch-list.ts';
import { takeLog } from '../mesh/watch/watcher.ts';
import type { Organisation } from '../organisation/organisation.ts';
import { absolutePath, iso } from './log-verbs.ts';
import type { Json } from './protocol.ts';
import { optionalText, text, type Verb, type VerbContext } from './verb.ts';

export const watchVerbs: Readonly<Record<string, Verb>> = {
  'watch.add': async (context) => {
    const { organisation, agent, args } = context;
    const { watch, kel, drivers } = organisation;
    const aid = foreignAid(organisation, text(args, 'aid'));
    const source = sourceOf(context);
    if (!watch.has(aid) && watch.room <= 0) await watch.add(aid, source);
    const isFetched = agent !== undefined || source.kind === 'file';
    if (agent !== undefined) await agent.watcher.fetch(aid, source);
    else if (source.kind === 'file') await takeLog(organisation, readLogFile(source.path), aid);
    const isWaiting = kel.waiting().some((entry) => entry.aid === aid);
    if (isFetched && source.kind !== 'members' && kel.state(aid) === undefined && !isWaiting)
      throw new WatchError('WATCH_BAD_SOURCE', `the source holds no log of ${aid} that verifies`);
    await watch.add(aid, source, isFetched ? drivers.clock.now() : null);
    return { schema: 'kelmesh.watch/1', watched: watchedJson(organisation) };
  },
  'watch.list': async ({ organisation }) => ({
    schema: 'kelmesh.watch/1',
    watched: watchedJson(organisation),
  }),
  'watch.remove': async ({ organisation, args }) => {
    const aid = text(args, 'aid');
    if (!isAid(aid)) throw new WatchError('WATCH_UNKNOWN', `${aid.slice(0, 64)} is not an AID`);
    await organisation.watch.remove(aid);
    return { schema: 'kelmesh.watch/1', watched: watchedJson(organisation) };
  },
};

function foreignAid({ identity }: Organisation, aid: string): Aid {
  if (!isAid(aid)) throw new WatchError('WATCH_BAD_SOURCE', `${aid.slice(0, 64)} is not an AID`);
  if (aid === identity.aid) throw new WatchError('WATCH_BAD_SOURCE', `${aid} is the own AID`);
  return aid;
}

function sourceOf({ args }: VerbContext): WatchSource {
  const path = optionalText(args['file']);
  const url = optionalText(args['url']);
  const isMembers = args['members'] === true;
  if ([path !== undefined, url !== undefined, isMembers].filter(Boolean).length !== 1)
    throw new WatchError('WATCH_BAD_SOURCE', 'expected exactly one source');
  if (path !== undefined) return { kind: 'file', path: absolutePath(path) };
  if (url !== undefined) return { kind: 'url', url: checkUrl(url) };
  return { kind: 'members' };
}

function watchedJson({ watch, kel, suspensions }: Organisation): Json {
  return watch.list().map((watched: Watched) => {
    const { aid, source, since, fetched, failure } = watched;
    const state = kel.state(aid);
    return {
      aid,
      source: { ...source },
      since: iso(since),
      fetched: fetched === null ? null : iso(fetched),
      failure: failure === null ? null : { ...failure, at: iso(failure.at) },
      sn: state?.sn ?? null,
      said: state?.said ?? null,
      duplicitous: suspensions.of(aid) !== undefined,
    };
  });
}
