/**
 * Anchors: the seals by which a key event commits to a checkpoint of the audit log.
 *
 * `{rd}` is the Merkle root, which KERI tooling knows but which binds neither size nor origin; `{d}` is the
 * SHA-256 of the three-line checkpoint body, which binds all three. Both stand in one event, next to each other.
 */

import { encodeMatter } from '#kel/cesr/matter';
import { type Checkpoint, formatCheckpoint } from '#src/audit/checkpoint';
import { utf8 } from '#src/bytes';
import { sha256 } from '#src/crypto/hash';

/** CESR code of SHA2-256: the root of an RFC 6962 tree is one. */
const SHA256 = 'I';

export type CheckpointSeals = readonly [{ readonly rd: string }, { readonly d: string }];

export function checkpointSeals(checkpoint: Checkpoint): CheckpointSeals {
  const body = sha256(utf8(formatCheckpoint(checkpoint)));
  return [{ rd: encodeMatter(SHA256, checkpoint.root) }, { d: encodeMatter(SHA256, body) }];
}
