/** The probes of a device over the socket of its program: `kelmesh-device-probes/1` (`deploy/dataplane/probes`). */
import { followProgram, leaveProgram, malformedBlock } from './program-stream.ts';
import type { DeviceProbes, ProbeToken, UdpEndpoint } from './tunnel-driver.ts';
import { parseUdpEndpoint } from './values.ts';

const PROTOCOL = 'kelmesh-device-probes/1';

/** @throws WIREGUARD_UAPI_UNREACHABLE when nobody listens at the socket */
export async function openProbes(
  socketPath: string,
  came: (token: ProbeToken, from: UdpEndpoint) => void,
): Promise<DeviceProbes> {
  const socket = await followProgram(
    socketPath,
    PROTOCOL,
    (block) => came(...parseNews(block)),
    () => undefined,
  );
  const write = (lines: string) => {
    if (!socket.destroyed) socket.write(`${lines}\n\n`);
  };
  return {
    expect: (token) => write(`expect=${token}`),
    send: (token, to) => write(`probe=${token}\nto=${to}`),
    [Symbol.dispose]: () => leaveProgram(socket),
  };
}

/** @param block as the program writes it  @throws WIREGUARD_UAPI_MALFORMED, WIREGUARD_BAD_VALUE */
export function parseNews(block: string): readonly [ProbeToken, UdpEndpoint] {
  const [, token, from] = /^came=([0-9a-f]{32})\nfrom=([^\n]+)$/.exec(block) ?? [];
  if (token === undefined || from === undefined) throw malformedBlock('came and from', block);
  return [token as ProbeToken, parseUdpEndpoint(from)];
}

/** @param bytes 16 random bytes */
export function probeToken(bytes: Uint8Array): ProbeToken {
  return bytes.toHex() as ProbeToken;
}
