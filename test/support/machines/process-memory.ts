/** Reads the memory of a running process from outside, as a thief with its rights would. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

const CHUNK = 1 << 20;

/** A secret in the forms in which a program may have it. */
function formsOf(bytes: Uint8Array): readonly Buffer[] {
  const plain = Buffer.from(bytes);
  const texts = [plain.toString('hex'), plain.toString('base64').replace(/=+$/, '')];
  return [
    plain,
    ...texts.flatMap((text) => [Buffer.from(text, 'latin1'), Buffer.from(text, 'utf16le')]),
  ];
}

/** @returns the names of those that are found, in any of their forms */
export function findInMemory(
  pid: number,
  wanted: Readonly<Record<string, Uint8Array>>,
): ReadonlySet<string> {
  const left = new Map(Object.entries(wanted).map(([name, bytes]) => [name, formsOf(bytes)]));
  const found = new Set<string>();
  const longest = Math.max(...[...left.values()].flat().map(({ length }) => length));
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    for (const [start, end] of writtenRegions(pid))
      for (const chunk of chunks(memory, start, end, longest))
        for (const [name, forms] of left)
          if (forms.some((form) => chunk.includes(form))) {
            found.add(name);
            left.delete(name);
          }
  } finally {
    closeSync(memory);
  }
  return found;
}

function writtenRegions(pid: number): readonly (readonly [number, number])[] {
  return readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .flatMap((line) => {
      const [, start, end, rights, name = ''] =
        /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)$/.exec(line) ?? [];
      // What was never written to comes from a file.
      const isWritten = rights?.startsWith('rw') === true && !name.startsWith('/dev/');
      return start !== undefined && end !== undefined && isWritten
        ? [[Number.parseInt(start, 16), Number.parseInt(end, 16)] as const]
        : [];
    });
}

/** With an overlap, so that nothing lies across two. */
function* chunks(memory: number, start: number, end: number, overlap: number): Iterable<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(CHUNK + overlap);
  for (let at = start; at < end; at += CHUNK) {
    const length = Math.min(buffer.length, end - at);
    let got = 0;
    try {
      got = readSync(memory, buffer, 0, length, at);
    } catch {
      // Mapped and not readable: device memory, or gone since.
    }
    yield buffer.subarray(0, got);
  }
}
