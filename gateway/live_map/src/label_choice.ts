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
  /** A label that is on the map already. */
  readonly onBoard: (key: string) => Label | null;
}

/** A label for each place that it may take. */
interface Wish {
  readonly labels: readonly Label[];
  readonly x: number;
  readonly y: number;
  readonly widthPx: number;
  readonly heightPx: number;
}

interface Seen {
  readonly row: number;
  readonly x: number;
  readonly y: number;
}

const MOST_LABELS = 250;
/** Of a crowd only so many are tried: the others' names would not fit, and each try costs. */
const MOST_TRIED = 1000;
const VEHICLES_FROM_ZOOM = 9;
/** A few vehicles are named at any zoom. */
const FEW_VEHICLES = 40;
const COUNTRIES_BELOW_ZOOM = 8;

export function chooseLabels(things: Nameable, window: Window, zoom: number): Label[] {
  const seen = visibleVehicles(things, window);
  const selected = things.selected === null ? undefined : things.fleet.row(things.selected);
  const first = seen.filter(({ row }) => row === selected);
  const wishes = [
    ...first.map((one) => vehicle(things, one, zoom)),
    ...fences(things, window),
    ...vehicles(things, seen, selected, zoom),
    ...(zoom < COUNTRIES_BELOW_ZOOM ? countries(things, window, zoom) : []),
  ];
  const candidates = wishes.map(({ labels, x, y, widthPx, heightPx }, i) => ({
    boxes: labels.map(({ offsetPx: [right, down] }) => ({ x: x + right, y: y + down, widthPx, heightPx })),
    coversSymbols: i < first.length || labels[0]?.kind !== "vehicle",
  }));
  return placeLabels(candidates, seen, MOST_LABELS).map(({ candidate, box }) => (wishes[candidate] as Wish).labels[box] as Label);
}

function wish(labels: readonly Label[], x: number, y: number, sizePx: number): Wish {
  return { labels, x, y, widthPx: textWidthPx(labels[0]?.text ?? "", sizePx) + 8, heightPx: sizePx + 4 };
}

function visibleVehicles({ fleet }: Nameable, window: Window): Seen[] {
  const seen: Seen[] = [];
  for (let row = 0; row < fleet.length; row++) {
    const [x, y] = [window.x(fleet.shownPosition[2 * row]), window.y(fleet.shownPosition[2 * row + 1])];
    if (window.visible(x, y)) seen.push({ row, x, y });
  }
  return seen;
}

/** Below, right, above or left of its symbol; where it stands already, if that is still free. */
function vehicle({ fleet, nameOf, shownPlace, onBoard }: Nameable, { row, x, y }: Seen, zoom: number): Wish {
  const number = fleet.deviceNumber[row];
  const key = `vehicle ${number}`;
  const text = nameOf(number);
  const away = symbolPx(zoom) / 2 + 9;
  const aside = symbolPx(zoom) / 2 + 4 + textWidthPx(text, 12) / 2;
  const offsets = ([[0, away], [aside, 0], [0, -away], [-aside, 0]] as [number, number][]);
  const now = onBoard(key)?.offsetPx;
  const at = (): LonLat | null => shownPlace(number);
  const labels = offsets.map((offsetPx): Label => ({ key, kind: "vehicle", text, at, offsetPx }));
  if (now !== undefined) labels.sort((a, b) => Number(sameSide(b.offsetPx, now)) - Number(sameSide(a.offsetPx, now)));
  return wish(labels, x, y, 12);
}

/** The zoom changes how far, not where. */
const sameSide = (a: Label["offsetPx"], b: Label["offsetPx"]): boolean => Math.sign(a[0]) === Math.sign(b[0]) && Math.sign(a[1]) === Math.sign(b[1]);

function vehicles(things: Nameable, seen: readonly Seen[], selected: number | undefined, zoom: number): Wish[] {
  if (zoom < VEHICLES_FROM_ZOOM && seen.length > FEW_VEHICLES) return [];
  // Named before, named again: names do not take turns.
  const ordered = seen
    .filter(({ row }) => row !== selected)
    .map((one) => ({ one, number: things.fleet.deviceNumber[one.row], shown: things.onBoard(`vehicle ${things.fleet.deviceNumber[one.row]}`) !== null }));
  ordered.sort((a, b) => Number(b.shown) - Number(a.shown) || a.number - b.number);
  return ordered.slice(0, MOST_TRIED).map(({ one }) => vehicle(things, one, zoom));
}

function fences({ fences: all, extents }: Nameable, window: Window): Wish[] {
  const found: Wish[] = [];
  for (const fence of all.values()) {
    const extent = extents.get(fence.fenceId);
    if (extent === undefined || Math.abs(window.x(extent.east) - window.x(extent.west)) < 22) continue;
    // Over the upper edge, out of the way of what is inside; in the middle when the upper edge is out of sight.
    const x = window.x(extent.anchor[0]);
    const overEdge = extent.labelled === "edge" && window.visible(x, window.y(extent.north), -24);
    const at: LonLat = overEdge ? [extent.anchor[0], extent.north] : extent.anchor;
    const y = window.y(at[1]);
    const label: Label = { key: `fence ${fence.fenceId}`, kind: "fence", text: fence.name, at: () => at, offsetPx: [0, overEdge ? -10 : 0] };
    if (window.visible(x, y)) found.push(wish([label], x, y, 12));
  }
  return found;
}

function countries({ places }: Nameable, window: Window, zoom: number): Wish[] {
  const pxPerDeg = (512 * 2 ** zoom) / 360;
  return places.flatMap((country) => {
    const [x, y] = [window.x(country.at[0]), window.y(country.at[1])];
    if (!window.visible(x, y) || textWidthPx(country.name, 13) > country.widthDeg * pxPerDeg * 1.1) return [];
    return [wish([{ key: `country ${country.name}`, kind: "country", text: country.name, at: () => country.at, offsetPx: [0, 0] }], x, y, 14)];
  });
}
