/** Exchanges with the Rust and the Go program, played again: `fixtures/rosenpass/*.json`. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { type Transcript, TranscriptEnd } from '../support/kit/rosenpass-transcript.ts';

const folder = fileURLToPath(new URL('../../fixtures/rosenpass/', import.meta.url));
const files = globSync('*.json', { cwd: folder }).sort();

describe('an exchange that was recorded is made again byte for byte', () => {
  it('of each program in each role', () => {
    assert.deepEqual(
      files,
      ['go-rosenpass', 'rosenpass'].flatMap((name) =>
        ['initiator', 'responder'].map((role) => `${name}-${role}.json`),
      ),
    );
  });

  for (const file of files)
    it(`with ${basename(file, '.json')}`, () => {
      const transcript: Transcript = JSON.parse(readFileSync(`${folder}${file}`, 'utf8'));
      const end = new TranscriptEnd(transcript);
      for (const { at, received } of transcript.steps)
        if (received === undefined) end.poll(at);
        else end.take(Uint8Array.fromBase64(received), at);
      assert.deepEqual(end.steps, transcript.steps);
      assert.deepEqual(end.keys, [transcript.key]);
      assert.deepEqual([...end.machine.refused], []);
      // A handshake, and what was sent again.
      assert.ok(transcript.steps.filter(({ received }) => received !== undefined).length >= 2);
    });
});
