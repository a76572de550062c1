/**
 * What `wg show NAME dump` prints (wg(8)): one line for the device, one for each peer, fields between tabs, keys in base64. Private and
 * preshared keys are taken out of the bytes before the rest becomes text.
 */
import { Secret } from '#src/secret';
import { decodeBase64Secret } from './base64-secret.ts';
import { WireGuardError } from './errors.ts';
import type { PeerState, WireGuardKey } from './tunnel-driver.ts';
import type { UapiDevice } from './uapi.ts';
import { parseBase64Key, parseCidr, parseUdpEndpoint } from './values.ts';

const MAX_PEERS = 1_048_576;
const MAX_SECONDS = 9_000_000_000_000;
const KEY_LENGTH = 32;
const NONE = '(none)';
const noneBytes = Buffer.from(NONE, 'latin1');
const NEWLINE = 0x0a;
const TAB = 0x09;
/** `*`, of which no key is made. */
const BLANK = 0x2a;

/**
 * @param output the whole output; keys in it are overwritten  @throws WIREGUARD_DUMP_MALFORMED, naming the line and never a value
 */
export function parseWgDump(output: Uint8Array): UapiDevice {
  const secrets = takeSecrets(output);
  const lines = Buffer.from(output.buffer, output.byteOffset, output.length)
    .toString('utf8')
    .split('\n');
  if (lines.pop() !== '') throw malformed(lines.length, 'a newline at the end');
  if (lines.length > MAX_PEERS + 1) throw malformed(MAX_PEERS + 1, `at most ${MAX_PEERS} peers`);
  const [privateKey = '', , port = '', mark = ''] = fields(lines[0] ?? '', 1, 4);
  const listenPort = integer(port, 1, 65_535);
  const fwmark = mark === 'off' ? 0 : hexadecimal(mark, 1);
  const peers = new Map<WireGuardKey, PeerState>();
  for (const [i, line] of lines.slice(1).entries()) {
    const peer = parsePeer(line, i + 2, secrets.get(i + 2));
    if (peers.has(peer.publicKey)) throw malformed(i + 2, 'each peer once');
    peers.set(peer.publicKey, peer);
  }
  const device = { listenPort, fwmark, peers };
  if (privateKey === NONE) return device;
  return { ...device, privateKey: expectSecret(1, secrets.get(1)) };
}

/** By number of their line, where they are well formed; every one is blanked out. */
function takeSecrets(output: Uint8Array): ReadonlyMap<number, Secret> {
  const secrets = new Map<number, Secret>();
  for (let number = 1, start = 0; start < output.length; number++) {
    const newline = output.indexOf(NEWLINE, start);
    const line = output.subarray(start, newline < 0 ? output.length : newline);
    const field = secretField(line, number === 1 ? 0 : 1);
    if (Buffer.compare(field, noneBytes) !== 0) {
      const secret = decodeBase64Secret(field);
      if (secret !== undefined) secrets.set(number, secret);
      field.fill(BLANK);
    }
    start += line.length + 1;
  }
  return secrets;
}

/** A view. */
function secretField(line: Uint8Array, index: number): Uint8Array {
  let start = 0;
  for (let i = 0; i < index; i++) {
    const tab = line.indexOf(TAB, start);
    if (tab < 0) return line.subarray(line.length);
    start = tab + 1;
  }
  const end = line.indexOf(TAB, start);
  return line.subarray(start, end < 0 ? line.length : end);
}

function expectSecret(number: number, secret: Secret | undefined): Secret {
  if (secret === undefined) throw malformed(number, 'a well-formed value');
  return secret;
}

function parsePeer(line: string, number: number, secret: Secret | undefined): PeerState {
  const [
    key = '',
    psk = '',
    endpoint = '',
    allowed = '',
    seconds = '',
    rx = '',
    tx = '',
    keepalive = '',
  ] = fields(line, number, 8);
  const place =
    endpoint === '(none)' ? {} : { endpoint: value(number, () => parseUdpEndpoint(endpoint)) };
  return {
    publicKey: value(number, () => parseBase64Key(key)),
    presharedKey:
      psk === NONE ? new Secret(new Uint8Array(KEY_LENGTH)) : expectSecret(number, secret),
    ...place,
    allowedIps: allowed === '(none)' ? [] : value(number, () => allowed.split(',').map(parseCidr)),
    keepalive: keepalive === 'off' ? 0 : integer(keepalive, number, 65_535),
    lastHandshake: integer(seconds, number, MAX_SECONDS) * 1000,
    rxBytes: counter(rx, number),
    txBytes: counter(tx, number),
  };
}

function fields(line: string, number: number, count: number): string[] {
  const parts = line.split('\t');
  if (parts.length !== count) throw malformed(number, `${count} fields, got ${parts.length}`);
  return parts;
}

function counter(text: string, number: number): bigint {
  if (!/^(0|[1-9]\d{0,19})$/.test(text)) throw malformed(number, 'a decimal number');
  return BigInt(text);
}

function integer(text: string, number: number, most: number): number {
  const n = counter(text, number);
  if (n > BigInt(most)) throw malformed(number, `at most ${most}`);
  return Number(n);
}

function hexadecimal(text: string, number: number): number {
  if (!/^0x[0-9a-f]{1,8}$/.test(text)) throw malformed(number, 'a hexadecimal mark');
  return Number(text);
}

function value<T>(number: number, parse: () => T): T {
  try {
    return parse();
  } catch {
    // Without the cause: it may repeat the value.
    throw malformed(number, 'a well-formed value');
  }
}

function malformed(number: number, expected: string): WireGuardError {
  const message = `wg show dump, line ${number}: expected ${expected}`;
  return new WireGuardError('WIREGUARD_DUMP_MALFORMED', message);
}
