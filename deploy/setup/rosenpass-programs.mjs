// The other programs that speak Rosenpass, for `npm run test:rosenpass` alone: the Rust one from its registry, with the lock file that it
// brings, its library as `npm run bench -- rosenpass` drives it, and the Go one with the digests in `test/interop/rosenpass/go.sum`. Nothing else runs them, and nothing of theirs is installed.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { asOwner, makeFolder } from './owner.mjs';
import { findProgram, root, systemEnv, tools } from './paths.mjs';
import { runStep, say } from './report.mjs';

const folder = join(tools, 'rosenpass');
const rustVersion = '0.2.3';
const rustNeeds = 'cargo, gcc, cmake, pkg-config, libsodium (development files) and libclang';

/** Builds what is missing, and says what does not build here: its tests are skipped. */
export async function ensureRosenpassPrograms() {
  makeFolder(join(folder, 'bin'));
  const { uid, gid, env } = asOwner(systemEnv);
  const run = (title, program, args, options = {}) =>
    runStep(title, program, args, { cwd: root, env, uid, gid, ...options });
  await ensure('rosenpass', findProgram('cargo'), rustNeeds, (cargo) =>
    run('building rosenpass, which takes minutes', cargo, [
      ...['install', 'rosenpass', '--version', rustVersion, '--locked', '--root', folder],
      ...['--target-dir', join(folder, 'target')],
    ]),
  );
  const bench = join(root, 'bench/rosenpass');
  await ensure('rosenpass-bench', findProgram('cargo'), rustNeeds, (cargo) =>
    run('building the bench of the Rust library', cargo, [
      ...['install', '--path', bench, '--locked', '--root', folder],
      ...['--target-dir', join(folder, 'target')],
    ]),
  );
  await ensure('go-rosenpass', findProgram('go'), 'Go 1.26 or later', (go) =>
    run(
      'building go-rosenpass',
      go,
      ['build', '-o', join(folder, 'bin/go-rosenpass'), 'cunicu.li/go-rosenpass/cmd'],
      {
        cwd: join(root, 'test/interop/rosenpass'),
        env: { ...env, GOFLAGS: '-mod=readonly', CGO_ENABLED: '0' },
      },
    ),
  );
}

async function ensure(name, builder, needs, build) {
  if (existsSync(join(folder, 'bin', name))) return;
  const built = builder === undefined ? undefined : await build(builder);
  if (built?.ok !== true) say(`${built?.tail ?? ''}\n${name} is not built: it needs ${needs}`);
}
