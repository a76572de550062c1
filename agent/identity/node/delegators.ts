/** Who stands above a delegated AID: whoever holds its log needs theirs too. */
import { parseBody } from '#kel/cesr/body';
import { type ParsedMessage, parseStream } from '#kel/cesr/stream';
import { isInception } from '#kel/event/key-event';
import { keyEventOf } from '#kel/event/parse';
import type { Aid } from '#kel/identifiers';
import type { KelStore } from '#kel/store/kel-store';
import { concatBytes } from '#src/bytes';

/** Delegators of delegators that are followed. */
const MAX_DEPTH = 8;

/** `aids`, and behind them the delegators of each, theirs, and so on, as the logs held here name them. */
export function withDelegators(
  aids: Iterable<Aid>,
  kel: Pick<KelStore, 'state'>,
): ReadonlySet<Aid> {
  const all = new Set(aids);
  // A set is walked in the order of insertion, what is added on the way included.
  for (const aid of all) {
    const delegator = kel.state(aid)?.delegator;
    if (delegator !== undefined) all.add(delegator);
  }
  return all;
}

/** Who else may come along with the log of `aid`. @param stream attacker-controlled */
export function companyOf(
  aid: Aid,
  stream: Uint8Array,
  kel: Pick<KelStore, 'state'>,
): ReadonlySet<Aid> {
  return new Set([...withDelegators([aid], kel), ...delegatorsIn(stream, aid)]);
}

/** Events of a delegator before the approval that a peer is sent along: who was in step lately lacks no more. */
const TAIL = 256;

/**
 * The logs of the delegators of `aid`, highest first, for a peer that lacks its log from `from` on: nothing when it
 * lacks no establishment event.
 * @param maxBytes of each
 */
export async function delegatorLogs(
  aid: Aid,
  from: number,
  kel: KelStore,
  maxBytes: number,
): Promise<Uint8Array> {
  const state = kel.state(aid);
  if (state?.delegator === undefined || from > state.establishment.sn) return new Uint8Array(0);
  const [, ...above] = withDelegators([aid], kel);
  const logs = above.reverse().map((delegator) => {
    const last = kel.state(delegator)?.sn ?? 0;
    return kel.export(delegator, from === 0 ? 0 : Math.max(0, last - TAIL), maxBytes);
  });
  return concatBytes(...(await Promise.all(logs)));
}

/**
 * The delegators of `aid` that inceptions in `stream` name: an AID is the digest of its inception, so nobody
 * else can name them. @param stream attacker-controlled
 */
export function delegatorsIn(stream: Uint8Array, aid: Aid): readonly Aid[] {
  const named = new Map<Aid, Aid>();
  for (const item of parseStream(stream)) {
    if (item.type !== 'message') continue;
    const inception = delegatedInception(item);
    if (inception !== undefined) named.set(inception.aid, inception.delegator);
  }
  const chain: Aid[] = [];
  for (let at = named.get(aid); at !== undefined && chain.length < MAX_DEPTH; at = named.get(at)) {
    if (chain.includes(at)) break;
    chain.push(at);
  }
  return chain;
}

/** Of all other events nothing but the type is read. */
function delegatedInception({
  body,
  version,
}: ParsedMessage): { aid: Aid; delegator: Aid } | undefined {
  try {
    const parsed = parseBody(body, 'KERI', version);
    if (parsed.fields.get('t') !== 'dip') return undefined;
    const event = keyEventOf(parsed, body);
    return isInception(event) && event.delegator !== undefined
      ? { aid: event.aid, delegator: event.delegator }
      : undefined;
  } catch {
    return undefined;
  }
}
