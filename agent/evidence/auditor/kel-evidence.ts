/** The key event logs of a bundle: every stream of every dossier, verified together. */
import { parseBody } from '#kel/cesr/body';
import { parseStream } from '#kel/cesr/stream';
import { KelError } from '#kel/errors';
import type { KeyEvent } from '#kel/event/key-event';
import { keyEventOf } from '#kel/event/parse';
import type { Aid, Said } from '#kel/identifiers';
import type { EstablishedKeys } from '#kel/key-state/established-keys';
import type { EventReference, KeyState } from '#kel/key-state/key-state';
import type { VerifySignature } from '#kel/state/key-signatures';
import { LogVerifier } from '#kel/verify/log-verifier';
import type { KelStream } from '../format/sections.ts';
import type { Problems } from './report.ts';

/** Streams and where their faults are reported. */
export interface KelSource {
  readonly kels: readonly KelStream[];
  readonly problems: Problems;
}

export class KelEvidence {
  readonly #verifier: LogVerifier;
  readonly #parsed = new Map<Said, KeyEvent>();
  readonly #chains = new Map<Aid, readonly KeyEvent[]>();
  readonly #establishments = new Map<Aid, readonly KeyEvent[]>();

  readonly #superseded = new Map<string, number>();

  /** @param whole where it is reported that not all was looked at */
  constructor(sources: readonly KelSource[], verifySignature: VerifySignature, whole: Problems) {
    this.#verifier = new LogVerifier(verifySignature);
    const byFile = new Map<string, Problems>();
    for (const [i, { kels, problems }] of sources.entries()) {
      for (const { aid, stream } of kels) {
        const file = `${i} ${aid}`;
        byFile.set(file, problems);
        this.#verifier.feed(stream, { file });
        for (const event of eventsIn(stream)) this.#parsed.set(event.said, event);
      }
    }
    this.#report(byFile, whole);
  }

  state(aid: Aid): KeyState | undefined {
    return this.#verifier.state(aid);
  }

  establishment(aid: Aid, sn: number, said: Said): EstablishedKeys | undefined {
    return this.#verifier.establishment(aid, sn, said);
  }

  sealOf(aid: Aid, said: Said): EventReference | undefined {
    return this.#verifier.sealOf(aid, said)?.event;
  }

  /** The accepted events of `aid`, oldest first; superseded ones are not among them. */
  events(aid: Aid): readonly KeyEvent[] {
    const known = this.#chains.get(aid);
    if (known !== undefined) return known;
    const chain: KeyEvent[] = [];
    let next = this.#parsed.get(this.state(aid)?.said as Said);
    while (next !== undefined) {
      chain.push(next);
      next = 'prior' in next ? this.#parsed.get(next.prior) : undefined;
    }
    chain.reverse();
    this.#chains.set(aid, chain);
    return chain;
  }

  /** Those among them that set keys. */
  establishments(aid: Aid): readonly KeyEvent[] {
    const known = this.#establishments.get(aid);
    if (known !== undefined) return known;
    const found = this.events(aid).filter(({ type }) => type !== 'ixn');
    this.#establishments.set(aid, found);
    return found;
  }

  /** Events of `aid` in the bundle that a recovery replaced. */
  superseded(aid: Aid): number {
    return this.#superseded.get(aid) ?? 0;
  }

  #report(byFile: ReadonlyMap<string, Problems>, whole: Problems): void {
    const { refused, waiting, dropped } = this.#verifier.finish();
    for (const { code, reason, file, aid = '' } of refused) {
      if (code === 'KEL_SUPERSEDED') {
        this.#superseded.set(aid, (this.#superseded.get(aid) ?? 0) + 1);
        continue;
      }
      const found = code === 'KEL_DUPLICITOUS' ? 'BUNDLE_DUPLICITY' : 'BUNDLE_KEL';
      byFile.get(file ?? '')?.add(found, 'kels', `${aid} ${code}: ${reason}`);
    }
    for (const { code, reason, file, aid = '' } of waiting) {
      byFile.get(file ?? '')?.add('BUNDLE_KEL_WAITING', 'kels', `${aid} ${code}: ${reason}`);
    }
    for (const [kind, count] of Object.entries(dropped))
      if (count > 0) whole.add('BUNDLE_LIMIT', 'kels', `${count} more (${kind}) are not listed`);
  }
}

function* eventsIn(stream: Uint8Array): Generator<KeyEvent> {
  for (const item of parseStream(stream)) {
    if (item.type === 'fault') continue;
    try {
      yield keyEventOf(parseBody(item.body, 'KERI'), item.body);
    } catch (error) {
      // The verifier has reported it, or it is a receipt.
      if (!(error instanceof KelError)) throw error;
    }
  }
}
