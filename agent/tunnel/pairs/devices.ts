/**
 * The own WireGuard devices: up to four slots of name and port. A device has one private key, and gives a prefix to one peer;
 * so each live tunnel key of the own end has a device, and a second one while a peer changes its key. Which slot has which key
 * is on disk: a restart finds the devices that carry traffic and leaves them alone.
 */
import type { Said } from '#kel/identifiers';
import type { StateTable } from '#src/store/state-table';
import type { InterfaceName, TunnelDriver } from '#src/wireguard/tunnel-driver';
import { TunnelError } from './errors.ts';

/** Two own keys, during a change, times two keys of a peer, during another. */
export const MAX_DEVICES = 4;

const SLOTS = 'slots';

export interface DeviceSlots {
  /** First interface name without its slot digit: `km-alpha` gives `km-alpha0` to `km-alpha3`. */
  readonly prefix: string;
  /** UDP port of the first slot; the others have the next ones. */
  readonly port: number;
}

export interface Device {
  /** 0 to 3. */
  readonly slot: number;
  readonly name: InterfaceName;
  readonly port: number;
  /** SAID of the own `tun` record. */
  readonly tunnelKey: Said;
}

/** Key: the slot. */
type Remembered = Readonly<Record<string, Omit<Device, 'slot'>>>;

export class Devices {
  readonly #table: StateTable;
  readonly #settings: DeviceSlots;
  #bySlot: ReadonlyMap<number, Device>;

  constructor(table: StateTable, settings: DeviceSlots) {
    this.#table = table;
    this.#settings = settings;
    const remembered = Object.entries(table.get<Remembered>(SLOTS) ?? {});
    this.#bySlot = new Map(
      remembered.map(([slot, device]) => [Number(slot), { ...device, slot: Number(slot) }]),
    );
  }

  /** In the order of their slots. */
  all(): readonly Device[] {
    return [...this.#bySlot.values()].sort((a, b) => a.slot - b.slot);
  }

  at(slot: number): Device | undefined {
    return this.#bySlot.get(slot);
  }

  /** The first one with this key. */
  of(tunnelKey: Said): Device | undefined {
    return this.all().find((device) => device.tunnelKey === tunnelKey);
  }

  /** Whether {@link place} has one, or room for one. */
  canPlace(tunnelKey: Said, taken: ReadonlySet<number> = new Set()): boolean {
    return (
      this.#bySlot.size < MAX_DEVICES ||
      this.all().some((device) => device.tunnelKey === tunnelKey && !taken.has(device.slot))
    );
  }

  /**
   * A device with `tunnelKey` in none of the slots `taken`: one that is there, or a new one.
   * Throws TUNNEL_BUSY when all slots have other uses.
   */
  async place(tunnelKey: Said, taken: ReadonlySet<number> = new Set()): Promise<Device> {
    const found = this.all().find(
      (device) => device.tunnelKey === tunnelKey && !taken.has(device.slot),
    );
    if (found !== undefined) return found;
    const slot = Array.from({ length: MAX_DEVICES }, (_, n) => n).find((n) => !this.#bySlot.has(n));
    if (slot === undefined)
      throw new TunnelError(
        'TUNNEL_BUSY',
        `all ${MAX_DEVICES} devices are in use: former keys still drain`,
      );
    return this.restore(slot, tunnelKey);
  }

  /** The device of a slot that nobody has. */
  async restore(slot: number, tunnelKey: Said): Promise<Device> {
    const device = { slot, ...this.#configured(slot), tunnelKey };
    await this.#save(new Map([...this.#bySlot, [slot, device]]));
    return device;
  }

  /** The device first, then the memory of it: a crash between them removes it again, which changes nothing. */
  async release({ slot, name }: Device, driver: TunnelDriver): Promise<void> {
    await driver.remove(name);
    await this.#save(new Map([...this.#bySlot].filter(([other]) => other !== slot)));
  }

  /**
   * After the configuration has changed: devices of another name go, and all have the configured name and port.
   * @returns the slots that changed: no other end knows where they are now
   */
  async configure(driver: TunnelDriver): Promise<ReadonlySet<number>> {
    const changed = new Map<number, Device>();
    for (const device of this.all()) {
      const { name, port } = this.#configured(device.slot);
      if (name === device.name && port === device.port) continue;
      // A later slot may have the port that this one gives up.
      await driver.remove(device.name);
      changed.set(device.slot, { ...device, name, port });
    }
    if (changed.size > 0) await this.#save(new Map([...this.#bySlot, ...changed]));
    return new Set(changed.keys());
  }

  #configured(slot: number): Pick<Device, 'name' | 'port'> {
    const { prefix, port } = this.#settings;
    return { name: `${prefix}${slot}` as InterfaceName, port: port + slot };
  }

  async #save(bySlot: ReadonlyMap<number, Device>): Promise<void> {
    const remembered = [...bySlot.values()].map(({ slot, ...device }) => [slot, device] as const);
    await this.#table.put({ [SLOTS]: Object.fromEntries(remembered) });
    this.#bySlot = bySlot;
  }
}
