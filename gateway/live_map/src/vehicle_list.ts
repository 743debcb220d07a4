/** The vehicles by name, with search. Only the rows in sight exist as elements, so ten thousand cost what twenty do. */
import { AGE_CLASSES, ageText } from "./age";
import type { ServerClock } from "./clock";
import { h, setText, throttled } from "./elements";
import type { Fleet } from "./fleet";
import { type AppStore, nameOf } from "./state";

const ROW_PX = 40;
const SPARE_ROWS = 4;

/** Words of the search are all found in name or id, in any order and case. */
export function matches(query: string, name: string, deviceId: string): boolean {
  const text = `${name} ${deviceId}`.toLowerCase();
  return query.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

export function speedText(speedMps: number): string {
  return Number.isNaN(speedMps) ? "–" : `${Math.round(speedMps * 3.6)} km/h`;
}

export class VehicleList {
  readonly element: HTMLElement;
  private readonly search: HTMLInputElement;
  private readonly count: HTMLElement;
  private readonly list: HTMLElement;
  private readonly sheet: HTMLElement;
  private readonly empty: HTMLElement;
  private shown: number[] = [];
  private active = 0;
  private sortedVersion = -1;
  private rows: { element: HTMLElement; dot: HTMLElement; name: HTMLElement; speed: HTMLElement; age: HTMLElement }[] = [];

  constructor(
    private readonly store: AppStore,
    private readonly fleet: Fleet,
    private readonly clock: ServerClock,
    private readonly pick: (deviceNumber: number) => void,
  ) {
    this.search = h("input", {
      id: "search", type: "search", placeholder: "Search vehicles", "aria-label": "Search vehicles by name or id",
      autocomplete: "off", spellcheck: "false", "data-testid": "search", "aria-controls": "vehicle-list",
    });
    this.count = h("span", { class: "count", "data-testid": "vehicle-count" });
    this.sheet = h("div", { class: "sheet" });
    this.empty = h("p", { class: "empty" });
    this.list = h("div", { id: "vehicle-list", class: "scroll", role: "listbox", tabindex: "0", "aria-label": "Vehicles", "data-testid": "vehicle-list" }, this.sheet);
    this.element = h("div", { class: "pane" }, h("div", { class: "search" }, this.search, this.count), this.empty, this.list);

    const sort = throttled(700, () => this.sort());
    const fill = throttled(250, () => this.fill());
    this.search.addEventListener("input", () => this.sort());
    this.search.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("scroll", () => this.fill(), { passive: true });
    this.list.addEventListener("click", (event) => {
      const row = (event.target as Element).closest<HTMLElement>("[data-number]");
      if (row !== null) this.pick(Number(row.dataset.number));
    });
    new ResizeObserver(() => this.fill()).observe(this.list);
    store.watch(["names"], sort);
    store.watch(["selection", "fleetVersion"], () => {
      if (fleet.memberVersion !== this.sortedVersion) sort();
      else fill();
    });
    setInterval(fill, 1000);
    this.sort();
  }

  focus(): void {
    this.search.focus();
    this.search.select();
  }

  private key(event: KeyboardEvent): void {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) {
      event.preventDefault();
      this.active = Math.max(0, Math.min(this.shown.length - 1, this.active + step));
      const top = this.active * ROW_PX;
      if (top < this.list.scrollTop) this.list.scrollTop = top;
      if (top + ROW_PX > this.list.scrollTop + this.list.clientHeight) this.list.scrollTop = top + ROW_PX - this.list.clientHeight;
      this.fill();
    } else if (event.key === "Enter") {
      const number = this.shown[this.active];
      if (number !== undefined) this.pick(number);
    } else if (event.key === "Escape" && this.search.value !== "") {
      event.stopPropagation();
      this.search.value = "";
      this.sort();
    }
  }

  /** Chooses and orders; rows are filled in after. */
  private sort(): void {
    this.sortedVersion = this.fleet.memberVersion;
    const state = this.store.get();
    const query = this.search.value.trim();
    const found: { number: number; name: string }[] = [];
    for (let row = 0; row < this.fleet.length; row++) {
      const number = this.fleet.deviceNumber[row];
      const name = nameOf(state, number);
      if (query === "" || matches(query, name, state.names.get(number)?.deviceId ?? "")) found.push({ number, name });
    }
    this.shown = found.sort((a, b) => COLLATOR.compare(a.name, b.name)).map(({ number }) => number);
    this.active = Math.min(this.active, Math.max(0, this.shown.length - 1));
    setText(this.count, query === "" ? COUNT.format(this.fleet.length) : `${COUNT.format(this.shown.length)} of ${COUNT.format(this.fleet.length)}`);
    this.empty.hidden = this.shown.length > 0;
    setText(this.empty, query === "" ? "No vehicle has sent a position yet." : `Nothing is called “${query}”.`);
    this.sheet.style.height = `${this.shown.length * ROW_PX}px`;
    this.fill();
  }

  private fill(): void {
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW_PX) - SPARE_ROWS);
    const wanted = Math.min(this.shown.length - first, Math.ceil(this.list.clientHeight / ROW_PX) + 2 * SPARE_ROWS);
    while (this.rows.length < wanted) this.rows.push(this.makeRow());
    const state = this.store.get();
    const nowUs = this.clock.nowUs();
    this.rows.forEach((row, i) => {
      const number = i < wanted ? this.shown[first + i] : undefined;
      const place = number === undefined ? undefined : this.fleet.row(number);
      row.element.hidden = number === undefined || place === undefined;
      if (number === undefined || place === undefined) return;
      row.element.style.transform = `translateY(${(first + i) * ROW_PX}px)`;
      row.element.dataset.number = String(number);
      row.element.id = `vehicle-row-${number}`;
      row.element.setAttribute("aria-selected", String(state.selection?.deviceNumber === number));
      row.element.classList.toggle("active", first + i === this.active);
      row.dot.className = `dot ${AGE_CLASSES[this.fleet.shownAge[place]]?.name ?? ""}`;
      setText(row.name, nameOf(state, number));
      setText(row.speed, speedText(this.fleet.speedMps[place]));
      setText(row.age, ageText(nowUs - this.fleet.observedAtUs[place]));
    });
    const number = this.shown[this.active];
    if (number !== undefined) this.list.setAttribute("aria-activedescendant", `vehicle-row-${number}`);
  }

  private makeRow(): VehicleList["rows"][number] {
    const dot = h("i", { class: "dot" });
    const name = h("span", { class: "name" });
    const speed = h("span", { class: "speed" });
    const age = h("span", { class: "age" });
    const element = h("div", { class: "row", role: "option", "data-testid": "vehicle-row" }, dot, name, speed, age);
    this.sheet.append(element);
    return { element, dot, name, speed, age };
  }
}

const COLLATOR = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const COUNT = new Intl.NumberFormat();
