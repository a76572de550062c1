/** Witnesses of an own log in place of connected agents. */
import assert from 'node:assert/strict';
import type { Confirmation } from '#agent/identity/own/own-log';
import { parseStream } from '#kel/cesr/stream';
import { parseKeyEvent } from '#kel/event/parse';
import { encodeReceipt } from '#kel/event/receipt';
import type { Aid, Said } from '#kel/identifiers';
import { ed25519, witnessKey } from './key-log.ts';

export const witnesses = ['one', 'two', 'three'].map((name) => witnessKey(name));

/** Witnesses that are there or away; remembers every event that was shown to them. */
export class Witnesses implements Confirmation {
  present = 3;
  readonly shown = new Map<number, { said: Said; type: string }[]>();

  async expectReachable(asked: readonly Aid[], threshold: number): Promise<void> {
    if (Math.min(asked.length, this.present) < threshold) throw new Error('witnesses are away');
  }

  /** What they say that they hold and this organisation does not. */
  open: readonly Uint8Array[] = [];

  async recall(): Promise<readonly Uint8Array[]> {
    return this.open;
  }

  async collect(
    { sn, said, message }: Parameters<Confirmation['collect']>[0],
    asked: readonly Aid[],
    take: (receipt: Uint8Array) => Promise<boolean>,
  ): Promise<void> {
    const [item] = parseStream(message);
    assert.ok(item?.type === 'message');
    const { type, aid, kind } = parseKeyEvent(item.body);
    const before = this.shown.get(sn) ?? [];
    if (!before.some((event) => event.said === said))
      this.shown.set(sn, [...before, { said, type }]);
    for (const { aid: witness, seed } of witnesses.slice(0, this.present)) {
      if (!asked.includes(witness)) continue;
      const signature = ed25519.sign(item.body, seed);
      const receipt = { aid, sn, said, kind, witness, algorithm: 'ed25519' as const, signature };
      if (await take(encodeReceipt(receipt))) return;
    }
  }

  /** Two events at one place are never shown, unless a rotation takes the place of an interaction. */
  check(): void {
    for (const [sn, events] of this.shown) {
      const types = events.map(({ type }) => type);
      assert.ok(
        events.length === 1 || (types.length === 2 && types[0] === 'ixn' && types[1] === 'rot'),
        `at ${sn}: ${types.join(', ')}`,
      );
    }
  }
}
