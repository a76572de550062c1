import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Inbox } from '#agent/network/inbox';

const one = Uint8Array.of(1);
const two = Uint8Array.of(2, 2);

describe('inbox of a stream', () => {
  it('serves several receives in order of arrival', async () => {
    const inbox = new Inbox(() => undefined);
    const waiting = [inbox.receive(), inbox.receive(), inbox.receive()];
    inbox.push(one);
    inbox.push(two);
    inbox.end();
    assert.deepEqual(await Promise.all(waiting), [one, two, undefined]);
  });

  it('counts the bytes that wait and tells when one is taken', async () => {
    let taken = 0;
    const inbox = new Inbox(() => taken++);
    inbox.push(one);
    inbox.push(two);
    assert.deepEqual([inbox.bytes, taken], [3, 0]);
    await inbox.receive();
    assert.deepEqual([inbox.bytes, taken], [2, 1]);
  });

  it('gives what waits before the end, and nothing that comes after it', async () => {
    const inbox = new Inbox(() => undefined);
    inbox.push(one);
    inbox.end();
    inbox.push(two);
    assert.deepEqual([await inbox.receive(), await inbox.receive()], [one, undefined]);
  });

  it('gives nothing after a failure, and keeps the first one', async () => {
    const inbox = new Inbox(() => undefined);
    const first = new Error('first');
    inbox.push(one);
    inbox.fail(first);
    inbox.fail(new Error('second'));
    await assert.rejects(inbox.receive(), first);
    assert.equal(inbox.bytes, 0);
  });

  it('an aborted receive leaves its message to the next', async () => {
    const inbox = new Inbox(() => undefined);
    const controller = new AbortController();
    const aborted = assert.rejects(inbox.receive(controller.signal), controller.signal.reason);
    const next = inbox.receive();
    controller.abort();
    await aborted;
    inbox.push(one);
    assert.deepEqual(await next, one);
  });
});
