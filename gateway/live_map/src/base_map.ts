/**
 * The base map: Natural Earth by way of the `world-atlas` package, so that the page needs no tile server and sends
 * nothing anywhere. A coarse outline is there at once; the fine one is fetched, from our own origin, when someone zooms in.
 */
import type { Feature, FeatureCollection, MultiLineString, MultiPolygon, Polygon, Position } from "geojson";
import type { ExpressionSpecification, GeoJSONSource, Map as MapLibre, StyleSpecification } from "maplibre-gl";
import { feature, mesh } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import coarseUrl from "world-atlas/countries-50m.json?url";
import fineUrl from "world-atlas/countries-10m.json?url";
import type { LonLat } from "./geodesy";
import { ringCentroid } from "./fences";
import type { Theme } from "./theme";

type Atlas = Topology<{ countries: GeometryCollection<{ name: string }> }>;

export interface Place {
  readonly name: string;
  readonly at: LonLat;
  /** Width of its main part in degrees, by which labels are ranked. */
  readonly widthDeg: number;
}

const FINE_FROM_ZOOM = 4.5;
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

/** Loads the outlines as they are needed; `onPlaces` hears the countries' names once. */
export async function loadBaseMap(map: MapLibre, onPlaces: (places: readonly Place[]) => void): Promise<void> {
  const coarse = await fetchAtlas(coarseUrl);
  show(map, coarse);
  onPlaces(places(coarse));
  const refine = (): void => {
    if (map.getZoom() < FINE_FROM_ZOOM) return;
    map.off("zoomend", refine);
    void fetchAtlas(fineUrl).then((fine) => show(map, fine));
  };
  map.on("zoomend", refine);
  refine();
}

async function fetchAtlas(url: string): Promise<Atlas> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`base map: ${response.status} ${response.statusText}`);
  return (await response.json()) as Atlas;
}

function show(map: MapLibre, atlas: Atlas): void {
  const { countries } = atlas.objects;
  const source = (id: string): GeoJSONSource => map.getSource(id) as GeoJSONSource;
  source("land").setData(feature(atlas, countries) as FeatureCollection);
  source("borders").setData(asFeature(mesh(atlas, countries, (a, b) => a !== b)));
  source("coast").setData(asFeature(withoutSeam(mesh(atlas, countries, (a, b) => a === b))));
}

const asFeature = (geometry: MultiLineString): Feature<MultiLineString> => ({ type: "Feature", properties: {}, geometry });

/** Polygons are cut at 180°; the cut is no coast. */
export function withoutSeam(lines: MultiLineString): MultiLineString {
  const onSeam = (point: Position): boolean => Math.abs(point[0] as number) > 179.99 || (point[1] as number) < -89.9;
  const coordinates: Position[][] = [];
  for (const line of lines.coordinates) {
    let part: Position[] = [];
    for (let i = 0; i < line.length; i++) {
      const point = line[i] as Position;
      const before = line[i - 1];
      if (before !== undefined && onSeam(before) && onSeam(point)) {
        if (part.length > 1) coordinates.push(part);
        part = [];
      }
      part.push(point);
    }
    if (part.length > 1) coordinates.push(part);
  }
  return { type: "MultiLineString", coordinates };
}

function places(atlas: Atlas): Place[] {
  const collection = feature(atlas, atlas.objects.countries) as FeatureCollection<Polygon | MultiPolygon, { name: string }>;
  const found = collection.features.flatMap(({ geometry, properties }): Place[] => {
    if (geometry === null) return [];
    const parts = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
    let best: Position[] | null = null;
    let bestWidth = 0;
    for (const [ring] of parts) {
      if (ring === undefined) continue;
      const longitudes = ring.map((point) => point[0] as number);
      const width = longitudes.reduce((a, b) => Math.max(a, b)) - longitudes.reduce((a, b) => Math.min(a, b));
      if (width > bestWidth) [best, bestWidth] = [ring, width];
    }
    return best === null ? [] : [{ name: properties.name, at: ringCentroid(best), widthDeg: bestWidth }];
  });
  return found.sort((a, b) => b.widthDeg - a.widthDeg);
}
