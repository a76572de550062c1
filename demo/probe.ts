/** Runs inside a namespace of the demonstration: measures a path, or serves and calls the inner layer. Arguments and result are JSON. */

import { systemClock, systemRng } from '#agent/compose';
import { serviceIdentity } from '#agent/inner/ca/issue';
import { callEcho, serveEcho } from '#agent/inner/ca/service';
import { createLibp2pNetwork } from '#agent/network/libp2p';
import type { PeerAddress, PeerKey } from '#agent/network/network';
import { confine } from '#src/confinement';
import { loadCryptoSuite } from '#src/crypto/suites';
import { measureRtt, measureThroughput, serveProbe, streamUdp } from '#src/net/probe';
import { Secret } from '#src/secret';

confine();

type Task =
  | { readonly do: 'serve'; readonly address: string; readonly port: number }
  | { readonly do: 'measure'; readonly address: string; readonly port: number }
  | {
      readonly do: 'stream';
      readonly address: string;
      readonly port: number;
      readonly perSecond: number;
      readonly seconds: number;
    }
  | {
      readonly do: 'inner-serve';
      readonly address: string;
      readonly port: number;
      readonly dir: string;
      readonly service: string;
    }
  | {
      readonly do: 'inner-call';
      readonly address: string;
      readonly port: number;
      readonly dir: string;
      readonly service: string;
      readonly serverName: string;
    }
  | {
      readonly do: 'forge';
      readonly listen: string;
      readonly victim: readonly string[];
      readonly topic: string;
      readonly event: string;
    };

async function perform(task: Task): Promise<unknown> {
  switch (task.do) {
    case 'serve': {
      const server = await serveProbe(task);
      return untilStdinEnds(() => server.close());
    }
    case 'measure': {
      const { rttMs } = await measureRtt({ ...task, count: 20, intervalMs: 10 });
      return { rttMs, mbps: await measureThroughput({ ...task, seconds: 1 }) };
    }
    case 'stream': {
      process.stdout.write('{"started":true}\n');
      const { sent, lost } = await streamUdp(task);
      return { sent, lost: lost.length };
    }
    case 'inner-serve': {
      const service = await serveEcho({
        host: task.address,
        port: task.port,
        tls: await serviceIdentity(task.dir, task.service, systemClock),
      });
      return untilStdinEnds(() => service.close());
    }
    case 'inner-call': {
      try {
        const reply = await callEcho({
          host: task.address,
          port: task.port,
          tls: {
            ...(await serviceIdentity(task.dir, task.service, systemClock)),
            serverName: task.serverName,
          },
          text: 'hello',
        });
        return { reply: reply.text, server: reply.server };
      } catch (error) {
        return {
          refused: (error as { code?: string }).code ?? 'unknown',
          message: (error as Error).message,
        };
      }
    }
    case 'forge':
      return forge(task);
  }
}

/** A stranger without any AID publishes an event that it has forged. */
async function forge(task: Extract<Task, { do: 'forge' }>): Promise<unknown> {
  await loadCryptoSuite();
  const network = await createLibp2pNetwork({
    privateKey: Secret.take(systemRng.bytes(32)),
    listen: [task.listen as PeerAddress],
    bootstrap: [],
    mdns: false,
    clock: systemClock,
  });
  network.subscribe(task.topic, async () => 'ignore');
  const victim: PeerKey = await network.dial(task.victim as readonly PeerAddress[]);
  const event = Buffer.from(task.event, 'base64');
  // Gossipsub needs a moment to tell the other end of the subscription.
  for (let i = 0; i < 10; i++) {
    await systemClock.sleep(200);
    await network.publish(task.topic, event).catch(() => undefined);
  }
  await network.close();
  return { sent: true, victim };
}

async function untilStdinEnds(close: () => Promise<void>): Promise<unknown> {
  process.stdout.write('{"ready":true}\n');
  process.stdin.resume();
  await new Promise((resolve) => process.stdin.once('end', resolve));
  await close();
  return { closed: true };
}

const result = await perform(JSON.parse(process.argv[2] ?? '{}') as Task);
process.stdout.write(`${JSON.stringify(result)}\n`);
