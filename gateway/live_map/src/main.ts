/** Wires the page together; the only place where parts meet. */
import { AlertFeed } from "./alerts";
import { Api, type MapSettings, Problem, Unreachable } from "./api";
import { showTabs } from "./browser_pane";
import { ServerClock } from "./clock";
import { Connection, type ServerMessage } from "./connection";
import { exposeDebugHandle } from "./debug_handle";
import { type DrawInput, IDLE, update } from "./draw";
import { DrawPanel } from "./draw_panel";
import { byId } from "./elements";
import { type TrackingEvent, type TrackingEventJson, mergeEvents, readEvent } from "./events";
import { FenceList } from "./fence_list";
import { Fleet } from "./fleet";
import type { PositionFrame } from "./frames";
import { showLegend, showLink } from "./link_view";
import { MapView } from "./map_view";
import { Refresh } from "./refresh";
import { type Session, askForToken, demoSession, findSession, forget } from "./session";
import { type AppStore, type State, nameOf, withNames } from "./state";
import { createStore } from "./store";
import "./style.css";
import { type Bounds, EVERYTHING, EVERYTHING_LIMIT, type Subscription, nextSubscription } from "./subscription";
import { themeFor } from "./theme";
import { TrailFollower } from "./trail";
import { VehicleList } from "./vehicle_list";
import { VehiclePanel } from "./vehicle_panel";

const VIEW_SETTLED_MS = 300;

const fleet = new Fleet();
const clock = new ServerClock();
const store: AppStore = createStore<State>({
  session: null,
  link: { phase: "connecting", attempt: 0, retryAtMs: null },
  heardAtMs: 0,
  fleetVersion: 0,
  ageCounts: [0, 0, 0],
  names: new Map(),
  fences: new Map(),
  events: [],
  shipmentsVersion: 0,
  selection: null,
  follows: false,
  selectedFence: null,
  draft: IDLE,
});
const api = new Api(() => store.get().session?.token ?? null, () => void signInAgain());
const refresh = new Refresh(api, store, notice);
const trail = new TrailFollower(api, fleet, () => clock.nowUs(), (shown) => view.showTrail(shown));

let subscription: Subscription = EVERYTHING;
let viewIsOurs = true;
let signingIn = false;
let onViewTimer: ReturnType<typeof setTimeout> | undefined;
let noticeTimer: ReturnType<typeof setTimeout> | undefined;

const connection = new Connection(
  {
    open() {
      const address = new URL("v1/live", location.href);
      address.protocol = address.protocol.replace("http", "ws");
      address.hash = "";
      return new WebSocket(address, ["drover.live.v1", `bearer.${store.get().session?.token ?? ""}`]);
    },
    accepted: () => api.accepted(),
    subscription: () => subscription,
    nowMs: () => Date.now(),
    after(delayMs, call) {
      const timer = setTimeout(call, delayMs);
      return () => clearTimeout(timer);
    },
    random: Math.random,
  },
  {
    link(link) {
      const was = store.get().link.phase;
      store.set({ link });
      if (link.phase === "live" && was !== "live") void refresh.all();
      if (link.phase === "refused") void signInAgain();
    },
    frame: onFrame,
    message: onMessage,
  },
);

const dark = matchMedia("(prefers-color-scheme: dark)");
const settings = await mapSettings();
const view = new MapView(
  byId("map"), byId("labels"), byId("graticule"), fleet, themeFor(dark.matches),
  settings?.tile_url ? { url: settings.tile_url, attribution: settings.attribution ?? "" } : null,
  {
    picked(deviceNumber, fenceId) {
      if (deviceNumber !== null) select(deviceNumber);
      else {
        store.set({ selection: null, selectedFence: fenceId });
        if (fenceId !== null) openTab("fences");
      }
    },
    viewed: onView,
    draw,
    grabbed() {
      viewIsOurs = false;
      store.set({ follows: false });
    },
  },
);
dark.addEventListener("change", () => view.setTheme(themeFor(dark.matches)));

const vehicles = new VehicleList(store, fleet, clock, (deviceNumber) => {
  select(deviceNumber);
  const place = view.shownPlace(deviceNumber);
  if (place !== null) view.flyTo(place);
});
const fences = new FenceList(store, api, {
  show(fenceId) {
    store.set({ selectedFence: fenceId });
    view.fitFence(fenceId);
  },
  draw,
  notice,
});
const openTab = showTabs(byId("browser"), { vehicles: vehicles.element, fences: fences.element });
new AlertFeed(byId("alerts"), store, clock, visit, (event, fenceId) => api.explain(event.deviceId, fenceId, event.confirmedAtUs));
new DrawPanel(byId("draw"), store, api, draw, (fenceId) => {
  openTab("fences");
  store.set({ selectedFence: fenceId });
});
new VehiclePanel(byId("vehicle"), store, fleet, clock, api, {
  close: () => store.set({ selection: null, follows: false }),
  follow: (follows) => store.set({ follows }),
  centre() {
    const place = view.shownPlace(store.get().selection?.deviceNumber ?? null);
    if (place !== null) view.flyTo(place);
  },
  fence(fenceId) {
    openTab("fences");
    store.set({ selectedFence: fenceId });
    view.fitFence(fenceId);
  },
});
showLink(byId("link"), store);
showLegend(byId("legend"), store);

