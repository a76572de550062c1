import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { NodeError } from '#agent/identity/node/errors';
import {
  decodeNodeAnswer,
  decodeNodeRequest,
  encodeNodeAnswer,
  encodeNodeRequest,
  type NodeAnswer,
} from '#agent/identity/node/messages';
import { formatNodeRequest, parseNodeRequest } from '#agent/identity/node/request';
import { Organisation } from '../support/kit/key-log.ts';
import { approvesAll } from '../support/kit/store-kit.ts';

const bytes = fc.uint8Array({ maxLength: 300 });
const name = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);

const answers: fc.Arbitrary<NodeAnswer> = fc.oneof(
  bytes.map((stream) => ({ kind: 'approved' as const, stream })),
  fc.constant({ kind: 'waiting' as const }),
  fc.record(
    {
      kind: fc.constant('refused' as const),
      code: fc.string({ maxLength: 64 }),
      reason: fc.string({ maxLength: 300 }),
    },
    { noNullPrototype: true },
  ),
);

const above = new Organisation('request organisation');
above.incept();
const { message } = new Organisation('request node').incept(
  { delegator: above.aid },
  { delegator: approvesAll },
);

function changed(original: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  return fc.oneof(
    bytes,
    fc.tuple(original, fc.nat(), fc.nat(255)).map(([from, at, value]) => {
      const copy = Uint8Array.from(from);
      copy[at % copy.length] = value;
      return copy;
    }),
  );
}

function refusedOrSame(read: () => Uint8Array | string, from: Uint8Array | string): void {
  let again: Uint8Array | string;
  try {
    again = read();
  } catch (error) {
    assert.ok(error instanceof NodeError, String(error));
    return;
  }
  assert.deepEqual(again, from);
}

describe('messages of nodes, any', () => {
  it('decode to what was encoded', () => {
    fc.assert(
      fc.property(name, bytes, (text, stream) =>
        assert.deepEqual(decodeNodeRequest(encodeNodeRequest(text, stream)), {
          name: text,
          stream,
        }),
      ),
    );
    fc.assert(
      fc.property(answers, (answer) =>
        assert.deepEqual(decodeNodeAnswer(encodeNodeAnswer(answer)), answer),
      ),
    );
  });

  it('that decode encode to the same bytes; the others are refused with a code', () => {
    const requests = changed(
      fc.tuple(name, bytes).map(([text, stream]) => encodeNodeRequest(text, stream)),
    );
    fc.assert(
      fc.property(requests, (from) =>
        refusedOrSame(() => {
          const decoded = decodeNodeRequest(from);
          return encodeNodeRequest(decoded.name, decoded.stream);
        }, from),
      ),
    );
    fc.assert(
      fc.property(changed(answers.map(encodeNodeAnswer)), (from) =>
        refusedOrSame(() => encodeNodeAnswer(decodeNodeAnswer(from)), from),
      ),
    );
  });

  it('lines that parse format to the same line; the others are refused with a code', () => {
    const line = formatNodeRequest('node-1', message);
    assert.equal(formatNodeRequest('node-1', parseNodeRequest(line).stream), line);
    const lines = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc
        .tuple(fc.nat(line.length - 1), fc.string({ maxLength: 3 }))
        .map(([at, text]) => line.slice(0, at) + text + line.slice(at + 1)),
    );
    fc.assert(
      fc.property(lines, (from) =>
        refusedOrSame(() => {
          const request = parseNodeRequest(from);
          return formatNodeRequest(request.name, request.stream);
        }, from.trim()),
      ),
    );
  });
});
