/**
 * A WireGuard device in memory that speaks UAPI: the cryptokey routing table, roaming and the meaning of each line, without
 * packets. It reads what the product writes and writes what the product reads.
 */

import { Secret } from '#src/secret';
import { wireguardPublicKeyHex } from '#src/wireguard/static-key';
import type { WireGuardKey } from '#src/wireguard/tunnel-driver';

const EINVAL = -22;
const EADDRINUSE = -98;
const ZERO = '0'.repeat(64);

export interface UapiPeer {
  presharedKey: string;
  endpoint: string | undefined;
  keepalive: number;
  lastHandshake: number;
  rxBytes: bigint;
  txBytes: bigint;
}

export class UapiDevice {
  readonly peers = new Map<string, UapiPeer>();
  /** Allowed IP to the public key of its one owner. */
  readonly owners = new Map<string, string>();
  /** Every `set` request, as text. */
  readonly requests: string[] = [];
  #privateKey = ZERO;
  #listenPort = 0;
  readonly #isTaken: (port: number) => boolean;

  /** @param isTaken whether someone else has the UDP port */
  constructor(isTaken: (port: number) => boolean = () => false) {
    this.#isTaken = isTaken;
  }

  get listenPort(): number {
    return this.#listenPort;
  }

  /** One request, one reply. */
  exchange(request: Uint8Array): Uint8Array {
    const text = Buffer.from(request).toString('latin1');
    if (text === 'get=1\n\n') return Buffer.from(`${this.#get()}errno=0\n\n`);
    if (!text.startsWith('set=1\n') || !text.endsWith('\n\n'))
      throw new Error('not a UAPI request');
    this.requests.push(text);
    return Buffer.from(`errno=${this.#set(text.slice(6, -2).split('\n'))}\n\n`);
  }

  allowedIps(key: string): string[] {
    return [...this.owners].filter(([, owner]) => owner === key).map(([prefix]) => prefix);
  }

  #get(): string {
    const lines = this.#privateKey === ZERO ? [] : [`private_key=${this.#privateKey}`];
    if (this.#listenPort !== 0) lines.push(`listen_port=${this.#listenPort}`);
    for (const [key, peer] of this.peers) {
      lines.push(`public_key=${key}`, `preshared_key=${peer.presharedKey}`, 'protocol_version=1');
      if (peer.endpoint !== undefined) lines.push(`endpoint=${peer.endpoint}`);
      lines.push(
        `last_handshake_time_sec=${Math.floor(peer.lastHandshake / 1000)}`,
        `last_handshake_time_nsec=${(peer.lastHandshake % 1000) * 1e6}`,
        `tx_bytes=${peer.txBytes}`,
        `rx_bytes=${peer.rxBytes}`,
        `persistent_keepalive_interval=${peer.keepalive}`,
        ...this.allowedIps(key).map((prefix) => `allowed_ip=${prefix}`),
      );
    }
    return lines.map((line) => `${line}\n`).join('');
  }

  /** Lines take effect one by one: what came before a bad line stays. */
  #set(lines: readonly string[]): number {
    let peer: string | undefined;
    for (const line of lines.filter((text) => text !== '')) {
      const [name = '', value = ''] = line.split('=');
      if (name === 'public_key') {
        peer = value === this.#publicKey() ? undefined : value;
        if (peer !== undefined && !this.peers.has(peer)) this.peers.set(peer, newPeer());
        continue;
      }
      if (peer === undefined) {
        const errno = this.#setDevice(name, value);
        if (errno !== 0) return errno;
      } else if (name === 'update_only' && isNew(this.peers.get(peer))) {
        this.peers.delete(peer);
        peer = IGNORED;
      } else if (name === 'remove') {
        this.#remove(peer);
        peer = IGNORED;
      } else if (peer !== IGNORED && !this.#setPeer(peer, name, value)) return EINVAL;
    }
    return 0;
  }

  #setDevice(name: string, value: string): number {
    if (name === 'private_key') {
      this.#privateKey = value;
      const own = this.#publicKey();
      if (own !== undefined) this.#remove(own);
    } else if (name === 'listen_port') {
      const port = Number(value);
      this.#listenPort = this.#isTaken(port) ? 0 : port;
      if (this.#listenPort === 0) return EADDRINUSE;
    } else return EINVAL;
    return 0;
  }

  #setPeer(key: string, name: string, value: string): boolean {
    const peer = this.peers.get(key) ?? newPeer();
    if (name === 'preshared_key') peer.presharedKey = value;
    else if (name === 'endpoint') peer.endpoint = value;
    else if (name === 'persistent_keepalive_interval') peer.keepalive = Number(value);
    else if (name === 'replace_allowed_ips') this.#dropAllowedIps(key);
    else if (name === 'allowed_ip') this.owners.set(value, key);
    else if (name !== 'update_only') return false;
    touched.add(peer);
    return true;
  }

  #remove(key: string): void {
    this.peers.delete(key);
    this.#dropAllowedIps(key);
  }

  #dropAllowedIps(key: string): void {
    for (const prefix of this.allowedIps(key)) this.owners.delete(prefix);
  }

  #publicKey(): WireGuardKey | undefined {
    if (this.#privateKey === ZERO) return undefined;
    return wireguardPublicKeyHex(new Secret(Buffer.from(this.#privateKey, 'hex')));
  }
}

/** Lines for a peer that is not there. */
const IGNORED = 'ignored';

/** Peers that some line has filled: `update_only` takes back only a peer that its own `public_key` line made. */
const touched = new WeakSet<UapiPeer>();

function isNew(peer: UapiPeer | undefined): boolean {
  return peer !== undefined && !touched.has(peer);
}

function newPeer(): UapiPeer {
  return {
    presharedKey: ZERO,
    endpoint: undefined,
    keepalive: 0,
    lastHandshake: 0,
    rxBytes: 0n,
    txBytes: 0n,
  };
}
