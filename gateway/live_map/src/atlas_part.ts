/** The part of the world's outlines that lies in a box. Pure; runs in the atlas worker. */
import type { MultiLineString, Position } from "geojson";
import type { Bounds } from "./subscription";

/** A line or ring with its own box, so that most are passed over at a glance. */
export interface Boxed {
  readonly points: readonly Position[];
  readonly bounds: Bounds;
}

export function boxed(points: readonly Position[]): Boxed {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [longitude, latitude] of points as readonly [number, number][]) {
    west = Math.min(west, longitude);
    east = Math.max(east, longitude);
    south = Math.min(south, latitude);
    north = Math.max(north, latitude);
  }
  return { points, bounds: [west, south, east, north] };
}

const apart = (a: Bounds, b: Bounds): boolean => a[2] < b[0] || a[0] > b[2] || a[3] < b[1] || a[1] > b[3];
const within = (a: Bounds, b: Bounds): boolean => a[0] >= b[0] && a[2] <= b[2] && a[1] >= b[1] && a[3] <= b[3];

/** A box that runs over the antimeridian, as the boxes within ±180 that it means. */
export function unwrapped([west, south, east, north]: Bounds): Bounds[] {
  if (east - west >= 360) return [[-180, south, 180, north]];
  const shift = 360 * Math.floor((west + 180) / 360);
  const [w, e] = [west - shift, east - shift];
  return e <= 180 ? [[w, south, e, north]] : [[w, south, 180, north], [-180, south, e - 360, north]];
}

/** A closed ring cut to a box (Sutherland and Hodgman 1974); empty when nothing is left. Its edges may run along the box. */
export function clippedRing(ring: Boxed, box: Bounds): Position[] {
  if (apart(ring.bounds, box)) return [];
  if (within(ring.bounds, box)) return [...ring.points];
  let points = ring.points.slice(0, -1);
  for (let side = 0; side < 4 && points.length > 0; side++) {
    const axis = side % 2;
    const limit = box[side] as number;
    const inside = (point: Position): boolean => (side < 2 ? (point[axis] as number) >= limit : (point[axis] as number) <= limit);
    const kept: Position[] = [];
    points.forEach((point, i) => {
      const before = points[(i + points.length - 1) % points.length] as Position;
      if (inside(point) !== inside(before)) {
        const share = (limit - (before[axis] as number)) / ((point[axis] as number) - (before[axis] as number));
        const other = (before[1 - axis] as number) + share * ((point[1 - axis] as number) - (before[1 - axis] as number));
        kept.push(axis === 0 ? [limit, other] : [other, limit]);
      }
      if (inside(point)) kept.push(point);
    });
    points = kept;
  }
  return points.length < 3 ? [] : [...points, points[0] as Position];
}

/** The stretches of lines that touch a box; they may stick out by one segment. */
export function linesIn(lines: readonly Boxed[], box: Bounds): Position[][] {
  const found: Position[][] = [];
  for (const line of lines) {
    if (apart(line.bounds, box)) continue;
    if (within(line.bounds, box)) {
      found.push([...line.points]);
      continue;
    }
    let stretch: Position[] = [];
    for (let i = 1; i < line.points.length; i++) {
      const [from, to] = [line.points[i - 1] as [number, number], line.points[i] as [number, number]];
      const segment: Bounds = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])];
      if (apart(segment, box)) {
        if (stretch.length > 0) found.push(stretch);
        stretch = [];
      } else {
        if (stretch.length === 0) stretch.push(from);
        stretch.push(to);
      }
    }
    if (stretch.length > 0) found.push(stretch);
  }
  return found;
}

/** Polygons are cut at 180°; the cut is no coast. */
export function withoutSeam(lines: MultiLineString): Position[][] {
  const onSeam = (point: Position): boolean => Math.abs(point[0] as number) > 179.99 || (point[1] as number) < -89.9;
  const coordinates: Position[][] = [];
  for (const line of lines.coordinates) {
    let part: Position[] = [];
    for (let i = 0; i < line.length; i++) {
      const point = line[i] as Position;
      const before = line[i - 1];
      if (before !== undefined && onSeam(before) && onSeam(point)) {
        if (part.length > 1) coordinates.push(part);
        part = [];
      }
      part.push(point);
    }
    if (part.length > 1) coordinates.push(part);
  }
  return coordinates;
}
