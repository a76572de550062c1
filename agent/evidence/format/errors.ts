import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

const provenanceErrors = {
  PROVENANCE_BAD_LEAF:
    'The leaf is not one of this log; compare the log with a checkpoint that peers hold',
  PROVENANCE_BAD_VALUE: 'Give every field of the leaf type, each of the kind that the type says',
} as const satisfies ErrorTable;

/** The evidence contradicts itself: verdict `failed`. */
export const bundleContradictions = {
  BUNDLE_ENVELOPE:
    'Get the bundle again from its source: it is cut, changed or not an evidence bundle',
  BUNDLE_DOSSIER: 'Get the dossier again from the organisation that exported it',
  BUNDLE_DUPLICATE_DOSSIER:
    'Keep one dossier per organisation: the later export covers the earlier one',
  BUNDLE_SIGNATURE:
    'Get the dossier again from its exporter: its signature does not cover these bytes',
  BUNDLE_CHANGED:
    'Get the dossier again from its exporter: this section is not the one that was signed',
  BUNDLE_SECTION:
    'Ask the exporter: it signed a section that is not in the form of an evidence bundle',
  BUNDLE_KEL: 'Ask for the key event log again; if it is refused again, do not rely on its owner',
  BUNDLE_DUPLICITY: 'Keep the bundle: an organisation showed two key event logs to different peers',
  BUNDLE_RECORD: 'Ask the exporter for the record again: its digest or a signature does not verify',
  BUNDLE_LOG_KEY: 'Ask the exporter for its `log` record and the key event that seals it',
  BUNDLE_CHECKPOINT:
    'Keep the bundle: a checkpoint is not signed by the announced log key, or not of this log',
  BUNDLE_FORK: 'Keep the bundle: an organisation showed two histories of its log',
  BUNDLE_CONSISTENCY:
    'Ask the exporter for the proof again; if it fails again, its log was rewritten',
  BUNDLE_ANCHOR:
    'Keep the bundle: the key event log anchors a checkpoint that the dossier does not show',
  BUNDLE_LEAF: 'Ask the exporter: a leaf is not of this log, or not at its place',
  BUNDLE_OPENING: 'Ask the exporter for the opening again: it does not fit the commitment',
  BUNDLE_INCLUSION:
    'Ask the exporter for the proof again; if it fails again, the leaf is not in the log',
  BUNDLE_TUNNEL: 'Keep the bundle: a tunnel proof contradicts the logs of its two ends',
  BUNDLE_TUNNEL_KEY: 'Ask both ends for their `tun` records and the key events that seal them',
  BUNDLE_CHARTER:
    'Ask the governors: a charter is not sealed by a governor or does not follow its prior version',
  BUNDLE_MEMBERSHIP: 'Ask the governors: an end of the tunnel was not a member under this charter',
  BUNDLE_REVOKED:
    'Ask whoever revoked it, and both ends: the tunnel came up under a key, a node or an organisation that was out',
  BUNDLE_EPOCH: 'Ask both ends: the PSK epoch is not the one of the handshake time',
  BUNDLE_TRUNCATED_LOG:
    'Ask the exporter for its whole log: peers hold a checkpoint of a larger one',
  BUNDLE_UNLOGGED: 'Ask the organisation why its log does not show a tunnel that it signed for',
} as const satisfies ErrorTable;

/** Something is not there: verdict `incomplete` unless there is a contradiction too. */
export const bundleGaps = {
  BUNDLE_KEL_WAITING:
    'Ask for the rest: an event waits for signatures, receipts or the log of its delegator',
  BUNDLE_NOT_ANCHORED: 'Ask the exporter to anchor its checkpoint and export again',
  BUNDLE_LEAF_MISSING: 'Ask the exporter for the leaves that it left out',
  BUNDLE_PROOF_MISSING: 'Ask the exporter for the missing proof',
  BUNDLE_NOT_OPENED: 'Ask the exporter to open the leaf, or accept that it was erased',
  BUNDLE_RECORD_MISSING: 'Ask the exporter for the record that the proof refers to',
  BUNDLE_RECORD_UNKNOWN:
    'Verify the bundle with a newer version of this program: a record says what this one does not understand',
  BUNDLE_NO_TUNNEL: 'Ask for the dossiers of both ends of a tunnel: this bundle shows none',
  BUNDLE_LIMIT:
    'Split the bundle or ask for a smaller one: it holds more refused messages than are listed, so it cannot be called clean',
  BUNDLE_ORDER:
    'Ask for logs that show both: what came first is not shown, and the times are closer than clocks are',
  BUNDLE_TIMES:
    'Ask for logs of others that refer to the same entries: a clock was wrong or a date is false, and the times of this tunnel do not say when it was',
  BUNDLE_FORK_CLAIMED:
    'Ask the organisation that recorded the fork for its evidence file, and check that with `kelmesh id evidence verify`',
  BUNDLE_NOT_YET_LOGGED:
    'Ask the organisation for a later export: this one was made before the tunnel',
} as const satisfies ErrorTable;

export type BundleProblemCode = keyof typeof bundleContradictions | keyof typeof bundleGaps;

const allErrors = { ...provenanceErrors, ...bundleContradictions, ...bundleGaps } as const;

export class ProvenanceError extends MeshError<keyof typeof allErrors> {
  constructor(code: keyof typeof allErrors, message: string, details?: ErrorDetails) {
    super(code, message, allErrors, details);
  }
}
