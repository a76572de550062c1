/**
 * What the data-plane program tells of a device while it happens: `kelmesh-device-events/1`, lines of `key=value`, an empty
 * line after each event (`deploy/dataplane/events`).
 */
import { createConnection } from 'node:net';
import { WireGuardError } from './errors.ts';
import type { DeviceEvent, WireGuardKey } from './tunnel-driver.ts';
import { parseUdpEndpoint, parseWireGuardKey } from './values.ts';

const PROTOCOL = 'kelmesh-device-events/1';
/** Of one event, with its empty line. */
const MAX_EVENT_BYTES = 512;
const CONNECT_TIMEOUT_MS = 5_000;

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
  const socket = createConnection(socketPath);
  const reader = new DeviceEventReader();
  let isOver = false;
  const lose = (): void => {
    if (isOver) return;
    isOver = true;
    socket.destroy();
    listener({ kind: 'lost' });
  };
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error('no connection')), CONNECT_TIMEOUT_MS);
  socket.once('connect', resolve).once('error', reject);
  try {
    await promise;
  } catch (cause) {
    isOver = true;
    socket.destroy();
    throw new WireGuardError(
      'WIREGUARD_UAPI_UNREACHABLE',
      `${socketPath}: expected a connection, got ${(cause as NodeJS.ErrnoException).code ?? 'none'}`,
      { cause },
    );
  } finally {
    clearTimeout(timer);
  }
  socket.on('error', lose).on('close', lose);
  socket.on('data', (chunk: Buffer) => {
    if (isOver) return;
    try {
      for (const event of reader.read(chunk)) {
        if (isOver) return;
        listener(event);
      }
    } catch {
      lose();
    }
  });
  // A process does not stay for it.
  socket.unref();
  return {
    [Symbol.dispose]() {
      isOver = true;
      socket.destroy();
    },
  };
}

/** Reads events from chunks as they come. */
export class DeviceEventReader {
  #rest = '';
  #isGreeted = false;

  /** @param chunk of the program's output  @throws WIREGUARD_UAPI_MALFORMED */
  *read(chunk: Uint8Array): Generator<DeviceEvent> {
    this.#rest += Buffer.from(chunk).toString('latin1');
    let start = 0;
    for (let end = this.#rest.indexOf('\n\n'); end >= 0; end = this.#rest.indexOf('\n\n', start)) {
      const text = this.#rest.slice(start, end);
      start = end + 2;
      if (text.length > MAX_EVENT_BYTES) throw malformed('an event', text);
      if (this.#isGreeted) yield parseEvent(text);
      else if (text !== `protocol=${PROTOCOL}`) throw malformed(`protocol=${PROTOCOL}`, text);
      this.#isGreeted = true;
    }
    this.#rest = this.#rest.slice(start);
    if (this.#rest.length > MAX_EVENT_BYTES) throw malformed('an event', this.#rest);
  }
}

function parseEvent(text: string): DeviceEvent {
  const [first, ...lines] = text.split('\n');
  if (first === 'event=ready' && lines.length === 0) return { kind: 'complete' };
  if (first === 'event=overflow' && lines.length === 0) return { kind: 'lost' };
  const kind = first?.startsWith('event=') ? first.slice('event='.length) : '';
  if (!KINDS.has(kind)) throw malformed('an event', text);
  const values = new Map<string, string>();
  for (const line of lines) {
    const at = line.indexOf('=');
    if (at < 0 || values.has(line.slice(0, at))) throw malformed('key=value', line);
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
  if (values.size > 0) throw malformed('an event', text);
  return {
    kind: 'peer',
    publicKey: publicKey as WireGuardKey,
    lastHandshake,
    ...(endpoint === undefined ? {} : { endpoint: parseUdpEndpoint(endpoint) }),
  };
}

function milliseconds(seconds: string | undefined, nanoseconds: string | undefined): number {
  if (!/^\d{1,12}$/.test(seconds ?? '') || !/^\d{1,9}$/.test(nanoseconds ?? ''))
    throw malformed('a time', `${seconds}.${nanoseconds}`);
  return Number(seconds) * 1_000 + Math.floor(Number(nanoseconds) / 1_000_000);
}

function malformed(expected: string, got: string): WireGuardError {
  return new WireGuardError(
    'WIREGUARD_UAPI_MALFORMED',
    `events: expected ${expected}, got ${JSON.stringify(got.slice(0, 80))}`,
  );
}
