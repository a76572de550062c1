/** Desired devices for the tests of this folder and its neighbours. */
import { createHash } from 'node:crypto';
import { Secret } from '#src/secret';
import { wireguardPrivateKey, wireguardPublicKeyHex } from '#src/wireguard/static-key';
import type { DesiredDevice, DesiredPeer, WireGuardKey } from '#src/wireguard/tunnel-driver';
import { parseCidr, parseInterfaceName, parseUdpEndpoint } from '#src/wireguard/values';

/** 32 bytes that depend on the label alone. */
export function secretOf(label: string): Secret {
  return new Secret(createHash('sha256').update(label).digest());
}

export function privateKeyOf(label: string): Secret {
  return wireguardPrivateKey(secretOf(`private ${label}`));
}

export function publicKeyOf(label: string): WireGuardKey {
  return wireguardPublicKeyHex(privateKeyOf(label));
}

interface PeerSketch {
  readonly psk?: string;
  readonly endpoint?: string;
  readonly allowedIps?: readonly string[];
  readonly keepalive?: number;
}

export function peerOf(label: string, sketch: PeerSketch = {}): DesiredPeer {
  const { endpoint } = sketch;
  return {
    publicKey: publicKeyOf(label),
    presharedKey: secretOf(`psk ${sketch.psk ?? label}`),
    ...(endpoint === undefined ? {} : { endpoint: parseUdpEndpoint(endpoint) }),
    allowedIps: (sketch.allowedIps ?? []).map(parseCidr),
    keepalive: sketch.keepalive ?? 0,
  };
}

interface DeviceSketch {
  readonly name?: string;
  readonly key?: string;
  readonly listenPort?: number;
  readonly mtu?: number;
  readonly addresses?: readonly string[];
  readonly peers?: readonly DesiredPeer[];
  readonly routes?: readonly string[];
}

export function deviceOf(sketch: DeviceSketch = {}): DesiredDevice {
  return {
    name: parseInterfaceName(sketch.name ?? 'km-test0'),
    privateKey: privateKeyOf(sketch.key ?? 'device'),
    listenPort: sketch.listenPort ?? 51820,
    mtu: sketch.mtu ?? 1420,
    addresses: sketch.addresses ?? [],
    peers: sketch.peers ?? [],
    routes: (sketch.routes ?? []).map(parseCidr),
  };
}
