/** What lies on deck.gl's canvas: trail, vehicles, and the marks of the selected one. Made anew for each picture; deck.gl finds what differs. */
import type { Layer } from "@deck.gl/core";
import { IconLayer, PathLayer, ScatterplotLayer } from "@deck.gl/layers";
import type { Fleet } from "./fleet";
import type { LonLat } from "./geodesy";
import { type Symbols, symbolName } from "./symbols";
import type { Theme } from "./theme";
import type { TrailPiece } from "./trail";

export interface Moving {
  readonly fleet: Fleet;
  /** Rotation of each row in deck.gl's sense; as long as the fleet's columns. */
  readonly angles: Float32Array;
  readonly symbols: Symbols;
  readonly theme: Theme;
  readonly symbolPx: number;
  /** Where the selected vehicle is drawn, and how sure its fix is. */
  readonly selected: { readonly at: LonLat; readonly accuracyM: number } | null;
  readonly trail: readonly TrailPiece[];
}

const mutable = ([longitude, latitude]: LonLat): [number, number] => [longitude, latitude];

/** Size of a vehicle's symbol. */
export const symbolPx = (zoom: number): number => Math.min(24, Math.max(9, 9 + (zoom - 3) * 1.6));

export function movingLayers(moving: Moving): Layer[] {
  return [...trailLayers(moving), ...selectionLayers(moving), vehicleLayer(moving)];
}

/** Positions and angles go to the card as the columns they are. */
function vehicleLayer({ fleet, angles, symbols, symbolPx: sizePx }: Moving): Layer {
  return new IconLayer({
    id: "vehicles",
    data: {
      length: fleet.length,
      attributes: { getPosition: { value: fleet.shownPosition, size: 2 }, getAngle: { value: angles, size: 1 } },
    },
    // deck.gl types these for data of objects and images by address.
    iconAtlas: symbols.atlas as never,
    iconMapping: symbols.mapping as never,
    getIcon: ((_: unknown, { index }: { index: number }) => symbolName(fleet.shownAge[index], fleet.headingDeg[index])) as never,
    getSize: 1,
    sizeScale: sizePx,
    updateTriggers: { getIcon: fleet.symbolVersion },
  });
}

function selectionLayers({ selected, theme, symbolPx: sizePx }: Moving): Layer[] {
  const place = selected === null ? [] : [selected.at];
  return [
    new ScatterplotLayer<LonLat>({
      id: "accuracy",
      data: selected !== null && selected.accuracyM > 0 ? place : [],
      getPosition: mutable,
      getRadius: selected?.accuracyM ?? 0,
      radiusUnits: "meters",
      getFillColor: [...theme.trail, 28],
      getLineColor: [...theme.trail, 110],
      stroked: true,
      lineWidthUnits: "pixels",
      getLineWidth: 1,
      updateTriggers: { getRadius: selected?.accuracyM },
    }),
    new ScatterplotLayer<LonLat>({
      id: "selection",
      data: place,
      getPosition: mutable,
      getRadius: sizePx * 0.5 + 7,
      radiusUnits: "pixels",
      filled: false,
      stroked: true,
      lineWidthUnits: "pixels",
      getLineWidth: 2,
      getLineColor: [...theme.selection, 230],
      updateTriggers: { getRadius: sizePx, getLineColor: theme.name },
    }),
  ];
}

/** The last stretch of a trail ends at the vehicle as it is drawn, not at the fix that it glides to. */
function trailLayers({ trail, selected, theme }: Moving): Layer[] {
  const newest = trail[trail.length - 1];
  const before = newest?.path[newest.path.length - 2];
  const line = { getWidth: 3.5, widthUnits: "pixels", jointRounded: true, capRounded: true, updateTriggers: { getColor: theme.name } } as const;
  return [
    new PathLayer<TrailPiece>({
      id: "trail",
      data: trail as TrailPiece[],
      getPath: (piece) => (piece === newest ? piece.path.slice(0, -1) : piece.path).map(mutable),
      // One colour a point: deck.gl takes it, its types do not know.
      getColor: ((piece: TrailPiece) => piece.shares.map((share) => [...theme.trail, 40 + 200 * share])) as never,
      ...line,
    }),
    new PathLayer<[number, number][]>({
      id: "trail-head",
      data: selected !== null && before !== undefined ? [[mutable(before), mutable(selected.at)]] : [],
      getPath: (path) => path,
      getColor: [...theme.trail, 240],
      ...line,
    }),
  ];
}
