/** The selected vehicle: what it does now, what it carries, when that arrives. */
import { AGE_CLASSES, ageClass, exactAgeText } from "./age";
import { Problem, Unreachable, type Api, type Eta, type Shipment } from "./api";
import type { ServerClock } from "./clock";
import { h, setText, throttled } from "./elements";
import type { Fleet } from "./fleet";
import { compassPoint, distanceText } from "./geodesy";
import { type AppStore, type Selection, nameOf } from "./state";
import { clockText, timeUs } from "./time";
import { speedText } from "./vehicle_list";

/** Shipments and arrival times are asked for this often while a vehicle is looked at. */
const REFRESH_MS = 15_000;

const STATUS: Readonly<Record<string, string>> = {
  planned: "planned", in_transit: "in transit", at_stop: "at stop", delivered: "delivered", cancelled: "cancelled",
};

export interface PanelActions {
  close(): void;
  follow(on: boolean): void;
  centre(): void;
  fence(fenceId: string): void;
}

export class VehiclePanel {
  private readonly fields: Record<"name" | "id" | "speed" | "heading" | "age" | "accuracy" | "place" | "dot", HTMLElement>;
  private readonly inside: HTMLElement;
  private readonly cargo: HTMLElement;
  private readonly followButton: HTMLButtonElement;
  private asked = 0;
  private lastEventId: string | null = null;

  constructor(
    private readonly root: HTMLElement,
    private readonly store: AppStore,
    private readonly fleet: Fleet,
    private readonly clock: ServerClock,
    private readonly api: Api,
    private readonly actions: PanelActions,
  ) {
    const field = (id: string): HTMLElement => h("span", { "data-testid": `vehicle-${id}` });
    this.fields = {
      name: h("h2", { "data-testid": "vehicle-name" }), id: field("id"), speed: field("speed"), heading: field("heading"),
      age: field("age"), accuracy: field("accuracy"), place: field("place"), dot: h("i", { class: "dot" }),
    };
    this.inside = h("dd", { class: "chips", "data-testid": "vehicle-fences" });
    this.cargo = h("div", { class: "cargo", "data-testid": "vehicle-shipments" });
    this.followButton = h("button", { type: "button", "aria-pressed": "false", "data-testid": "follow", onclick: () => actions.follow(!store.get().follows) }, "Follow");
    root.replaceChildren(
      h("header", {}, this.fields.dot, h("div", {}, this.fields.name, this.fields.id),
        h("button", { type: "button", class: "close", "aria-label": "Close", title: "Close (Esc)", "data-testid": "vehicle-close", onclick: () => actions.close() }, "×")),
      h("div", { class: "gauges" },
        h("div", {}, h("small", {}, "Speed"), this.fields.speed), h("div", {}, h("small", {}, "Heading"), this.fields.heading),
        h("div", {}, h("small", {}, "Last fix"), this.fields.age)),
      h("dl", {}, h("dt", {}, "Position"), h("dd", {}, this.fields.place), h("dt", {}, "Accuracy"), h("dd", {}, this.fields.accuracy),
        h("dt", {}, "Inside"), this.inside),
      this.cargo,
      h("footer", {}, h("button", { type: "button", onclick: () => actions.centre() }, "Centre"), this.followButton),
    );
    store.watch(["selection"], () => void this.selected());
    store.watch(["fleetVersion", "names"], throttled(200, () => this.fill()));
    store.watch(["follows"], ({ follows }) => this.followButton.setAttribute("aria-pressed", String(follows)));
    const again = throttled(1000, () => {
      const { selection } = store.get();
      if (selection !== null) void this.refresh(selection);
    });
    store.watch(["shipmentsVersion"], again);
    // An event of this vehicle may have changed what it is inside of.
    store.watch(["events"], ({ events, selection }) => {
      const newest = selection === null ? undefined : events.find((event) => event.deviceNumber === selection.deviceNumber);
      if (selection === null || newest === undefined || newest.eventId === this.lastEventId) return;
      this.lastEventId = newest.eventId;
      again();
    });
    setInterval(() => this.fill(), 1000);
    setInterval(() => {
      const { selection } = store.get();
      if (selection !== null && !document.hidden) void this.refresh(selection);
    }, REFRESH_MS);
  }

  private async selected(): Promise<void> {
    const { selection } = this.store.get();
    this.root.hidden = selection === null;
    this.inside.replaceChildren("–");
    this.cargo.replaceChildren();
    if (selection === null) return;
    this.fill();
    await this.refresh(selection);
  }

