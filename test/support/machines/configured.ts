/** Machines whose configuration is there before `kelmesh init`: another key store, former keys that drain within seconds. */
import { mkdirSync } from 'node:fs';
import type { Machine } from './federation.ts';

/** @param name as `kelmesh init --name` has it */
export function configure(
  machine: Machine,
  name: string,
  tier: 'sealed-file' | 'softhsm' = 'sealed-file',
): void {
  mkdirSync(machine.path('/etc/kelmesh'));
  machine.write(
    '/etc/kelmesh/kelmesh.toml',
    [
      `name = "${name}"`,
      '[keystore]',
      `tier = "${tier}"`,
      'secret-file = "/var/lib/kelmesh/secret"',
      '[tunnel]',
      `endpoints = ["${machine.address}"]`,
      'drain = 2',
      '',
    ].join('\n'),
  );
}
