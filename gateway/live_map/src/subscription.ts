/** What the page asks the live socket for. */

/** West, south, east, north in degrees. Longitudes run on beyond ±180, as the map counts them: west is below east. */
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
  const [bottom, top] = [Math.max(-90, south - high), Math.min(90, north + high)];
  return east - west + 2 * wide >= 360 ? [-180, bottom, 180, top] : [west - wide, bottom, east + wide, top];
}

/** Whether the second box lies in the first, in whichever copy of the world. */
export function contains([west, south, east, north]: Bounds, [w, s, e, n]: Bounds): boolean {
  if (s < south || n > north) return false;
  if (east - west >= 360) return true;
  const shift = 360 * Math.round((west + east - w - e) / 720);
  return w + shift >= west && e + shift <= east;
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
  // Zoomed in much further: a smaller box spares the line.
  const tooWide = (view[2] - view[0]) * 8 < e - w && (view[3] - view[1]) * 8 < n - s;
  return inside && !tooWide ? null : { viewport: withMargin(view) };
}
