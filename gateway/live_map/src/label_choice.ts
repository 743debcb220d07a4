/** Which names the map shows: the selected vehicle's, then fences, vehicles, countries, as far as they fit. */
import type { Place } from "./atlas_worker";
import type { Extent, Fence } from "./fences";
import type { Fleet } from "./fleet";
import type { LonLat } from "./geodesy";
import type { Label } from "./label_board";
import { placeLabels, textWidthPx } from "./labels";
import type { Window } from "./mercator";
import { symbolPx } from "./moving_layers";

export interface Nameable {
  readonly fleet: Fleet;
  readonly nameOf: (deviceNumber: number) => string;
  readonly shownPlace: (deviceNumber: number) => LonLat | null;
  readonly selected: number | null;
  readonly fences: ReadonlyMap<string, Fence>;
  readonly extents: ReadonlyMap<string, Extent>;
  readonly places: readonly Place[];
  /** Whether a label is on the map already. */
  readonly isShown: (key: string) => boolean;
}

interface Candidate {
  readonly x: number;
  readonly y: number;
  readonly widthPx: number;
  readonly heightPx: number;
  readonly label: Label;
}

const MOST_LABELS = 250;
const VEHICLES_FROM_ZOOM = 9;
/** A few vehicles are named at any zoom. */
const FEW_VEHICLES = 40;
const COUNTRIES_BELOW_ZOOM = 8;

export function chooseLabels(things: Nameable, window: Window, zoom: number): Label[] {
  const selected = things.selected === null ? undefined : things.fleet.row(things.selected);
  const candidates = [
    ...(selected === undefined ? [] : [vehicle(things, selected, window, zoom)]),
    ...fences(things, window),
    ...vehicles(things, selected, window, zoom),
    ...(zoom < COUNTRIES_BELOW_ZOOM ? countries(things, window, zoom) : []),
  ];
  return placeLabels(candidates, MOST_LABELS).map((i) => (candidates[i] as Candidate).label);
}

function candidate(label: Label, x: number, y: number, sizePx: number): Candidate {
  return { x, y: y + label.offsetPx, widthPx: textWidthPx(label.text, sizePx) + 10, heightPx: sizePx + 6, label };
}

function vehicle({ fleet, nameOf, shownPlace }: Nameable, row: number, window: Window, zoom: number): Candidate {
  const number = fleet.deviceNumber[row];
  const label: Label = { key: `vehicle ${number}`, kind: "vehicle", text: nameOf(number), at: () => shownPlace(number), offsetPx: symbolPx(zoom) / 2 + 9 };
  return candidate(label, window.x(fleet.shownPosition[2 * row]), window.y(fleet.shownPosition[2 * row + 1]), 12);
}

function vehicles(things: Nameable, selected: number | undefined, window: Window, zoom: number): Candidate[] {
  const { fleet } = things;
  const visible: number[] = [];
  for (let row = 0; row < fleet.length; row++) {
    if (row !== selected && window.visible(window.x(fleet.shownPosition[2 * row]), window.y(fleet.shownPosition[2 * row + 1]))) visible.push(row);
  }
  if (zoom < VEHICLES_FROM_ZOOM && visible.length > FEW_VEHICLES) return [];
  // Named before, named again: names do not take turns.
  const ordered = visible.map((row) => ({ row, number: fleet.deviceNumber[row], shown: things.isShown(`vehicle ${fleet.deviceNumber[row]}`) }));
  ordered.sort((a, b) => Number(b.shown) - Number(a.shown) || a.number - b.number);
  return ordered.map(({ row }) => vehicle(things, row, window, zoom));
}

function fences({ fences: all, extents }: Nameable, window: Window): Candidate[] {
  const found: Candidate[] = [];
  for (const fence of all.values()) {
    const extent = extents.get(fence.fenceId);
    if (extent === undefined || Math.abs(window.x(extent.east) - window.x(extent.west)) < 22) continue;
    // Over the upper edge, out of the way of what is inside; in the middle when the upper edge is out of sight.
    const x = window.x(extent.anchor[0]);
    const overEdge = extent.labelled === "edge" && window.visible(x, window.y(extent.north), -24);
    const at: LonLat = overEdge ? [extent.anchor[0], extent.north] : extent.anchor;
    const y = window.y(at[1]);
    if (window.visible(x, y)) found.push(candidate({ key: `fence ${fence.fenceId}`, kind: "fence", text: fence.name, at: () => at, offsetPx: overEdge ? -10 : 0 }, x, y, 12));
  }
  return found;
}

function countries({ places }: Nameable, window: Window, zoom: number): Candidate[] {
  const pxPerDeg = (512 * 2 ** zoom) / 360;
  return places.flatMap((country) => {
    const [x, y] = [window.x(country.at[0]), window.y(country.at[1])];
    if (!window.visible(x, y) || textWidthPx(country.name, 13) > country.widthDeg * pxPerDeg * 1.1) return [];
    return [candidate({ key: `country ${country.name}`, kind: "country", text: country.name, at: () => country.at, offsetPx: 0 }, x, y, 14)];
  });
}
