/** A cure that sends somebody to the configuration names the file: it may not be the one that comes to mind. */
import type { MeshError } from '#src/errors';

const SAID = 'the configuration in use is';

/** @param file absolute path of the configuration in use; undefined where none was read */
export function hintWithFile({ hint, message }: MeshError, file: string | undefined): string {
  const isAboutConfig = /configuration|section \[|`[a-z]+\.[a-z-]+`/.test(hint);
  if (file === undefined || !isAboutConfig || message.includes(file) || hint.includes(SAID))
    return hint;
  return `${hint} (${SAID} ${file})`;
}
