/** Lines of equal longitude and latitude, as fine as the view asks for; with no streets below, they are the ruler. */
import type { Feature, MultiLineString } from "geojson";
import type { Bounds } from "./subscription";

const STEPS_DEG = [30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const WANTED_PX = 150;

export interface GraticuleLine {
  readonly axis: "longitude" | "latitude";
  readonly deg: number;
}

/** The step whose lines are nearest to 150 pixels apart. */
export function graticuleStep(degreesPerPixel: number): number {
  const wanted = WANTED_PX * degreesPerPixel;
  return STEPS_DEG.reduce((best, step) => (Math.abs(Math.log(step / wanted)) < Math.abs(Math.log(best / wanted)) ? step : best));
}

/** The lines within `bounds`, counted in whole steps so that they stand still while the map moves. */
export function graticuleLines([west, south, east, north]: Bounds, step: number): GraticuleLine[] {
  const lines: GraticuleLine[] = [];
  for (let k = Math.ceil(west / step); k * step <= east; k++) lines.push({ axis: "longitude", deg: k * step });
  for (let k = Math.ceil(south / step); k * step <= north; k++) lines.push({ axis: "latitude", deg: k * step });
  return lines;
}

export function graticuleFeature(lines: readonly GraticuleLine[], [west, south, east, north]: Bounds): Feature<MultiLineString> {
  const coordinates = lines.map(({ axis, deg }) => {
    if (axis === "longitude") return [[deg, Math.max(south, -85)], [deg, Math.min(north, 85)]];
    // Points between, or a line across the whole world would be taken for the short way round.
    return Array.from({ length: 5 }, (_, i) => [west + ((east - west) * i) / 4, deg]);
  });
  return { type: "Feature", properties: {}, geometry: { type: "MultiLineString", coordinates } };
}

export function graticuleText({ axis, deg }: GraticuleLine, step: number): string {
  const wrapped = axis === "longitude" ? ((deg + 540) % 360 + 360) % 360 - 180 : deg;
  const digits = step >= 1 ? 0 : Math.ceil(-Math.log10(step) - 1e-9);
  const side = axis === "longitude" ? (wrapped < 0 ? "W" : "E") : wrapped < 0 ? "S" : "N";
  return `${Math.abs(wrapped).toFixed(digits)}°${Math.abs(wrapped) < 1e-9 ? "" : side}`;
}
