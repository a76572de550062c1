import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CaCertificate } from '#src/mtls/ca-certificate';
import type { Secret } from '#src/secret';
import { exportBundle, initCa } from '../../ca/ca.ts';
import { issueCertificate } from '../../ca/issue.ts';
import { importBundle, readTrust } from '../../ca/trust.ts';
import { systemClock, systemRng } from '../../compose.ts';
import { readConfig } from '../../config/config.ts';
import { ConfigError } from '../../config/errors.ts';
import { askSecret, readSecretFile } from '../../config/secrets.ts';
import { type Command, type Invocation, type Option, optionText } from '../command.ts';
import { exitCodes, note, print, printJson, table, UsageError } from '../io.ts';

const secretOption: Readonly<Record<string, Option>> = {
  'secret-file': {
    type: 'string',
    value: 'FILE',
    does: 'file (mode 0600) with the passphrase of the CA; another one than that of the key store',
  },
};

const dirOption: Readonly<Record<string, Option>> = {
  dir: {
    type: 'string',
    value: 'DIR',
    does: 'directory of the CA; default: ca in the state directory',
  },
};

function directory(invocation: Invocation): string {
  return optionText(invocation, 'dir') ?? join(readConfig(invocation.config).stateDir, 'ca');
}

async function passphrase(invocation: Invocation, isNew: boolean): Promise<Secret> {
  const file = optionText(invocation, 'secret-file');
  if (file !== undefined) return readSecretFile(file);
  const secret = await askSecret(
    isNew ? 'new passphrase of the CA' : 'passphrase of the CA',
    invocation.io.stdin,
    invocation.io.stderr,
  );
  if (!isNew) return secret;
  using again = await askSecret('the same again', invocation.io.stdin, invocation.io.stderr);
  if (secret.length === 0 || !secret.equals(again))
    throw new ConfigError('CONFIG_SECRET_MISSING', 'the two differ, or are empty');
  return secret;
}

function days(invocation: Invocation): { readonly days?: number } {
  const text = optionText(invocation, 'days');
  if (text === undefined) return {};
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new UsageError(`--days takes a whole number, got ${text}`);
  return { days: value };
}

export const caInit: Command = {
  name: 'ca init',
  summary: 'create the CA of the inner mTLS layer, with a key of its own',
  details:
    'Its key, algorithm and passphrase have nothing in common with the log, the key store or the tunnels.',
  options: {
    ...dirOption,
    ...secretOption,
    name: {
      type: 'string',
      value: 'NAME',
      does: 'name of the CA; default: the name in the configuration',
    },
    domain: {
      type: 'string',
      value: 'DOMAIN',
      does: 'the only domain that it certifies; default NAME.kelmesh.internal',
    },
    'ip-range': {
      type: 'string',
      value: 'CIDR',
      multiple: true,
      does: 'IP addresses that it may certify too',
    },
    algorithm: { type: 'string', value: 'ALGORITHM', does: 'p384 (default), p256 or ed25519' },
    days: { type: 'string', value: 'N', does: 'life in days, at most 3650; default 730' },
  },
  async run(invocation) {
    const dir = directory(invocation);
    const name = optionText(invocation, 'name') ?? readConfig(invocation.config).name;
    const domain = optionText(invocation, 'domain');
    const algorithm = optionText(invocation, 'algorithm') ?? 'p384';
    if (algorithm !== 'p384' && algorithm !== 'p256' && algorithm !== 'ed25519')
      throw new UsageError(`--algorithm takes p384, p256 or ed25519, got ${algorithm}`);
    using secret = await passphrase(invocation, true);
    const ca = await initCa({
      dir,
      name,
      passphrase: secret,
      algorithm,
      ...(domain === undefined ? {} : { domain }),
      ipRanges: (invocation.options['ip-range'] as readonly string[] | undefined) ?? [],
      ...days(invocation),
      clock: systemClock,
      rng: systemRng,
    });
    if (invocation.json) printJson(invocation.io, { schema: 'kelmesh.ca/1', dir, ...caJson(ca) });
    else {
      print(invocation.io, `CA ${ca.name} in ${dir}, SHA-256 ${ca.fingerprint}`);
      note(
        invocation.io,
        'next: `kelmesh ca export` for the others, `kelmesh ca trust FILE` for theirs, `kelmesh ca issue NAME` for a service',
      );
    }
    return exitCodes.ok;
  },
};

