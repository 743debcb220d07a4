import type { Feature } from "geojson";
import { expect, test } from "vitest";
import { type Draft, type DrawInput, IDLE, editableShape, fenceIdFor, heldHandle, toFeature, update } from "../src/draw";
import { type FenceGeometry, readFence } from "../src/fences";
import { distanceM } from "../src/geodesy";

const run = (...inputs: DrawInput[]): Draft => inputs.reduce(update, IDLE);
const click = (longitude: number, latitude: number, closes = false): DrawInput => ({ type: "click", at: [longitude, latitude], closes });
const polygon: DrawInput = { type: "start", tool: "polygon" };
const circle: DrawInput = { type: "start", tool: "circle" };
const triangle = [[0, 0], [2, 0], [2, 2]];

test("a polygon is closed by its first corner, by Enter, but not before three corners", () => {
  const drawn = { mode: "shape", shape: { kind: "polygon", vertices: triangle }, edits: null };
  expect(run(polygon, click(0, 0), click(2, 0), click(2, 2), click(0, 0, true))).toEqual(drawn);
  expect(run(polygon, click(0, 0), click(2, 0), click(2, 2), { type: "finish" })).toEqual(drawn);
  expect(run(polygon, click(0, 0), click(2, 0), { type: "finish" }).mode).toBe("polygon");
  expect(run(polygon, click(0, 0), click(2, 0), click(0, 0, true))).toMatchObject({ mode: "polygon", vertices: [[0, 0], [2, 0]] });
});

test("undo takes a corner back, cancel all", () => {
  expect(run(polygon, click(0, 0), click(2, 0), { type: "undo" })).toMatchObject({ vertices: [[0, 0]] });
  expect(run(polygon, { type: "undo" })).toMatchObject({ vertices: [] });
  expect(run(polygon, click(0, 0), { type: "cancel" })).toEqual(IDLE);
});

test("a circle is centre and rim; two clicks on one spot are none", () => {
  const drawn = run(circle, click(4, 50), click(4, 50.01));
  if (drawn.mode !== "shape" || drawn.shape.kind !== "circle") throw new Error(drawn.mode);
  expect(drawn.shape.centre).toEqual([4, 50]);
  expect(drawn.shape.radiusM).toBeCloseTo(distanceM([4, 50], [4, 50.01]), 6);
  expect(run(circle, click(4, 50), click(4, 50)).mode).toBe("circle");
  expect(update(drawn, { type: "radius", radiusM: 500 })).toMatchObject({ shape: { radiusM: 500 } });
  expect(update(drawn, { type: "radius", radiusM: Number.NaN })).toBe(drawn);
  expect(update(drawn, { type: "radius", radiusM: -1 })).toBe(drawn);
});

test("handles: corners move, middles become corners, corners go down to three", () => {
  const drawn = run(polygon, click(0, 0), click(2, 0), click(2, 2), { type: "finish" });
  expect(update(drawn, { type: "drag", handle: { kind: "vertex", index: 1 }, at: [3, 0] })).toMatchObject({ shape: { vertices: [[0, 0], [3, 0], [2, 2]] } });
  const four = update(drawn, { type: "drag", handle: { kind: "middle", index: 2 }, at: [0, 1] });
  expect(four).toMatchObject({ shape: { vertices: [[0, 0], [2, 0], [2, 2], [0, 1]] } });
  expect(heldHandle({ kind: "middle", index: 2 })).toEqual({ kind: "vertex", index: 3 });
  expect(update(four, { type: "remove_vertex", index: 3 })).toMatchObject({ shape: { vertices: triangle } });
  expect(update(drawn, { type: "remove_vertex", index: 0 })).toBe(drawn);
});

test("an idle page draws nothing", () => {
  for (const input of [click(0, 0), { type: "move", at: [1, 1] }, { type: "finish" }, { type: "undo" }] as DrawInput[]) expect(update(IDLE, input)).toBe(IDLE);
});

const stored: Feature<FenceGeometry> = {
  type: "Feature", id: "yard", geometry: { type: "Polygon", coordinates: [[[0, 0], [2, 0], [2, 2], [0, 0]]] },
  properties: { name: "Yard", version: 3, exit_fixes: 4, labels: { kind: "depot" } },
};

test("an edit sends back what it does not touch", () => {
  const fence = readFence(stored);
  const draft = run({ type: "edit", fence });
  if (draft.mode !== "shape") throw new Error(draft.mode);
  const feature = toFeature(draft.shape, "Yard 2", fence.fenceId, fence);
  expect(feature).toEqual({ ...stored, properties: { ...stored.properties, name: "Yard 2" } });
});

test("what has holes or parts keeps its shape", () => {
  const ring = [[0, 0], [2, 0], [2, 2], [0, 0]];
  const withHole = readFence({ ...stored, geometry: { type: "Polygon", coordinates: [ring, ring] } });
  expect(editableShape(withHole)).toBeNull();
  expect(run({ type: "edit", fence: withHole })).toBe(IDLE);
  expect(editableShape(readFence({ ...stored, geometry: { type: "MultiPolygon", coordinates: [[ring], [ring]] } }))).toBeNull();
  expect(editableShape(readFence({ ...stored, geometry: { type: "MultiPolygon", coordinates: [[ring]] } }))).not.toBeNull();
});

test("a circle becomes a point with a radius", () => {
  expect(toFeature({ kind: "circle", centre: [4, 50], radiusM: 123.456 }, "Pier", "pier-1", null)).toEqual({
    type: "Feature", id: "pier-1", geometry: { type: "Point", coordinates: [4, 50] }, properties: { name: "Pier", radius_m: 123.46 },
  });
});

test("fence ids keep to the letters that are allowed", () => {
  for (const name of ["Hafen Süd / Tor 7", "港", "-", "a".repeat(300)]) expect(fenceIdFor(name, 0.5)).toMatch(/^[A-Za-z0-9_.:-]{1,128}$/);
  expect(fenceIdFor("Depot", 0)).toBe("depot-0000");
});
