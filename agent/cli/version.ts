import { readFileSync } from 'node:fs';

/** Version of the program, from package.json. */
export function version(): string {
  const { version: text } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  ) as { version: string };
  return `kelmesh ${text}`;
}
