/**
 * The own WireGuard devices: one per live tunnel key, in two slots of name and port that alternate.
 * Remembered on disk, so that a restart finds the devices that carry traffic and leaves them alone.
 */
import type { Said } from '#kel/identifiers';
import type { InterfaceName, TunnelDriver } from '#src/wireguard/tunnel-driver';
import type { StateTable } from '../state-table.ts';
import { TunnelError } from './errors.ts';

const DEVICES = 'devices';

export interface Slot {
  readonly name: InterfaceName;
  readonly port: number;
}

export interface DeviceSlots {
  /** First interface name without its slot digit: `km-alpha` gives `km-alpha0` and `km-alpha1`. */
  readonly prefix: string;
  /** UDP port of the first slot; the second has the next one. */
  readonly port: number;
}

export class Devices {
  readonly #table: StateTable;
  readonly #slots: readonly Slot[];
  #assigned: ReadonlyMap<Said, Slot>;

  constructor(table: StateTable, { prefix, port }: DeviceSlots) {
    this.#table = table;
    this.#slots = [0, 1].map((n) => ({ name: `${prefix}${n}` as InterfaceName, port: port + n }));
    this.#assigned = new Map(
      Object.entries(table.get<Record<Said, Slot>>(DEVICES) ?? {}) as [Said, Slot][],
    );
  }

  get assigned(): ReadonlyMap<Said, Slot> {
    return this.#assigned;
  }

  get hasFreeSlot(): boolean {
    return this.#assigned.size < this.#slots.length;
  }

  /** The slot of a tunnel key. Throws TUNNEL_BUSY when both are taken by others. */
  async assign(tunnelKey: Said): Promise<Slot> {
    const held = this.#assigned.get(tunnelKey);
    if (held !== undefined) return held;
    // Both are compared: a slot remembered from another configuration may have either.
    const taken = [...this.#assigned.values()];
    const free = this.#slots.find(({ name, port }) =>
      taken.every((slot) => slot.name !== name && slot.port !== port),
    );
    if (free === undefined)
      throw new TunnelError(
        'TUNNEL_BUSY',
        'two tunnel keys are in use already, the older one still drains',
      );
    await this.#save(new Map([...this.#assigned, [tunnelKey, free]]));
    return free;
  }

  /** The device first, then the memory of it: a crash between them removes it again, which changes nothing. */
  async release(tunnelKey: Said, driver: TunnelDriver): Promise<void> {
    const slot = this.#assigned.get(tunnelKey);
    if (slot === undefined) return;
    await driver.remove(slot.name);
    await this.#save(new Map([...this.#assigned].filter(([key]) => key !== tunnelKey)));
  }

  async #save(assigned: ReadonlyMap<Said, Slot>): Promise<void> {
    await this.#table.put({ [DEVICES]: Object.fromEntries(assigned) });
    this.#assigned = assigned;
  }
}
