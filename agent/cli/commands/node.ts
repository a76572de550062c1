import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { isAid } from '#kel/record/qualified';
import { PUBLIC, writeOutput } from '#src/files/atomic-file';
import { composeVisitor, systemClock } from '../../compose.ts';
import { acceptedJson, readApproval, requestJson } from '../../control/node-verbs.ts';
import { NodeError } from '../../identity/node/errors.ts';
import { bringRequest } from '../../identity/node/node-service.ts';
import { isNodeName } from '../../identity/node/request.ts';
import type { PendingEvent } from '../../identity/own/local-keys.ts';
import { parsePeerAddress } from '../../network/network.ts';
import { type Config, readConfig } from '../../organisation/config/config.ts';
import { openOrganisation, pendingAtRest, requestNode } from '../../organisation/organisation.ts';
import { ask, isNotRunning } from '../ask.ts';
import { keyStoreSecret, requireState } from '../ask-at-rest.ts';
import { type Command, type Invocation, type Option, optionText } from '../command.ts';
import { exitCodes, type Io, note, print, printJson, table, UsageError } from '../io.ts';
import { localDrivers } from '../local-drivers.ts';
import { inNewState, newStateOptions } from '../new-state.ts';

const WAIT_MS = 3_000;

const outOption: Option = {
  type: 'string',
  short: 'o',
  value: 'FILE',
  does: 'write the request to FILE instead of stdout',
};

export const nodeAdd: Command = {
  name: 'node add',
  usage: 'NAME',
  summary: 'make this machine a node of an organisation: own keys, and a request to approve them',
  details: `Run on the node, in place of init. The organisation approves the request with \`kelmesh node approve\`;
its answer comes back with \`kelmesh node accept\`, or over the network with \`kelmesh node request --to\`.`,
  minPositionals: 1,
  options: {
    organisation: {
      type: 'string',
      value: 'AID',
      does: 'AID of the organisation, from `kelmesh id show` there',
    },
    out: outOption,
    ...newStateOptions,
  },
  async run(invocation) {
    const name = invocation.positionals[0] ?? '';
    const delegator = optionText(invocation, 'organisation') ?? '';
    if (!isNodeName(name)) throw new UsageError('NAME takes 1 to 63 of a-z, 0-9 and hyphen');
    if (!isAid(delegator)) throw new UsageError('--organisation takes the AID of the organisation');
    if (existsSync(invocation.config) && readConfig(invocation.config).name !== name)
      throw new UsageError(`the configuration has another name than ${name}`);
    const { result } = await inNewState(invocation, name, (drivers, { keyStore, log }) =>
      requestNode(drivers, { algorithm: keyStore.algorithm, kind: log.kind, delegator }),
    );
    const request = Buffer.from(result.message, 'base64');
    return showRequest(invocation, requestJson(name, result, request, delegator));
  },
};

export const nodeRequest: Command = {
  name: 'node request',
  summary: 'what this node asks its organisation to approve, again; or bring it there',
  options: {
    out: outOption,
    to: {
      type: 'string',
      value: 'MULTIADDR',
      does: 'bring it to the running agent of the organisation, and take its answer in',
    },
    wait: { type: 'boolean', does: 'with --to: ask until it is approved' },
  },
  async run(invocation) {
    const config = readConfig(invocation.config);
    const to = optionText(invocation, 'to');
    try {
      const result = await ask(invocation, 'node.request', {});
      if (to !== undefined)
        note(invocation.io, 'the agent runs: it brings the request to its organisation by itself');
      return showRequest(invocation, result);
    } catch (error) {
      if (!isNotRunning(error)) throw error;
    }
    const { pending, stream } = await pendingOf(config, invocation.io);
    return to === undefined
      ? showRequest(invocation, requestJson(config.name, pending, stream))
      : bring(invocation, config, pending.said, stream, to);
  },
};

export const nodeAccept: Command = {
  name: 'node accept',
  usage: 'FILE',
  summary: 'take in the answer of the organisation: from then on this node counts',
  minPositionals: 1,
  async run(invocation) {
    const file = resolve(invocation.positionals[0] ?? '');
    try {
      return showNode(invocation, await ask(invocation, 'node.accept', { file }));
    } catch (error) {
      if (!isNotRunning(error)) throw error;
    }
    const config = readConfig(invocation.config);
    return showNode(invocation, await acceptAtRest(config, invocation.io, readApproval(file)));
  },
};

