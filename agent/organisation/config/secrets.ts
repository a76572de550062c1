/** Passphrases and PINs: from a file that only its owner can read, or from the terminal. Never from argv or the environment. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { ReadStream } from 'node:tty';
import { isTrustedOwner } from '#src/files/trust';
import { Secret, secretBytes } from '#src/secret';
import { visible } from '#src/visible';
import { ConfigError } from './errors.ts';

/** Bytes of a passphrase. */
const MAX_SECRET = 1_024;

/** The first line of the file. Throws CONFIG_SECRET_MISSING, CONFIG_SECRET_EXPOSED. */
export function readSecretFile(path: string): Secret {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    throw new ConfigError('CONFIG_SECRET_MISSING', `cannot read ${path}`, { cause: error });
  }
  try {
    const { mode, uid } = fstatSync(file);
    if (!isTrustedOwner(uid))
      throw new ConfigError('CONFIG_SECRET_EXPOSED', `${path} belongs to user ${uid}`, {
        hint: 'Run `chown` and `chmod 600` on the file: whom it belongs to reads the secret in it',
      });
    if ((mode & 0o077) !== 0)
      throw new ConfigError(
        'CONFIG_SECRET_EXPOSED',
        `${path} has mode ${(mode & 0o777).toString(8)}, wanted 600`,
      );
    return readFirstLine(file, path);
  } finally {
    closeSync(file);
  }
}

function readFirstLine(file: number, path: string): Secret {
  // Room for a line end of two bytes: an editor of another system may have written the file.
  const buffer = secretBytes(MAX_SECRET + 2);
  try {
    const text = buffer.subarray(0, readSync(file, buffer));
    const end = text.indexOf(0x0a);
    const line = text.subarray(0, end === -1 ? text.length : end);
    const secret = line.at(-1) === 0x0d ? line.subarray(0, -1) : line;
    if (secret.length === 0 || secret.length > MAX_SECRET)
      throw new ConfigError(
        'CONFIG_SECRET_MISSING',
        `${path}: expected a first line of 1 to ${MAX_SECRET} bytes, got ${secret.length === 0 ? 'none' : 'more'}`,
      );
    return new Secret(secret);
  } catch (error) {
    throw error instanceof ConfigError
      ? error
      : new ConfigError('CONFIG_SECRET_MISSING', `cannot read ${path}`, { cause: error });
  } finally {
    buffer.fill(0);
  }
}

/** Asks for a new one twice. Throws CONFIG_SECRET_MISSING, also when the two differ. */
export async function askNewSecret(
  prompt: string,
  input: ReadStream,
  output: NodeJS.WritableStream,
): Promise<Secret> {
  const secret = await askSecret(prompt, input, output);
  using again = await askSecret('the same again', input, output);
  if (secret.length > 0 && secret.equals(again)) return secret;
  secret[Symbol.dispose]();
  throw new ConfigError('CONFIG_SECRET_MISSING', 'the two differ, or are empty');
}

/** Asks on the terminal without echo. Throws CONFIG_SECRET_MISSING when there is none. */
export async function askSecret(
  prompt: string,
  input: ReadStream,
  output: NodeJS.WritableStream,
): Promise<Secret> {
  if (!input.isTTY)
    throw new ConfigError('CONFIG_SECRET_MISSING', `there is no terminal to ask for: ${prompt}`);
  output.write(`${visible(prompt)}: `);
  input.setRawMode(true);
  input.resume();
  using typed = new Secret(new Uint8Array(MAX_SECRET));
  const bytes = typed.expose();
  let length = 0;
  try {
    for await (const chunk of input.iterator({ destroyOnReturn: false })) {
      try {
        for (const byte of chunk as Buffer) {
          if (byte === 0x03) throw new ConfigError('CONFIG_SECRET_MISSING', 'interrupted');
          if (byte === 0x0d || byte === 0x0a) {
            if (length === 0) throw new ConfigError('CONFIG_SECRET_MISSING', 'nothing was typed');
            return new Secret(bytes.subarray(0, length));
          }
          if (byte === 0x7f || byte === 0x08) length = Math.max(0, length - 1);
          else if (length < MAX_SECRET) bytes[length++] = byte;
        }
      } finally {
        (chunk as Buffer).fill(0);
      }
    }
    throw new ConfigError('CONFIG_SECRET_MISSING', 'the terminal was closed');
  } finally {
    input.setRawMode(false);
    input.pause();
    output.write('\n');
  }
}
