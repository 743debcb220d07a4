/** `window.drover`: what the page knows, for the console and for end-to-end tests. It reads and points; it changes no data. */
import type { Fleet, Vehicle } from "./fleet";
import type { MapView } from "./map_view";
import { type AppStore, nameOf } from "./state";
import type { Subscription } from "./subscription";

export interface DebugVehicle extends Vehicle {
  readonly deviceId: string;
  readonly name: string;
  /** Where it is drawn at this moment, between its last two fixes. */
  readonly shownLongitudeDeg: number;
  readonly shownLatitudeDeg: number;
}

export interface DebugHandle {
  vehicles(): DebugVehicle[];
  fences(): { fenceId: string; name: string; version: number | null }[];
  events(): AppStore extends { get(): infer S } ? (S extends { events: infer E } ? E : never) : never;
  link(): string;
  subscription(): Subscription;
  selection(): string | null;
  /** Pictures drawn since the page opened. */
  frames(): number;
  zoom(): number;
  /** The map is not on its way to another view. */
  atRest(): boolean;
  /** Pixel of a place on the page, to click on. */
  project(longitudeDeg: number, latitudeDeg: number): { x: number; y: number };
  /** Moves the map at once. */
  look(longitudeDeg: number, latitudeDeg: number, zoom: number): void;
  select(deviceId: string): void;
}

export function exposeDebugHandle(page: {
  fleet: Fleet;
  store: AppStore;
  view: MapView;
  select: (deviceNumber: number) => void;
  subscription: () => Subscription;
}): void {
  const { fleet, store, view } = page;
  const handle: DebugHandle = {
    vehicles() {
      const state = store.get();
      return Array.from({ length: fleet.length }, (_, row) => {
        const number = fleet.deviceNumber[row];
        return {
          ...(fleet.vehicle(number) as Vehicle),
          deviceId: state.names.get(number)?.deviceId ?? "",
          name: nameOf(state, number),
          shownLongitudeDeg: fleet.shownPosition[2 * row],
          shownLatitudeDeg: fleet.shownPosition[2 * row + 1],
        };
      });
    },
    fences: () => [...store.get().fences.values()].map(({ fenceId, name, version }) => ({ fenceId, name, version })),
    events: () => store.get().events,
    link: () => store.get().link.phase,
    subscription: page.subscription,
    selection: () => store.get().selection?.deviceId ?? null,
    frames: () => view.frames,
    zoom: () => view.zoom,
    atRest: () => !view.travelling,
    project: (longitudeDeg, latitudeDeg) => view.project([longitudeDeg, latitudeDeg]),
    look: (longitudeDeg, latitudeDeg, zoom) => view.jump([longitudeDeg, latitudeDeg], zoom),
    select(deviceId) {
      for (const [number, name] of store.get().names) if (name.deviceId === deviceId) page.select(number);
    },
  };
  (window as unknown as { drover: DebugHandle }).drover = handle;
}
