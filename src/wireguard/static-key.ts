/** WireGuard's static keys: Curve25519 keys with the private scalar clamped (RFC 7748 5), as `wg genkey` makes them. */
import { Secret } from '#src/secret';
import type { WireGuardKey } from '#src/wireguard/tunnel-driver';
import { expectLength } from '../crypto/errors.ts';
import { x25519PublicKey } from '../crypto/x25519.ts';

const KEY_LENGTH = 32;

/** @param bytes 32 uniform bytes, left as they are  @returns the clamped private key  @throws CRYPTO_BAD_LENGTH */
export function wireguardPrivateKey(bytes: Secret): Secret {
  expectLength('WireGuard private key', bytes.expose(), KEY_LENGTH);
  const clamped = new Secret(bytes.expose());
  const view = clamped.expose();
  view[0] = (view[0] as number) & 0xf8;
  view[31] = ((view[31] as number) & 0x7f) | 0x40;
  return clamped;
}

/** @param privateKey 32 bytes, clamped or not  @returns 32 bytes  @throws CRYPTO_BAD_LENGTH */
export function wireguardPublicKey(privateKey: Secret): Uint8Array {
  return x25519PublicKey(privateKey.expose());
}

/** {@link wireguardPublicKey} in the form of UAPI. */
export function wireguardPublicKeyHex(privateKey: Secret): WireGuardKey {
  return Buffer.from(wireguardPublicKey(privateKey)).toString('hex') as WireGuardKey;
}
