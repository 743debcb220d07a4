/** Which names fit on the map without covering each other. */

export interface Candidate {
  readonly x: number;
  readonly y: number;
  readonly widthPx: number;
  readonly heightPx: number;
}

const CELL_PX = 48;

/**
 * Indices of the candidates that are shown, at most `limit`: first come, first placed, so the order is the priority.
 * `x`, `y` is the centre of a name. A coarse grid keeps the comparisons local.
 */
export function placeLabels(candidates: readonly Candidate[], limit: number): number[] {
  const grid = new Map<number, number[]>();
  const shown: number[] = [];
  for (let i = 0; i < candidates.length && shown.length < limit; i++) {
    const box = candidates[i] as Candidate;
    const cells: number[] = [];
    for (let cx = Math.floor((box.x - box.widthPx / 2) / CELL_PX); cx <= Math.floor((box.x + box.widthPx / 2) / CELL_PX); cx++) {
      for (let cy = Math.floor((box.y - box.heightPx / 2) / CELL_PX); cy <= Math.floor((box.y + box.heightPx / 2) / CELL_PX); cy++) {
        cells.push(cx * 65_536 + cy);
      }
    }
    const free = cells.every((cell) => (grid.get(cell) ?? []).every((other) => !overlap(box, candidates[other] as Candidate)));
    if (!free) continue;
    shown.push(i);
    for (const cell of cells) {
      const there = grid.get(cell);
      if (there === undefined) grid.set(cell, [i]);
      else there.push(i);
    }
  }
  return shown;
}

function overlap(a: Candidate, b: Candidate): boolean {
  return Math.abs(a.x - b.x) * 2 < a.widthPx + b.widthPx && Math.abs(a.y - b.y) * 2 < a.heightPx + b.heightPx;
}

/** Width of a text in a proportional face; measuring each name exactly would cost more than it tells. */
export const textWidthPx = (text: string, sizePx: number): number => text.length * sizePx * 0.58;