  private fill(): void {
    const state = this.store.get();
    if (state.selection === null) return;
    const { deviceNumber, deviceId } = state.selection;
    const vehicle = this.fleet.vehicle(deviceNumber);
    const name = state.names.has(deviceNumber) ? nameOf(state, deviceNumber) : deviceId;
    setText(this.fields.name, name);
    setText(this.fields.id, deviceId);
    this.fields.id.hidden = deviceId === name;
    if (vehicle === null) {
      for (const field of ["speed", "heading", "accuracy", "place"] as const) setText(this.fields[field], "–");
      setText(this.fields.age, "no fix");
      this.fields.dot.className = "dot";
      return;
    }
    const ageUs = this.clock.nowUs() - vehicle.observedAtUs;
    this.fields.dot.className = `dot ${AGE_CLASSES[ageClass(ageUs)]?.name ?? ""}`;
    setText(this.fields.speed, speedText(vehicle.speedMps));
    setText(this.fields.heading, Number.isNaN(vehicle.headingDeg) ? "–" : `${Math.round(vehicle.headingDeg) % 360}° ${compassPoint(vehicle.headingDeg)}`);
    setText(this.fields.age, exactAgeText(ageUs));
    this.fields.age.title = new Date(vehicle.observedAtUs / 1000).toLocaleString();
    setText(this.fields.accuracy, Number.isNaN(vehicle.accuracyM) ? "not reported" : `± ${distanceText(vehicle.accuracyM)}`);
    setText(this.fields.place, `${vehicle.latitudeDeg.toFixed(5)}, ${vehicle.longitudeDeg.toFixed(5)}`);
  }

  private async refresh(selection: Selection): Promise<void> {
    const asked = ++this.asked;
    const current = (): boolean => this.asked === asked && this.store.get().selection === selection;
    try {
      const [position, shipments] = await Promise.all([this.api.position(selection.deviceId), this.api.shipments(selection.deviceId)]);
      if (!current()) return;
      this.showFences(position?.inside_fence_ids ?? []);
      const underWay = shipments.filter((shipment) => shipment.status !== "cancelled").slice(0, 3);
      const etas = await Promise.all(underWay.map((shipment) => (shipment.status === "delivered" ? null : this.eta(shipment))));
      if (current()) this.cargo.replaceChildren(...underWay.map((shipment, i) => this.shipment(shipment, etas[i] ?? null)));
    } catch (error) {
      // What is shown stays; the link indicator tells of a gateway that is away.
      if (!(error instanceof Problem || error instanceof Unreachable)) throw error;
      if (error instanceof Problem && current()) this.cargo.replaceChildren(h("p", { class: "error" }, error.message));
    }
  }

  /** Null when there is none; a shipment is worth showing without. */
  private async eta(shipment: Shipment): Promise<Eta | null> {
    try {
      return await this.api.eta(shipment.shipment_id);
    } catch (error) {
      if (error instanceof Problem) return null;
      throw error;
    }
  }

  private showFences(fenceIds: readonly string[]): void {
    const { fences } = this.store.get();
    this.inside.replaceChildren(...(fenceIds.length === 0 ? ["no fence"] : fenceIds.map((fenceId) =>
      h("button", { type: "button", class: "chip", onclick: () => this.actions.fence(fenceId) }, fences.get(fenceId)?.name ?? fenceId))));
  }

  private shipment(shipment: Shipment, eta: Eta | null): HTMLElement {
    const nowUs = this.clock.nowUs();
    const open = (shipment.exceptions ?? []).filter((exception) => !exception.closed_at);
    const etas = new Map((eta?.stops ?? []).map((stop) => [stop.stop_id, stop]));
    const stops = shipment.stops.map((stop) => {
      const expected = etas.get(stop.stop_id);
      const done = stop.arrived_at !== null && stop.arrived_at !== undefined;
      let when = "–";
      let range = "";
      if (done) when = clockText(timeUs(stop.arrived_at as string), nowUs, false);
      else if (expected?.p50_at && !expected.passed) {
        when = `≈ ${clockText(timeUs(expected.p50_at), nowUs, false)}`;
        if (expected.p10_at && expected.p90_at) range = `between ${clockText(timeUs(expected.p10_at), nowUs, false)} and ${clockText(timeUs(expected.p90_at), nowUs, false)}`;
      } else if (stop.planned_arrival_at) when = `plan ${clockText(timeUs(stop.planned_arrival_at), nowUs, false)}`;
      return h("li", { class: stop.departed_at ? "passed" : done ? "here" : "ahead", title: range || null },
        h("span", {}, stop.name || stop.stop_id, " ", stop.missed_at ? h("span", { class: "late", title: `was due by ${clockText(timeUs(stop.missed_at), nowUs, false)}` }, "late") : ""), h("span", { class: "when", "data-testid": "stop-eta" }, when));
    });
    return h("article", { "data-testid": "shipment" },
      h("header", {}, h("b", {}, shipment.reference || shipment.shipment_id), h("span", { class: `status ${shipment.status}` }, STATUS[shipment.status] ?? shipment.status)),
      h("ol", {}, ...stops),
      ...open.map((exception) => h("p", { class: "exception" }, `${exception.kind.replaceAll("_", " ")}: ${exception.detail}`)),
      eta !== null && eta.reasons.length > 0 && h("p", { class: "hint" }, `arrival less certain: ${eta.reasons.join(", ").replaceAll("_", " ")}`),
    );
  }
}
