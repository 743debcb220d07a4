/** Web Mercator for a map that looks north and straight down, which ours always does: no matrices needed. */

const RADIANS = Math.PI / 180;
const LIMIT_DEG = 85.051129;

/** 0 to 1 from west to east. */
export const mercatorX = (longitudeDeg: number): number => (longitudeDeg + 180) / 360;

/** 0 to 1 from north to south. */
export function mercatorY(latitudeDeg: number): number {
  const phi = Math.max(-LIMIT_DEG, Math.min(LIMIT_DEG, latitudeDeg)) * RADIANS;
  return 0.5 - Math.log(Math.tan(Math.PI / 4 + phi / 2)) / (2 * Math.PI);
}

/** The visible part of the world, and pixels for places. */
export class Window {
  private readonly worldPx: number;
  private readonly left: number;
  private readonly top: number;

  constructor(
    centreLongitudeDeg: number,
    centreLatitudeDeg: number,
    zoom: number,
    readonly widthPx: number,
    readonly heightPx: number,
  ) {
    this.worldPx = 512 * 2 ** zoom;
    this.left = mercatorX(centreLongitudeDeg) * this.worldPx - widthPx / 2;
    this.top = mercatorY(centreLatitudeDeg) * this.worldPx - heightPx / 2;
  }

  /** Pixels from the left edge, in whichever copy of the world comes closest to the middle. */
  x(longitudeDeg: number): number {
    const x = mercatorX(longitudeDeg) * this.worldPx - this.left;
    return x - Math.round((x - this.widthPx / 2) / this.worldPx) * this.worldPx;
  }

  y(latitudeDeg: number): number {
    return mercatorY(latitudeDeg) * this.worldPx - this.top;
  }

  visible(x: number, y: number, marginPx = 0): boolean {
    return x >= -marginPx && y >= -marginPx && x <= this.widthPx + marginPx && y <= this.heightPx + marginPx;
  }
}

/** Row of the position nearest to a pixel, at most `withinPx` away, or null; positions are longitude, latitude in turn. */
export function nearestRow(positions: Float64Array, length: number, window: Window, xPx: number, yPx: number, withinPx: number): number | null {
  let best: number | null = null;
  let bestSquare = withinPx * withinPx;
  for (let row = 0; row < length; row++) {
    const dx = window.x(positions[2 * row]) - xPx;
    if (dx > withinPx || dx < -withinPx) continue;
    const dy = window.y(positions[2 * row + 1]) - yPx;
    const square = dx * dx + dy * dy;
    if (square <= bestSquare) {
      best = row;
      bestSquare = square;
    }
  }
  return best;
}
