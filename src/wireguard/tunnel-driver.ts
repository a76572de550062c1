/**
 * WireGuard devices as the program sees them: read the state, apply the smallest change.
 * Drivers: the kernel module, a userspace program over UAPI, and a recording one in `test/support/`.
 */
import type { Brand } from '#src/brand';
import type { Secret } from '#src/secret';

/** Network interface name: 1 to 15 characters of `[A-Za-z0-9_.-]`. */
export type InterfaceName = Brand<string, 'InterfaceName'>;

/** 32 bytes as 64 lower-case hex digits, the UAPI form: usable as a map key. Never logged. */
export type WireGuardKey = Brand<string, 'WireGuardKey'>;

/** `192.0.2.1:51820` or `[2001:db8::1]:51820`. */
export type UdpEndpoint = Brand<string, 'UdpEndpoint'>;

/** `fd00::1/128` or `10.0.0.1/32`: canonical text, host bits zero. */
export type Cidr = Brand<string, 'Cidr'>;

export interface DesiredPeer {
  readonly publicKey: WireGuardKey;
  readonly presharedKey: Secret;
  /** Absent: wait for the other end to come (WireGuard roaming sets it). An endpoint learnt by roaming is never overwritten with the same desired one. */
  readonly endpoint?: UdpEndpoint;
  /** The endpoint is written over one learnt by roaming too: for as long as packets are under way from where the peer was before. @default false */
  readonly insists?: boolean;
  readonly allowedIps: readonly Cidr[];
  /** Seconds, 0 = off. */
  readonly keepalive: number;
}

export interface DesiredDevice {
  readonly name: InterfaceName;
  readonly privateKey: Secret;
  /** 1 to 65,535. */
  readonly listenPort: number;
  readonly mtu: number;
  /** The device's own overlay addresses, with their prefix length (`fd…/128`). */
  readonly addresses: readonly string[];
  readonly peers: readonly DesiredPeer[];
  /** Prefixes that the host routes into this device. */
  readonly routes: readonly Cidr[];
  /** Bytes of the largest packet into some of `routes`, where that is less than the device takes; of the others there is none. */
  readonly routeMtus?: ReadonlyMap<Cidr, number>;
  /** Prefixes routed into other devices of this program: one that still points here stays until that device takes it over, without a gap. */
  readonly routesElsewhere?: readonly Cidr[];
}

export interface PeerState {
  readonly publicKey: WireGuardKey;
  /** For comparison with the desired one; all zero when none is set. */
  readonly presharedKey: Secret;
  readonly endpoint?: UdpEndpoint;
  readonly allowedIps: readonly Cidr[];
  readonly keepalive: number;
  /** Milliseconds since the Unix epoch; 0 when there never was a handshake. */
  readonly lastHandshake: number;
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
}

export interface DeviceState {
  readonly name: InterfaceName;
  /** All zero when the device has no private key. */
  readonly publicKey: WireGuardKey;
  readonly listenPort: number;
  readonly peers: ReadonlyMap<WireGuardKey, PeerState>;
  readonly addresses: readonly string[];
  readonly routes: readonly Cidr[];
  readonly mtu: number;
}

/** Packets that a device has dropped since it was made, of all its peers together: the system tells it of no single one. */
export interface DeviceDrops {
  /** That came in. */
  readonly rx: number;
  /** That should have gone out, for want of room or of a session. */
  readonly tx: number;
}

/** What a device says of itself while it happens; never with a secret. */
export type DeviceEvent =
  | {
      /** It has shaken hands, or has moved; first, once, the present state of each. */
      readonly kind: 'peer';
      readonly publicKey: WireGuardKey;
      readonly endpoint?: UdpEndpoint;
      /** Milliseconds since the Unix epoch; 0 when there never was a handshake. */
      readonly lastHandshake: number;
    }
  /** The present state has been told; what follows is news. */
  | { readonly kind: 'complete' }
  /** Events were lost, or no more will come: only a question tells how things stand. */
  | { readonly kind: 'lost' };

