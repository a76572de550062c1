/** What the thread of the sockets and the thread of the machine say to each other. */
import type { DatagramRefusal, KeyReason, RosenpassAddress } from '../peer-exchange.ts';
import type { RosenpassPeerConfig } from './config.ts';

/** Which files to read; what is secret in them is read where it is used. */
export interface WorkerStart {
  readonly publicKey: string;
  readonly secretKey: string;
  readonly peers: readonly (Pick<
    RosenpassPeerConfig,
    'publicKey' | 'version' | 'presharedKey' | 'output'
  > & { readonly address?: RosenpassAddress })[];
}

export interface Received {
  readonly datagram: Uint8Array;
  readonly from: RosenpassAddress;
}

export type ToWorker = { readonly kind: 'datagrams'; readonly datagrams: readonly Received[] };

export type FromWorker =
  | { readonly kind: 'ready'; readonly peerIds: readonly Uint8Array[] }
  | { readonly kind: 'failed'; readonly error: WorkerError }
  /** The datagrams that were given are done with. */
  | { readonly kind: 'taken'; readonly refused: ReadonlyMap<DatagramRefusal, number> }
  | { readonly kind: 'send'; readonly datagram: Uint8Array; readonly to: RosenpassAddress }
  /** `key`: 32 bytes whose memory moves along; whoever gets them wipes them. */
  | {
      readonly kind: 'key';
      readonly peer: number;
      readonly key: Uint8Array;
      readonly reason: KeyReason;
    }
  | { readonly kind: 'trouble'; readonly peer: number; readonly error: WorkerError };

/** An error as it crosses. */
export interface WorkerError {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}
