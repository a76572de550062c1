import { once } from 'node:events';
import { onFileSync } from '#src/files/errors';
import { readRegularFile } from '#src/files/regular-file';
import { hashDomains } from '#src/rosenpass/hash-domains';
import { makeKeyPair } from '#src/rosenpass/mceliece/key-pair';
import { parseRosenpassConfig, type RosenpassConfig } from '#src/rosenpass/program/config';
import { type ExchangeListener, exchangeKeys } from '#src/rosenpass/program/exchange';
import {
  expectFree,
  isExposed,
  type KeyPlaces,
  writeKeyPair,
} from '#src/rosenpass/program/key-files';
import { outputLine, sharedOutput } from '#src/rosenpass/program/key-output';
import { systemRng } from '../../compose.ts';
import { type Command, type Invocation, optionText } from '../command.ts';
import { exitCodes, type Io, note, print, printJson, table, UsageError } from '../io.ts';

const MAX_CONFIG_LENGTH = 1 << 20;
/** What is dropped is told no more often. */
const REFUSED_EVERY_MS = 10_000;

export const rosenpassGenKeys: Command = {
  name: 'rosenpass gen-keys',
  usage: '[FILE]',
  summary: 'a key pair for Rosenpass, in the form of its Rust program',
  details: `Give both files, or the configuration of an exchange that names them. The secret key has mode 0600.
A key that is there stays, unless --force is given.`,
  maxPositionals: 1,
  options: {
    'public-key': { type: 'string', value: 'FILE', short: 'p', does: 'where the public key goes' },
    'secret-key': { type: 'string', value: 'FILE', short: 's', does: 'where the secret key goes' },
    force: { type: 'boolean', short: 'f', does: 'replace the keys that are there' },
  },
  async run(invocation) {
    const places = keyPlaces(invocation);
    const isForced = invocation.options['force'] === true;
    if (!isForced) expectFree(places);
    using pair = await makeKeyPair(systemRng);
    await writeKeyPair(places, pair, !isForced);
    const [v02, v03] = [hashDomains.V02, hashDomains.V03].map(({ hash, peerId }) =>
      hash(peerId, pair.publicKey).toBase64(),
    );
    const peerIds = { V02: v02, V03: v03 };
    if (invocation.json)
      printJson(invocation.io, { schema: 'kelmesh.rosenpass-keys/1', ...places, peerIds });
    else
      print(
        invocation.io,
        table([
          ['public key', places.publicKey],
          ['secret key', places.secretKey],
          ['peer id (V02)', v02 ?? ''],
          ['peer id (V03)', v03 ?? ''],
        ]),
      );
    return exitCodes.ok;
  },
};

export const rosenpassExchangeConfig: Command = {
  name: 'rosenpass exchange-config',
  usage: 'FILE',
  summary: 'exchange keys with the peers of a Rosenpass configuration, until SIGINT or SIGTERM',
  minPositionals: 1,
  details: `FILE is that of the Rust program: TOML with public_key, secret_key, listen (addresses with a port), verbosity (Quiet or
Verbose) and [[peers]] with public_key, endpoint, pre_shared_key, key_out, device and peer (a WireGuard interface and a public
key), extra_params, protocol_version (V02 or V03), osk_organization and osk_label. exchange_command is read and not run.
Paths are relative to the working directory.`,
  async run(invocation) {
    const { io } = invocation;
    const config = readExchange(invocation.positionals[0] ?? '');
    for (const warning of warningsOf(config)) note(io, `kelmesh: warning: ${warning}`);
    const stop = new AbortController();
    const onSignal = () => stop.abort();
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
    try {
      await exchangeKeys(config, teller(invocation, config), stop.signal);
    } finally {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    }
    await flushed(io);
    return exitCodes.ok;
  },
};

function keyPlaces(invocation: Invocation): KeyPlaces {
  const [file] = invocation.positionals;
  const named = file === undefined ? undefined : readExchange(file);
  const publicKey = optionText(invocation, 'public-key') ?? named?.publicKey;
  const secretKey = optionText(invocation, 'secret-key') ?? named?.secretKey;
  if (publicKey === undefined || secretKey === undefined)
    throw new UsageError('give --public-key FILE and --secret-key FILE, or a configuration');
  if (publicKey === secretKey) throw new UsageError('the two keys need a file each');
  return { publicKey, secretKey };
}

function readExchange(file: string): RosenpassConfig {
  const bytes = onFileSync(file, () => readRegularFile(file, MAX_CONFIG_LENGTH));
  return parseRosenpassConfig(bytes.toString());
}

function warningsOf(config: RosenpassConfig): readonly string[] {
  const shared = sharedOutput(config.peers);
  const secrets = [config.secretKey, ...config.peers.flatMap((peer) => peer.presharedKey ?? [])];
  return [
    ...config.warnings,
    ...(shared === undefined
      ? []
      : [`${shared} is the key_out of several peers: one undoes the other`]),
    ...secrets.filter(isExposed).map((path) => `others can read ${path}: chmod 600`),
  ];
}

function teller({ io, json }: Invocation, { peers, isVerbose }: RosenpassConfig): ExchangeListener {
  let toldAt = Number.NEGATIVE_INFINITY;
  let told = '';
  return {
    ready(bound) {
      for (const { host, port } of bound)
        note(io, `listening on ${host.includes(':') ? `[${host}]` : host}:${port}`);
    },
    key(peer, peerId, reason) {
      const keyOut = peers[peer]?.keyOut;
      if (json)
        printJson(io, {
          schema: 'kelmesh.rosenpass-key/1',
          peer: peerId.toBase64(),
          keyFile: keyOut ?? null,
          reason,
        });
      else if (keyOut !== undefined) print(io, outputLine(peerId, keyOut, reason));
      if (isVerbose) note(io, `peer ${peerId.toBase64()}: key ${reason}`);
    },
    trouble(peer, { code, message, hint }) {
      note(io, [
        `kelmesh: error: peers[${peer}]: ${message} (${code})`,
        ...(hint === '' ? [] : [`kelmesh: hint: ${hint}`]),
      ]);
    },
    refused(counts) {
      const text = [...counts].map(([reason, count]) => `${reason} ${count}`).join(', ');
      if (!isVerbose || text === told || performance.now() - toldAt < REFUSED_EVERY_MS) return;
      [told, toldAt] = [text, performance.now()];
      note(io, `datagrams that changed nothing: ${text}`);
    },
  };
}

/** What was printed is out before the process ends. */
async function flushed({ stdout }: Io): Promise<void> {
  if (stdout.writable && (stdout as NodeJS.WriteStream).writableNeedDrain)
    await once(stdout, 'drain');
}
