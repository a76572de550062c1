/** `src/net/probe.ts` as a program, for the inside of a network namespace: `serve|stream|rtt|throughput ADDRESS PORT …`, result as JSON. */
import { measureRtt, measureThroughput, serveProbe, streamUdp } from '#src/net/probe';

const [verb, address = '', portText, ...numbers] = process.argv.slice(2);
const port = Number(portText);
const [first = 0, second = 0] = numbers.map(Number);

switch (verb) {
  case 'serve':
    await serveProbe({ address, port });
    console.log('ready');
    break;
  case 'stream':
    // The caller acts once it reads this line: some datagrams have gone by then.
    setTimeout(() => console.log('streaming'), 100);
    print(await streamUdp({ address, port, perSecond: first, seconds: second }));
    break;
  case 'rtt':
    print(await measureRtt({ address, port, count: first, intervalMs: second }));
    break;
  case 'throughput':
    print(await measureThroughput({ address, port, seconds: first }));
    break;
  default:
    throw new RangeError(`no verb ${verb}`);
}

function print(result: unknown): void {
  console.log(JSON.stringify(result));
}
