/**
 * The base map: Natural Earth by way of the `world-atlas` package, so that the page needs no tile server and sends
 * nothing anywhere. A coarse outline of the world is there first; zoomed in, the fine outline of what is looked at.
 */
import type { Feature, FeatureCollection, Geometry } from "geojson";
import type { ExpressionSpecification, GeoJSONSource, Map as MapLibre, StyleSpecification } from "maplibre-gl";
import coarseAtlas from "world-atlas/countries-50m.json?url";
import fineAtlas from "world-atlas/countries-10m.json?url";
import type { AtlasPart, AtlasRequest, Place } from "./atlas_worker";
import { type Bounds, contains } from "./subscription";
import type { Theme } from "./theme";

const FINE_FROM_ZOOM = 5.5;
const WORLD: Bounds = [-180, -90, 180, 90];
const NOTHING: FeatureCollection = { type: "FeatureCollection", features: [] };

/** The style without data: sources are filled later, and colours are set by `paintBase`, before the first picture and when the theme changes. */
export function baseStyle(tiles: { url: string; attribution: string } | null): StyleSpecification {
  const source = (): StyleSpecification["sources"][string] => ({ type: "geojson", data: NOTHING, tolerance: 0.2, maxzoom: 12 });
  const style: StyleSpecification = {
    version: 8,
    sources: {
      land: source(),
      coast: source(),
      borders: source(),
      graticule: source(),
      fences: { type: "geojson", data: NOTHING, promoteId: "fence_id", tolerance: 0.1 },
      draft: { type: "geojson", data: NOTHING, tolerance: 0 },
    },
    layers: [
      { id: "sea", type: "background", paint: {} },
      { id: "land", type: "fill", source: "land", paint: { "fill-antialias": false } },
      { id: "graticule", type: "line", source: "graticule", paint: { "line-width": 1 } },
      { id: "borders", type: "line", source: "borders", layout: { "line-join": "round" }, paint: { "line-width": ["interpolate", ["linear"], ["zoom"], 2, 0.6, 8, 1.4] } },
      { id: "coast", type: "line", source: "coast", layout: { "line-join": "round" }, paint: { "line-width": ["interpolate", ["linear"], ["zoom"], 2, 0.6, 8, 1.4] } },
      { id: "fence-area", type: "fill", source: "fences", filter: ["!=", ["geometry-type"], "LineString"], paint: {} },
      {
        id: "fence-corridor", type: "line", source: "fences", filter: ["==", ["geometry-type"], "LineString"],
        layout: { "line-cap": "round", "line-join": "round" },
        paint: { "line-width": ["interpolate", ["exponential", 2], ["zoom"], 0, ["get", "width_px"], 22, ["*", ["get", "width_px"], 2 ** 22]] },
      },
      {
        id: "fence-edge", type: "line", source: "fences", filter: ["!=", ["geometry-type"], "LineString"],
        layout: { "line-join": "round" },
        paint: { "line-width": ["case", ["boolean", ["feature-state", "selected"], false], 3, 1.5] },
      },
      { id: "draft-area", type: "fill", source: "draft", filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-opacity": 0.14 } },
      { id: "draft-edge", type: "line", source: "draft", filter: ["!=", ["geometry-type"], "Point"], layout: { "line-join": "round", "line-cap": "round" }, paint: { "line-width": 2, "line-dasharray": [2, 1.6] } },
      {
        id: "draft-handle", type: "circle", source: "draft", filter: ["==", ["geometry-type"], "Point"],
        paint: { "circle-radius": ["match", ["get", "handle"], "middle", 4, 6.5], "circle-stroke-width": 2, "circle-opacity": ["match", ["get", "handle"], "middle", 0.65, 1] },
      },
    ],
  };
  if (tiles !== null) {
    style.sources.tiles = { type: "raster", tiles: [tiles.url], tileSize: 256, attribution: tiles.attribution };
    style.layers.splice(2, 0, { id: "tiles", type: "raster", source: "tiles", paint: { "raster-fade-duration": 150 } });
  }
  return style;
}

/** Puts a theme's colours on the style's layers. */
export function paintBase(map: MapLibre, theme: Theme): void {
  map.setPaintProperty("sea", "background-color", theme.sea);
  map.setPaintProperty("land", "fill-color", theme.land);
  map.setPaintProperty("coast", "line-color", theme.coast);
  map.setPaintProperty("borders", "line-color", theme.border);
  map.setPaintProperty("graticule", "line-color", theme.graticule);
  const selected: ExpressionSpecification = ["boolean", ["feature-state", "selected"], false];
  map.setPaintProperty("fence-area", "fill-color", theme.fence);
  map.setPaintProperty("fence-area", "fill-opacity", ["case", selected, 0.26, 0.11]);
  map.setPaintProperty("fence-corridor", "line-color", theme.fence);
  map.setPaintProperty("fence-corridor", "line-opacity", ["case", selected, 0.34, 0.18]);
  map.setPaintProperty("fence-edge", "line-color", theme.fence);
  map.setPaintProperty("fence-edge", "line-opacity", 0.85);
  map.setPaintProperty("draft-area", "fill-color", theme.draft);
  map.setPaintProperty("draft-edge", "line-color", theme.draft);
  map.setPaintProperty("draft-handle", "circle-color", theme.draft);
  map.setPaintProperty("draft-handle", "circle-stroke-color", theme.symbolEdge);
}

/** Shows the outlines that the view needs, as it moves; `onPlaces` hears the countries' names once. */
export function followBaseMap(map: MapLibre, view: () => Bounds, onPlaces: (places: readonly Place[]) => void): void {
  const worker = new Worker(new URL("atlas_worker.ts", import.meta.url), { type: "module" });
  const coarseUrl = new URL(coarseAtlas, location.href).href;
  const fineUrl = new URL(fineAtlas, location.href).href;
  let coarse: AtlasPart | null = null;
  let shown: AtlasPart | null = null;
  let asked = false;

  const ask = (request: AtlasRequest): void => {
    asked = true;
    worker.postMessage(request);
  };
  const look = (): void => {
    if (coarse === null || asked) return;
    if (map.getZoom() < FINE_FROM_ZOOM) {
      if (shown !== coarse) show((shown = coarse));
    } else if (shown === coarse || shown === null || !contains(shown.box, grown(view(), 0.15))) {
      ask({ url: fineUrl, box: grown(view(), 1) });
    }
  };
  const show = (part: AtlasPart): void => {
    for (const layer of ["land", "borders", "coast"] as const) void (map.getSource(layer) as GeoJSONSource).setData(asFeature(part[layer]));
  };
  worker.onmessage = ({ data }: MessageEvent<AtlasPart>) => {
    asked = false;
    if (data.url === coarseUrl) {
      coarse = data;
      onPlaces(data.places);
    }
    shown = data;
    show(data);
    look();
  };
  map.on("move", look);
  ask({ url: coarseUrl, box: WORLD });
}

const asFeature = (geometry: Geometry): Feature => ({ type: "Feature", properties: {}, geometry });

function grown([west, south, east, north]: Bounds, share: number): Bounds {
  const [wide, high] = [(east - west) * share, (north - south) * share];
  return [west - wide, Math.max(-90, south - high), east + wide, Math.min(90, north + high)];
}
