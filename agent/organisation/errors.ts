/** Errors of the state directory and of the system below it. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const stateErrors = {
  CONTROL_STATE_LOCKED:
    'Another process has the state directory open; end it, or use its control socket',
  CONTROL_STATE_DAMAGED:
    'Stop the agent, move the database aside, and put the newest backup of the state directory in its place: docs/recovery.md',
  CONTROL_STATE_NEWER:
    'Run the version that has used the state directory, or a later one: docs/operations.md, Restart and upgrade',
  CONTROL_STATE_NO_WAY_BACK:
    'Stay with this version, or a later one: what was signed since would be contradicted. docs/recovery.md says what else there is',
  CONTROL_SYSTEM:
    'Correct what the system refused: the path named, its permissions, or the room on its disk',
} as const satisfies ErrorTable;

export class StateError extends MeshError<keyof typeof stateErrors> {
  constructor(code: keyof typeof stateErrors, message: string, details?: ErrorDetails) {
    super(code, message, stateErrors, details);
  }
}
