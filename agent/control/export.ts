/** The evidence of one organisation: its audit log, the logs and records that its leaves name, signed. */
import type { Aid } from '#kel/identifiers';
import type { RecordType } from '#kel/record/record';
import { checkpointOfNote } from '#src/audit/checkpoint';
import { buildDossier } from '../evidence/format/dossier.ts';
import { withDelegators } from '../identity/node/delegators.ts';
import type { Organisation } from '../organisation/organisation.ts';

const EXPORTED: readonly RecordType[] = ['log', 'chr', 'tun', 'rvk'];

/** What an export reads. */
export const exportParts = [
  'identity',
  'kel',
  'records',
  'provenance',
  'keeper',
  'membership',
  'drivers',
] as const satisfies readonly (keyof Organisation)[];

type Exported = Pick<Organisation, (typeof exportParts)[number]>;

/** Anchors what is not anchored yet, then exports everything. */
export async function exportEvidence(organisation: Exported): Promise<Uint8Array> {
  const { identity, kel, records, provenance, membership, drivers } = organisation;
  const checkpoints = await anchoredCheckpoints(organisation);
  const aids = [...withDelegators(membership.known(), kel)].filter(
    (aid) => kel.state(aid) !== undefined,
  );
  const { establishment, sn, said } = identity.state;
  return buildDossier(
    {
      aid: identity.aid,
      establishment,
      latest: { sn, said },
      now: drivers.clock.now(),
      kels: await Promise.all(
        aids.map(async (aid: Aid) => ({ aid, stream: await kel.export(aid) })),
      ),
      records: [
        ...(await keptRecords(organisation)),
        ...EXPORTED.flatMap((type) => records.list(type).map(({ message }) => message)),
      ],
      checkpoints,
      log: provenance.log,
      openings: (index) => provenance.openings(index),
    },
    (message) => identity.sign(message),
  );
}

/** What leaves have named and newer records have displaced since. */
async function keptRecords({ records }: Exported): Promise<readonly Uint8Array[]> {
  const messages: Uint8Array[] = [];
  for await (const { record, message } of records.kept())
    if (EXPORTED.includes(record.t)) messages.push(message);
  return messages;
}

/** A tunnel may be proven while the export runs, which signs a checkpoint: the last one exported is one that is anchored. */
async function anchoredCheckpoints({ keeper, provenance }: Exported): Promise<readonly string[]> {
  while (true) {
    await keeper.anchor();
    const notes = await provenance.checkpoints();
    const last = notes.findLastIndex((note) => checkpointOfNote(note).size === keeper.anchoredSize);
    if (last !== -1 || notes.length === 0) return notes.slice(0, last + 1);
  }
}
