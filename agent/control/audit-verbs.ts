/** The own evidence, as a file. */
import { writeOutput } from '#src/files/atomic-file';
import { absolutePath } from './arguments.ts';
import { exportEvidence } from './export.ts';
import { needsState } from './verb.ts';

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
