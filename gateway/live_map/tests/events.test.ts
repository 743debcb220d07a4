import { expect, test } from "vitest";
import { FEED_LIMIT, type TrackingEventJson, describe as words, mergeEvents, readEvent } from "../src/events";

const json = (id: number, extra: Partial<TrackingEventJson> = {}): TrackingEventJson => ({
  event_id: String(id), device_id: "d", device_number: 1, observed_at: new Date(id * 1000).toISOString(), kind: "geofence_entered",
  severity: "info", alert: true, details: { fence_id: "yard", fence_name: "Yard" }, ...extra,
});
const event = (id: number, alert = true) => readEvent(json(id, { alert }));

test("newest first by device time, each once", () => {
  const feed = mergeEvents(mergeEvents([], [event(1), event(3)]), [event(2), event(3)]);
  expect(feed.map((each) => each.eventId)).toEqual(["3", "2", "1"]);
  expect(mergeEvents(feed, [event(2)])).toBe(feed);
  expect(mergeEvents([], [event(5), event(5)])).toHaveLength(1);
});

test("is bounded, and plain events do not push alerts out", () => {
  const plain = Array.from({ length: FEED_LIMIT + 50 }, (_, i) => event(1000 + i, false));
  const feed = mergeEvents([event(1)], plain);
  expect(feed).toHaveLength(FEED_LIMIT + 1);
  expect(feed[feed.length - 1]?.eventId).toBe("1");
  expect(feed.some((each) => each.eventId === "1000")).toBe(false);
});

test("of an event its last revision stands, whichever came first", () => {
  const first = event(1);
  const moved = readEvent(json(5, { event_id: "1b", amends_event_id: "1", revision: 1, standing: "amended" }));
  const gone = readEvent(json(5, { event_id: "1c", amends_event_id: "1", revision: 2, standing: "withdrawn" }));
  for (const order of [[first, moved, gone], [gone, first, moved]]) {
    const feed = order.reduce((known: readonly ReturnType<typeof readEvent>[], each) => mergeEvents(known, [each]), []);
    expect(feed).toEqual([gone]);
  }
  expect(first.standing).toBe("told");
  expect(mergeEvents([gone, event(3)], [event(4)]).map((each) => each.eventId)).toEqual(["1c", "4", "3"]);
});

test("microseconds are kept", () => {
  expect(readEvent(json(1, { observed_at: "2022-01-03T00:00:00.000001Z" })).observedAtUs).toBe(1_641_168_000_000_001);
  expect(readEvent(json(1, { observed_at: "2022-01-03T00:00:00Z" })).observedAtUs).toBe(1_641_168_000_000_000);
});

test("says what happened", () => {
  expect(words(event(1))).toBe("entered Yard");
  expect(words(readEvent(json(1, { details: { fence_name: "Yard", restated: true } })))).toBe("in Yard as its hours begin");
  expect(words(readEvent(json(1, { kind: "geofence_exited", details: { fence_id: "yard", fence_name: "" } })))).toBe("left yard");
  expect(words(readEvent(json(1, { kind: "excursion_opened", details: { quantity: "temperature_celsius", value: 9.44 } })))).toBe("out of limits: 9.4 °C");
  expect(words(readEvent(json(1, { kind: "missed_arrival", details: { stop_id: "s2", fence_id: "yard" } })))).toBe("not at stop s2 in time");
  expect(words(readEvent(json(1, { kind: "signal_lost", details: {} })))).toBe("signal lost");
  expect(words(readEvent(json(1, { kind: "stop_began", details: {} })))).toBe("stopped");
  expect(words(readEvent(json(1, { kind: "stop_ended", details: {} })))).toBe("left its stop");
  expect(words(readEvent(json(1, { kind: "trip_started", details: {} })))).toBe("set off");
  const apart = { other_device_id: "trailer-3", distance_m: 41.6 };
  expect(words(readEvent(json(1, { kind: "devices_met", details: apart })))).toBe("met trailer-3, 42 m apart");
  expect(words(readEvent(json(1, { kind: "devices_parted", details: apart })))).toBe("parted from trailer-3, 42 m apart");
  expect(words(readEvent(json(1, { kind: "trip_ended", details: { distance_m: 12_345 } })))).toBe("ended its trip of 12.3 km");
  const seen = { epc: "3074257BF7194E4000001A85", epc_uri: "urn:epc:id:sgtin:0614141.812345.6789", antenna: 1 };
  expect(words(readEvent(json(1, { kind: "tag_arrived", details: seen })))).toBe("read tag sgtin 0614141.812345.6789");
  expect(words(readEvent(json(1, { kind: "tag_departed", details: { epc: "0030", epc_uri: null } })))).toBe("lost tag 0030");
});
