/**
 * Emergency rotation of others: a governor of the mesh, or whoever delegated a node, asks members to go to their pre-rotated keys
 * now; fresh tunnel keys and agreements follow from that. Each member does it itself, with its own keys, and says at which event
 * it is then. It may refuse: nobody holds another's keys, and the configuration says who may ask.
 *
 * One request and one answer per stream, in CBOR: `['rotate']`, then `['rotated', sn, said]` or `['refused', code]`.
 */
import { type Aid, parseSaid, type Said } from '#kel/identifiers';
import { type CborValue, encodeCbor } from '#src/cbor';
import type { Journal } from '#src/journal';
import type { StateTable } from '#src/store/state-table';
import type { Member } from '../../mesh/membership/charter.ts';
import type { Manners } from '../../network/conversation.ts';
import {
  askPeer,
  decodeList,
  type ExchangeDeps,
  refusal,
  serveExchange,
} from '../../network/exchange.ts';
import type { PeerKey, ProtocolId } from '../../network/network.ts';
import { RotationError } from './errors.ts';
import { REFUSED, rotationFailure } from './failure.ts';

const manners: Manners = {
  protocol: '/kelmesh/1/emergency' as ProtocolId,
  limits: { maxMessage: 256, maxStreams: 1 },
  // A slow token, witnesses, and tunnels that change over at this moment may lie between request and answer.
  messageMs: 60_000,
  wholeMs: 70_000,
  failure: rotationFailure,
};
/** What others ask for grows the own log, for ever: not more often than this. */
const PAUSE_MS = 3_600_000;
const OBEYED = 'obeyed';

/** Whom this organisation lets ask: nobody, whoever delegated it, or that one and the governors of the mesh. */
export type AskedBy = 'nobody' | 'delegator' | 'governor';

export interface EmergencyDeps extends ExchangeDeps {
  readonly journal: Journal;
  readonly table: StateTable;
  readonly askedBy: AskedBy;
  readonly delegator: () => Aid | undefined;
  readonly governors: () => readonly Aid[];
  /** Rotates the own log. @returns the event that it is at then */
  readonly rotate: () => Promise<{ readonly sn: number; readonly said: Said }>;
}

/** What became of one member. */
export interface EmergencyResult {
  readonly member: string;
  readonly aid: Aid;
  readonly rotated: boolean;
  readonly sn: number | null;
  readonly said: Said | null;
  /** Why not; null when it did. */
  readonly reason: string | null;
}

export class Emergency {
  readonly #deps: EmergencyDeps;

  constructor(deps: EmergencyDeps) {
    this.#deps = deps;
  }

  start(): void {
    serveExchange(this.#deps, manners, (request, peer) => this.#answer(request, peer));
  }

  /** Asks all of them at one time. Never throws: each result says what became of it. */
  ask(members: readonly Member[]): Promise<readonly EmergencyResult[]> {
    return Promise.all(
      members.map(async ({ aid, name }) => {
        try {
          const { sn, said } = await this.#askOne(aid);
          return { member: name, aid, rotated: true, sn, said, reason: null };
        } catch (error) {
          const { message } = error as Error;
          return { member: name, aid, rotated: false, sn: null, said: null, reason: message };
        }
      }),
    );
  }

  async #askOne(aid: Aid): Promise<{ readonly sn: number; readonly said: Said }> {
    return answerOf(await askPeer(this.#deps, manners, aid, encodeCbor(['rotate'])));
  }

  async #answer(request: Uint8Array, peer: PeerKey): Promise<CborValue> {
    const [word, ...more] = decodeList(request, rotationFailure);
    if (word !== 'rotate' || more.length > 0)
      throw new RotationError('ROTATION_BAD_MESSAGE', 'expected a request to rotate');
    return this.#obey(this.#deps.directory.aidOf(peer)).then(
      ({ sn, said }): CborValue => ['rotated', sn, said],
      (error: unknown) => refusal(error, REFUSED),
    );
  }

  async #obey(from: Aid | undefined): Promise<{ readonly sn: number; readonly said: Said }> {
    const { table, clock, journal } = this.#deps;
    if (from === undefined || !this.#accepts(from))
      throw new RotationError('ROTATION_NOT_ASKED', `${from ?? 'a stranger'} may not ask for it`);
    const last = table.get<number>(OBEYED) ?? 0;
    if (Math.abs(clock.now() - last) < PAUSE_MS)
      throw new RotationError('ROTATION_TOO_SOON', 'it was asked for within the last hour');
    await table.put({ [OBEYED]: clock.now() });
    const state = await this.#deps.rotate();
    journal.warn('rotation.asked-for', { aid: from, sn: state.sn });
    return state;
  }

  #accepts(from: Aid): boolean {
    const { askedBy, delegator, governors } = this.#deps;
    if (askedBy === 'nobody') return false;
    return from === delegator() || (askedBy === 'governor' && governors().includes(from));
  }
}

function answerOf(fields: readonly CborValue[]): { readonly sn: number; readonly said: Said } {
  const [word, value, said] = fields;
  if (
    word !== 'rotated' ||
    fields.length !== 3 ||
    typeof value !== 'number' ||
    !Number.isSafeInteger(value) ||
    value < 1 ||
    typeof said !== 'string'
  )
    throw new RotationError('ROTATION_BAD_MESSAGE', 'expected an event or a refusal');
  try {
    return { sn: value, said: parseSaid(said) };
  } catch (cause) {
    throw new RotationError('ROTATION_BAD_MESSAGE', 'expected the SAID of an event', { cause });
  }
}
