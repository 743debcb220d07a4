import { expect, test } from "vitest";
import { EVERYTHING, contains, nextSubscription, withMargin } from "../src/subscription";

test("a small fleet is kept whole, wherever one looks", () => {
  expect(nextSubscription(EVERYTHING, 500, 1000, [4, 50, 5, 51])).toBeNull();
});

test("a big fleet is followed by viewport, with a margin", () => {
  expect(nextSubscription(EVERYTHING, 1001, 1000, [4, 50, 5, 51])).toEqual({ viewport: [3.5, 49.5, 5.5, 51.5] });
});

test("moving within the margin asks for nothing; leaving it does; zooming in far does", () => {
  const current = { viewport: [3.5, 49.5, 5.5, 51.5] } as const;
  expect(nextSubscription(current, 3, 1000, [4.2, 50.2, 5.2, 51.2])).toBeNull();
  expect(nextSubscription(current, 3, 1000, [4.75, 50, 5.75, 51])).toEqual({ viewport: [4.25, 49.5, 6.25, 51.5] });
  expect(nextSubscription(current, 3, 1000, [4.5, 50.5, 4.6, 50.6])).not.toBeNull();
});

test("a view across the antimeridian", () => {
  expect(withMargin([179, -20, 181, -18])).toEqual([178, -21, 182, -17]);
  const current = { viewport: withMargin([179, -20, 181, -18]) };
  expect(nextSubscription(current, 3, 1, [179.2, -20, 181.2, -18])).toBeNull();
  expect(nextSubscription(current, 3, 1, [-180.8, -20, -178.8, -18])).toBeNull();
  expect(nextSubscription(current, 3, 1, [170, -20, 172, -18])).not.toBeNull();
});

test("a view of the whole world", () => {
  expect(withMargin([-200, -80, 200, 85])).toEqual([-180, -90, 180, 90]);
  expect(nextSubscription({ viewport: [-180, -90, 180, 90] }, 3, 1, [-200, -80, 200, 85])).toBeNull();
  expect(nextSubscription({ viewport: [-180, -90, 180, 90] }, 3, 1, [100, -80, 300, 85])).toBeNull();
});

test("contains", () => {
  expect(contains([0, 0, 10, 10], [0, 0, 10, 10])).toBe(true);
  expect(contains([0, 0, 10, 10], [0, 0, 10.1, 10])).toBe(false);
});
