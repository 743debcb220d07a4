/** Which names fit on the map without covering each other, or a vehicle. */

/** Centre and size, in pixels. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly widthPx: number;
  readonly heightPx: number;
}

export interface Candidate {
  /** Where the name may stand, best first. */
  readonly boxes: readonly Box[];
  /** May cover vehicles: there is one place only, and it says more than a vehicle's symbol. */
  readonly coversSymbols: boolean;
}

export interface Placed {
  readonly candidate: number;
  /** Which of its boxes. */
  readonly box: number;
}

const CELL_PX = 48;
/** A name keeps this far from the middle of a symbol. */
const SYMBOL_PX = 5;

/** A coarse grid keeps the comparisons local. */
class Grid<T> {
  private readonly cells = new Map<number, T[]>();

  add(box: Box, thing: T): void {
    for (const cell of cellsOf(box)) {
      const there = this.cells.get(cell);
      if (there === undefined) this.cells.set(cell, [thing]);
      else there.push(thing);
    }
  }

  some(box: Box, test: (thing: T) => boolean): boolean {
    return cellsOf(box).some((cell) => this.cells.get(cell)?.some(test) ?? false);
  }
}

function cellsOf(box: Box): number[] {
  const cells: number[] = [];
  for (let cx = Math.floor((box.x - box.widthPx / 2) / CELL_PX); cx <= Math.floor((box.x + box.widthPx / 2) / CELL_PX); cx++) {
    for (let cy = Math.floor((box.y - box.heightPx / 2) / CELL_PX); cy <= Math.floor((box.y + box.heightPx / 2) / CELL_PX); cy++) {
      cells.push(cx * 65_536 + cy);
    }
  }
  return cells;
}

/**
 * What is shown of `candidates`, at most `limit`: first come, first placed, so their order is the priority. `symbols` are
 * the middles of vehicles on the screen.
 */
export function placeLabels(candidates: readonly Candidate[], symbols: readonly { readonly x: number; readonly y: number }[], limit: number): Placed[] {
  const taken = new Grid<Box>();
  const vehicles = new Grid<Box>();
  for (const { x, y } of symbols) {
    const box = { x, y, widthPx: 2 * SYMBOL_PX, heightPx: 2 * SYMBOL_PX };
    vehicles.add(box, box);
  }
  const placed: Placed[] = [];
  for (let i = 0; i < candidates.length && placed.length < limit; i++) {
    const { boxes, coversSymbols } = candidates[i] as Candidate;
    const free = boxes.findIndex((box) => {
      const hits = (other: Box): boolean => overlap(box, other);
      return !taken.some(box, hits) && (coversSymbols || !vehicles.some(box, hits));
    });
    const box = boxes[free];
    if (box === undefined) continue;
    taken.add(box, box);
    placed.push({ candidate: i, box: free });
  }
  return placed;
}

function overlap(a: Box, b: Box): boolean {
  return Math.abs(a.x - b.x) * 2 < a.widthPx + b.widthPx && Math.abs(a.y - b.y) * 2 < a.heightPx + b.heightPx;
}

/** Width of a text in a proportional face; measuring each name exactly would cost more than it tells. */
export const textWidthPx = (text: string, sizePx: number): number => text.length * sizePx * 0.58;
