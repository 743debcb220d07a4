/** What the page asks the live socket for. */

/** West, south, east, north in degrees; east may pass 180 when the antimeridian is inside. */
export type Bounds = readonly [west: number, south: number, east: number, north: number];

export type Subscription = { readonly everything: true } | { readonly viewport: Bounds };

export const EVERYTHING: Subscription = { everything: true };

/** Up to this many vehicles the whole fleet is kept in the page: list and search are complete, panning shows no gaps. */
export const EVERYTHING_LIMIT = 20_000;

/** Share of the visible width and height that is asked for beyond each edge. */
const MARGIN = 0.5;

export function withMargin([west, south, east, north]: Bounds): Bounds {
  const wide = (east - west) * MARGIN;
  const high = (north - south) * MARGIN;
  if (east - west + 2 * wide >= 360) return [-180, Math.max(-90, south - high), 180, Math.min(90, north + high)];
  // West is brought into [-180, 180) and east keeps its distance, as the server reads a viewport across the antimeridian
  // from west > east.
  const wrap = (longitude: number): number => ((longitude + 540) % 360 + 360) % 360 - 180;
  return [wrap(west - wide), Math.max(-90, south - high), wrap(east + wide), Math.min(90, north + high)];
}

export function contains([west, south, east, north]: Bounds, [w, s, e, n]: Bounds): boolean {
  if (west > east) return s >= south && n <= north && w >= west && (e <= east || e - 360 <= east);
  return w >= west && e <= east && s >= south && n <= north;
}

/**
 * The next subscription, or null when the current one still serves.
 *
 * A fleet too big to keep whole is followed by viewport, and that decision stays: the count that a viewport shows says
 * nothing about the fleet.
 */
export function nextSubscription(current: Subscription, fleetCount: number, limit: number, view: Bounds): Subscription | null {
  if ("everything" in current) return fleetCount > limit ? { viewport: withMargin(view) } : null;
  const [w, s, e, n] = current.viewport;
  const inside = contains(current.viewport, view);
  const width = (e - w + 360) % 360 || 360;
  // Zoomed in much further: a smaller box spares the line.
  const tooWide = (view[2] - view[0]) * 8 < width && (view[3] - view[1]) * 8 < n - s;
  return inside && !tooWide ? null : { viewport: withMargin(view) };
}
