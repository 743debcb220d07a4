import { expect, test } from "vitest";
import { ageText, exactAgeText } from "../src/age";
import { boxed, clippedRing, linesIn, unwrapped, withoutSeam } from "../src/atlas_part";
import { ServerClock } from "../src/clock";
import { drawnFence, fenceDifference, fencesById, readFence, ringCentroid, withFence } from "../src/fences";
import { circleRing, compassPoint, destination, distanceM } from "../src/geodesy";
import { graticuleLines, graticuleStep, graticuleText } from "../src/graticule";
import { placeLabels } from "../src/labels";
import { Window, nearestRow } from "../src/mercator";
import { glideMs, turn } from "../src/motion";
import { readToken } from "../src/session";
import { extended, trailPieces } from "../src/trail";
import { matches } from "../src/vehicle_list";

test("destination and distance agree", () => {
  for (const [bearing, metres] of [[0, 1000], [90, 25_000], [213, 500], [359, 2_000_000]] as const) {
    expect(distanceM([4.5, 51.9], destination([4.5, 51.9], bearing, metres))).toBeCloseTo(metres, 2);
  }
  const ring = circleRing([179.99, -16], 5000);
  expect(ring[0]).toEqual(ring[ring.length - 1]);
  for (const point of ring) expect(distanceM([179.99, -16], point)).toBeCloseTo(5000, 2);
  expect([0, 22.4, 350, 359.9, 180].map(compassPoint)).toEqual(["N", "NNE", "N", "N", "S"]);
});

test("turns the short way round, and knows unknown", () => {
  expect(turn(350, 10, 0.5)).toBeCloseTo(0, 9);
  expect(turn(10, 350, 0.25)).toBeCloseTo(5, 9);
  expect(turn(Number.NaN, 90, 0.5)).toBe(90);
  expect(turn(90, Number.NaN, 0.5)).toBe(90);
});

test("glides are short, and none over a long gap or back in time", () => {
  expect([1e6, 10e6, 1, 61e6, 0, -5].map((gap) => glideMs(0, gap))).toEqual([1000, 1500, 150, 0, 0, 0]);
});

test("a window puts its centre in the middle and wraps around the world", () => {
  const window = new Window(179.5, 10, 5, 1000, 600);
  expect(window.x(179.5)).toBeCloseTo(500, 6);
  expect(window.y(10)).toBeCloseTo(300, 6);
  expect(window.x(-179.5) - window.x(179.5)).toBeCloseTo((512 * 32) / 360, 6);
  expect(nearestRow(Float64Array.of(179.5, 10, -179.5, 10), 2, window, 545, 300, 14)).toBe(1);
  expect(nearestRow(Float64Array.of(179.5, 10), 1, window, 520, 300, 14)).toBeNull();
});

test("names cover neither each other nor vehicles, and the first has priority", () => {
  const box = (x: number, y: number) => ({ x, y, widthPx: 60, heightPx: 16 });
  const only = (x: number, y: number, coversSymbols = false) => ({ boxes: [box(x, y)], coversSymbols });
  const shown = (...given: Parameters<typeof placeLabels>) => placeLabels(...given).map(({ candidate, box: which }) => [candidate, which]);
  expect(shown([only(100, 100), only(130, 105), only(161, 100), only(100, 117)], [], 10)).toEqual([[0, 0], [2, 0], [3, 0]]);
  expect(shown([only(0, 0), only(500, 0), only(900, 0)], [], 2)).toEqual([[0, 0], [1, 0]]);
  expect(shown([only(47, 47), only(49, 49)], [], 9)).toEqual([[0, 0]]); // neighbours across a cell's edge
  expect(shown([only(100, 100), only(300, 100, true)], [{ x: 120, y: 104 }, { x: 300, y: 100 }], 9)).toEqual([[1, 0]]);
  expect(shown([only(100, 100), { boxes: [box(110, 100), box(100, 140)], coversSymbols: false }], [], 9)).toEqual([[0, 0], [1, 1]]);
});

test("graticule", () => {
  const step = graticuleStep(1 / 300);
  expect(step).toBe(0.5);
  expect(graticuleLines([3.9, 51.2, 5.1, 51.8], step).map((line) => graticuleText(line, step))).toEqual(["4.0°E", "4.5°E", "5.0°E", "51.5°N"]);
  expect(graticuleText({ axis: "longitude", deg: 181 }, 1)).toBe("179°W");
  expect(graticuleText({ axis: "latitude", deg: 0 }, 1)).toBe("0°");
});

test("the cut of the world at 180° is no coast", () => {
  const lines = withoutSeam({ type: "MultiLineString", coordinates: [[[179, 1], [180, 2], [180, 3], [179, 4]]] });
  expect(lines).toEqual([[[179, 1], [180, 2]], [[180, 3], [179, 4]]]);
});

