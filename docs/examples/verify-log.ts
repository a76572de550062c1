/**
 * Verifies a key event log from a file and prints the key state of each AID in it.
 *   node docs/examples/verify-log.ts FILE
 * Exit code 0 when all of the file stands, 1 when not.
 */
import { createReadStream } from 'node:fs';
import { LogVerifier } from '#kel/verify/log-verifier';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { loadCryptoSuite } from '#src/crypto/suites';

const [file = ''] = process.argv.slice(2);
const { ed25519 } = await loadCryptoSuite();
const verifier = new LogVerifier(createSignatureVerifier(ed25519));

for await (const piece of createReadStream(file)) verifier.feed(piece, { file });
const { aids, refused, waiting, dropped } = verifier.finish();

for (const { aid, sn, said, keys } of aids) console.log(`${aid} event ${sn} ${said} keys ${keys}`);
for (const { code, reason, offset } of refused)
  console.log(`refused at ${offset}: ${code} ${reason}`);
for (const { code, reason, offset } of waiting)
  console.log(`waits at ${offset}: ${code} ${reason}`);

const isWhole = Object.values(dropped).every((count) => count === 0);
const stands = aids.length > 0 && refused.length === 0 && waiting.length === 0 && isWhole;
process.exitCode = stands ? 0 : 1;
