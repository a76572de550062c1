/**
 * A state directory that holds the log of an organisation with custodians and no key of it. A file `custodians` marks
 * it, so that commands which need the organisation's own keys say at once where those are.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { VerifySignature } from '#kel/state/key-signatures';
import { LevelKelStore } from '#kel/store/level-kel-store';
import { keyStateReport } from '#kel/verify/report';
import { PUBLIC, replaceFile } from '#src/files/atomic-file';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { composeDatabase, composeVerifier, hasState, systemClock } from '../compose.ts';
import { CustodyError } from '../identity/custody/errors.ts';
import { type OrganisationLogDeps, organisationLog } from '../identity/custody/organisation-log.ts';
import { thresholdWords } from '../identity/custody/threshold-text.ts';
import { Identity } from '../identity/own/identity.ts';
import { WatchList } from '../mesh/watch/watch-list.ts';
import type { Config } from '../organisation/config/config.ts';
import { takeArguments, type UntrustedArguments } from './arguments.ts';
import { custodyArgs, logJson, readComplete, submitJson } from './custody-verbs.ts';
import { exportArgs } from './log-verbs.ts';
import type { ResultOf, VerbName } from './verb-table.ts';

/** True when the organisation of this configuration has custodians, and this machine none of its keys. */
export function isCustodied(config: Config): boolean {
  return hasState(config) && existsSync(marker(config));
}

/** Throws CUSTODY_NO_AGENT when {@link isCustodied}. */
export function expectOwnKeys(config: Config): void {
  if (isCustodied(config))
    throw new CustodyError(
      'CUSTODY_NO_AGENT',
      `${config.stateDir} holds the log of ${readFileSync(marker(config), 'utf8').trim()}, for which its custodians sign`,
    );
}

/**
 * Runs a verb without any key: `custody.log` and `custody.submit` in every state directory, also one that is made for
 * it; `id.show` and `id.export` where {@link isCustodied}. Throws CUSTODY_NO_AGENT for every other verb, CONTROL_BAD_REQUEST.
 */
export async function askWithoutKeys<V extends VerbName>(
  config: Config,
  verb: V,
  args: UntrustedArguments,
): Promise<ResultOf<V>> {
  const run = withoutKeys[verb];
  if (run !== undefined) return run(config, args);
  expectOwnKeys(config);
  throw new CustodyError('CUSTODY_NO_LOG', `${config.stateDir} holds no log`);
}

type WithoutKeys = {
  readonly [V in VerbName]?: (config: Config, args: UntrustedArguments) => Promise<ResultOf<V>>;
};

const withoutKeys: WithoutKeys = {
  'custody.log': async (config, untrusted) => {
    const { aid } = takeArguments(custodyArgs.log, untrusted);
    return withLog(config, (deps) => logJson(deps, aid));
  },
  'custody.submit': submit,
  'id.show': (config, untrusted) => {
    takeArguments({}, untrusted);
    return withLog(config, async (deps) => {
      const { state, cards } = await organisationLog(deps);
      const names = state.keys.map((key) => cards.find((card) => card.key === key)?.name ?? key);
      return {
        schema: 'kelmesh.id/1' as const,
        ...keyStateReport(state),
        foreignEvents: false,
        stepBack: null,
        custodians: names,
        keyStore: {
          driver: 'custodians',
          location: `${names.join(', ')}: ${thresholdWords(state.signingThreshold, names)}`,
        },
      };
    });
  },
  'id.export': async (config, untrusted) => {
    const { aid } = takeArguments(exportArgs, untrusted);
    return withLog(config, async (deps) => {
      const { state, log } = await organisationLog(deps, aid);
      return {
        schema: 'kelmesh.id-export/1',
        aid: state.aid,
        cesr: Buffer.from(log).toString('base64'),
      };
    });
  },
};

async function submit(config: Config, untrusted: UntrustedArguments) {
  const { files } = takeArguments(custodyArgs.submit, untrusted);
  const verifySignature = await composeVerifier();
  // Before the state directory is made: what is not complete leaves nothing behind.
  const review = readComplete(files, verifySignature);
  return inState(config, verifySignature, async (deps, db) => {
    const result = await submitJson(deps, review);
    const { aid } = review.event;
    if (Identity.exists(await StateTable.open(db, 'identity'))) {
      const watch = await WatchList.open(await StateTable.open(db, 'watch'), systemClock);
      await watch.add(aid, { kind: 'import' });
    } else await replaceFile(marker(config), Buffer.from(`${aid}\n`), { mode: PUBLIC });
    return result;
  });
}

/** Throws CUSTODY_NO_LOG. */
async function withLog<T>(
  config: Config,
  task: (deps: OrganisationLogDeps) => Promise<T>,
): Promise<T> {
  if (!hasState(config))
    throw new CustodyError('CUSTODY_NO_LOG', `${config.stateDir} holds no log`);
  return inState(config, await composeVerifier(), task);
}

async function inState<T>(
  config: Config,
  verifySignature: VerifySignature,
  task: (deps: OrganisationLogDeps, db: Database) => Promise<T>,
): Promise<T> {
  await using stack = new AsyncDisposableStack();
  const db = await composeDatabase(config);
  stack.defer(() => db.close());
  const kel = await LevelKelStore.open(db, { verifySignature, clock: systemClock });
  return await task({ kel, table: await StateTable.open(db, 'custody'), verifySignature }, db);
}

function marker(config: Config): string {
  return join(config.stateDir, 'custodians');
}
