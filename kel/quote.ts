/** A value of a stranger inside a message for people: short, on one line, and never itself the cause of an error. */

/** Characters of a quoted value. */
const MAX_QUOTED = 100;

/** A text as JSON, cut; of anything else what it is. Linear in the part that is shown. @param value of any origin */
export function quote(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > MAX_QUOTED ? `${value.slice(0, MAX_QUOTED)}…` : value);
    case 'number':
    case 'bigint':
    case 'boolean':
      return `${value}`;
    case 'object':
      if (value === null) return 'null';
      if (Array.isArray(value)) return `a list of ${value.length}`;
      return value instanceof Map ? `a map of ${value.size}` : 'an object';
    default:
      return typeof value;
  }
}
