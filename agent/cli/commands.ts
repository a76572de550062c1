/**
 * All commands, in the order of the overview. A command is loaded when it is called: what the others need is most of
 * what starting costs.
 */
import type { Command } from './command.ts';

const loaders: readonly (readonly [name: string, load: () => Promise<Command>])[] = [
  ['init', async () => (await import('./commands/init.ts')).init],
  ['up', async () => (await import('./commands/up.ts')).up],
  ['down', async () => (await import('./commands/down.ts')).down],
  ['status', async () => (await import('./commands/status.ts')).status],
  ['doctor', async () => (await import('./commands/doctor.ts')).doctor],
  ['bugreport', async () => (await import('./commands/bugreport.ts')).bugreport],
  ['id show', async () => (await import('./commands/id.ts')).idShow],
  ['id rotate', async () => (await import('./commands/id-rotate.ts')).idRotate],
  ['id confirm', async () => (await import('./commands/id-confirm.ts')).idConfirm],
  ['id backup', async () => (await import('./commands/id.ts')).idBackup],
  ['id export', async () => (await import('./commands/id.ts')).idExport],
  ['id verify', async () => (await import('./commands/id-verify.ts')).idVerify],
  ['id import', async () => (await import('./commands/id-log.ts')).idImport],
  ['id log', async () => (await import('./commands/id-log.ts')).idLog],
  ['id escrow', async () => (await import('./commands/id-log.ts')).idEscrow],
  ['id query', async () => (await import('./commands/id-query.ts')).idQuery],
  ['id replies', async () => (await import('./commands/id-query.ts')).idReplies],
  ['id evidence list', async () => (await import('./commands/id-evidence.ts')).idEvidenceList],
  ['id evidence export', async () => (await import('./commands/id-evidence.ts')).idEvidenceExport],
  ['id evidence verify', async () => (await import('./commands/id-evidence.ts')).idEvidenceVerify],
  [
    'id evidence resolve',
    async () => (await import('./commands/id-evidence.ts')).idEvidenceResolve,
  ],
  ['id custodian init', async () => (await import('./commands/id-custodian.ts')).idCustodianInit],
  ['id custodian next', async () => (await import('./commands/id-custodian.ts')).idCustodianNext],
  [
    'id propose inception',
    async () => (await import('./commands/id-propose.ts')).idProposeInception,
  ],
  ['id propose rotation', async () => (await import('./commands/id-propose.ts')).idProposeRotation],
  [
    'id propose interaction',
    async () => (await import('./commands/id-propose.ts')).idProposeInteraction,
  ],
  ['id propose show', async () => (await import('./commands/id-propose.ts')).idProposeShow],
  ['id sign', async () => (await import('./commands/id-sign.ts')).idSign],
  ['id submit', async () => (await import('./commands/id-submit.ts')).idSubmit],
  ['mesh create', async () => (await import('./commands/mesh.ts')).meshCreate],
  ['mesh invite', async () => (await import('./commands/mesh.ts')).meshInvite],
  ['mesh join', async () => (await import('./commands/mesh.ts')).meshJoin],
  ['mesh admit', async () => (await import('./commands/mesh.ts')).meshAdmit],
  ['mesh rename', async () => (await import('./commands/mesh.ts')).meshRename],
  ['mesh assign', async () => (await import('./commands/mesh.ts')).meshAssign],
  ['mesh remove', async () => (await import('./commands/mesh.ts')).meshRemove],
  ['mesh hand-over', async () => (await import('./commands/mesh.ts')).meshHandOver],
  ['mesh accept', async () => (await import('./commands/mesh.ts')).meshAccept],
  ['mesh leave', async () => (await import('./commands/mesh.ts')).meshLeave],
  ['mesh upgrade', async () => (await import('./commands/mesh-upgrade.ts')).meshUpgrade],
  ['mesh show', async () => (await import('./commands/mesh.ts')).meshShow],
  ['mesh policy show', async () => (await import('./commands/mesh-policy.ts')).meshPolicyShow],
  ['mesh policy set', async () => (await import('./commands/mesh-policy.ts')).meshPolicySet],
  ['mesh policy check', async () => (await import('./commands/mesh-policy.ts')).meshPolicyCheck],
  ['rotate psk', async () => (await import('./commands/rotate.ts')).rotatePsk],
  ['rotate tunnel', async () => (await import('./commands/rotate.ts')).rotateTunnel],
  ['rotate id', async () => (await import('./commands/rotate.ts')).rotateId],
  ['rotate ca', async () => (await import('./commands/rotate-ca.ts')).rotateCaCommand],
  ['rotate all', async () => (await import('./commands/rotate.ts')).rotateAll],
  ['rotate status', async () => (await import('./commands/rotate.ts')).rotateStatus],
  ['revoke node', async () => (await import('./commands/revoke.ts')).revokeNode],
  ['revoke epoch', async () => (await import('./commands/revoke.ts')).revokeEpoch],
  ['revoke organisation', async () => (await import('./commands/revoke.ts')).revokeOrganisation],
  ['revoke status', async () => (await import('./commands/revoke.ts')).revokeStatus],
  ['peer list', async () => (await import('./commands/peer.ts')).peerList],
  ['tunnel test', async () => (await import('./commands/tunnel.ts')).tunnelTest],
  ['watch add', async () => (await import('./commands/watch.ts')).watchAdd],
  ['watch list', async () => (await import('./commands/watch.ts')).watchList],
  ['watch remove', async () => (await import('./commands/watch.ts')).watchRemove],
  ['node list', async () => (await import('./commands/node.ts')).nodeList],
  ['node add', async () => (await import('./commands/node.ts')).nodeAdd],
  ['node request', async () => (await import('./commands/node.ts')).nodeRequest],
  ['node approve', async () => (await import('./commands/node.ts')).nodeApprove],
  ['node accept', async () => (await import('./commands/node.ts')).nodeAccept],
  ['witness list', async () => (await import('./commands/witness.ts')).witnessList],
  ['witness add', async () => (await import('./commands/witness.ts')).witnessAdd],
  ['witness cut', async () => (await import('./commands/witness.ts')).witnessCut],
  ['witness show', async () => (await import('./commands/witness.ts')).witnessShow],
  ['witness allow', async () => (await import('./commands/witness.ts')).witnessAllow],
  ['witness deny', async () => (await import('./commands/witness.ts')).witnessDeny],
  ['audit export', async () => (await import('./commands/audit.ts')).auditExport],
  ['audit verify', async () => (await import('./commands/audit.ts')).auditVerify],
  ['ca init', async () => (await import('./commands/ca.ts')).caInit],
  ['ca issue', async () => (await import('./commands/ca.ts')).caIssue],
  ['ca export', async () => (await import('./commands/ca.ts')).caExport],
  ['ca trust', async () => (await import('./commands/ca.ts')).caTrust],
  ['ca list', async () => (await import('./commands/ca.ts')).caShow],
  ['rosenpass gen-keys', async () => (await import('./commands/rosenpass.ts')).rosenpassGenKeys],
  [
    'rosenpass exchange-config',
    async () => (await import('./commands/rosenpass.ts')).rosenpassExchangeConfig,
  ],
  ['state show', async () => (await import('./commands/state.ts')).stateShow],
  ['state take-over', async () => (await import('./commands/state.ts')).stateTakeOver],
  ['state restore', async () => (await import('./commands/state.ts')).stateRestore],
  ['config check', async () => (await import('./commands/config.ts')).configCheck],
];

/** The commands of a noun, all without one. */
export function loadCommands(noun?: string): Promise<readonly Command[]> {
  const wanted = loaders.filter(([name]) => noun === undefined || name.startsWith(`${noun} `));
  return Promise.all(wanted.map(([, load]) => load()));
}

/** The command of exactly this name. */
export async function loadCommand(name: string): Promise<Command | undefined> {
  return loaders.find(([known]) => known === name)?.[1]();
}
