/**
 * A member gone bad, as a program on a machine of its own: the product's agent over real libp2p and real WireGuard, with the keys of the
 * organisation that `kelmesh init` made there, and with words for what no command of the product does. Started inside the machine; reads
 * lines of JSON `[word, …]` and answers each with a line `{"result"}` or `{"error"}`.
 *
 *   start MS         runs the agent with a wall clock that is ahead by so much; the first time, and anew
 *   date MS          sets the wall clock ahead by so much while it runs
 *   stop             ends it as SIGTERM does
 *   reveal           WireGuard public key of key epoch 0 that this organisation will name once it is a member; before `start`
 *   claim KEY        names somebody else's WireGuard key in its `tun` records, from the first or the next one on
 *   renew AID        makes a fresh agreement, and waits until a handshake has used it
 *   bound AID        whether a connection to it is proven from both ends
 *   proofs AID       how many proofs of tunnels to it are held
 *   ask AID TIMES    asks for the proof of the tunnel again and again through the tunnel, in every way it can; says how each ended
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  agentSettings,
  composeLocal,
  composeRunning,
  openKeyStore,
  systemClock,
} from '#agent/compose';
import { overlayAddress } from '#agent/mesh/membership/overlay-address';
import { readConfig } from '#agent/organisation/config/config';
import { readSecretFile } from '#agent/organisation/config/secrets';
import { type Organisation, openOrganisation } from '#agent/organisation/organisation';
import { Agent, type Running, type RunningParts } from '#agent/organisation/running/agent';
import { decodeProofMessage, encodeProofMessage } from '#agent/tunnel/proof/messages';
import type { Overlay, OverlayStream } from '#agent/tunnel/proof/overlay';
import { type Aid, parseAid } from '#kel/identifiers';
import { wireguardPublicKey } from '#src/wireguard/static-key';

const ANSWER_MS = 3_000;

const config = readConfig('/etc/kelmesh/kelmesh.toml');
let current: Running | undefined;
let aheadMs = 0;
/** What this end has sent to each address in its honest exchanges. */
const sent = new Map<string, Uint8Array[]>();
let overlay: Overlay | undefined;
let claimed: Uint8Array | undefined;

async function organisation() {
  const drivers = await composeLocal(
    config,
    async () => {
      using secret = readSecretFile(config.keyStore.secretFile ?? '');
      return await openKeyStore(config, secret);
    },
    (line) => process.stderr.write(process.env['KELMESH_TRACE'] === '1' ? line : ''),
  );
  return openOrganisation({
    ...drivers,
    clock: { ...systemClock, now: () => systemClock.now() + aheadMs },
  });
}

function running(): RunningParts {
  if (current === undefined) throw new Error('it does not run');
  return current.parts;
}

async function start(ms: number): Promise<void> {
  await stop();
  aheadMs = ms;
  const drivers = await composeRunning(config);
  overlay = drivers.overlay;
  current = await Agent.start(
    withClaim(await organisation()),
    { ...drivers, overlay: remembering(drivers.overlay) },
    agentSettings(config),
  );
}

async function stop(): Promise<void> {
  await current?.agent.stop({ removeTunnels: false });
  current = undefined;
}

async function reveal(): Promise<string> {
  const opened = await organisation();
  const { identity } = opened;
  const { wireguard } = await identity.tunnelSecrets(identity.state.establishment.said, 0);
  await opened.close();
  return Buffer.from(wireguardPublicKey(wireguard)).toString('base64');
}

/** From then on every `tun` record that it makes names the key; one that runs makes one at once. */
async function claim(key: string): Promise<void> {
  claimed = new Uint8Array(Buffer.from(key, 'base64'));
  await current?.parts.rotateTunnelKeys();
}

function withClaim(opened: Organisation): Organisation {
  const { issuer } = opened;
  const honest = issuer.issueSealed.bind(issuer);
  issuer.issueSealed = (drafts, seals) =>
    honest(
      drafts.map((draft) =>
        draft.type === 'tun' && claimed !== undefined
          ? { ...draft, fields: { ...draft.fields, wg: claimed } }
          : draft,
      ),
      seals,
    );
  return opened;
}

