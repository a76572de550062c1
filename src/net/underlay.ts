/**
 * What of this machine its connections depend on: the addresses that others can answer to, and where packets leave by default. Read
 * from files of the kernel (proc_pid_net(5)), so that it may be looked at whenever something changes.
 */
import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';

/** Routes that are not up (RTF_UP), or that refuse (RTF_REJECT), lead nowhere. */
const [RTF_UP, RTF_REJECT] = [0x0001, 0x0200];

/** @param isOwn devices that are no part of it: the tunnels  @returns a text that is another one when something of that has changed */
export type ReadUnderlay = (isOwn: (device: string) => boolean) => Promise<string>;

/** Of the network namespace of this process. */
export const readUnderlay: ReadUnderlay = async (isOwn) => {
  const addresses = Object.entries(networkInterfaces()).flatMap(([device, all = []]) =>
    isOwn(device)
      ? []
      : all
          .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
          .map(({ address }) => `${device} ${address}`),
  );
  // A kernel without one of the two families has no such file.
  const [ipv4, ipv6] = await Promise.all(
    ['route', 'ipv6_route'].map((name) =>
      readFile(`/proc/self/net/${name}`, 'latin1').catch(() => ''),
    ),
  );
  const routes = [...defaultRoutes4(ipv4 ?? ''), ...defaultRoutes6(ipv6 ?? '')].filter(
    ({ device }) => !isOwn(device),
  );
  return [...addresses, ...routes.map(({ device, via }) => `${device} via ${via}`)].sort().join();
};

interface DefaultRoute {
  readonly device: string;
  readonly via: string;
}

/** Fields: device, destination, gateway, flags, references, use, metric, mask, …; numbers in hex. */
export function defaultRoutes4(text: string): readonly DefaultRoute[] {
  return text.split('\n').flatMap((line) => {
    const [device, destination, via, flags = '', , , , mask] = line.trim().split(/\s+/);
    const isDefault = destination === '00000000' && mask === '00000000';
    return isDefault && device !== undefined && via !== undefined && leadsOut(flags)
      ? [{ device, via }]
      : [];
  });
}

/** Fields: destination, length of its prefix, source, length, next hop, metric, references, uses, flags, device; in hex. */
export function defaultRoutes6(text: string): readonly DefaultRoute[] {
  return text.split('\n').flatMap((line) => {
    const [destination = '', length, , , via, , , , flags = '', device] = line.trim().split(/\s+/);
    const isDefault = /^0{32}$/.test(destination) && length === '00';
    return isDefault && device !== undefined && via !== undefined && leadsOut(flags)
      ? [{ device, via }]
      : [];
  });
}

function leadsOut(flags: string): boolean {
  const bits = Number.parseInt(flags, 16);
  return (bits & RTF_UP) !== 0 && (bits & RTF_REJECT) === 0;
}
