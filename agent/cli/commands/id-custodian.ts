import { PUBLIC, writeOutput } from '#src/files/atomic-file';
import { type CustodianCard, encodeCard } from '../../identity/custody/card.ts';
import { Custodian } from '../../identity/custody/custodian.ts';
import { readBounded } from '../../identity/custody/files.ts';
import { readConfig } from '../../organisation/config/config.ts';
import { type Command, type Invocation, optionText } from '../command.ts';
import { custodianFile, withCustodian, withKeyStore } from '../custodian.ts';
import { exitCodes, print, printJson, table } from '../io.ts';
import { newFile, outOption } from '../new-file.ts';

export const idCustodianInit: Command = {
  name: 'id custodian init',
  summary: 'make this machine a custodian: own keys, and a card that tells of them',
  details: `Needs a configuration with a name and a key store; the key store is made when there is none. The card is public:
bring it to whoever makes the proposal, and compare its key with them by another way.`,
  options: {
    name: {
      type: 'string',
      value: 'NAME',
      does: 'name on the card; default: that of the configuration',
    },
    out: outOption,
  },
  async run(invocation) {
    const config = readConfig(invocation.config);
    const out = newFile(invocation);
    return withKeyStore(config, invocation.io, true, async (keyStore, verifySignature) => {
      const { custodian, card } = await Custodian.create(
        { keyStore, path: custodianFile(config), verifySignature },
        {
          name: optionText(invocation, 'name') ?? config.name,
          algorithm: config.keyStore.algorithm,
        },
      );
      await using _ = custodian;
      return await writeCard(invocation, out, card);
    });
  },
};

export const idCustodianNext: Command = {
  name: 'id custodian next',
  summary: 'a card for a rotation: the next key comes into the open, a fresh one is committed to',
  details: `The same card until the rotation is in the log. Keep it among the custodians until then: it shows a key that the log
still hides.`,
  options: {
    log: {
      type: 'string',
      value: 'FILE',
      does: 'the log as it stands (`kelmesh id export`); needed once a rotation was signed here',
    },
    out: outOption,
  },
  async run(invocation) {
    const config = readConfig(invocation.config);
    const out = newFile(invocation);
    const log = optionText(invocation, 'log');
    const bytes = log === undefined ? undefined : readBounded(log);
    return withCustodian(config, invocation.io, async (custodian) =>
      writeCard(invocation, out, await custodian.nextCard(bytes)),
    );
  },
};

async function writeCard(
  invocation: Invocation,
  file: string,
  card: CustodianCard,
): Promise<number> {
  await writeOutput(file, encodeCard(card), { mode: PUBLIC, isNew: true });
  const { name, key, next } = card;
  if (invocation.json)
    printJson(invocation.io, { schema: 'kelmesh.custodian-card/1', name, key, next, file });
  else
    print(
      invocation.io,
      table([
        ['custodian', name],
        ['key', key],
        ['next', next],
        ['card', file],
      ]),
    );
  return exitCodes.ok;
}
