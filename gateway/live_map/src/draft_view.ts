/** What the map draws of a draft, and which of its handles lies under the pointer. */
import type { Feature, FeatureCollection, Geometry } from "geojson";
import type { Draft, Handle } from "./draw";
import { type LonLat, circleRing, destination, distanceM } from "./geodesy";

export interface HandlePoint {
  readonly handle: Handle;
  readonly at: LonLat;
}

export function handlePoints(draft: Draft): HandlePoint[] {
  if (draft.mode !== "shape") return [];
  const { shape } = draft;
  if (shape.kind === "circle") {
    return [
      { handle: { kind: "centre" }, at: shape.centre },
      { handle: { kind: "rim" }, at: destination(shape.centre, 90, shape.radiusM) },
    ];
  }
  return shape.vertices.flatMap((vertex, index): HandlePoint[] => {
    const next = shape.vertices[(index + 1) % shape.vertices.length] as LonLat;
    return [
      { handle: { kind: "vertex", index }, at: vertex },
      { handle: { kind: "middle", index }, at: [(vertex[0] + next[0]) / 2, (vertex[1] + next[1]) / 2] },
    ];
  });
}

export function draftFeatures(draft: Draft): FeatureCollection {
  const features: Feature[] = [];
  const add = (geometry: Geometry, properties: Record<string, unknown> = {}): void => {
    features.push({ type: "Feature", properties, geometry });
  };
  const ring = (points: readonly LonLat[]): number[][] => [...points, points[0] as LonLat].map((point) => [...point]);
  const point = (at: LonLat, handle: string): void => add({ type: "Point", coordinates: [...at] }, { handle });
  const circle = (centre: LonLat, radiusM: number): void => {
    if (radiusM < 1) return;
    const coordinates = circleRing(centre, radiusM);
    add({ type: "Polygon", coordinates: [coordinates] });
    add({ type: "LineString", coordinates });
  };

  if (draft.mode === "polygon") {
    const points = draft.cursor === null ? draft.vertices : [...draft.vertices, draft.cursor];
    if (points.length >= 3) add({ type: "Polygon", coordinates: [ring(points)] });
    if (points.length >= 2) add({ type: "LineString", coordinates: points.map((at) => [...at]) });
    for (const vertex of draft.vertices) point(vertex, "vertex");
  } else if (draft.mode === "circle" && draft.centre !== null) {
    point(draft.centre, "centre");
    if (draft.cursor !== null) circle(draft.centre, distanceM(draft.centre, draft.cursor));
  } else if (draft.mode === "shape") {
    if (draft.shape.kind === "circle") circle(draft.shape.centre, draft.shape.radiusM);
    else {
      add({ type: "Polygon", coordinates: [ring(draft.shape.vertices)] });
      add({ type: "LineString", coordinates: ring(draft.shape.vertices) });
    }
    for (const { handle, at } of handlePoints(draft)) point(at, handle.kind);
  }
  return { type: "FeatureCollection", features };
}
