/** The evidence of one organisation: its audit log, the logs and records that its leaves name, signed. */
import type { Aid } from '#kel/identifiers';
import type { RecordType } from '#kel/record/record';
import type { Organisation } from '../organisation.ts';
import { buildDossier } from '../provenance/dossier.ts';

const EXPORTED: readonly RecordType[] = ['log', 'chr', 'tun', 'rvk'];

/** Anchors what is not anchored yet, then exports everything. */
export async function exportEvidence(organisation: Organisation): Promise<Uint8Array> {
  const { identity, keeper, kel, records, provenance, membership, drivers } = organisation;
  await keeper.anchor();
  const aids = [...membership.known()].filter((aid) => kel.state(aid) !== undefined);
  const { establishment, sn, said } = identity.state;
  return buildDossier(
    {
      aid: identity.aid,
      establishment,
      latest: { sn, said },
      now: drivers.clock.now(),
      kels: await Promise.all(aids.map(async (aid: Aid) => ({ aid, stream: await kel.export(aid) }))),
      records: EXPORTED.flatMap((type) => records.list(type).map(({ message }) => message)),
      checkpoints: await provenance.checkpoints(),
      log: provenance.log,
      openings: (index) => provenance.openings(index),
    },
    (message) => identity.sign(message),
  );
}
