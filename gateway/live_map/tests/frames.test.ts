import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { DamagedFrame, decodeFrame, frameBytes } from "../src/frames";
import { packFrame } from "./pack_frame";

/** Packed by gateway/live/frames.py; tests/browser/test_frame_layout.py holds the file against that code. */
function golden(): ArrayBuffer {
  const hex = readFileSync(new URL("golden_frame.hex", import.meta.url), "utf8").replaceAll(/\s/g, "");
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16)).buffer;
}

test("reads a frame that the gateway packed", () => {
  const frame = decodeFrame(golden());
  expect(frame.kind).toBe("difference");
  expect(frame.sequence).toBe(4711);
  expect(frame.sentAtUs).toBe(1_700_000_000_123_456);
  expect(frame.count).toBe(3);
  expect([...frame.observedAtUs]).toEqual([1_700_000_000_000_001, 1_700_000_000_000_002, 1_699_999_000_000_003]);
  expect([...frame.longitudeDeg]).toEqual([4.4777326, -179.9999999, 0]);
  expect([...frame.latitudeDeg]).toEqual([51.9244201, -16.5, 90]);
  expect([...frame.deviceNumber]).toEqual([1, 4_294_967_295, 70_000]);
  expect([...frame.speedMps]).toEqual([13.5, Number.NaN, 0]);
  expect([...frame.headingDeg]).toEqual([359.75, Number.NaN, 0]);
  expect([...frame.accuracyM]).toEqual([4.5, Number.NaN, 250]);
  expect([...frame.removed]).toEqual([7, 8, 9, 10, 11]);
});

test("columns lie on the received bytes", () => {
  const buffer = golden();
  const frame = decodeFrame(buffer);
  for (const column of [frame.observedAtUs, frame.longitudeDeg, frame.deviceNumber, frame.accuracyM, frame.removed]) {
    expect(column.buffer).toBe(buffer);
  }
});

test.each([0, 1, 2, 3, 8])("a frame of %i positions is as long as it says", (count) => {
  const rows = Array.from({ length: count }, (_, i) => ({ device: i + 1, longitude: i, latitude: -i }));
  const buffer = packFrame({ kind: "snapshot", rows, removed: rows.map((row) => row.device) });
  expect(buffer.byteLength).toBe(frameBytes(count, count));
  expect([...decodeFrame(buffer).latitudeDeg]).toEqual(rows.map((row) => row.latitude));
});

test.each([
  ["nothing", () => new ArrayBuffer(0)],
  ["a cut header", () => golden().slice(0, 39)],
  ["a cut column", () => golden().slice(0, -8)],
  ["a byte too many", () => new Uint8Array([...new Uint8Array(golden()), 0]).buffer],
  ["another magic", () => changed(0, 0x58)],
  ["another version", () => changed(4, 2)],
  ["another kind", () => changed(5, 3)],
  ["more positions than bytes", () => changed(10, 1)],
])("refuses %s", (_, make) => {
  expect(() => decodeFrame(make())).toThrow(DamagedFrame);
});

function changed(offset: number, value: number): ArrayBuffer {
  const buffer = golden();
  new Uint8Array(buffer)[offset] = value;
  return buffer;
}
