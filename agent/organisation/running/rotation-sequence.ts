/** Rotations of this organisation, by command, by the clock or because others ask: one at a time, the tunnels get a moment to follow each. */
import type { KeyState } from '#kel/key-state/key-state';
import type { TunRecord } from '#kel/record/record';
import { SerialQueue } from '#src/serial-queue';
import type { RotationOptions } from '../../identity/own/identity.ts';
import type { Tunnels } from '../../tunnel/pairs/tunnels.ts';
import { RotationError } from '../../tunnel/rotation/errors.ts';
import type { Schedule } from '../../tunnel/rotation/schedule.ts';
import type { Organisation } from '../organisation.ts';
import type { Background } from './background.ts';
import type { OwnKeyRotations } from './own-key-rotations.ts';

export interface RotationSequenceDeps {
  readonly organisation: Pick<Organisation, 'identity' | 'keeper' | 'membership'>;
  readonly tunnels: Pick<Tunnels, 'settle'>;
  readonly ownKeyRotations: OwnKeyRotations;
  readonly schedule: Pick<Schedule, 'rotated'>;
  readonly background: Background;
}

export class RotationSequence {
  readonly #deps: RotationSequenceDeps;
  readonly #queue = new SerialQueue();

  constructor(deps: RotationSequenceDeps) {
    this.#deps = deps;
  }

  /**
   * The own log goes to its pre-rotated keys; the tunnels follow one by one without losing packets. No peer holds it up.
   * Audit log anchored before, new tunnel keys sealed after, known to the peers next, in use last.
   */
  log(options: RotationOptions = {}): Promise<KeyState> {
    return this.#queue.run(async () => {
      const { organisation, tunnels, ownKeyRotations, schedule, background } = this.#deps;
      const { identity, keeper } = organisation;
      await tunnels.settle();
      await keeper.anchor().catch((error: unknown) => background.deferIfAwaiting(error));
      await identity.rotate(options);
      await ownKeyRotations.follow();
      await schedule.rotated('id');
      return identity.state;
    });
  }

  /** The next key epoch of the own tunnel keys under the same event of the log. Throws ROTATION_NO_TUNNEL. */
  async tunnelKeys(): Promise<TunRecord> {
    const { organisation, tunnels, ownKeyRotations, schedule } = this.#deps;
    if (!organisation.membership.isIn)
      throw new RotationError('ROTATION_NO_TUNNEL', 'this organisation is in no mesh');
    return this.#queue.run(async () => {
      await tunnels.settle();
      const record = await ownKeyRotations.renew([]);
      await schedule.rotated('tunnel');
      return record;
    });
  }
}
