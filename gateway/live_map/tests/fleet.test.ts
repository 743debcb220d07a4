import { expect, test } from "vitest";
import { AGEING, FRESH, STALE } from "../src/age";
import { Fleet } from "../src/fleet";
import { decodeFrame } from "../src/frames";
import { type Row, packFrame } from "./pack_frame";

const T = 1_700_000_000_000_000;
const frame = (kind: "snapshot" | "difference", rows: readonly Row[], removed: readonly number[] = []) => decodeFrame(packFrame({ kind, rows, removed }));
const devices = (fleet: Fleet): number[] => [...fleet.deviceNumber.slice(0, fleet.length)].sort((a, b) => a - b);
const shown = (fleet: Fleet, device: number): [number, number] => {
  const row = fleet.row(device) as number;
  return [fleet.shownPosition[2 * row], fleet.shownPosition[2 * row + 1]];
};

test("a snapshot is what there is; a difference adds and removes", () => {
  const fleet = new Fleet();
  expect(fleet.apply(frame("snapshot", [{ device: 5 }, { device: 9 }, { device: 2 }]), 0)).toEqual({ added: 3, moved: 0, removed: 0 });
  expect(fleet.apply(frame("difference", [{ device: 7 }, { device: 9, observedAtUs: T + 1 }], [5, 404]), 0)).toEqual({ added: 1, moved: 1, removed: 1 });
  expect(devices(fleet)).toEqual([2, 7, 9]);
  expect(fleet.apply(frame("snapshot", [{ device: 9 }]), 0)).toEqual({ added: 0, moved: 1, removed: 2 });
  expect(devices(fleet)).toEqual([9]);
});

test("a removed row is filled by the last one, with all its columns", () => {
  const fleet = new Fleet();
  fleet.apply(frame("snapshot", [1, 2, 3].map((device) => ({ device, longitude: device, latitude: 10 * device, speed: device, heading: 90 * device }))), 0);
  fleet.apply(frame("difference", [], [1]), 0);
  expect(fleet.vehicle(1)).toBeNull();
  expect(fleet.vehicle(3)).toMatchObject({ deviceNumber: 3, longitudeDeg: 3, latitudeDeg: 30, speedMps: 3, headingDeg: 270 });
  expect(shown(fleet, 3)).toEqual([3, 30]);
  expect(shown(fleet, 2)).toEqual([2, 20]);
});

test("grows beyond its first capacity without losing rows", () => {
  const fleet = new Fleet();
  const rows = Array.from({ length: 3000 }, (_, i) => ({ device: i + 1, longitude: i / 100, latitude: 1 }));
  for (let i = 0; i < rows.length; i += 700) fleet.apply(frame("difference", rows.slice(i, i + 700)), 0);
  expect(fleet.length).toBe(3000);
  for (const device of [1, 1024, 1025, 2048, 3000]) expect(shown(fleet, device)).toEqual([(device - 1) / 100, 1]);
});

test("glides to the newest fix and stops there", () => {
  const fleet = new Fleet();
  fleet.apply(frame("snapshot", [{ device: 1, longitude: 10, latitude: 50, heading: 350 }]), 1000);
  expect(fleet.moving).toBe(false);
  fleet.apply(frame("difference", [{ device: 1, longitude: 10.001, latitude: 50.002, heading: 10, observedAtUs: T + 1_000_000 }]), 5000);
  expect(fleet.moving).toBe(true);
  expect(shown(fleet, 1)).toEqual([10, 50]);
  fleet.advance(5500);
  expect(shown(fleet, 1)[0]).toBeCloseTo(10.0005, 9);
  expect(shown(fleet, 1)[1]).toBeCloseTo(50.001, 9);
  fleet.advance(60_000);
  expect(shown(fleet, 1)).toEqual([10.001, 50.002]);
  expect(fleet.shownHeading[0]).toBe(10);
  expect(fleet.moving).toBe(false);
  expect(fleet.advance(61_000)).toBe(false);
});

test("a glide that is overtaken goes on from where it is drawn", () => {
  const fleet = new Fleet();
  fleet.apply(frame("snapshot", [{ device: 1, longitude: 0 }]), 0);
  fleet.apply(frame("difference", [{ device: 1, longitude: 1, observedAtUs: T + 1_000_000 }]), 0);
  fleet.advance(500);
  fleet.apply(frame("difference", [{ device: 1, longitude: 1.5, observedAtUs: T + 2_000_000 }]), 500);
  expect(shown(fleet, 1)[0]).toBeCloseTo(0.5, 9);
  fleet.advance(1000);
  expect(shown(fleet, 1)[0]).toBeCloseTo(1.0, 9);
});

test("after a silence it jumps: nobody knows the way", () => {
  const fleet = new Fleet();
  fleet.apply(frame("snapshot", [{ device: 1, longitude: 0 }]), 0);
  fleet.apply(frame("difference", [{ device: 1, longitude: 1, observedAtUs: T + 120_000_000 }]), 0);
  expect(shown(fleet, 1)).toEqual([1, 0]);
});

test("an older fix than before puts it right: the newest was a jump", () => {
  const fleet = new Fleet();
  fleet.apply(frame("snapshot", [{ device: 1, longitude: 5 }]), 0);
  fleet.apply(frame("difference", [{ device: 1, longitude: 4, observedAtUs: T - 1 }]), 0);
  expect(fleet.vehicle(1)?.longitudeDeg).toBe(4);
  expect(shown(fleet, 1)).toEqual([4, 0]);
});

test("crosses the antimeridian the short way", () => {
  const fleet = new Fleet();
  fleet.apply(frame("snapshot", [{ device: 1, longitude: 179.9 }]), 0);
  fleet.apply(frame("difference", [{ device: 1, longitude: -179.9, observedAtUs: T + 1_000_000 }]), 0);
  fleet.advance(500);
  expect(Math.abs(shown(fleet, 1)[0])).toBeCloseTo(180, 6);
  fleet.advance(1000);
  expect(shown(fleet, 1)[0]).toBe(-179.9);
});

test("ages and counts, and tells when symbols change", () => {
  const fleet = new Fleet();
  fleet.apply(frame("snapshot", [{ device: 1, observedAtUs: T }, { device: 2, observedAtUs: T - 100e6 }, { device: 3, observedAtUs: T - 400e6 }]), 0);
  expect(fleet.age(T + 1)).toBe(true);
  expect(fleet.age(T + 2)).toBe(false);
  expect([1, 2, 3].map((device) => fleet.shownAge[fleet.row(device) as number])).toEqual([FRESH, AGEING, STALE]);
  expect(fleet.ageCounts()).toEqual([1, 1, 1]);
  const before = fleet.symbolVersion;
  fleet.apply(frame("difference", [{ device: 1, observedAtUs: T + 5, heading: 90 }]), 0);
  expect(fleet.symbolVersion).toBeGreaterThan(before);
});