test("outlines are cut to the box that is looked at", () => {
  const square = boxed([[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]);
  const area = (ring: readonly number[][]): number => Math.abs(ring.slice(1).reduce((sum, [x, y], i) => sum + ((ring[i] as number[])[0] as number) * (y as number) - (x as number) * ((ring[i] as number[])[1] as number), 0)) / 2;
  expect(clippedRing(square, [-1, -1, 11, 11])).toEqual(square.points);
  expect(area(clippedRing(square, [5, 5, 20, 20]))).toBe(25);
  expect(area(clippedRing(square, [2, -5, 4, 20]))).toBe(20);
  expect(area(clippedRing(square, [2, 2, 4, 4]))).toBe(4); // the box lies inside
  expect(clippedRing(square, [11, 11, 12, 12])).toEqual([]);
  // Round a corner without touching: the boxes overlap, the shapes do not.
  expect(clippedRing(boxed([[0, 0], [10, 0], [0, 10], [0, 0]]), [8, 8, 9, 9])).toEqual([]);
  const line = boxed([[0, 0], [1, 0], [2, 0], [3, 0], [4, 0], [4, 4], [1.5, 4], [1.5, 0.1]]);
  expect(linesIn([line], [1.4, -1, 1.6, 1])).toEqual([[[1, 0], [2, 0]], [[1.5, 4], [1.5, 0.1]]]);
  expect(linesIn([line], [7, 7, 8, 8])).toEqual([]);
  expect(unwrapped([170, 0, 190, 1])).toEqual([[170, 0, 180, 1], [-180, 0, -170, 1]]);
  expect(unwrapped([-190, 0, -170, 1])).toEqual([[170, 0, 180, 1], [-180, 0, -170, 1]]);
  expect(unwrapped([-200, 0, 200, 1])).toEqual([[-180, 0, 180, 1]]);
  expect(unwrapped([3, 0, 9, 1])).toEqual([[3, 0, 9, 1]]);
});

test("fences: centroid, differences, corridors", () => {
  expect(ringCentroid([[0, 0], [4, 0], [4, 2], [0, 2], [0, 0]])).toEqual([2, 1]);
  expect(ringCentroid([[3, 3], [3, 3], [3, 3]])).toEqual([3, 3]);
  const fence = (id: string, version: number) =>
    readFence({ type: "Feature", id, geometry: { type: "LineString", coordinates: [[0, 0], [1, 0]] }, properties: { half_width_m: 1000, version } });
  const before = fencesById([fence("a", 1), fence("b", 1)]);
  const after = withFence(withFence(before, "a", fence("a", 2)), "b", null);
  expect(fenceDifference(before, after)).toEqual({ put: [after.get("a")], removed: ["b"] });
  expect(fenceDifference(after, after)).toEqual({ put: [], removed: [] });
  // 2 km at the equator in a world of 512 pixels.
  expect(drawnFence(fence("a", 1)).properties?.width_px).toBeCloseTo((2000 * 512) / 40_075_016.7, 9);
});

test("a trail takes newer fixes only and is cut at silences", () => {
  const trail = extended({ deviceNumber: 1, positions: [[0, 0], [1, 0]], observedAtUs: [0, 1e6] }, [2, 0], 2e6);
  expect(trail.positions).toHaveLength(3);
  expect(extended(trail, [9, 9], 2e6)).toBe(trail);
  const gap = extended(extended(trail, [3, 0], 3600e6), [4, 0], 3601e6);
  expect(trailPieces(gap).map((piece) => piece.path)).toEqual([[[0, 0], [1, 0], [2, 0]], [[3, 0], [4, 0]]]);
});

test("ages", () => {
  expect([0, 5e6, 65e6, 3 * 3600e6, 49 * 3600e6, 1500 * 86_400e6].map(ageText)).toEqual(["now", "5 s", "1 min", "3 h", "2 d", "4 y"]);
  expect([-5, 61e6, 3661e6].map(exactAgeText)).toEqual(["0 s", "1 min 01 s", "1 h 01 min"]);
});

test("the server's clock is followed, by the frame that came fastest", () => {
  let browserMs = 1000;
  const clock = new ServerClock(() => browserMs);
  expect(clock.nowUs()).toBe(1e6);
  clock.heard(60e6); // the server is 59 s ahead
  browserMs = 2000;
  clock.heard(60.5e6); // half a second on its way
  expect(clock.nowUs()).toBeGreaterThan(60.99e6);
  expect(clock.nowUs()).toBeLessThanOrEqual(61e6);
});

test("tokens", () => {
  const claims = Buffer.from(JSON.stringify({ tenant: "acme", role: "viewer" })).toString("base64url");
  expect(readToken(` aa.${claims}.bb `)).toEqual({ token: `aa.${claims}.bb`, tenant: "acme", role: "viewer" });
  for (const bad of ["", "a.b", "a.b.c", `aa.${claims}.b b`, `aa.${claims}.b.c`]) expect(readToken(bad)).toBeNull();
});

test("search finds words in any order", () => {
  expect(matches("12 con", "Condor 012", "truck-012")).toBe(true);
  expect(matches("truck condor", "Condor 012", "truck-012")).toBe(true);
  expect(matches("heron", "Condor 012", "truck-012")).toBe(false);
});
