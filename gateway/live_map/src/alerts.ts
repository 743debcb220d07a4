/** The feed of events: newest first, those marked for people, or all. A click flies to where it happened. */
import type { ServerClock } from "./clock";
import { h, setText, throttled } from "./elements";
import { type TrackingEvent, describe } from "./events";
import { type AppStore, nameOf } from "./state";
import { clockText } from "./time";
import { type Explain, whyParts } from "./why";

/** Rows that are elements at once; the rest appear on asking. */
const PAGE = 60;

export class AlertFeed {
  private readonly list: HTMLElement;
  private readonly more: HTMLButtonElement;
  private readonly empty: HTMLElement;
  private readonly tabs: Record<"alerts" | "all", HTMLButtonElement>;
  private filter: "alerts" | "all" = "alerts";
  private limit = PAGE;
  private readonly rows = new Map<string, HTMLElement>();

  constructor(
    root: HTMLElement,
    private readonly store: AppStore,
    private readonly clock: ServerClock,
    private readonly visit: (event: TrackingEvent) => void,
    private readonly explain: Explain,
  ) {
    const tab = (filter: "alerts" | "all", text: string): HTMLButtonElement =>
      h("button", { type: "button", class: "tab", "aria-pressed": String(filter === this.filter), "data-testid": `feed-${filter}`, onclick: () => this.choose(filter) }, text);
    this.tabs = { alerts: tab("alerts", "Alerts"), all: tab("all", "All events") };
    this.list = h("ol", { class: "feed", "data-testid": "alert-feed", "aria-live": "polite", "aria-relevant": "additions" });
    this.more = h("button", { type: "button", class: "quiet", onclick: () => { this.limit += PAGE; this.render(); } }, "Show more");
    this.empty = h("p", { class: "empty" });
    root.replaceChildren(h("div", { class: "tabs" }, this.tabs.alerts, this.tabs.all), h("div", { class: "scroll" }, this.empty, this.list, this.more));
    store.watch(["events", "names"], throttled(150, () => this.render()));
    this.render();
  }

  private choose(filter: "alerts" | "all"): void {
    this.filter = filter;
    this.limit = PAGE;
    for (const [name, button] of Object.entries(this.tabs)) button.setAttribute("aria-pressed", String(name === filter));
    this.render();
  }

  private render(): void {
    const state = this.store.get();
    const chosen = this.filter === "all" ? state.events : state.events.filter((event) => event.alert);
    const shown = chosen.slice(0, this.limit);
    const wanted = new Set(shown.map((event) => event.eventId));
    for (const [eventId, row] of this.rows) {
      if (wanted.has(eventId)) continue;
      row.remove();
      this.rows.delete(eventId);
    }
    // Rows that stay are not touched; new ones go in where they belong.
    let next: Element | null = this.list.firstElementChild;
    for (const event of shown) {
      let row = this.rows.get(event.eventId);
      if (row === undefined) {
        row = this.makeRow(event);
        this.rows.set(event.eventId, row);
      }
      setText(row.querySelector(".name") as Element, state.names.get(event.deviceNumber)?.name ?? event.deviceId);
      if (row === next) next = next.nextElementSibling;
      else this.list.insertBefore(row, next);
    }
    this.more.hidden = chosen.length <= this.limit;
    this.empty.hidden = chosen.length > 0;
    setText(this.empty, this.filter === "alerts" ? "No alerts. Good." : "Nothing has happened yet.");
  }

  private makeRow(event: TrackingEvent): HTMLElement {
    const time = new Date(event.observedAtUs / 1000);
    const notes = [event.assumed ? "assumed" : "", event.standing !== "told" ? event.standing : "", event.cause === "late_data" ? "late data" : "", event.cause === "definition" ? (event.kind.startsWith("devices_") ? "proximity edited" : "fence edited") : ""].filter((note) => note !== "");
    return h("li", { class: event.standing, "data-testid": "alert-item", "data-event-id": event.eventId, "data-kind": event.kind, "data-device-id": event.deviceId },
      h("button", { type: "button", class: `event ${event.severity}`, onclick: () => this.visit(event) },
        h("i", { class: "mark", title: event.severity === "none" ? "event" : event.severity }),
        h("span", { class: "what" }, h("b", { class: "name" }, nameOf(this.store.get(), event.deviceNumber)), " ", describe(event),
          ...(notes.length > 0 ? [h("small", {}, ` · ${notes.join(" · ")}`)] : [])),
        h("time", { datetime: time.toISOString(), title: time.toLocaleString() }, clockText(event.observedAtUs, this.clock.nowUs())),
      ), ...whyParts(event, this.explain));
  }
}