function proofs(aid: Aid): number {
  const { identity, records } = running().organisation;
  const lower = identity.aid < aid ? identity.aid : aid;
  return records.list('tup', lower).filter(({ record }) => [record.a.i, record.b.i].includes(aid))
    .length;
}

async function renew(aid: Aid): Promise<void> {
  await running().rotations.psk(aid, true);
}

/** How each attempt ended: with which message of the other end last, or that it has hung up. */
async function ask(aid: Aid, times: number): Promise<Readonly<Record<string, number>>> {
  const { organisation: own } = running();
  const mesh = own.membership.mesh ?? '';
  const [from, to] = [
    overlayAddress(mesh as never, own.identity.aid),
    overlayAddress(mesh as never, aid),
  ];
  const script = sent.get(to) ?? [];
  if (script.length === 0) throw new Error(`nothing was ever said to ${to}`);
  const kinds = script.map((bytes) => decodeProofMessage(bytes));
  const offers = kinds.filter(({ kind }) => kind === 'offer');
  const delivers = kinds.filter(({ kind }) => kind === 'deliver');
  const ended: Record<string, number> = {};
  for (let n = 0; n < times; n++) {
    const replayed = n % 2 === 0 ? offers.at(-1) : delivers.at(-1);
    if (replayed === undefined) throw new Error('no exchange to repeat');
    const fresh =
      replayed.kind === 'offer'
        ? { ...replayed, nonce: crypto.getRandomValues(new Uint8Array(32)) }
        : replayed;
    const outcome = await attempt(from, to, encodeProofMessage(fresh));
    const key = `${replayed.kind}: ${outcome}`;
    ended[key] = (ended[key] ?? 0) + 1;
  }
  return ended;
}

async function attempt(from: string, to: string, message: Uint8Array): Promise<string> {
  let stream: OverlayStream;
  try {
    stream = await (overlay as Overlay).connect(from, to);
  } catch {
    return 'no connection';
  }
  try {
    await stream.send(message);
    const answer = await Promise.race([stream.receive(), sleep(ANSWER_MS)]);
    return answer === undefined ? 'hung up' : decodeProofMessage(answer).kind;
  } catch {
    return 'hung up';
  } finally {
    stream.close();
  }
}

/** The same overlay, and what goes out is kept. */
function remembering(inner: Overlay): Overlay {
  const kept = (stream: OverlayStream): OverlayStream => ({
    remote: stream.remote,
    receive: () => stream.receive(),
    close: () => stream.close(),
    send(message) {
      sent.set(stream.remote, [...(sent.get(stream.remote) ?? []), message]);
      return stream.send(message);
    },
  });
  return {
    listen: (address, handler) => inner.listen(address, (stream) => handler(kept(stream))),
    connect: async (from, to) => kept(await inner.connect(from, to)),
  };
}

const words: Readonly<Record<string, (...args: never[]) => Promise<unknown>>> = {
  start: (ms: number) => start(ms),
  date: async (ms: number) => {
    aheadMs = ms;
  },
  stop,
  reveal,
  claim: (key: string) => claim(key),
  bound: async (aid: string) => running().directory.peerOf(parseAid(aid)) !== undefined,
  proofs: async (aid: string) => proofs(parseAid(aid)),
  renew: (aid: string) => renew(parseAid(aid)),
  ask: (aid: string, times: number) => ask(parseAid(aid), times),
};

for await (const line of createInterface(process.stdin)) {
  const [word, ...args] = JSON.parse(line) as [string, ...never[]];
  try {
    const result = await words[word]?.(...args);
    process.stdout.write(`${JSON.stringify({ result: result ?? null })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ error: String((error as Error).stack) })}\n`);
  }
}
await stop();
process.exit(0);
