/** What has to hold for every input whatever, of the reader and of the verifier behind it. */
import assert from 'node:assert/strict';
import { parseBody, reencodes } from '#kel/cesr/body';
import { type StreamItem, StreamParser } from '#kel/cesr/stream';
import { KelError } from '#kel/errors';
import { parseKeyEvent } from '#kel/event/parse';
import { LogVerifier } from '#kel/verify/log-verifier';
import { verifySignature } from '../support/kit/key-log.ts';

/** @param known every event that was ever signed: no other one may be accepted  @throws AssertionError, or what the code should not throw */
export function checkStream(bytes: Uint8Array, known: ReadonlySet<string>): void {
  const whole = itemsOf([bytes]);
  for (const item of whole) if (item.type === 'message') checkBody(item.body);
  const middle = bytes.length >> 1;
  const cut = itemsOf([bytes.subarray(0, middle), bytes.subarray(middle)]);
  assert.deepEqual(cut.map(summary), whole.map(summary));
  const verifier = new LogVerifier(verifySignature);
  verifier.feed(bytes);
  for (const { said } of verifier.finish().aids)
    assert.ok(known.has(said), `event ${said} was never signed`);
}

function checkBody(body: Uint8Array): void {
  try {
    const parsed = parseBody(body, 'KERI');
    assert.ok(reencodes(parsed, body), 'the body does not encode to its bytes');
    parseKeyEvent(body);
  } catch (error) {
    if (!(error instanceof KelError)) throw error;
  }
}

function itemsOf(chunks: readonly Uint8Array[]): StreamItem[] {
  const parser = new StreamParser();
  const items: StreamItem[] = [];
  for (const chunk of chunks) items.push(...parser.push(chunk));
  return [...items, ...parser.finish()];
}

function summary(item: StreamItem): unknown {
  if (item.type === 'fault') return [item.offset, item.code];
  const { offset, body, attachments } = item;
  return [offset, body.length, JSON.stringify(attachments)];
}
