/** `report.json`: what the demonstration did, for scripts. Fields are added, never renamed. */
import { join } from 'node:path';
import { PUBLIC, writeOutput } from '#src/files/atomic-file';

export interface StepReport {
  readonly name: string;
  readonly ok: boolean;
  readonly ms: number;
  readonly detail?: string;
}

export interface OrganisationReport {
  readonly name: string;
  readonly aid: string;
  readonly netns: string;
  readonly interface: string;
  readonly overlay: readonly string[];
  readonly pid: number;
  /** Absolute. */
  readonly config: string;
  readonly socket: string;
  /** Relative to the report. */
  readonly log: string;
}

export interface TunnelReport {
  readonly a: string;
  readonly b: string;
  readonly epoch: number;
  readonly level: string;
  readonly rttMs: number;
  readonly throughputMbps: number;
}

export interface Report {
  readonly schema: 'kelmesh.demo/1';
  readonly steps: readonly StepReport[];
  readonly organisations: readonly OrganisationReport[];
  readonly tunnels: readonly TunnelReport[];
  /** Evidence bundle, relative to the report. */
  readonly evidence: string;
  readonly verdict: string;
  readonly rotation?: { readonly sent: number; readonly lost: number };
}

/** Whole or not at all: a reader never sees half of it. */
/** What the steps find for the report, as they go. */
export interface DemoFindings {
  /** SAID of the first charter; empty until the mesh is founded. */
  mesh: string;
  readonly tunnels: TunnelReport[];
  rotation: Report['rotation'] | undefined;
  verdict: string;
}

export async function writeReport(dir: string, report: Report): Promise<string> {
  const file = join(dir, 'report.json');
  await writeOutput(file, Buffer.from(`${JSON.stringify(report, undefined, 2)}\n`), {
    mode: PUBLIC,
  });
  return file;
}
