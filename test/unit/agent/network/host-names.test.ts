/** Names under which this node is reached: asked again, kept when nobody answers, never told to others. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { HostNames } from '#agent/network/host-names';
import { parseConfig } from '#agent/organisation/config/config';

function node(hosts: readonly string[]) {
  const table = new Map<string, readonly string[] | Error | 'silent'>();
  const asked: string[] = [];
  const said: string[] = [];
  let now = 0;
  const names = new HostNames(hosts, {
    clock: { monotonic: () => now, sleep: async () => undefined },
    journal: { info: (event) => said.push(event), failed: (event) => said.push(event) },
    resolve: async (name) => {
      asked.push(name);
      const answer = table.get(name) ?? new Error('not found');
      if (answer === 'silent') return new Promise(() => undefined);
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  return {
    table,
    asked,
    said,
    names,
    pass: (ms: number) => {
      now += ms;
    },
  };
}

describe('names of this node', () => {
  it('are resolved where they are used, again after a minute and not before', async () => {
    const { table, asked, said, names, pass } = node(['192.0.2.1', 'vpn.example', '2001:db8::1']);
    table.set('vpn.example', ['198.51.100.7', '2001:db8::7', '198.51.100.7']);
    const first = ['192.0.2.1', '198.51.100.7', '2001:db8::7', '2001:db8::1'];
    for (let i = 0; i < 5; i++) {
      // A race with a clock whose pauses are nothing: the answer is there the next time at the latest.
      await names.addresses();
      await new Promise(setImmediate);
      assert.deepEqual(await names.addresses(), first);
      pass(10_000);
    }
    assert.deepEqual(asked, ['vpn.example']);
    table.set('vpn.example', ['203.0.113.9']);
    pass(20_000);
    await names.addresses();
    await new Promise(setImmediate);
    assert.deepEqual(await names.addresses(), ['192.0.2.1', '203.0.113.9', '2001:db8::1']);
    assert.deepEqual(said, ['endpoint.resolved', 'endpoint.resolved']);
  });

  it('keep what they had when nobody answers, when the answer is no address, and when the resolver is silent', async () => {
    const { table, said, names, pass } = node(['vpn.example']);
    table.set('vpn.example', ['198.51.100.7']);
    await names.addresses();
    await new Promise(setImmediate);
    for (const answer of [new Error('SERVFAIL'), [], ['not an address'], 'silent'] as const) {
      table.set('vpn.example', answer);
      pass(61_000);
      await names.addresses();
      await new Promise(setImmediate);
      assert.deepEqual(await names.addresses(), ['198.51.100.7']);
    }
    assert.equal(said.filter((event) => event === 'endpoint.unresolved').length, 3);
  });

  it('are asked for never where the configuration has addresses alone, and bounded where it has names', async () => {
    const none = node(['192.0.2.1']);
    assert.deepEqual(await none.names.addresses(), ['192.0.2.1']);
    assert.deepEqual(none.asked, []);
    const many = node(['vpn.example']);
    many.table.set(
      'vpn.example',
      Array.from({ length: 100 }, (_, i) => `198.51.100.${i}`),
    );
    await many.names.addresses();
    await new Promise(setImmediate);
    assert.equal((await many.names.addresses()).length, 8);
  });

  it('stand in the configuration as names; what is neither name nor address is refused', () => {
    const endpoints = (host: string) =>
      parseConfig(`name = "a"\n[tunnel]\nendpoints = [${JSON.stringify(host)}]\n`, '/etc/k.toml')
        .tunnel.endpoints;
    for (const host of [
      'vpn.example',
      'a',
      'xn--bcher-kva.example',
      '192.0.2.1',
      '2001:db8::1',
      '1.2.3.4.example',
    ])
      assert.deepEqual(endpoints(host), [host]);
    for (const host of [
      '',
      '1.2.3',
      '256.1.1.1',
      '1.2.3.4.',
      '-a.example',
      'a..b',
      'a b',
      'fe80::1%eth0',
      `${'a'.repeat(64)}.b`,
      'a:1',
      'a/b',
      'ü.example',
      `${'a.'.repeat(127)}aa`,
    ])
      assert.throws(() => endpoints(host), { code: 'CONFIG_BAD_VALUE' }, host);
  });
});
