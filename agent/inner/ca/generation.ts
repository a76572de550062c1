/** The generations of a CA as people see them. */
import { type CaCertificate, parseCaBundle } from '#src/mtls/ca-certificate';
import type { CaFile, Generation } from './ca-file.ts';
import { CaError } from './errors.ts';

/** SPIRE's words for where a rotation stands: one generation; a successor that does not issue yet; a former one that drains. */
export type CaState = 'stable' | 'prepared' | 'activated';

export type CaRole = 'former' | 'current' | 'successor';

export interface CaGeneration extends Omit<Generation, 'certificate' | 'cross'> {
  readonly role: CaRole;
  readonly ca: CaCertificate;
}

export function stateOf({ generations, issuing }: Pick<CaFile, 'issuing'> & Counted): CaState {
  if (generations.length === 1) return 'stable';
  return issuing === 0 ? 'prepared' : 'activated';
}

interface Counted {
  readonly generations: { readonly length: number };
}

/** The older first. @throws CA_CORRUPT */
export function generationsOf({ generations, issuing }: CaFile): readonly CaGeneration[] {
  return generations.map(({ certificate, cross, ...rest }, i) => ({
    ...rest,
    role: i === issuing ? 'current' : i < issuing ? 'former' : 'successor',
    ca: onlyCertificate(certificate + cross),
  }));
}

/** @param pem a CA certificate, and its cross certificate if it has one  @throws CA_CORRUPT */
export function onlyCertificate(pem: string): CaCertificate {
  const [certificate, ...more] = parseCaBundle(pem);
  if (certificate === undefined || more.length > 0)
    throw new CaError('CA_CORRUPT', 'CA file: it does not hold one certificate');
  return certificate;
}