view.nameBy((deviceNumber) => nameOf(store.get(), deviceNumber));
store.watch(["names"], () => view.nameBy((deviceNumber) => nameOf(store.get(), deviceNumber)));
store.watch(["fleetVersion"], () => view.touch());
store.watch(["fences"], (state) => view.showFences(state.fences));
store.watch(["selectedFence"], (state) => view.selectFence(state.selectedFence));
store.watch(["draft"], (state) => view.showDraft(state.draft));
store.watch(["selection", "follows"], (state) => view.select(state.selection?.deviceNumber ?? null, state.follows));
store.watch(["selection"], ({ selection }) => void refresh.forgiving(() => trail.follow(selection)));
setInterval(() => {
  if (fleet.age(clock.nowUs())) view.touch();
  const ageCounts = fleet.ageCounts();
  if (ageCounts.some((count, i) => count !== store.get().ageCounts[i])) store.set({ ageCounts });
}, 1000);

window.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement;
  if (event.key === "/" && !typing) {
    event.preventDefault();
    openTab("vehicles");
    vehicles.focus();
  }
  if (event.key === "Escape" && !typing && store.get().draft.mode === "idle") store.set({ selection: null, selectedFence: null, follows: false });
});
const comeBack = (): void => {
  if (document.hidden || store.get().session === null) return;
  connection.start();
  view.touch();
};
window.addEventListener("online", comeBack);
document.addEventListener("visibilitychange", comeBack);
exposeDebugHandle({ fleet, store, view, select, subscription: () => subscription });

await signIn(await findSession(), "This map needs a token.");

// -----------------------------------------------------------------------------------------------------------------------

async function signIn(found: Session | null, reason: string): Promise<void> {
  const session = found ?? (await askForToken(byId("sign-in") as HTMLDialogElement, reason));
  store.set({ session });
  connection.start();
}

async function signInAgain(): Promise<void> {
  if (signingIn) return;
  signingIn = true;
  connection.stop();
  forget();
  store.set({ session: null });
  await signIn(await demoSession(), "The token is not accepted any more.");
  signingIn = false;
}

async function mapSettings(): Promise<MapSettings | null> {
  try {
    return await api.mapSettings();
  } catch (error) {
    if (error instanceof Problem || error instanceof Unreachable) return null; // the built-in map does
    throw error;
  }
}

function onFrame(frame: PositionFrame): void {
  clock.heard(frame.sentAtUs);
  fleet.apply(frame, performance.now());
  fleet.age(clock.nowUs());
  store.set({ fleetVersion: store.get().fleetVersion + 1, heardAtMs: Date.now() });
  trail.extend();
  if (viewIsOurs && fleet.length > 0) {
    viewIsOurs = false;
    view.fit(fleetBounds(), 0);
  }
  if (frame.kind === "snapshot" && "everything" in subscription) onView(view.bounds());
}

function onMessage(message: ServerMessage): void {
  store.set({ heardAtMs: Date.now() });
  switch (message.type) {
    case "names":
      store.set({ names: withNames(store.get().names, message.devices) });
      break;
    case "event":
      store.set({ events: mergeEvents(store.get().events, [readEvent(message.event as TrackingEventJson, message.alert)]) });
      break;
    case "events_missed":
      void refresh.events();
      break;
    case "definition_changed":
      if (message.kind === "fence") void refresh.fence(message.id);
      break;
    case "shipment_changed":
      store.set({ shipmentsVersion: store.get().shipmentsVersion + 1 });
      break;
    case "error":
      notice(message.problem.detail ?? message.problem.title ?? "The server refused a request.");
      break;
    case "subscribed":
    case "pong":
      break;
  }
}

function onView(bounds: Bounds): void {
  clearTimeout(onViewTimer);
  onViewTimer = setTimeout(() => {
    const next = nextSubscription(subscription, fleet.length, settings?.everything_limit ?? EVERYTHING_LIMIT, bounds);
    if (next === null) return;
    subscription = next;
    connection.resubscribe();
  }, VIEW_SETTLED_MS);
}

function select(deviceNumber: number): void {
  const known = store.get().names.get(deviceNumber);
  if (store.get().selection?.deviceNumber === deviceNumber || known === undefined) return;
  store.set({ selection: { deviceNumber, deviceId: known.deviceId }, selectedFence: null, follows: false });
}

function visit(event: TrackingEvent): void {
  store.set({ selection: { deviceNumber: event.deviceNumber, deviceId: event.deviceId }, follows: false });
  const place = event.longitudeDeg === null || event.latitudeDeg === null ? view.shownPlace(event.deviceNumber) : ([event.longitudeDeg, event.latitudeDeg] as const);
  if (place !== null) view.flyTo(place);
}

function draw(input: DrawInput): void {
  const { draft } = store.get();
  const next = update(draft, input);
  if (next === draft) return;
  store.set(draft.mode === "idle" ? { draft: next, selection: null } : { draft: next });
  if (input.type === "edit") view.fitFence(input.fence.fenceId);
}

/** The box of the fleet; a few strays far out do not count once there are many. */
function fleetBounds(): Bounds {
  const inner = (column: Float64Array): readonly [number, number] => {
    const sorted = column.slice(0, fleet.length).sort();
    const cut = Math.floor(fleet.length * 0.02);
    return [sorted[cut], sorted[fleet.length - 1 - cut]];
  };
  const [west, east] = inner(fleet.longitudeDeg);
  const [south, north] = inner(fleet.latitudeDeg);
  return [west, south, east, north];
}

function notice(text: string): void {
  const element = byId("notice");
  element.textContent = text;
  element.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => (element.hidden = true), 8000);
}
