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

export interface Overlay {
  /** Answers on the own overlay address; the address may appear on a device later than this call. */
  listen(
    address: string,
    handler: (stream: OverlayStream) => Promise<void>,
  ): Promise<AsyncDisposable>;
  /** Sends one datagram, which WireGuard at the other end answers with a keepalive at least. @param to an overlay address */
  nudge?(to: string): void;
  /** Rejects with PROOF_UNREACHABLE. @param from the own overlay address */
  connect(from: string, to: string): Promise<OverlayStream>;
}

/** Bytes of one message. */
export const MAX_OVERLAY_MESSAGE = 16 * 1024;
