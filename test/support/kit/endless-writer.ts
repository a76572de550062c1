/** Writes events into a LevelDB directory until it is killed; prints each sequence number once it is durable. */
import { Level } from 'level';
import { LevelKelStore } from '#kel/store/level-kel-store';
import { Organisation, verifySignature } from './key-log.ts';

const db = new Level(process.argv[2] as string);
const store = await LevelKelStore.open(db, { verifySignature, clock: { now: () => 0 } });
const org = new Organisation('endless');
org.incept();
for (;;) {
  const group = org.steps.slice(-3).map((step) => step.message);
  await store.process(Buffer.concat(group));
  process.stdout.write(`${store.state(org.aid)?.sn}\n`);
  if (org.state.sn % 5 === 4) org.rotate();
  else org.anchor();
}
