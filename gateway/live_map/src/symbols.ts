/** The vehicle symbols, drawn once a theme into one small atlas: an arrow and a dot in each age's colour. */
import type { Theme } from "./theme";

const CELL_PX = 64;

export interface Symbols {
  readonly atlas: ImageData;
  readonly mapping: Readonly<Record<string, { x: number; y: number; width: number; height: number; anchorX: number; anchorY: number; mask: boolean }>>;
}

const ARROWS = ["arrow-0", "arrow-1", "arrow-2"];
const DOTS = ["dot-0", "dot-1", "dot-2"];

/** Name of a symbol in the atlas. Asked for each vehicle of each picture: 10,000 cost 1 ms, as long as no text is made. */
export const symbolName = (age: number, heading: number): string => (Number.isNaN(heading) ? DOTS : ARROWS)[age] as string;

export function drawSymbols(theme: Theme): Symbols {
  const canvas = document.createElement("canvas");
  canvas.width = CELL_PX * theme.age.length;
  canvas.height = CELL_PX * 2;
  const pen = canvas.getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D;
  const mapping: Record<string, Symbols["mapping"][string]> = {};
  theme.age.forEach((colour, age) => {
    for (const [line, shape] of (["arrow", "dot"] as const).entries()) {
      const x = CELL_PX * age;
      const y = CELL_PX * line;
      mapping[`${shape}-${age}`] = { x, y, width: CELL_PX, height: CELL_PX, anchorX: CELL_PX / 2, anchorY: CELL_PX / 2, mask: false };
      pen.save();
      pen.translate(x + CELL_PX / 2, y + CELL_PX / 2);
      pen.beginPath();
      if (shape === "arrow") {
        pen.moveTo(0, -27);
        pen.lineTo(19, 24);
        pen.quadraticCurveTo(0, 10, -19, 24);
        pen.closePath();
      } else {
        pen.arc(0, 0, 15, 0, 2 * Math.PI);
      }
      pen.lineJoin = "round";
      pen.lineWidth = 7;
      pen.strokeStyle = theme.symbolEdge;
      pen.stroke();
      pen.fillStyle = colour;
      pen.fill();
      pen.restore();
    }
  });
  return { atlas: pen.getImageData(0, 0, canvas.width, canvas.height), mapping };
}
