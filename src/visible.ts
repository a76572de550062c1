/**
 * Text of others where a person reads it. What a terminal obeys, what reorders or hides text, and what ends a line
 * stands there as an escape, so that a line shows all that is in it and nothing else: names, reasons and labels come
 * from peers, from files and from the system, and none of them may clear a screen or add a line.
 *
 * Escaped are the control characters (C0, DEL, C1), format characters (bidirectional embeddings, overrides, isolates and
 * marks, zero-width ones, tags), line and paragraph separators, whatever Unicode lets a renderer ignore
 * (`Default_Ignorable_Code_Point`: fillers, variation selectors), private, unassigned and lone surrogate code points.
 */

const ESCAPED = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}\p{Default_Ignorable_Code_Point}]/gu;

/** One line of text: line breaks are escaped too. Text of printable characters stays as it is. */
export function visible(text: string): string {
  return text.replaceAll(ESCAPED, (character) => {
    const hex = (character.codePointAt(0) as number).toString(16);
    return hex.length <= 4 ? `\\u${hex.padStart(4, '0')}` : `\\u{${hex}}`;
  });
}

/** The same for a text of `JSON.stringify`, whose line breaks are its own: it parses to the same value as before. */
export function visibleJson(json: string): string {
  return json.replaceAll(ESCAPED, (character) =>
    character === '\n'
      ? character
      : character
          .split('')
          .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
          .join(''),
  );
}
