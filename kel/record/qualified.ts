/** The qualified Base64 values that stand in records. */
import { decodeMatter } from '#kel/cesr/matter';
import { BLAKE3_256, SALT_OR_ORDINAL } from '#kel/cesr/matter-codes';
import { KelError } from '#kel/errors';
import { type Aid, parseAid, parseSaid, type Said } from '#kel/identifiers';

export function isAid(text: string): text is Aid {
  return parses(() => parseAid(text));
}

/** Of an event or record of anyone: whatever digest its log uses. */
export function isSaid(text: string): text is Said {
  return parses(() => parseSaid(text));
}

/** Of a record: BLAKE3-256 alone, so that one content has one SAID. */
export function isRecordSaid(text: string): text is Said {
  return parses(() => decodeMatter(text)) && text.startsWith(BLAKE3_256);
}

/** 128 bits. */
export function isSalt(text: string): boolean {
  return parses(() => decodeMatter(text)) && text.startsWith(SALT_OR_ORDINAL);
}

function parses(parse: () => unknown): boolean {
  try {
    parse();
    return true;
  } catch (error) {
    if (error instanceof KelError) return false;
    throw error;
  }
}
