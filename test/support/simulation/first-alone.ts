/** A network whose program knows the first version of the protocols alone, as one of 0.1 does. */
import { listOf, type Network, type ProtocolList, type Protocols } from '#agent/network/network';

export function firstAlone(network: Network): Network {
  return new Proxy(network, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      if (key === 'open')
        return (peer: never, protocols: Protocols, limits: never) =>
          target.open(peer, ofFirst(protocols), limits);
      if (key === 'handle')
        return (protocols: Protocols, limits: never, handler: never) =>
          target.handle(ofFirst(protocols), limits, handler);
      return value.bind(target);
    },
  });
}

function ofFirst(protocols: Protocols): ProtocolList {
  const known = listOf(protocols).filter((protocol) => !protocol.startsWith('/kelmesh/2/'));
  return known as unknown as ProtocolList;
}
