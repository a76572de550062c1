/** What can be asked about key event logs: what waits, in what order they grew, and taking logs from files. */
import type { Aid } from '#kel/identifiers';
import { isAid } from '#kel/record/qualified';
import { type Section, sectionsOf } from '#kel/reply/sections';
import type { MessageOutcome } from '#kel/store/kel-store';
import { WatchError } from '../mesh/watch/errors.ts';
import { readLogFile } from '../mesh/watch/log-source.ts';
import type { Organisation } from '../organisation/organisation.ts';
import { absolutePath, flag, optional, text } from './arguments.ts';
import { ControlError } from './errors.ts';
import { verbsOf } from './verb.ts';

/** Of a file that is imported, in bytes: a long one must not keep the agent from everything else. */
const PIECE_BYTES = 512 * 1024;

export const exportArgs = { aid: optional(text), firstSeen: flag };

const { needsState } = verbsOf({
  organisation: ['identity', 'kel', 'replies', 'membership', 'watch'],
});

export const logVerbs = {
  'id.export': needsState({
    args: exportArgs,
    reads: true,
    async run({ organisation }, { aid: named, firstSeen }) {
      const aid = heldAid(organisation, named);
      const { kel } = organisation;
      const stream = firstSeen ? await kel.replayStream(aid) : await kel.export(aid);
      return {
        schema: 'kelmesh.id-export/1',
        aid,
        cesr: Buffer.from(stream).toString('base64'),
      };
    },
  }),
  'id.log': needsState({
    args: { aid: optional(text) },
    reads: true,
    async run({ organisation }, { aid: named }) {
      const aid = heldAid(organisation, named);
      const events = await organisation.kel.firstSeenLog(aid);
      return {
        schema: 'kelmesh.id-log/1',
        aid,
        events: events.map(({ ordinal, sn, said, type, isSuperseded, at }) => ({
          ordinal,
          sn,
          said,
          type,
          superseded: isSuperseded,
          firstSeen: iso(at),
        })),
      };
    },
  }),
  'id.escrow': needsState({
    args: {},
    reads: true,
    async run({ organisation: { kel } }) {
      const { dropped, expired } = kel.counters();
      return {
        schema: 'kelmesh.id-escrow/1',
        escrow: kel.waiting().map((entry) => ({
          aid: entry.aid,
          sn: entry.sn,
          said: entry.said,
          code: entry.code,
          waitsFor: entry.waitsFor,
          since: iso(entry.since),
          from: entry.from,
          releasedBy: entry.releasedBy,
          expires: iso(entry.expires),
        })),
        dropped,
        expired,
      };
    },
  }),
  'id.import': needsState({
    args: { file: absolutePath },
    run: ({ organisation }, { file }) => importLogs(organisation, file),
  }),
};

async function importLogs(
  organisation: Pick<Organisation, 'kel' | 'replies' | 'membership' | 'watch'>,
  file: string,
) {
  const { kel, replies } = organisation;
  const stream = readLogFile(file);
  const wanted = wantedIn(organisation);
  const outcomes: MessageOutcome[] = [];
  const repliesIn: Section[] = [];
  for (const section of sectionsOf(stream, PIECE_BYTES)) {
    if (section.kind === 'replies') repliesIn.push(section);
    if (section.kind !== 'events') continue;
    for (const outcome of await kel.process(section.bytes, { accepts: wanted.accepts }))
      outcomes.push(moved(outcome, section));
  }
  // Last: the logs that they are judged by may stand behind them.
  for (const section of repliesIn)
    for (const outcome of await replies.process(section.bytes))
      outcomes.push(moved(outcome, section));
  outcomes.sort((a, b) => a.offset - b.offset);
  // A fork that a recovery here has already settled shows only when the file is judged by itself.
  if (outcomes.length >= 2) await kel.takeEvidence(stream, { accepts: wanted.accepts });
  const watched = await watchNew(organisation, wanted.strangers);
  return {
    schema: 'kelmesh.id-import/1',
    file,
    aids: [...new Set(outcomes.flatMap(({ aid }) => aid ?? []))].flatMap((aid) => {
      const state = kel.state(aid);
      return state === undefined
        ? []
        : [{ aid, sn: state.sn, said: state.said, watched: watched.has(aid) }];
    }),
    accepted: count(outcomes, 'accepted'),
    duplicate: count(outcomes, 'duplicate'),
    waiting: count(outcomes, 'waiting'),
    refused: count(outcomes, 'refused'),
    outcomes: outcomes.map(outcomeJson),
  };
}

/** The AID named, by default the own one, whose log is held. @throws CONTROL_BAD_REQUEST */
function heldAid(
  organisation: Pick<Organisation, 'identity' | 'kel'>,
  named: string | undefined,
): Aid {
  const aid = named ?? organisation.identity.aid;
  if (isAid(aid) && organisation.kel.state(aid) !== undefined) return aid;
  throw new ControlError('CONTROL_BAD_REQUEST', `no log of ${aid.slice(0, 64)} is here`, {
    hint: '`kelmesh peer list` and `kelmesh watch list` name the AIDs whose logs are held',
  });
}

export function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function moved(outcome: MessageOutcome, { offset }: Section): MessageOutcome {
  return { ...outcome, offset: offset + outcome.offset };
}

/** Logs of the mesh and watched ones, and as many others as there is room to watch. */
function wantedIn({ membership, watch }: Pick<Organisation, 'membership' | 'watch'>) {
  const known = membership.known();
  const strangers = new Set<Aid>();
  return {
    strangers,
    accepts: (aid: Aid): boolean => {
      if (known.has(aid) || watch.has(aid) || strangers.has(aid)) return true;
      if (strangers.size >= watch.room) return false;
      strangers.add(aid);
      return true;
    },
  };
}

/** Every foreign log that is kept is on the list. @returns those that this import has put there */
async function watchNew(
  { kel, watch }: Pick<Organisation, 'kel' | 'watch'>,
  strangers: ReadonlySet<Aid>,
): Promise<ReadonlySet<Aid>> {
  const added = new Set<Aid>();
  for (const aid of strangers) {
    if (kel.state(aid) === undefined) continue;
    try {
      await watch.add(aid, { kind: 'import' });
      added.add(aid);
    } catch (error) {
      if (!(error instanceof WatchError)) throw error;
    }
  }
  return added;
}

function count(outcomes: readonly MessageOutcome[], verdict: MessageOutcome['verdict']): number {
  return outcomes.filter((outcome) => outcome.verdict === verdict).length;
}

function outcomeJson({ verdict, code, reason, aid, said, sn, offset }: MessageOutcome) {
  return {
    verdict,
    code: code ?? null,
    reason: reason ?? null,
    aid: aid ?? null,
    sn: sn ?? null,
    said: said ?? null,
    offset,
  };
}
