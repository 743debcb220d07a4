/**
 * Drawing a fence, as a state machine: `update(draft, input)` gives the next draft and changes nothing else. The map
 * turns pointers into inputs, the draw panel shows the draft.
 */
import type { Feature } from "geojson";
import type { Fence, FenceGeometry } from "./fences";
import { type LonLat, distanceM } from "./geodesy";

export type Shape =
  /** Corners without the closing one. */
  | { readonly kind: "polygon"; readonly vertices: readonly LonLat[] }
  | { readonly kind: "circle"; readonly centre: LonLat; readonly radiusM: number };

export type Draft =
  | { readonly mode: "idle" }
  | { readonly mode: "polygon"; readonly vertices: readonly LonLat[]; readonly cursor: LonLat | null }
  | { readonly mode: "circle"; readonly centre: LonLat | null; readonly cursor: LonLat | null }
  /** Drawn; its handles can be moved, its name is asked for. `edits` is the fence that it replaces. */
  | { readonly mode: "shape"; readonly shape: Shape; readonly edits: Fence | null };

export const IDLE: Draft = { mode: "idle" };

export type DrawInput =
  | { readonly type: "start"; readonly tool: "polygon" | "circle" }
  | { readonly type: "edit"; readonly fence: Fence }
  /** `closes`: the click fell on the first corner. */
  | { readonly type: "click"; readonly at: LonLat; readonly closes: boolean }
  | { readonly type: "move"; readonly at: LonLat }
  | { readonly type: "undo" }
  | { readonly type: "finish" }
  | { readonly type: "cancel" }
  | { readonly type: "drag"; readonly handle: Handle; readonly at: LonLat }
  | { readonly type: "remove_vertex"; readonly index: number }
  | { readonly type: "radius"; readonly radiusM: number };

/** What can be taken hold of: a corner, the middle of an edge (which becomes a corner), a circle's centre or rim. */
export type Handle =
  | { readonly kind: "vertex"; readonly index: number }
  | { readonly kind: "middle"; readonly index: number }
  | { readonly kind: "centre" }
  | { readonly kind: "rim" };

const finished = (vertices: readonly LonLat[]): Draft => ({ mode: "shape", shape: { kind: "polygon", vertices }, edits: null });

export function update(draft: Draft, input: DrawInput): Draft {
  switch (input.type) {
    case "start":
      return input.tool === "polygon" ? { mode: "polygon", vertices: [], cursor: null } : { mode: "circle", centre: null, cursor: null };
    case "edit": {
      const shape = editableShape(input.fence);
      return shape === null ? draft : { mode: "shape", shape, edits: input.fence };
    }
    case "cancel":
      return IDLE;
    case "click":
      if (draft.mode === "polygon") {
        if (input.closes) return draft.vertices.length >= 3 ? finished(draft.vertices) : draft;
        return { ...draft, vertices: [...draft.vertices, input.at], cursor: input.at };
      }
      if (draft.mode === "circle") {
        if (draft.centre === null) return { ...draft, centre: input.at, cursor: input.at };
        const radiusM = distanceM(draft.centre, input.at);
        return radiusM < 1 ? draft : { mode: "shape", shape: { kind: "circle", centre: draft.centre, radiusM }, edits: null };
      }
      return draft;
    case "move":
      return draft.mode === "polygon" || draft.mode === "circle" ? { ...draft, cursor: input.at } : draft;
    case "undo":
      if (draft.mode === "polygon" && draft.vertices.length > 0) return { ...draft, vertices: draft.vertices.slice(0, -1) };
      if (draft.mode === "circle") return { ...draft, centre: null };
      return draft;
    case "finish":
      return draft.mode === "polygon" && draft.vertices.length >= 3 ? finished(draft.vertices) : draft;
    case "drag":
      return draft.mode === "shape" ? { ...draft, shape: dragged(draft.shape, input.handle, input.at) } : draft;
    case "remove_vertex":
      if (draft.mode !== "shape" || draft.shape.kind !== "polygon" || draft.shape.vertices.length <= 3) return draft;
      return { ...draft, shape: { kind: "polygon", vertices: draft.shape.vertices.filter((_, index) => index !== input.index) } };
    case "radius":
      if (draft.mode !== "shape" || draft.shape.kind !== "circle" || !(input.radiusM > 0)) return draft;
      return { ...draft, shape: { ...draft.shape, radiusM: input.radiusM } };
  }
}

function dragged(shape: Shape, handle: Handle, at: LonLat): Shape {
  if (shape.kind === "circle") {
    if (handle.kind === "centre") return { ...shape, centre: at };
    return handle.kind === "rim" ? { ...shape, radiusM: Math.max(1, distanceM(shape.centre, at)) } : shape;
  }
  if (handle.kind === "vertex") return { kind: "polygon", vertices: shape.vertices.map((vertex, index) => (index === handle.index ? at : vertex)) };
  if (handle.kind === "middle") return { kind: "polygon", vertices: shape.vertices.toSpliced(handle.index + 1, 0, at) };
  return shape;
}

/** The handle that a drag goes on with: a middle that was pulled out is a corner now. */
export function heldHandle(handle: Handle): Handle {
  return handle.kind === "middle" ? { kind: "vertex", index: handle.index + 1 } : handle;
}

/** Circles and polygons of one ring can be edited here; anything richer keeps its shape, and can be renamed or deleted. */
export function editableShape(fence: Fence): Shape | null {
  const { geometry, properties } = fence.feature;
  if (geometry.type === "Point") {
    return { kind: "circle", centre: geometry.coordinates as [number, number], radiusM: Number(properties?.radius_m) };
  }
  const polygons = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.type === "MultiPolygon" ? geometry.coordinates : [];
  const [ring, ...holes] = polygons[0] ?? [];
  if (polygons.length !== 1 || ring === undefined || holes.length > 0) return null;
  const closed = ring.length > 1 && String(ring[0]) === String(ring[ring.length - 1]);
  return { kind: "polygon", vertices: (closed ? ring.slice(0, -1) : ring).map(([longitude, latitude]) => [longitude as number, latitude as number]) };
}

/** The Feature to save. An edit keeps what it does not touch: crossing rule, labels. */
export function toFeature(shape: Shape, name: string, fenceId: string, edits: Fence | null): Feature<FenceGeometry> {
  const { radius_m: _, ...kept } = edits?.feature.properties ?? {};
  const properties = { ...kept, name };
  if (shape.kind === "circle") {
    return {
      type: "Feature", id: fenceId, geometry: { type: "Point", coordinates: [...shape.centre] },
      properties: { ...properties, radius_m: Math.round(shape.radiusM * 100) / 100 },
    };
  }
  const ring = [...shape.vertices, shape.vertices[0] as LonLat].map(([longitude, latitude]) => [longitude, latitude]);
  return { type: "Feature", id: fenceId, geometry: { type: "Polygon", coordinates: [ring] }, properties };
}

/** A fence id made of a name, and of a few random letters so that two "Depot"s do not meet. */
export function fenceIdFor(name: string, random: number): string {
  const slug = name.normalize("NFKD").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-+|-+$/g, "").toLowerCase().slice(0, 48);
  return `${slug || "fence"}-${Math.floor(random * 36 ** 4).toString(36).padStart(4, "0")}`;
}
