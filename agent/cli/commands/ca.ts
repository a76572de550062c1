import { type CaCertificate, successionProof } from '#src/mtls/ca-certificate';
import { systemClock, systemRng } from '../../compose.ts';
import { describeGenerations, exportBundle, initCa } from '../../inner/ca/ca.ts';
import { issueCertificate } from '../../inner/ca/issue.ts';
import { importBundle, readOthers } from '../../inner/ca/trust.ts';
import { worksUntil } from '../../inner/ca/trust-import.ts';
import { readConfig } from '../../organisation/config/config.ts';
import {
  algorithmOption,
  lifeInDays as days,
  daysOption,
  caDirectory as directory,
  dirOption,
  isoOrNull,
  keyAlgorithm,
  caPassphrase as passphrase,
  secretOption,
} from '../ca-options.ts';
import { type Command, type Invocation, optionText } from '../command.ts';
import { exitCodes, note, print, printFile, printJson, table, UsageError } from '../io.ts';
import { MAX_TEXT_BYTES, readFile } from '../read-file.ts';

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
    ...algorithmOption('p384 (default), p256 or ed25519'),
    ...daysOption('730'),
  },
  async run(invocation) {
    const dir = directory(invocation);
    const name = optionText(invocation, 'name') ?? readConfig(invocation.config).name;
    const domain = optionText(invocation, 'domain');
    using secret = await passphrase(invocation, true);
    const ca = await initCa({
      dir,
      name,
      passphrase: secret,
      ...keyAlgorithm(invocation),
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
  details:
    'Issued again, it keeps the names, addresses and life of the certificate in force, but for those of the kinds that are given.',
  minPositionals: 1,
  options: {
    ...dirOption,
    ...secretOption,
    dns: {
      type: 'string',
      value: 'DNSNAME',
      multiple: true,
      does: 'further name of the service; default: those in force',
    },
    ip: {
      type: 'string',
      value: 'IP',
      multiple: true,
      does: 'address of the service, within the ranges of the CA; default: those in force',
    },
    days: {
      type: 'string',
      value: 'N',
      does: 'life in days, at most 30; default: that of the certificate in force, else 1',
    },
    anew: { type: 'boolean', does: 'take nothing over from the certificate in force' },
    csr: { type: 'string', value: 'FILE', does: 'certificate request: the key stays where it is' },
  },
  async run(invocation) {
    const csr = optionText(invocation, 'csr');
    using secret = await passphrase(invocation, false);
    const issued = await issueCertificate({
      dir: directory(invocation),
      passphrase: secret,
      name: invocation.positionals[0] ?? '',
      ...given('alternativeNames', invocation.options['dns']),
      ...given('ips', invocation.options['ip']),
      isAnew: invocation.options['anew'] === true,
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
    if (rest.dropped.length > 0)
      note(
        invocation.io,
        `no longer certified, though the certificate before did: ${rest.dropped.join(', ')}`,
      );
    noteUnbounded(invocation, await readOthers(directory(invocation)));
    return exitCodes.ok;
  },
};

/** What was not given keeps what is in force. */
function given<K extends string>(
  key: K,
  value: unknown,
): { readonly [k in K]?: readonly string[] } {
  return value === undefined ? {} : ({ [key]: value } as { [k in K]: readonly string[] });
}

export const caExport: Command = {
  name: 'ca export',
  summary: 'the CA certificates, to hand to others',
  details:
    'While the CA rotates these are two, and the cross certificate by which the old one speaks for the new one.',
  options: dirOption,
  async run(invocation) {
    const pem = await exportBundle(directory(invocation), systemClock);
    if (invocation.json) printJson(invocation.io, { schema: 'kelmesh.ca-bundle/1', pem });
    else printFile(invocation.io, Buffer.from(pem));
    return exitCodes.ok;
  },
};

export const caTrust: Command = {
  name: 'ca trust',
  usage: 'FILE',
  summary: 'trust the CA of another organisation, from its `ca export`',
  details: `Compare the fingerprint with its owner over another channel first. A CA for a domain that is taken is refused, unless the
CA that is trusted for it speaks for the new one, or --fingerprint does.`,
  minPositionals: 1,
  options: {
    ...dirOption,
    fingerprint: {
      type: 'string',
      value: 'SHA256',
      does: 'fingerprint that the owner told you: this CA takes the place of the one that is trusted for its domain, at once',
    },
  },
  async run(invocation) {
    const fingerprint = fingerprintOption(invocation);
    const { taken, ended } = await importBundle({
      dir: directory(invocation),
      bundle: readText(invocation.positionals[0] ?? ''),
      ...(fingerprint === undefined ? {} : { fingerprint }),
      clock: systemClock,
    });
    if (invocation.json)
      printJson(invocation.io, {
        schema: 'kelmesh.ca-trust/1',
        trusted: taken.map(caJson),
        ended: ended.map(caJson),
      });
    else {
      const line = (what: string) => (ca: CaCertificate) =>
        `${what}: ${ca.name}, SHA-256 ${ca.fingerprint}`;
      const lines = [...taken.map(line('trusted')), ...ended.map(line('no longer trusted'))];
      print(invocation.io, lines.length === 0 ? 'trusted already' : lines);
    }
    noteUnbounded(invocation, await readOthers(directory(invocation)));
    return exitCodes.ok;
  },
};

function fingerprintOption(invocation: Invocation): string | undefined {
  const text = optionText(invocation, 'fingerprint')?.replaceAll(':', '').toLowerCase();
  if (text !== undefined && !/^[0-9a-f]{64}$/.test(text))
    throw new UsageError(`--fingerprint takes 64 hex digits, got ${text.slice(0, 80)}`);
  return text;
}

export const caShow: Command = {
  name: 'ca list',
  summary: 'the own CA with its generations, and the CAs that are trusted',
  options: dirOption,
  async run(invocation) {
    const dir = directory(invocation);
    const { state, generations, retired } = await describeGenerations(dir);
    const own = generations.toSorted(
      (a, b) => Number(b.role === 'current') - Number(a.role === 'current'),
    );
    const others = await readOthers(dir);
    if (invocation.json)
      printJson(invocation.io, {
        schema: 'kelmesh.ca-list/1',
        state,
        trusted: [
          ...own.map(({ ca, role }) => ({ ...caJson(ca), role })),
          ...others.map((ca) => ({
            ...caJson(ca),
            role: trustedRole(ca, others),
            worksUntil: isoOrNull(worksUntil(ca)),
          })),
        ],
        generations: generations.map(({ number, role, algorithm, ca, ...times }) => ({
          generation: number,
          role,
          algorithm,
          fingerprint: ca.fingerprint,
          preparedAt: isoOrNull(times.preparedAt),
          activatedAt: isoOrNull(times.activatedAt),
          issuedUntil: isoOrNull(times.issuedUntil),
        })),
        retired: retired.map(({ number, why, fingerprint, ...times }) => ({
          generation: number,
          why,
          fingerprint,
          preparedAt: isoOrNull(times.preparedAt),
          activatedAt: isoOrNull(times.activatedAt),
          retiredAt: isoOrNull(times.retiredAt),
        })),
      });
    else {
      const row = (ca: CaCertificate, role: string) => [
        ca.name,
        role,
        ca.domains.join(','),
        new Date(ca.notAfter).toISOString(),
        ca.fingerprint,
      ];
      print(
        invocation.io,
        table([
          ['name', 'role', 'domain', 'until', 'SHA-256'],
          ...own.map(({ ca, role, number }) => row(ca, `${role} (generation ${number})`)),
          ...others.map((ca) => row(ca, trustedRole(ca, others))),
        ]),
      );
      for (const { number, why, retiredAt } of retired)
        note(
          invocation.io,
          `generation ${number} is out since ${new Date(retiredAt).toISOString()} (${why})`,
        );
    }
    noteUnbounded(invocation, others);
    return exitCodes.ok;
  },
};

/** Those that were trusted before their bounds were looked at. */
function noteUnbounded({ io }: Invocation, others: readonly CaCertificate[]): void {
  for (const ca of others) {
    const until = worksUntil(ca);
    if (until !== undefined)
      note(
        io,
        `CA ${ca.name} (${ca.fingerprint.slice(0, 16)}) can speak for others: it is free in ${ca.unbounded.join(' and ')}. It is trusted until ${new Date(until).toISOString()}; ask its owner for one that is bound`,
      );
  }
}

/** `trusted-former` while its successor is trusted beside it. */
function trustedRole(ca: CaCertificate, others: readonly CaCertificate[]): string {
  return others.some((other) => successionProof(other, ca) !== undefined)
    ? 'trusted-former'
    : 'trusted';
}

function caJson(ca: CaCertificate) {
  const { pem: _pem, crosses: _crosses, ipPrefixes: _bytes, notBefore, notAfter, ...rest } = ca;
  return { ...rest, notBefore: isoOrNull(notBefore), notAfter: isoOrNull(notAfter) };
}

function readText(file: string): string {
  return Buffer.from(readFile(file, MAX_TEXT_BYTES)).toString('utf8');
}
