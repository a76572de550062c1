// Programs of the operating system that Kelmesh calls, installed with apt-get where they are missing.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram, systemEnv } from './paths.mjs';
import { runStep, say } from './report.mjs';

const needs = [
  {
    name: 'iproute2',
    without: 'network namespaces and routes: no tunnel comes up',
    here: () => hasProgram('ip'),
  },
  {
    name: 'wireguard-tools',
    without: 'the comparison with `wg show`',
    here: () => hasProgram('wg'),
  },
  {
    name: 'softhsm2',
    without: 'the demonstration token: its tests are skipped',
    here: () => hasLibrary('softhsm/libsofthsm2.so'),
  },
];

const wireguardGo = {
  name: 'wireguard-go',
  without: 'tunnels where the kernel has no WireGuard, and the demo',
  here: () => hasProgram('wireguard-go'),
};

// KERIpy runs in a Python environment of its own; routers of the tests are namespaces.
const testNeeds = [
  {
    name: 'nftables',
    without: 'the tests behind address translation and firewalls',
    here: () => hasProgram('nft'),
  },
  {
    name: 'python3',
    without: 'the interoperability tests with KERIpy',
    here: () => hasProgram('python3'),
  },
  { name: 'python3-venv', without: 'the interoperability tests with KERIpy', here: hasVenv },
  {
    name: 'libsodium23',
    without: 'the interoperability tests with KERIpy',
    here: () => hasLibrary('libsodium.so', 'libsodium.so.23', 'libsodium.so.26'),
  },
];

/**
 * @param options.tests also what only the tests need  @param options.wireguardGo also the distribution's wireguard-go
 * @returns what is missing afterwards
 */
export async function ensureSystemPackages(options) {
  const wanted = [
    ...needs,
    ...(options.wireguardGo ? [wireguardGo] : []),
    ...(options.tests ? testNeeds : []),
  ];
  const missing = wanted.filter((need) => !need.here());
  if (missing.length > 0) await installWithApt(missing.map((need) => need.name));
  return missing
    .filter((need) => !need.here())
    .map((need) => ({
      what: need.name,
      without: need.without,
      cure: `install the package ${need.name} (Debian, Ubuntu: sudo apt-get install ${need.name})`,
    }));
}

async function installWithApt(names) {
  const asRoot = rootPrefix();
  if (findProgram('apt-get') === undefined || asRoot === undefined) return;
  const env = { ...systemEnv, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (title, ...args) => {
    const [command, ...rest] = [
      ...asRoot,
      'env',
      'DEBIAN_FRONTEND=noninteractive',
      'apt-get',
      '-q',
      ...args,
    ];
    return runStep(title, command, rest, { env });
  };
  // A stale index is no reason to stop: the packages may be in it.
  await apt('apt-get update', 'update');
  const all = await apt(
    `apt-get install ${names.join(' ')}`,
    'install',
    '-y',
    '--no-install-recommends',
    ...names,
  );
  if (all.ok) return;
  say(all.tail);
  if (names.length === 1) return;
  // One unknown name makes apt-get install nothing at all.
  for (const name of names)
    await apt(`apt-get install ${name}`, 'install', '-y', '--no-install-recommends', name);
}

/** The words before a command that make it run as root, undefined when that takes a password. */
function rootPrefix() {
  if (process.getuid?.() === 0) return [];
  return findProgram('sudo') === undefined ? undefined : ['sudo', '-n'];
}

function hasProgram(name) {
  return findProgram(name) !== undefined;
}

function hasLibrary(...names) {
  const folders = ['/usr/lib', '/usr/lib64', '/usr/local/lib', '/lib', ...multiarchFolders()];
  return folders.some((folder) => names.some((name) => existsSync(join(folder, name))));
}

function multiarchFolders() {
  return ['/usr/lib', '/lib'].flatMap((folder) =>
    listFolder(folder)
      .filter((name) => name.endsWith('-linux-gnu') || name.includes('-linux-gnu'))
      .map((name) => join(folder, name)),
  );
}

/** Debian splits `ensurepip` off its Python; any other Python has it. */
function hasVenv() {
  const python = findProgram('python3');
  if (python === undefined) return false;
  if (python !== '/usr/bin/python3') return true;
  return listFolder('/usr/lib').some(
    (name) => /^python3/.test(name) && existsSync(`/usr/lib/${name}/ensurepip`),
  );
}

function listFolder(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
