/** All commands, in the order of the overview. */
import type { Command } from './command.ts';
import { auditExport, auditVerify } from './commands/audit.ts';
import { caExport, caInit, caIssue, caShow, caTrust } from './commands/ca.ts';
import { configCheck } from './commands/config.ts';
import { down } from './commands/down.ts';
import { idExport, idRotate, idShow } from './commands/id.ts';
import { idCustodianInit, idCustodianNext } from './commands/id-custodian.ts';
import {
  idEvidenceExport,
  idEvidenceList,
  idEvidenceResolve,
  idEvidenceVerify,
} from './commands/id-evidence.ts';
import { idEscrow, idImport, idLog } from './commands/id-log.ts';
import {
  idProposeInception,
  idProposeInteraction,
  idProposeRotation,
  idProposeShow,
} from './commands/id-propose.ts';
import { idQuery, idReplies } from './commands/id-query.ts';
import { idSign } from './commands/id-sign.ts';
import { idSubmit } from './commands/id-submit.ts';
import { idVerify } from './commands/id-verify.ts';
import { init } from './commands/init.ts';
import {
  meshAdmit,
  meshCreate,
  meshInvite,
  meshJoin,
  meshRemove,
  meshShow,
} from './commands/mesh.ts';
import { nodeAccept, nodeAdd, nodeApprove, nodeList, nodeRequest } from './commands/node.ts';
import { peerList } from './commands/peer.ts';
import { revokeEpoch, revokeNode, revokeOrganisation, revokeStatus } from './commands/revoke.ts';
import {
  rotateAll,
  rotateCa,
  rotateId,
  rotatePsk,
  rotateStatus,
  rotateTunnel,
} from './commands/rotate.ts';
import { status } from './commands/status.ts';
import { up } from './commands/up.ts';
import { watchAdd, watchList, watchRemove } from './commands/watch.ts';
import {
  witnessAdd,
  witnessAllow,
  witnessCut,
  witnessDeny,
  witnessList,
  witnessShow,
} from './commands/witness.ts';

export const commands: readonly Command[] = [
  init,
  up,
  down,
  status,
  idShow,
  idRotate,
  idExport,
  idVerify,
  idImport,
  idLog,
  idEscrow,
  idQuery,
  idReplies,
  idEvidenceList,
  idEvidenceExport,
  idEvidenceVerify,
  idEvidenceResolve,
  idCustodianInit,
  idCustodianNext,
  idProposeInception,
  idProposeRotation,
  idProposeInteraction,
  idProposeShow,
  idSign,
  idSubmit,
  meshCreate,
  meshInvite,
  meshJoin,
  meshAdmit,
  meshRemove,
  meshShow,
  rotatePsk,
  rotateTunnel,
  rotateId,
  rotateCa,
  rotateAll,
  rotateStatus,
  revokeNode,
  revokeEpoch,
  revokeOrganisation,
  revokeStatus,
  peerList,
  watchAdd,
  watchList,
  watchRemove,
  nodeList,
  nodeAdd,
  nodeRequest,
  nodeApprove,
  nodeAccept,
  witnessList,
  witnessAdd,
  witnessCut,
  witnessShow,
  witnessAllow,
  witnessDeny,
  auditExport,
  auditVerify,
  caInit,
  caIssue,
  caExport,
  caTrust,
  caShow,
  configCheck,
];