/** What a probe carries: 16 bytes as 32 lower-case hex digits, good for one purpose. */
export type ProbeToken = Brand<string, 'ProbeToken'>;

/** Datagrams from the device's own UDP sockets, beside its packets: they meet the same mappings and the same firewalls. */
export interface DeviceProbes extends Disposable {
  /** For a minute, one that comes with this token is told. */
  expect(token: ProbeToken): void;
  /** Best effort. */
  send(token: ProbeToken, to: UdpEndpoint): void;
}

export interface TunnelDriver {
  /** For `status`: `kernel …`, or program, version and path, with what is missing with that program. */
  readonly description: string;
  /** State of a device that exists, also one left by an earlier run of the agent; undefined when there is none. */
  read(name: InterfaceName): Promise<DeviceState | undefined>;
  /**
   * Only the peers of a device, as WireGuard itself tells them: no question to the system about its link, addresses or
   * routes, so that it may be asked often.
   * @returns undefined without a device
   */
  peers(name: InterfaceName): Promise<ReadonlyMap<WireGuardKey, PeerState> | undefined>;
  /**
   * Devices from which somebody has taken an address or a route, or whose MTU somebody has changed, since this driver left them:
   * `apply` puts it right. Starts no program, so that it may be asked every few seconds.
   * @param suspects devices on which something else is known to be wrong: what was left there is not believed any more
   * @returns undefined where that cannot be told
   */
  damaged?(suspects?: ReadonlySet<string>): Promise<readonly InterfaceName[] | undefined>;
  /**
   * Tells the events of a device until it is disposed.
   * @returns undefined where nothing can tell them (the kernel, the stock program, no device): then {@link peers} has to be asked
   */
  watch(
    name: InterfaceName,
    listener: (event: DeviceEvent) => void,
  ): Promise<Disposable | undefined>;
  /**
   * @param came a probe that is expected has come; `from` as the device sees its sender
   * @returns undefined where a device has none (the kernel, the stock program, no device)
   */
  probes?(
    name: InterfaceName,
    came: (token: ProbeToken, from: UdpEndpoint) => void,
  ): Promise<DeviceProbes | undefined>;
  /** Undefined without a device. */
  drops(name: InterfaceName): Promise<DeviceDrops | undefined>;
  /** Creates the device when it is missing, then applies the difference only; twice changes nothing. @returns what changed, in words without keys */
  apply(desired: DesiredDevice): Promise<readonly string[]>;
  /**
   * Only the peers of a device that exists, in one write; link, routes, key and port are not looked at.
   * @returns as {@link apply}; undefined without a device
   */
  applyPeers(desired: DesiredDevice): Promise<readonly string[] | undefined>;
  /**
   * Begins a handshake with one peer, with the preshared key that it has now; packets go on under the session that is there.
   * Nothing happens within 5 s of the last initiation (REKEY_TIMEOUT), or without an endpoint.
   * @returns false where only {@link rekey} can (the kernel, the stock program, no device); a method that is absent never can
   */
  beginHandshake?(name: InterfaceName, publicKey: WireGuardKey): Promise<boolean>;
  /**
   * Makes every peer of the device shake hands anew, with the preshared key that it has now: the private key is replaced
   * by `throwAway` and put back in one go. Packets wait meanwhile, 128 per peer; one that comes just between the two keys costs 5 s, until the next initiation.
   * Nothing happens without a device.
   * @param throwAway 32 random bytes
   */
  rekey(name: InterfaceName, throwAway: Secret): Promise<void>;
  /** Ends the userspace program of the device by its process id, or deletes the kernel device. */
  remove(name: InterfaceName): Promise<void>;
  /** Names of devices that belong to this agent (by its prefix), running now. */
  list(prefix: string): Promise<readonly InterfaceName[]>;
}