export const nodeApprove: Command = {
  name: 'node approve',
  usage: 'FILE|LINE|AID',
  summary: 'approve a node of this organisation, or its new keys: a seal in the own log',
  details:
    'An AID or a name is that of a request which has arrived over the network: `kelmesh node list` shows them while the agent runs.',
  minPositionals: 1,
  options: {
    out: {
      type: 'string',
      short: 'o',
      value: 'FILE',
      does: 'the answer to bring to the node; default: NAME.approval in this directory',
    },
  },
  async run(invocation) {
    const what = invocation.positionals[0] ?? '';
    const { cesr, ...result } = await ask(
      invocation,
      'node.approve',
      what.startsWith('kelmesh-node:')
        ? { line: what }
        : existsSync(what)
          ? { file: resolve(what) }
          : { who: what },
    );
    const file = resolve(optionText(invocation, 'out') ?? `${result.name}.approval`);
    await writeOutput(file, Buffer.from(cesr, 'base64'), { mode: PUBLIC });
    const { sealSource: source } = result;
    if (invocation.json) printJson(invocation.io, { ...result, file });
    else {
      print(
        invocation.io,
        table([
          ['node', `${result.name}, ${result.aid}`],
          [result.type === 'drt' ? 'new keys' : 'keys', result.keys.join(', ')],
          ['approved', `its event ${result.sn}, ${result.said}`],
          ['sealed in', `own event ${source.sn}, ${source.said}`],
        ]),
      );
      note(invocation.io, `next, on the node: \`kelmesh node accept\` with ${file}`);
    }
    return exitCodes.ok;
  },
};

export const nodeList: Command = {
  name: 'node list',
  summary: 'the nodes of this organisation, and what waits to be approved',
  async run(invocation) {
    const result = await ask(invocation, 'node.list', {});
    if (invocation.json) {
      printJson(invocation.io, result);
      return exitCodes.ok;
    }
    const { nodes } = result;
    print(
      invocation.io,
      nodes.length === 0
        ? 'no nodes'
        : table([
            ['name', 'aid', 'event', 'approved', ''],
            ...nodes.map(({ name, aid, sn, approved, sealSource, request }) => [
              name || '-',
              aid,
              sn === null ? '-' : String(sn),
              approved ? `by event ${sealSource?.sn ?? '?'}` : 'no',
              request === null
                ? ''
                : `event ${request.sn} asks since ${request.at}: \`kelmesh node approve ${aid}\``,
            ]),
          ]),
    );
    return exitCodes.ok;
  },
};

async function showRequest(
  invocation: Invocation,
  request: ReturnType<typeof requestJson>,
): Promise<number> {
  const { io } = invocation;
  const out = optionText(invocation, 'out');
  if (out !== undefined) await writeOutput(out, Buffer.from(`${request.line}\n`), { mode: PUBLIC });
  if (invocation.json) printJson(io, out === undefined ? request : { ...request, file: out });
  else {
    if (out === undefined) print(io, request.line);
    note(io, `node ${request.name}, ${request.aid}, event ${request.sn}`);
    note(
      io,
      `next, at the organisation: \`kelmesh node approve\` with ${out ?? 'this line'}; then here: \`kelmesh node accept\` with its answer`,
    );
  }
  return exitCodes.ok;
}

function showNode(invocation: Invocation, node: ReturnType<typeof acceptedJson>): number {
  if (invocation.json) printJson(invocation.io, node);
  else {
    print(invocation.io, `node ${node.aid}, event ${node.sn}, of ${node.delegator}`);
    note(invocation.io, 'next: `kelmesh mesh join LINE`, then `kelmesh up`');
  }
  return exitCodes.ok;
}

async function pendingOf(
  config: Config,
  io: Io,
): Promise<{ readonly pending: PendingEvent; readonly stream: Uint8Array }> {
  requireState(config);
  using secret = await keyStoreSecret(config, io);
  const found = await pendingAtRest(await localDrivers(config, secret, io));
  if (found?.pending.type === 'dip' || found?.pending.type === 'drt') return found;
  throw new NodeError('NODE_NOTHING_WAITS', `nothing of ${config.name} waits for approval`);
}

async function acceptAtRest(
  config: Config,
  io: Io,
  approval: Uint8Array,
): Promise<ReturnType<typeof acceptedJson>> {
  requireState(config);
  using secret = await keyStoreSecret(config, io);
  const drivers = await localDrivers(config, secret, io);
  const organisation = await openOrganisation(drivers, approval);
  try {
    return acceptedJson(organisation);
  } finally {
    await organisation.close();
  }
}

async function bring(
  invocation: Invocation,
  config: Config,
  said: string,
  request: Uint8Array,
  to: string,
): Promise<number> {
  const { io } = invocation;
  const address = parsePeerAddress(to);
  if (address === undefined) throw new UsageError('--to takes a multiaddr ending in /p2p/…');
  const network = await composeVisitor();
  try {
    const peer = await network.dial([address]);
    for (let told = false; ; told = true) {
      const answer = await bringRequest(network, systemClock, peer, config.name, request);
      if (answer.kind === 'refused')
        throw new NodeError('NODE_BAD_ANSWER', `the organisation refuses: ${answer.reason}`, {
          hint: `It says ${answer.code}; compare its AID with the one that this node names`,
        });
      if (answer.kind === 'approved')
        return showNode(invocation, await acceptAtRest(config, io, answer.stream));
      if (!told)
        note(io, `event ${said} waits: at the organisation, \`kelmesh node list\` shows it`);
      if (invocation.options['wait'] !== true) return exitCodes.failed;
      await systemClock.sleep(WAIT_MS);
    }
  } finally {
    await network.close();
  }
}