export const caIssue: Command = {
  name: 'ca issue',
  usage: 'NAME',
  summary: 'a certificate and key for a service',
  minPositionals: 1,
  options: {
    ...dirOption,
    ...secretOption,
    dns: { type: 'string', value: 'DNSNAME', multiple: true, does: 'further name of the service' },
    ip: {
      type: 'string',
      value: 'IP',
      multiple: true,
      does: 'address of the service, within the ranges of the CA',
    },
    days: { type: 'string', value: 'N', does: 'life in days, at most 30; default 1' },
    csr: { type: 'string', value: 'FILE', does: 'certificate request: the key stays where it is' },
  },
  async run(invocation) {
    const csr = optionText(invocation, 'csr');
    using secret = await passphrase(invocation, false);
    const issued = await issueCertificate({
      dir: directory(invocation),
      passphrase: secret,
      name: invocation.positionals[0] ?? '',
      alternativeNames: (invocation.options['dns'] as readonly string[] | undefined) ?? [],
      ips: (invocation.options['ip'] as readonly string[] | undefined) ?? [],
      ...days(invocation),
      ...(csr === undefined ? {} : { csr: readText(csr) }),
      clock: systemClock,
      rng: systemRng,
    });
    const { notBefore, notAfter, keyFile, ...rest } = issued;
    if (invocation.json)
      printJson(invocation.io, {
        schema: 'kelmesh.certificate/1',
        ...rest,
        keyFile: keyFile ?? null,
        notBefore: new Date(notBefore).toISOString(),
        notAfter: new Date(notAfter).toISOString(),
      });
    else
      print(
        invocation.io,
        table([
          ['certificate', issued.chainFile],
          ['key', keyFile ?? 'stays with the request'],
          ['names', [...issued.dnsNames, ...issued.ips].join(', ')],
          ['valid until', new Date(notAfter).toISOString()],
        ]),
      );
    return exitCodes.ok;
  },
};

export const caExport: Command = {
  name: 'ca export',
  summary: 'the CA certificate, to hand to others',
  options: dirOption,
  async run(invocation) {
    const pem = await exportBundle(directory(invocation));
    if (invocation.json) printJson(invocation.io, { schema: 'kelmesh.ca-bundle/1', pem });
    else invocation.io.stdout.write(pem);
    return exitCodes.ok;
  },
};

export const caTrust: Command = {
  name: 'ca trust',
  usage: 'FILE',
  summary: 'trust the CA of another organisation, from its `ca export`',
  minPositionals: 1,
  options: dirOption,
  async run(invocation) {
    const taken = await importBundle({
      dir: directory(invocation),
      bundle: readText(invocation.positionals[0] ?? ''),
      clock: systemClock,
    });
    if (invocation.json)
      printJson(invocation.io, { schema: 'kelmesh.ca-trust/1', trusted: taken.map(caJson) });
    else
      print(
        invocation.io,
        taken.length === 0
          ? 'trusted already'
          : taken.map((ca) => `trusted: ${ca.name}, SHA-256 ${ca.fingerprint}`).join('\n'),
      );
    return exitCodes.ok;
  },
};

export const caShow: Command = {
  name: 'ca list',
  summary: 'the own CA and those that are trusted',
  options: dirOption,
  async run(invocation) {
    const trusted = await readTrust(directory(invocation));
    if (invocation.json)
      printJson(invocation.io, { schema: 'kelmesh.ca-list/1', trusted: trusted.map(caJson) });
    else
      print(
        invocation.io,
        table([
          ['name', 'domain', 'until', 'SHA-256'],
          ...trusted.map((ca) => [
            ca.name,
            ca.domains.join(','),
            new Date(ca.notAfter).toISOString(),
            ca.fingerprint,
          ]),
        ]),
      );
    return exitCodes.ok;
  },
};

function caJson(ca: CaCertificate) {
  const { pem: _pem, notBefore, notAfter, ...rest } = ca;
  const iso = (ms: number) => new Date(ms).toISOString();
  return { ...rest, notBefore: iso(notBefore), notAfter: iso(notAfter) };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError('CONFIG_UNREADABLE', `cannot read ${file}`, {
      cause: error,
      hint: 'Check the path and its permissions',
    });
  }
}
