/**
 * What the data-plane program tells of a device while it happens: `kelmesh-device-events/1`, lines of `key=value`, an empty
 * line after each event (`deploy/dataplane/events`).
 */

import {
  BlockReader,
  followProgram,
  leaveProgram,
  malformedBlock,
  tellProgram,
} from './program-stream.ts';
import type { DeviceEvent, WireGuardKey } from './tunnel-driver.ts';
import { parseUdpEndpoint, parseWireGuardKey } from './values.ts';

const PROTOCOL = 'kelmesh-device-events/1';

const KINDS: ReadonlySet<string> = new Set(['state', 'handshake', 'endpoint']);

/**
 * Listens until it is disposed. The state of every peer comes first, each as an event, then `complete`.
 * @param listener is told `lost` once, when the program has ended or said something that cannot be read: ask the driver then
 * @throws WIREGUARD_UAPI_UNREACHABLE when nobody listens at the socket
 */
export async function watchDevice(
  socketPath: string,
  listener: (event: DeviceEvent) => void,
): Promise<Disposable> {
  const socket = await followProgram(
    socketPath,
    PROTOCOL,
    (block) => listener(parseEvent(block)),
    () => listener({ kind: 'lost' }),
  );
  return { [Symbol.dispose]: () => leaveProgram(socket) };
}

/** Asks for a handshake with one peer. @returns false when nobody listens at the socket */
export function beginHandshake(socketPath: string, publicKey: WireGuardKey): Promise<boolean> {
  return tellProgram(socketPath, `handshake=${publicKey}\n`);
}

/** Reads events from chunks as they come. */
export class DeviceEventReader {
  readonly #blocks = new BlockReader(PROTOCOL);

  /** @param chunk of the program's output  @throws WIREGUARD_UAPI_MALFORMED */
  *read(chunk: Uint8Array): Generator<DeviceEvent> {
    for (const block of this.#blocks.read(chunk)) yield parseEvent(block);
  }
}

function parseEvent(text: string): DeviceEvent {
  const [first, ...lines] = text.split('\n');
  if (first === 'event=ready' && lines.length === 0) return { kind: 'complete' };
  if (first === 'event=overflow' && lines.length === 0) return { kind: 'lost' };
  const kind = first?.startsWith('event=') ? first.slice('event='.length) : '';
  if (!KINDS.has(kind)) throw malformedBlock('an event', text);
  const values = new Map<string, string>();
  for (const line of lines) {
    const at = line.indexOf('=');
    if (at < 0 || values.has(line.slice(0, at))) throw malformedBlock('key=value', line);
    values.set(line.slice(0, at), line.slice(at + 1));
  }
  const take = (key: string): string | undefined => {
    const value = values.get(key);
    values.delete(key);
    return value;
  };
  const publicKey = parseWireGuardKey(take('public_key') ?? '');
  const endpoint = take('endpoint');
  const lastHandshake = milliseconds(
    take('last_handshake_time_sec'),
    take('last_handshake_time_nsec'),
  );
  if (values.size > 0) throw malformedBlock('an event', text);
  return {
    kind: 'peer',
    publicKey: publicKey as WireGuardKey,
    lastHandshake,
    ...(endpoint === undefined ? {} : { endpoint: parseUdpEndpoint(endpoint) }),
  };
}

function milliseconds(seconds: string | undefined, nanoseconds: string | undefined): number {
  if (!/^\d{1,12}$/.test(seconds ?? '') || !/^\d{1,9}$/.test(nanoseconds ?? ''))
    throw malformedBlock('a time', `${seconds}.${nanoseconds}`);
  return Number(seconds) * 1_000 + Math.floor(Number(nanoseconds) / 1_000_000);
}
