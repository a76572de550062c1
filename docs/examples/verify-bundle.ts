/**
 * Verifies an evidence bundle and prints who had a tunnel with whom, and what of it is proven.
 *   node docs/examples/verify-bundle.ts FILE
 * Exit code 0 when the verdict is clean, 1 when it is failed, 6 when it is incomplete.
 */
import { readFile } from 'node:fs/promises';
import { verifyBundle } from '#agent/evidence/auditor/verify-bundle';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { loadCryptoSuite } from '#src/crypto/suites';

const [file = ''] = process.argv.slice(2);
const { ed25519 } = await loadCryptoSuite();
const report = await verifyBundle(await readFile(file), {
  verifySignature: createSignatureVerifier(ed25519),
});

console.log(report.verdict);
for (const { a, b, epoch, interval, proven, missing } of report.tunnels)
  console.log(
    `${a.aid} with ${b.aid}, epoch ${epoch}, between ${interval.from} and ${interval.to}: ` +
      `proven ${proven}; missing ${missing.join() || 'nothing'}`,
  );
for (const { code, message } of report.problems) console.log(`${code}: ${message}`);

process.exitCode = { clean: 0, failed: 1, incomplete: 6 }[report.verdict];
