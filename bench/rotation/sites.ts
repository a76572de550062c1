/** Two organisations at two sites with nothing between them but the delay proxy; real agents, real WireGuard. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Ground } from '../../demo/ground-removal.ts';
import { ip, LIBP2P_PORT, pause, Site, TUNNEL_PORT, until } from '../support/site.ts';

const probe = fileURLToPath(new URL('../../demo/probe.ts', import.meta.url));
const proxy = fileURLToPath(new URL('./delay-proxy.ts', import.meta.url));

const PROBE_PORT = 7_420;

export class Sites {
  readonly alpha: Site;
  readonly bravo: Site;
  #bravoOverlay = '';

  private constructor(alpha: Site, bravo: Site) {
    this.alpha = alpha;
    this.bravo = bravo;
  }

  /** @param tag of the names on this machine  @param dir exists, empty */
  static ground(tag: string, dir: string): Ground {
    return {
      namespaces: [`${tag}a`, `${tag}b`, `${tag}m`],
      interfaces: [`${tag}a`, `${tag}b`],
      dir,
    };
  }

  /** On the ground of the same arguments. @param delayMs one way */
  static async build(tag: string, dir: string, delayMs: number): Promise<Sites> {
    const middle = `${tag}m`;
    const site = (name: string, netns: string, address: string, seenAs: string) =>
      new Site({ name, netns, root: dir, interface: netns, address, seenAs, drain: 1 });
    const alpha = site('alpha', `${tag}a`, '10.77.1.2', '10.77.2.1');
    const bravo = site('bravo', `${tag}b`, '10.77.2.2', '10.77.1.1');
    const sites = new Sites(alpha, bravo);
    await ip('netns', 'add', middle);
    for (const [i, { netns }] of [alpha, bravo].entries()) {
      await ip('netns', 'add', netns);
      await ip('-n', netns, 'link', 'set', 'lo', 'up');
      const [here, there] = [
        ['name', `side${i}`],
        ['name', 'uplink', 'netns', netns],
      ] as const;
      await ip('-n', middle, 'link', 'add', ...here, 'type', 'veth', 'peer', ...there);
      for (const [where, dev, host] of [
        [middle, `side${i}`, 1],
        [netns, 'uplink', 2],
      ] as const) {
        await ip('-n', where, 'addr', 'add', `10.77.${i + 1}.${host}/24`, 'dev', dev);
        await ip('-n', where, 'link', 'set', dev, 'up');
      }
    }
    const task = {
      sides: [
        { proxy: '10.77.1.1', site: '10.77.1.2' },
        { proxy: '10.77.2.1', site: '10.77.2.2' },
      ],
      udp: [0, 1, 2, 3].map((slot) => TUNNEL_PORT + slot),
      tcp: LIBP2P_PORT,
    };
    const command = [process.execPath, proxy, String(delayMs), JSON.stringify(task)];
    const child = spawn('ip', ['netns', 'exec', middle, ...command], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    return sites;
  }

  /** Mesh, agents, tunnel, echo. */
  async up(): Promise<void> {
    const { alpha, bravo } = this;
    for (const site of [alpha, bravo]) await site.kelmesh('init', '--generate-secret');
    const { aid } = await bravo.kelmesh('id', 'show');
    await alpha.kelmesh('mesh', 'create', 'bench', '--epoch-seconds', '120');
    await alpha.start();
    const { line } = await alpha.ask('mesh.invite');
    await bravo.kelmesh('mesh', 'join', String(line));
    await bravo.start();
    await alpha.ask('mesh.admit', { aid: String(aid), name: 'bravo', yes: true });
    await this.ready();
    this.#bravoOverlay = (await bravo.status()).overlay[0] ?? '';
    const task = { do: 'serve', address: this.#bravoOverlay, port: PROBE_PORT };
    const echo = bravo.spawn(probe, task);
    await new Promise((resolve) => echo.stdout?.once('data', resolve));
  }

  /** No change is under way and the tunnel is up, at both ends. */
  async ready(): Promise<void> {
    for (const site of [this.alpha, this.bravo])
      await until(60_000, `${site.name} is settled`, () => site.isSettled(1).catch(() => false));
  }

  /** Packets from alpha to bravo and back while `act` runs. @returns how many were sent and lost */
  async stream(
    seconds: number,
    act: () => Promise<void>,
  ): Promise<{ readonly sent: number; readonly lost: number }> {
    const child = this.alpha.spawn(probe, {
      do: 'stream',
      address: this.#bravoOverlay,
      port: PROBE_PORT,
      perSecond: 1_000,
      seconds,
    });
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    await pause(600);
    await act();
    await ended;
    return JSON.parse(text.trim().split('\n').at(-1) ?? '{}') as { sent: number; lost: number };
  }
}
