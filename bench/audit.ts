/** Appends to the audit log: what durability costs, and what sharing one flush gives back. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AuditLog } from '#src/audit/log';
import { NodeLogFiles } from '#src/audit/log-files';
import { leafHash, verifyInclusion } from '#src/audit/merkle';

const leaf = new Uint8Array(300).fill(1);

/** Appends `count` leaves, `together` at a time; leaves per second. */
async function rate(dir: string, count: number, together: number): Promise<number> {
  await using log = await AuditLog.open('bench', new NodeLogFiles(join(dir, `${together}`)));
  const start = performance.now();
  for (let done = 0; done < count; done += together) {
    await Promise.all(Array.from({ length: together }, () => log.append(leaf)));
  }
  return (count / (performance.now() - start)) * 1000;
}

const dir = await mkdtemp(join(tmpdir(), 'kelmesh-bench-'));
try {
  const single = await rate(dir, 512, 1);
  console.log(`append, one at a time (baseline)  ${single.toFixed(0)} leaves/s`);
  for (const together of [64, 1024]) {
    const grouped = await rate(dir, 8192, together);
    const ratio = (grouped / single).toFixed(1);
    console.log(
      `append, ${together} at a time  ${grouped.toFixed(0)} leaves/s  ${ratio} x baseline`,
    );
  }

  await using log = await AuditLog.open('bench', new NodeLogFiles(join(dir, '1024')));
  const { size } = log;
  const root = await log.root(size);
  const proof = await log.inclusionProof(1234, size);
  const hash = leafHash(leaf);
  const start = performance.now();
  for (let i = 0; i < 5000; i++) verifyInclusion(hash, 1234, size, proof, root);
  const verify = (performance.now() - start) / 5000;
  const hashStart = performance.now();
  for (let i = 0; i < 5000 * (proof.length + 1); i++) leafHash(hash);
  const hashing = (performance.now() - hashStart) / 5000;
  console.log(`hashes of one inclusion proof (baseline)  ${(hashing * 1000).toFixed(1)} us`);
  console.log(
    `inclusion proof, ${size} leaves  ${(verify * 1000).toFixed(1)} us  ${(verify / hashing).toFixed(1)} x baseline`,
  );
} finally {
  await rm(dir, { recursive: true });
}
