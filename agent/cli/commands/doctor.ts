import { MeshError } from '#src/errors';
import { hasState } from '../../compose.ts';
import { type Check, checkOf } from '../../control/checks.ts';
import { readConfig } from '../../organisation/config/config.ts';
import { ask, isNotRunning } from '../ask.ts';
import { type Command, type Invocation, optionText } from '../command.ts';
import { exitCodes, print, printJson } from '../io.ts';

export const doctor: Command = {
  name: 'doctor',
  summary: 'what is wrong here, why, and what to do',
  details: 'Exit code 5 when any check is an error, 0 otherwise.',
  options: {
    peer: { type: 'string', value: 'NAME', does: 'only what concerns this member, NAME or AID' },
  },
  async run(invocation) {
    const checks = await checksOf(invocation);
    if (invocation.json) printJson(invocation.io, { schema: 'kelmesh.doctor/1', checks });
    else print(invocation.io, linesOf(checks));
    return checks.some(({ severity }) => severity === 'error') ? exitCodes.errors : exitCodes.ok;
  },
};

/** What can be told without an agent comes first: of it all else follows. */
export async function checksOf(invocation: Invocation): Promise<readonly Check[]> {
  let isInitialised: boolean;
  try {
    isInitialised = hasState(readConfig(invocation.config));
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    return [checkOf('config', `${error.code}: ${error.message}`)];
  }
  if (!isInitialised)
    return [checkOf('identity-missing', 'the state directory holds no organisation')];
  const peer = optionText(invocation, 'peer');
  try {
    const { checks } = await ask(invocation, 'doctor', peer === undefined ? {} : { peer });
    return [checkOf('agent', 'the agent runs and answers'), ...checks];
  } catch (error) {
    if (!isNotRunning(error)) throw error;
    return [checkOf('agent-not-running', 'no agent answers at the control socket')];
  }
}

/** The worst first; what is in order in one line each, at the end. */
function linesOf(checks: readonly Check[]): readonly string[] {
  const lines: string[] = [];
  for (const severity of ['error', 'warning', 'info', 'ok'] as const)
    for (const { code, text, cure, peers } of checks.filter((one) => one.severity === severity)) {
      const whom = peers.length === 0 ? '' : ` (${peers.join(', ')})`;
      lines.push(`${severity.padEnd(8)}${code}: ${text}${whom}`);
      if (cure !== '') lines.push(`        ${cure}`);
    }
  return lines;
}
