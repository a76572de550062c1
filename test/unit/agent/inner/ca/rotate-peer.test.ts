import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { UntrustedArguments } from '#agent/control/arguments';
import { rotationVerbs } from '#agent/control/rotation-verbs';
import type { VerbContext } from '#agent/control/verb';

/** All that the agent is asked when the CA rotates: whether a peer is in the mesh. */
describe('the peer of a CA rotation', () => {
  const bruma = { aid: 'EBruma', name: 'bruma' };
  const standing = {
    others: [bruma],
    member: (who: string) => (who === bruma.aid || who === bruma.name ? bruma : undefined),
    other: (aid: string) => (aid === bruma.aid ? bruma : undefined),
  };
  const ask = async (args: UntrustedArguments) =>
    rotationVerbs['rotate.ca'].call(args).run({
      organisation: { membership: { standing } },
      agent: undefined,
      name: 'alba',
      progress: () => {},
    } as unknown as VerbContext);

  for (const peer of ['bruma', 'EBruma'])
    it(`is known by name and by AID: ${peer}`, async () => {
      assert.deepEqual(await ask({ peer }), {
        schema: 'kelmesh.rotate/1',
        kind: 'ca',
        pairs: [{ pair: 'bruma', aid: 'EBruma' }],
      });
    });

  it('is refused when it is not in the mesh, or not named', async () => {
    await assert.rejects(ask({ peer: 'nobody' }), { code: 'ROTATION_NOT_A_MEMBER' });
    await assert.rejects(ask({}), { code: 'CONTROL_BAD_REQUEST' });
  });
});
