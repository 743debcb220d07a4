/**
 * Motion between two fixes. A vehicle glides from where it is drawn to its newest fix and stops there: it is never drawn
 * ahead of what a device has measured, so a vehicle that lost its signal stands still on the map.
 */

/** Glides are short: the picture may lag the newest fix by this much at most. */
const LONGEST_GLIDE_MS = 1500;
const SHORTEST_GLIDE_MS = 150;
/** After a longer silence the way between is unknown, and a glide would draw one. */
const LONGEST_GAP_US = 60_000_000;

/** How long a glide between fixes this far apart in device time takes; 0 is a jump. */
export function glideMs(fromObservedAtUs: number, toObservedAtUs: number): number {
  const gapUs = toObservedAtUs - fromObservedAtUs;
  if (!(gapUs > 0) || gapUs > LONGEST_GAP_US) return 0;
  return Math.min(LONGEST_GLIDE_MS, Math.max(SHORTEST_GLIDE_MS, gapUs / 1000));
}

/** Share of a glide that is over, 0 to 1. */
export function progress(nowMs: number, startMs: number, durationMs: number): number {
  if (durationMs <= 0) return 1;
  return Math.min(1, Math.max(0, (nowMs - startMs) / durationMs));
}

/** `to` written so that the way from `from` is the short one, across the antimeridian if need be; degrees. */
export function nearestLongitude(from: number, to: number): number {
  if (to - from > 180) return to - 360;
  if (to - from < -180) return to + 360;
  return to;
}

/** Between two headings the short way round, in [0, 360). Where one is unknown (NaN), the other one holds. */
export function turn(from: number, to: number, share: number): number {
  if (Number.isNaN(from) || Number.isNaN(to)) return Number.isNaN(to) ? from : to;
  const difference = ((to - from + 540) % 360) - 180;
  return (from + difference * share + 360) % 360;
}

/** How long a picture of the fleet stays true to half a pixel at `metresPerPixel`, for a vehicle at 25 m/s. */
export function frameIntervalMs(metresPerPixel: number): number {
  return Math.min(250, Math.max(33, (0.5 * metresPerPixel * 1000) / 25));
}
