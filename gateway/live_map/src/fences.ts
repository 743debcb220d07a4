/** Fences: what the server says of them, and what the map draws for them. */
import type { Feature, LineString, MultiPolygon, Point, Polygon, Position } from "geojson";
import { type LonLat, circleRing } from "./geodesy";

/** A circle is a Point with `radius_m`, a corridor a LineString with `half_width_m`. */
export type FenceGeometry = Polygon | MultiPolygon | Point | LineString;

export interface Fence {
  readonly fenceId: string;
  readonly name: string;
  readonly version: number | null;
  /** As the server gave it: an edit sends back what it does not touch. */
  readonly feature: Feature<FenceGeometry>;
}

export function readFence(feature: Feature<FenceGeometry>): Fence {
  const properties = feature.properties ?? {};
  const fenceId = String(properties.fence_id ?? feature.id ?? "");
  const version = Number(properties.version);
  return { fenceId, name: String(properties.name || fenceId), version: Number.isInteger(version) ? version : null, feature };
}

export interface FenceDifference {
  readonly put: readonly Fence[];
  readonly removed: readonly string[];
}

/** What changed from one set of fences to the next; fences are compared as values that are replaced, never edited. */
export function fenceDifference(before: ReadonlyMap<string, Fence>, after: ReadonlyMap<string, Fence>): FenceDifference {
  return {
    put: [...after.values()].filter((fence) => before.get(fence.fenceId) !== fence),
    removed: [...before.keys()].filter((fenceId) => !after.has(fenceId)),
  };
}

export function fencesById(fences: readonly Fence[]): ReadonlyMap<string, Fence> {
  return new Map(fences.map((fence) => [fence.fenceId, fence]));
}

export function withFence(fences: ReadonlyMap<string, Fence>, fenceId: string, fence: Fence | null): ReadonlyMap<string, Fence> {
  const next = new Map(fences);
  if (fence === null) next.delete(fenceId);
  else next.set(fenceId, fence);
  return next;
}

/** Pixels of a 512-pixel world tile that a metre is, at zoom 0 and this latitude. */
const pixelsPerMetre = (latitudeDeg: number): number => 512 / (40_075_016.7 * Math.cos((latitudeDeg * Math.PI) / 180));

/** What MapLibre draws: areas as polygons, corridors as lines whose width grows with the zoom. */
export function drawnFence(fence: Fence): Feature<Polygon | MultiPolygon | LineString> {
  const { geometry } = fence.feature;
  const properties: Record<string, unknown> = { fence_id: fence.fenceId, name: fence.name };
  if (geometry.type === "Point") {
    const radiusM = Number(fence.feature.properties?.radius_m);
    return { type: "Feature", properties, geometry: { type: "Polygon", coordinates: [circleRing(geometry.coordinates as [number, number], radiusM)] } };
  }
  if (geometry.type === "LineString") {
    const [, latitude] = geometry.coordinates[0] as Position;
    properties.width_px = 2 * Number(fence.feature.properties?.half_width_m) * pixelsPerMetre(latitude as number);
  }
  return { type: "Feature", properties, geometry };
}

function outerRing(geometry: Polygon | MultiPolygon): Position[] {
  if (geometry.type === "Polygon") return geometry.coordinates[0] ?? [];
  // The part with most corners is the one that is seen.
  return geometry.coordinates.reduce<Position[]>((best, [ring]) => (ring !== undefined && ring.length > best.length ? ring : best), []);
}

/** Where the name stands: the centroid of the outer ring (the shoelace formula), or its first corner when it has no area. */
export function ringCentroid(ring: readonly Position[]): LonLat {
  const [x0, y0] = ring[0] as [number, number];
  let area = 0;
  let x = 0;
  let y = 0;
  for (let i = 0; i + 1 < ring.length; i++) {
    const [ax, ay] = ring[i] as [number, number];
    const [bx, by] = ring[i + 1] as [number, number];
    // Relative to the first corner: the products of far coordinates would cancel badly.
    const cross = (ax - x0) * (by - y0) - (bx - x0) * (ay - y0);
    area += cross;
    x += (ax + bx - 2 * x0) * cross;
    y += (ay + by - 2 * y0) * cross;
  }
  return area === 0 ? [x0, y0] : [x0 + x / (3 * area), y0 + y / (3 * area)];
}

export interface Extent {
  readonly anchor: LonLat;
  /** Areas carry their name over the upper edge, corridors on the line. */
  readonly labelled: "edge" | "middle";
  readonly west: number;
  readonly south: number;
  readonly east: number;
  readonly north: number;
}

export function fenceExtent(fence: Fence): Extent {
  const { geometry } = drawnFence(fence);
  const ring = geometry.type === "LineString" ? geometry.coordinates : outerRing(geometry);
  const anchor = geometry.type === "LineString"
    ? (geometry.coordinates[Math.floor(geometry.coordinates.length / 2)] as [number, number])
    : ringCentroid(ring);
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [longitude, latitude] of ring as [number, number][]) {
    west = Math.min(west, longitude);
    east = Math.max(east, longitude);
    south = Math.min(south, latitude);
    north = Math.max(north, latitude);
  }
  return { anchor, labelled: geometry.type === "LineString" ? "middle" : "edge", west, south, east, north };
}
