/** What the page knows, in one store. */
import type { Link } from "./connection";
import type { Draft } from "./draw";
import type { TrackingEvent } from "./events";
import type { Fence } from "./fences";
import type { Session } from "./session";
import type { Store } from "./store";

export interface DeviceName {
  readonly deviceId: string;
  readonly name: string;
}

export interface Selection {
  readonly deviceNumber: number;
  readonly deviceId: string;
}

export interface State {
  readonly session: Session | null;
  readonly link: Link;
  /** Browser time of the last frame or message. */
  readonly heardAtMs: number;
  /** Stands for the fleet's columns, which change in place. */
  readonly fleetVersion: number;
  readonly ageCounts: readonly number[];
  readonly names: ReadonlyMap<number, DeviceName>;
  readonly fences: ReadonlyMap<string, Fence>;
  /** Newest first, bounded. */
  readonly events: readonly TrackingEvent[];
  /** Counts what was heard of changed shipments; the panel asks for those of its vehicle. */
  readonly shipmentsVersion: number;
  readonly selection: Selection | null;
  readonly follows: boolean;
  readonly selectedFence: string | null;
  readonly draft: Draft;
}

export type AppStore = Store<State>;

export function withNames(
  names: ReadonlyMap<number, DeviceName>,
  devices: readonly { device_number: number; device_id: string; display_name?: string | null }[],
): ReadonlyMap<number, DeviceName> {
  const next = new Map(names);
  for (const device of devices) {
    next.set(device.device_number, { deviceId: device.device_id, name: device.display_name || device.device_id });
  }
  return next;
}

export function nameOf(state: Readonly<State>, deviceNumber: number): string {
  return state.names.get(deviceNumber)?.name ?? `#${deviceNumber}`;
}
