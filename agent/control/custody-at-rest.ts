/**
 * A state directory that holds the log of an organisation with custodians and no key of it. A file `custodians` marks
 * it, so that commands which need the organisation's own keys say at once where those are.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LevelKelStore } from '#kel/store/level-kel-store';
import { keyStateReport } from '#kel/verify/report';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { loadCryptoSuite } from '#src/crypto/suites';
import { PUBLIC, replaceFile } from '#src/files/atomic-file';
import { StateTable } from '#src/store/state-table';
import { composeDatabase, hasState, systemClock } from '../compose.ts';
import { CustodyError } from '../identity/custody/errors.ts';
import { type OrganisationLogDeps, organisationLog } from '../identity/custody/organisation-log.ts';
import { thresholdWords } from '../identity/custody/threshold-text.ts';
import { Identity } from '../identity/own/identity.ts';
import { WatchList } from '../mesh/watch/watch-list.ts';
import type { Config } from '../organisation/config/config.ts';
import { logJson, readComplete, submitJson } from './custody-verbs.ts';
import type { Json } from './protocol.ts';
import { optionalText } from './verb.ts';

type JsonMap = { readonly [key: string]: Json };

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
 * it; `id.show` and `id.export` where {@link isCustodied}. Throws CUSTODY_NO_AGENT for every other verb.
 */
export async function askWithoutKeys(
  config: Config,
  verb: string,
  args: { readonly [key: string]: Json },
): Promise<JsonMap> {
  const run = Object.hasOwn(verbsWithoutKeys, verb) ? verbsWithoutKeys[verb] : undefined;
  if (run === undefined && verb !== 'custody.submit') expectOwnKeys(config);
  const { ed25519 } = await loadCryptoSuite();
  const verifySignature = createSignatureVerifier(ed25519);
  // Before the state directory is made: what is not complete leaves nothing behind.
  const review = run === undefined ? readComplete(args['files'], verifySignature) : undefined;
  if (review === undefined && !hasState(config))
    throw new CustodyError('CUSTODY_NO_LOG', `${config.stateDir} holds no log`);
  await using stack = new AsyncDisposableStack();
  const db = await composeDatabase(config);
  stack.defer(() => db.close());
  const kel = await LevelKelStore.open(db, { verifySignature, clock: systemClock });
  const deps = { kel, table: await StateTable.open(db, 'custody'), verifySignature };
  if (review === undefined) return await (run as Run)(deps, args);
  const result = await submitJson(deps, review);
  const { aid } = review.event;
  if (Identity.exists(await StateTable.open(db, 'identity'))) {
    const watch = await WatchList.open(await StateTable.open(db, 'watch'), systemClock);
    await watch.add(aid, { kind: 'import' });
  } else await replaceFile(marker(config), Buffer.from(`${aid}\n`), { mode: PUBLIC });
  return result;
}

type Run = (deps: OrganisationLogDeps, args: { readonly [key: string]: Json }) => Promise<JsonMap>;

const verbsWithoutKeys: Readonly<Record<string, Run>> = {
  'custody.log': (deps, args) => logJson(deps, optionalText(args['aid'])),
  'id.show': async (deps) => {
    const { state, cards } = await organisationLog(deps);
    const names = state.keys.map((key) => cards.find((card) => card.key === key)?.name ?? key);
    return {
      schema: 'kelmesh.id/1',
      ...keyStateReport(state),
      custodians: names,
      keyStore: {
        driver: 'custodians',
        location: `${names.join(', ')}: ${thresholdWords(state.signingThreshold, names)}`,
      },
    };
  },
  'id.export': async (deps, args) => {
    const { state, log } = await organisationLog(deps, optionalText(args['aid']));
    return {
      schema: 'kelmesh.id-export/1',
      aid: state.aid,
      cesr: Buffer.from(log).toString('base64'),
    };
  },
};

function marker(config: Config): string {
  return join(config.stateDir, 'custodians');
}
