/** Distances on a sphere: near enough to draw with; what counts is computed by the server, on the ellipsoid. */

export type LonLat = readonly [longitudeDeg: number, latitudeDeg: number];

const EARTH_RADIUS_M = 6_371_008.8;
const RADIANS = Math.PI / 180;

export function distanceM([lon0, lat0]: LonLat, [lon1, lat1]: LonLat): number {
  const h =
    Math.sin(((lat1 - lat0) * RADIANS) / 2) ** 2 +
    Math.cos(lat0 * RADIANS) * Math.cos(lat1 * RADIANS) * Math.sin(((lon1 - lon0) * RADIANS) / 2) ** 2;
  return 2 * EARTH_RADIUS_M * Math.asin(Math.min(1, Math.sqrt(h)));
}

export function destination([lon, lat]: LonLat, bearingDeg: number, metres: number): LonLat {
  const angle = metres / EARTH_RADIUS_M;
  const bearing = bearingDeg * RADIANS;
  const phi = lat * RADIANS;
  const sin = Math.sin(phi) * Math.cos(angle) + Math.cos(phi) * Math.sin(angle) * Math.cos(bearing);
  const dLon = Math.atan2(Math.sin(bearing) * Math.sin(angle) * Math.cos(phi), Math.cos(angle) - Math.sin(phi) * sin);
  return [lon + dLon / RADIANS, Math.asin(Math.max(-1, Math.min(1, sin))) / RADIANS];
}

/** A closed ring around `centre`. */
export function circleRing(centre: LonLat, radiusM: number, corners = 96): [number, number][] {
  const ring: [number, number][] = [];
  for (let i = 0; i < corners; i++) ring.push([...destination(centre, (360 * i) / corners, radiusM)]);
  ring.push(ring[0] as [number, number]);
  return ring;
}

/** Web Mercator metres on the ground that a pixel of a 512-pixel world tile covers. */
export function metresPerPixel(latitudeDeg: number, zoom: number): number {
  return (2 * Math.PI * EARTH_RADIUS_M * Math.cos(latitudeDeg * RADIANS)) / (512 * 2 ** zoom);
}

const COMPASS = ["N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW"];

export function compassPoint(headingDeg: number): string {
  return COMPASS[Math.round((((headingDeg % 360) + 360) % 360) / 22.5) % 16] as string;
}

export function distanceText(metres: number): string {
  if (metres < 1000) return `${Math.round(metres)} m`;
  return metres < 10_000 ? `${(metres / 1000).toFixed(2)} km` : `${(metres / 1000).toFixed(1)} km`;
}
