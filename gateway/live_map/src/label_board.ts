/** Names over the map, as text of the page: crisp at any pixel ratio, in the page's own face, and no glyphs to fetch. */
import type { LonLat } from "./geodesy";
import type { Window } from "./mercator";

export interface Label {
  /** Unique on the board; a label that stays keeps its element. */
  readonly key: string;
  readonly kind: "vehicle" | "fence" | "country";
  readonly text: string;
  /** Where it stands, asked for each picture; null hides it. */
  readonly at: () => LonLat | null;
  /** Its middle lies so far from the place, to the right and down. */
  readonly offsetPx: readonly [right: number, down: number];
}

/** Whole and half pixels only: text that creeps by less looks unsteady. */
const half = (pixels: number): number => Math.round(pixels * 2) / 2;

export class LabelBoard {
  private readonly shown = new Map<string, { label: Label; element: HTMLElement; transform: string }>();

  constructor(private readonly root: HTMLElement) {}

  /** A label that is on the board. */
  label(key: string): Label | null {
    return this.shown.get(key)?.label ?? null;
  }

  show(labels: readonly Label[]): void {
    const wanted = new Set(labels.map((label) => label.key));
    for (const [key, { element }] of this.shown) {
      if (wanted.has(key)) continue;
      element.remove();
      this.shown.delete(key);
    }
    for (const label of labels) {
      const known = this.shown.get(label.key);
      if (known !== undefined) {
        if (known.label.text !== label.text) known.element.textContent = label.text;
        known.label = label;
        continue;
      }
      const element = document.createElement("span");
      element.className = label.kind;
      element.textContent = label.text;
      this.root.append(element);
      this.shown.set(label.key, { label, element, transform: "" });
    }
  }

  /** Puts every label where its place is now. */
  place(window: Window): void {
    for (const entry of this.shown.values()) {
      const at = entry.label.at();
      const transform = at === null
        ? "translate(-999px, -999px)"
        : `translate(${half(window.x(at[0]) + entry.label.offsetPx[0])}px, ${half(window.y(at[1]) + entry.label.offsetPx[1])}px) translate(-50%, -50%)`;
      if (transform === entry.transform) continue;
      entry.transform = transform;
      entry.element.style.transform = transform;
    }
  }
}
