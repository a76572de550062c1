/** Foreign AIDs whose logs are kept and followed. */
import { WatchError } from '../mesh/watch/errors.ts';
import { checkUrl, readLogFile } from '../mesh/watch/log-source.ts';
import type { Watched, WatchSource } from '../mesh/watch/watch-list.ts';
import { takeLog } from '../mesh/watch/watcher.ts';
import type { Organisation } from '../organisation/organisation.ts';
import { type Argument, absolutePath, aidOr, flag, optional, text } from './arguments.ts';
import { iso } from './log-verbs.ts';
import { verbsOf } from './verb.ts';

const foreign = aidOr(
  (value) => new WatchError('WATCH_BAD_SOURCE', `${value.slice(0, 64)} is not an AID`),
);
const watchedAid = aidOr(
  (value) => new WatchError('WATCH_UNKNOWN', `${value.slice(0, 64)} is not an AID`),
);
const url: Argument<string> = {
  take: (name, value) => checkUrl(text.take(name, value)),
};

const { needsState } = verbsOf({
  organisation: ['identity', 'kel', 'replies', 'drivers', 'watch', 'suspensions'],
  agent: ['watcher'],
});

export const watchVerbs = {
  'watch.add': needsState({
    /** Exactly one source. */
    args: { aid: foreign, file: optional(absolutePath), url: optional(url), members: flag },
    atRest: (args) => void sourceOf(args),
    async run({ organisation, agent }, args) {
      const { watch, kel, drivers, identity } = organisation;
      const { aid } = args;
      if (aid === identity.aid) throw new WatchError('WATCH_BAD_SOURCE', `${aid} is the own AID`);
      const source = sourceOf(args);
      if (!watch.has(aid) && watch.room <= 0) await watch.add(aid, source);
      const isFetched = agent !== undefined || source.kind === 'file';
      if (agent !== undefined) await agent.watcher.fetch(aid, source);
      else if (source.kind === 'file') await takeLog(organisation, readLogFile(source.path), aid);
      const isWaiting = kel.waiting().some((entry) => entry.aid === aid);
      if (isFetched && source.kind !== 'members' && kel.state(aid) === undefined && !isWaiting)
        throw new WatchError('WATCH_BAD_SOURCE', `the source holds no log of ${aid} that verifies`);
      await watch.add(aid, source, isFetched ? drivers.clock.now() : null);
      return watchResult(organisation);
    },
  }),
  'watch.list': needsState({
    args: {},
    reads: true,
    run: async ({ organisation }) => watchResult(organisation),
  }),
  'watch.remove': needsState({
    args: { aid: watchedAid },
    async run({ organisation }, { aid }) {
      await organisation.watch.remove(aid);
      return watchResult(organisation);
    },
  }),
};

/** Throws WATCH_BAD_SOURCE. */
function sourceOf({ file, url: from, members }: Sources): WatchSource {
  if ([file !== undefined, from !== undefined, members].filter(Boolean).length !== 1)
    throw new WatchError('WATCH_BAD_SOURCE', 'expected exactly one source');
  if (file !== undefined) return { kind: 'file', path: file };
  return from === undefined ? { kind: 'members' } : { kind: 'url', url: from };
}

interface Sources {
  readonly file: string | undefined;
  readonly url: string | undefined;
  readonly members: boolean;
}

type WatchParts = Pick<Organisation, 'watch' | 'kel' | 'suspensions'>;

function watchResult(organisation: WatchParts) {
  return { schema: 'kelmesh.watch/1', watched: watchedJson(organisation) };
}

function watchedJson({ watch, kel, suspensions }: WatchParts) {
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
