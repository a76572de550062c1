/** Where the parts of an evidence bundle stand: for tests that change bytes and ask what is blamed. */
import type { ProblemSection } from '#agent/evidence/auditor/report';
import { decodeBundle, decodeDossier, sectionNames } from '#agent/evidence/format/bundle';

/** Which part each byte belongs to. */
export function partOf(bundle: Uint8Array): (at: number) => ProblemSection {
  const spans: { readonly start: number; readonly end: number; readonly part: ProblemSection }[] =
    [];
  const buffer = Buffer.from(bundle);
  for (const dossier of decodeBundle(bundle)) {
    const at = buffer.indexOf(dossier);
    const { header, sections, signature } = decodeDossier(dossier);
    const parts = [
      ['header', header],
      ...sectionNames.map((name) => [name, sections[name]] as const),
      ['signature', signature],
    ] as const;
    let next = at;
    for (const [part, bytes] of parts) {
      const start = buffer.indexOf(bytes, next);
      spans.push({ start, end: start + bytes.length, part });
      next = start + bytes.length;
    }
    spans.push({ start: at, end: at + dossier.length, part: 'dossier' });
  }
  return (at) => spans.find(({ start, end }) => at >= start && at < end)?.part ?? 'envelope';
}
