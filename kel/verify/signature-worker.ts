/** A thread that verifies the signatures of a shared area, from the last slot down, until it is ended. */
import { workerData } from 'node:worker_threads';
import { loadCryptoSuite } from '#src/crypto/suites';
import { SignatureArea } from './signature-area.ts';

const area = new SignatureArea(workerData as SharedArrayBuffer);
const { ed25519 } = await loadCryptoSuite();

for (;;) {
  const batch = area.batch;
  for (let slot = area.count - 1; slot >= 0; slot--) area.work(batch, slot, ed25519.verify);
  area.awaitBatch(batch);
}
