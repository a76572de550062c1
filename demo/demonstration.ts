/** The demonstration: its steps, in order, and the report about them. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeOutput } from '#src/files/atomic-file';
import { audit, exportEvidence } from './evidence-steps.ts';
import { DemoFederation } from './federation.ts';
import {
  admit,
  agree,
  bringTunnelsUp,
  build,
  compareLogs,
  incept,
  rejoin,
  remove,
  startAgents,
} from './mesh-steps.ts';
import { type DemoFindings, type Report, writeReport } from './report.ts';
import { type DemoStep, StepSequence } from './step-sequence.ts';
import { callInside, forge, measureTraffic, rotate } from './traffic-steps.ts';

export interface DemonstrationOptions {
  /** Where the report goes. */
  readonly out: string;
  /** State of the organisations; the caller removes it. */
  readonly work: string;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export class Demonstration {
  readonly #options: DemonstrationOptions;
  readonly #federation: DemoFederation;
  readonly #sequence: StepSequence;
  readonly #findings: DemoFindings = {
    mesh: '',
    tunnels: [],
    rotation: undefined,
    verdict: 'not verified',
  };

  constructor(options: DemonstrationOptions) {
    this.#options = options;
    this.#federation = new DemoFederation(options.signal);
    this.#sequence = new StepSequence(options.say, this.#federation.ended);
  }

  /** @returns whether every step did what it says */
  async run(): Promise<boolean> {
    const { say } = this.#options;
    say(
      'Three organisations, no common server. Each has a network namespace, a process, a key store, a log and a WireGuard interface of its own.\n',
    );
    const began = performance.now();
    const succeeded = await this.#sequence.run(this.#steps());
    await this.#report();
    if (!succeeded) {
      await this.#keepAgentLogs();
      return false;
    }
    say(
      `\nverdict: ${this.#findings.verdict}, in ${((performance.now() - began) / 1_000).toFixed(1)} s. Report, logs and evidence: ${this.#options.out}`,
    );
    say('\nWhat to try next:');
    say(
      `  npx kelmesh audit verify ${join(this.#options.out, 'evidence.kmb')}   the same audit, anywhere, offline`,
    );
    say(
      `  npx kelmesh id verify ${join(this.#options.out, 'logs', 'alpha.cesr')}   a key event log on its own`,
    );
    say(
      '  npm start -- --keep   leave the mesh running and look around: ip netns, wg show, kelmesh --config …',
    );
    say('  README.md   join two real machines');
    return true;
  }

  async clean(): Promise<void> {
    await this.#federation.stop();
    // An interrupted step has nothing to wait for any more, and may have started something in the meantime.
    await this.#sequence.idle();
    await this.#federation.stop();
    await this.#federation.remove();
  }

  #steps(): readonly DemoStep[] {
    const { out, work, say } = this.#options;
    const federation = this.#federation;
    const findings = this.#findings;
    return [
      {
        name: 'network',
        words: 'three network namespaces with a switch between them',
        act: () => build(federation, work),
      },
      {
        name: 'inception',
        words: 'each organisation makes its keys and incepts its key event log',
        act: () => incept(federation),
      },
      {
        name: 'agents',
        words: 'alpha founds the mesh, and the three agents start',
        act: () => startAgents(federation, findings),
      },
      {
        name: 'discovery',
        words: 'bravo and charlie ask to join with an invite line, alpha admits them',
        act: () => admit(federation),
      },
      {
        name: 'logs',
        words: 'each verifies the key event logs of the others',
        act: () => compareLogs(federation),
      },
      {
        name: 'psk',
        words: 'each pair agrees a preshared key with ML-KEM-1024 and X25519',
        act: () => agree(federation),
      },
      {
        name: 'tunnels',
        words: 'the tunnels come up and are proven by both ends',
        act: () => bringTunnelsUp(federation),
      },
      {
        name: 'traffic',
        words: 'a ping and a throughput figure through each tunnel',
        act: () => measureTraffic(federation, findings),
      },
      {
        name: 'inner-call',
        words:
          'a service of alpha calls one of bravo over the inner mTLS layer, through the tunnel',
        act: () => callInside(federation),
      },
      {
        name: 'rotation',
        words: 'bravo rotates its keys in the token while 1,000 packets a second run to it',
        act: () => rotate(federation, findings),
      },
      {
        name: 'forgery',
        words: 'a stranger forges an event of charlie and gossips it',
        act: () => forge(federation, findings),
      },
      {
        name: 'removal',
        words: 'alpha removes charlie, and its tunnels go',
        act: () => remove(federation),
      },
      {
        name: 'rejoin',
        words: 'charlie is admitted again, and its tunnels come back',
        act: () => rejoin(federation),
      },
      {
        name: 'evidence',
        words: 'the three export their evidence, signed',
        act: () => exportEvidence(federation, out),
      },
      {
        name: 'audit',
        words: 'an auditor verifies all of it offline',
        act: () => audit(federation, findings, out, say),
      },
    ];
  }

  async #keepAgentLogs(): Promise<void> {
    const { out, say } = this.#options;
    for (const { name, dir } of this.#federation.organisations) {
      const log = join(dir, 'agent.log');
      if (existsSync(log)) await writeOutput(join(out, `${name}.log`), readFileSync(log));
    }
    say(`        what the agents wrote is in ${out}`);
  }

  async #report(): Promise<void> {
    const { tunnels, rotation, verdict } = this.#findings;
    const organisations = await Promise.all(
      this.#federation.organisations.map(async (organisation) => {
        const status = await organisation.lastStatus();
        return {
          name: organisation.name,
          aid: organisation.aid,
          netns: organisation.place.netns,
          interface: status?.interface ?? '',
          overlay: status?.overlay ?? [],
          pid: organisation.pid ?? 0,
          config: organisation.config,
          socket: organisation.socket,
          log: `logs/${organisation.name}.cesr`,
        };
      }),
    );
    const report: Report = {
      schema: 'kelmesh.demo/1',
      steps: this.#sequence.taken,
      organisations,
      tunnels,
      evidence: 'evidence.kmb',
      verdict,
      ...(rotation === undefined ? {} : { rotation }),
    };
    await writeReport(this.#options.out, report);
  }
}
