/**
 * Message streams between overlay addresses: what runs through the tunnels, not beside them.
 * Drivers: TCP (`tcp-overlay.ts`) and the simulated one in `test/support/`.
 */
export interface OverlayStream {
  /** The other end's overlay address: WireGuard's allowed IPs vouch for it. */
  readonly remote: string;
  send(message: Uint8Array): Promise<void>;
  /** Undefined after the other end has closed. */
  receive(): Promise<Uint8Array | undefined>;
  close(): void;
}

/** Open until it is closed. */
export interface OverlayDatagrams {
  /** Loses what cannot be sent. @param to an overlay address */
  send(to: string, message: Uint8Array): void;
  close(): void;
}

export interface Overlay {
  /** Answers on the own overlay address; the address may appear on a device later than this call. */
  listen(
    address: string,
    handler: (stream: OverlayStream) => Promise<void>,
  ): Promise<AsyncDisposable>;
  /**
   * Datagrams at the own overlay address; absent: there are none.
   * @param received is told every one, attacker-controlled, with the overlay address that it came from
   * @throws while no device carries the address
   */
  datagrams?(
    address: string,
    received: (message: Uint8Array, from: string) => void,
  ): Promise<OverlayDatagrams>;
  /** Rejects with PROOF_UNREACHABLE. @param from the own overlay address */
  connect(from: string, to: string): Promise<OverlayStream>;
}

/** Bytes of one message. */
export const MAX_OVERLAY_MESSAGE = 16 * 1024;
