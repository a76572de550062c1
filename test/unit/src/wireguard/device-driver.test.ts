/** What a driver remembers of links, so that it need not ask the system each time. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type DeviceBackend, DeviceDriver } from '#src/wireguard/device-driver';
import { type LinkDifference, type LinkState, type Links, linkAfter } from '#src/wireguard/link';
import type { Cidr, InterfaceName } from '#src/wireguard/tunnel-driver';
import { encodeGet, encodeSet, parseGetReply, parseSetReply } from '#src/wireguard/uapi';
import { UapiDevice } from '../../../support/doubles/uapi-device.ts';
import { deviceOf } from '../../../support/kit/devices.ts';

const TRUST_MS = 30_000;
const route = 'fd00:9::2/128' as Cidr;

function system(trustMs = TRUST_MS) {
  const devices = new Map<InterfaceName, UapiDevice>();
  const links = new Map<InterfaceName, LinkState>();
  const asked: string[] = [];
  const clock = { ms: 1_000 };
  let failing = false;
  const backend = {
    description: 'test',
    get: async (name: InterfaceName) => {
      const device = devices.get(name);
      return device && parseGetReply(device.exchange(encodeGet()));
    },
    create: async (name: InterfaceName) => {
      devices.set(name, new UapiDevice(() => false));
      links.set(name, { up: false, mtu: 1_420, addresses: [], routes: [] });
    },
    set: async (name: InterfaceName, change: Parameters<typeof encodeSet>[0]) => {
      parseSetReply((devices.get(name) as UapiDevice).exchange(encodeSet(change)));
    },
    destroy: async (name: InterfaceName) => {
      devices.delete(name);
      links.delete(name);
    },
  } as unknown as DeviceBackend;
  const table: Links = {
    exists: async (name) => links.has(name),
    read: async (name) => {
      asked.push(`read ${name}`);
      return links.get(name);
    },
    drops: async () => undefined,
    takenByOthers: async () => new Set(),
    apply: async (name: InterfaceName, change: LinkDifference) => {
      asked.push(`apply ${name}`);
      if (failing) throw new Error('no privilege');
      links.set(name, linkAfter(links.get(name) as LinkState, change));
      for (const [other, link] of links)
        if (other !== name)
          links.set(other, linkAfter(link, { ...nothing, removeRoutes: change.addRoutes }));
    },
  };
  const driver = new DeviceDriver(backend, table, () => clock.ms, trustMs);
  return {
    driver,
    links,
    clock,
    fail: (now: boolean) => {
      failing = now;
    },
    /** What the system was asked since the last look. */
    asked: () => asked.splice(0),
  };
}

const nothing: LinkDifference = {
  bringUp: false,
  addAddresses: [],
  removeAddresses: [],
  addRoutes: [],
  removeRoutes: [],
};
const first = deviceOf({
  name: 'km0',
  listenPort: 1,
  addresses: ['fd00:9::1/128'],
  routes: [route],
  peers: [],
});
const second = deviceOf({ name: 'km1', key: 'other', listenPort: 2, routes: [], peers: [] });

describe('device driver: links', () => {
  it('are not asked for while they are as they were left', async () => {
    const { driver, asked, clock } = system();
    await driver.apply(first);
    assert.deepEqual(asked(), ['read km0', 'read km0', 'apply km0'], 'before and after it is made');
    clock.ms += TRUST_MS - 1;
    assert.deepEqual(await driver.apply(first), []);
    assert.deepEqual(asked(), []);
    assert.deepEqual(await driver.apply({ ...first, mtu: 1_300 }), ['MTU 1300']);
    assert.deepEqual(asked(), ['apply km0']);
  });

  it('are asked for when that is long ago, and put right', async () => {
    const { driver, asked, clock, links } = system();
    await driver.apply(first);
    links.set(first.name, { ...(links.get(first.name) as LinkState), addresses: [] });
    asked();
    assert.deepEqual(await driver.apply(first), []);
    clock.ms += TRUST_MS;
    assert.match((await driver.apply(first)).join(), /address .* added/);
    assert.deepEqual(asked(), ['read km0', 'apply km0']);
    assert.deepEqual(links.get(first.name)?.addresses, first.addresses);
  });

  it('lose the routes that another device of this driver has taken, and take them back', async () => {
    const { driver, asked, links } = system();
    await driver.apply(first);
    await driver.apply(second);
    await driver.apply({ ...second, routes: [route] });
    assert.deepEqual(
      [links.get(first.name)?.routes, links.get(second.name)?.routes],
      [[], [route]],
    );
    await driver.apply({ ...first, routes: [], routesElsewhere: [route] });
    asked();
    assert.deepEqual(await driver.apply(first), [`route ${route} added`]);
    assert.deepEqual(asked(), ['apply km0']);
    assert.deepEqual(
      [links.get(first.name)?.routes, links.get(second.name)?.routes],
      [[route], []],
    );
  });

  it('are asked for after a change that failed', async () => {
    const { driver, asked, fail } = system();
    await driver.apply(first);
    fail(true);
    await assert.rejects(driver.apply({ ...first, mtu: 1_300 }), /no privilege/);
    fail(false);
    asked();
    await driver.apply({ ...first, mtu: 1_300 });
    assert.deepEqual(asked(), ['read km0', 'apply km0']);
  });

  it('are asked for each time without trust', async () => {
    const { driver, asked } = system(0);
    await driver.apply(first);
    asked();
    await driver.apply(first);
    assert.deepEqual(asked(), ['read km0']);
  });
});
