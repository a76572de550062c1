/** Errors of the control socket and of the running agent as a process. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const controlErrors = {
  CONTROL_NOT_RUNNING: 'Start the agent with `kelmesh up`',
  CONTROL_ALREADY_RUNNING:
    'An agent serves this configuration already; `kelmesh status` asks it, `kelmesh down` ends it',
  CONTROL_NO_ACCESS:
    'Run the command as the user who runs the agent, or as root; the group of `control.group` may read',
  CONTROL_READS_ONLY:
    'Run the command as the user who runs the agent, or as root: the group of `control.group` may only read',
  CONTROL_NO_GROUP:
    'Make the group with groupadd, or correct `group` in the section [control]: a name of /etc/group, or a number',
  CONTROL_BAD_REQUEST: 'Use the kelmesh command of the same version as the agent',
  CONTROL_START_FAILED: 'Read the last lines of agent.log in the state directory',
  CONTROL_CLOCK_OFF:
    'Set the clock of this host (NTP), then start again: records and tunnels depend on it',
} as const satisfies ErrorTable;

export class ControlError extends MeshError<keyof typeof controlErrors> {
  constructor(code: keyof typeof controlErrors, message: string, details?: ErrorDetails) {
    super(code, message, controlErrors, details);
  }
}
