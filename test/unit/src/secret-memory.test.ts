/** Secrets as they lie in the memory of a process, seen from outside. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { findInMemory } from '../../support/machines/process-memory.ts';
import { skip } from '../../support/skip.ts';

const repository = fileURLToPath(new URL('../../..', import.meta.url));

/** The bytes of a secret that no program text contains. */
const pattern = (length: number, step: number) =>
  Uint8Array.from({ length }, (_, i) => (i * step + 41) & 0xff);

describe('a secret that was wiped', () => {
  for (const length of [16, 32, 64, 65, 1_000])
    it(`is nowhere in the memory, however often the garbage collector came by before: ${length} bytes`, async function () {
      if (process.platform !== 'linux') skip(this, 'needs /proc');
      const program = `
        import { once } from 'node:events';
        import { Secret, secretBytes } from '#src/secret';
        const secrets = Array.from({ length: 8 }, (_, k) => {
          const bytes = secretBytes(${length});
          for (let i = 0; i < bytes.length; i++) bytes[i] = (i * (7 + 2 * k) + 41) & 0xff;
          return Secret.take(bytes);
        });
        for (let i = 0; i < 4; i++) gc({ type: 'minor' });
        gc();
        console.log('held');
        await once(process.stdin, 'data');
        for (const secret of secrets) secret[Symbol.dispose]();
        console.log('wiped');
        setInterval(() => {}, 1000);`;
      const flags = ['--expose-gc', '--input-type=module', '--eval', program];
      const child = spawn(process.execPath, flags, {
        cwd: repository,
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      try {
        const wanted = Object.fromEntries(
          Array.from({ length: 8 }, (_, k) => [`secret ${k}`, pattern(length, 7 + 2 * k)]),
        );
        await once(child.stdout, 'data');
        const held = findInMemory(child.pid as number, wanted);
        assert.equal(held.size, 8, 'the control: held secrets are found');
        child.stdin.write('\n');
        await once(child.stdout, 'data');
        assert.deepEqual([...findInMemory(child.pid as number, wanted)], []);
      } finally {
        const gone = once(child, 'exit');
        child.kill('SIGKILL');
        await gone;
      }
    });
});
