/** The own evidence, as a file. */
import { writeOutput } from '#src/files/atomic-file';
import { absolutePath } from './arguments.ts';
import { exportEvidence, exportParts } from './export.ts';
import { verbsOf } from './verb.ts';

const { needsState } = verbsOf({ organisation: exportParts });

export const auditVerbs = {
  'audit.export': needsState({
    args: { file: absolutePath },
    async run({ organisation }, { file }) {
      const bundle = await exportEvidence(organisation);
      await writeOutput(file, bundle);
      return {
        schema: 'kelmesh.audit-export/1',
        file,
        bytes: bundle.length,
        leaves: organisation.provenance.log.size,
      };
    },
  }),
};
