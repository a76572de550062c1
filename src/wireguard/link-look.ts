/**
 * Whether somebody has taken addresses or routes from a device, or changed its MTU, read from files of the kernel (proc_pid_net(5),
 * "if_inet6" and "ipv6_route"; `net/ipv6/conf`, whose `mtu` follows that of the device): no program is started, so that it may be looked at often. A link that is down has no IPv6 routes.
 */
import { readFile } from 'node:fs/promises';
import { parseIpAddress } from '../net/ip-address.ts';
import type { InterfaceName } from './tunnel-driver.ts';
import { isIpv6Prefix } from './values.ts';

/** What the files have of all devices: `prefix/length device`, the prefix as 32 hex digits. */
export type LinkTable = ReadonlySet<string>;

export interface LinkTables {
  readonly addresses: LinkTable;
  readonly routes: LinkTable;
  /** Bytes, by device; none of one that is not there. */
  readonly mtus: ReadonlyMap<string, number>;
}

/** Of the namespace of this process. @param names devices whose MTU is wanted  @throws when the kernel has no IPv6 */
export async function readLinkTables(names: readonly InterfaceName[]): Promise<LinkTables> {
  const [addresses, routes] = await Promise.all([
    readFile('/proc/self/net/if_inet6', 'latin1'),
    readFile('/proc/self/net/ipv6_route', 'latin1'),
  ]);
  const mtus = new Map<string, number>();
  for (const name of names) {
    const file = `/proc/sys/net/ipv6/conf/${name}/mtu`;
    const text = await readFile(file, 'latin1').catch(() => '');
    if (/^[1-9]\d{0,9}\n$/.test(text)) mtus.set(name, Number(text));
  }
  return { addresses: parseInet6(addresses), routes: parseRoute6(routes), mtus };
}

/** Fields: address, number of the device, length of the prefix in hex, scope, flags, device. */
export function parseInet6(text: string): LinkTable {
  return tableOf(text, 6, ([address = '', , length = '', , , device = '']) => [
    address,
    length,
    device,
  ]);
}

/** Fields: destination, length of its prefix in hex, source, length, next hop, metric, uses, references, flags, device. */
export function parseRoute6(text: string): LinkTable {
  return tableOf(text, 10, (fields) => [fields[0] ?? '', fields[1] ?? '', fields[9] ?? '']);
}

/** Whether an IPv6 address or route of `link`, as it was left, is not there any more, or its MTU is another one. */
export function isMissingSome(
  name: InterfaceName,
  link: {
    readonly addresses: readonly string[];
    readonly routes: readonly string[];
    readonly mtu: number;
  },
  tables: LinkTables,
): boolean {
  if ((tables.mtus.get(name) ?? link.mtu) !== link.mtu) return true;
  const isGone = (table: LinkTable) => (prefix: string) =>
    isIpv6Prefix(prefix) && !table.has(keyOf(prefix, name));
  return link.addresses.some(isGone(tables.addresses)) || link.routes.some(isGone(tables.routes));
}

function tableOf(
  text: string,
  count: number,
  pick: (fields: readonly string[]) => readonly [prefix: string, length: string, device: string],
): LinkTable {
  const table = new Set<string>();
  for (const line of text.split('\n')) {
    const fields = line.trim().split(/\s+/);
    if (fields.length !== count) continue;
    const [prefix, length, device] = pick(fields);
    table.add(`${prefix}/${Number.parseInt(length, 16)} ${device}`);
  }
  return table;
}

function keyOf(prefix: string, device: string): string {
  const [address = '', length = '128'] = prefix.split('/');
  return `${Buffer.from(parseIpAddress(address) ?? []).toString('hex')}/${length} ${device}`;
}
