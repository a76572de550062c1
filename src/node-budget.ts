/**
 * What a decoder may build out of the bytes that it is given: values, counted before they are made. Every decoder has one,
 * so that memory and time follow the size of a message and not what it says: an empty map is one byte on the wire and
 * some 200 in memory.
 */

/** Values that any message may hold, however short. */
const FREE_NODES = 4_096;
/** Beyond those, bytes of the message per value. */
const BYTES_PER_NODE = 4;
/** Values of any message, however long: large formats hold large byte strings, or pages that are decoded one by one. */
const MAX_NODES = 1 << 20;
/** What a list or a map counts beyond one value, beside its items: that much more memory than a number or a short text. */
const CONTAINER_NODES = 3;

export class NodeBudget {
  #left: number;

  /** @param size of the whole message, in bytes */
  constructor(size: number) {
    this.#left = Math.min(FREE_NODES + Math.floor(size / BYTES_PER_NODE), MAX_NODES);
  }

  /** Takes one value of any type; false when there is none left. */
  takeValue(): boolean {
    this.#left -= 1;
    return this.#left >= 0;
  }

  /** Takes what the value just taken costs as a list or a map, before that is made; false when its items could not be taken any more. @param items keys of a map included */
  takeContainer(items: number): boolean {
    this.#left -= CONTAINER_NODES;
    return items <= this.#left;
  }
}
