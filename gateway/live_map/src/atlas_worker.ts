/**
 * Keeps Natural Earth's outlines off the page's thread: fetches and unfolds them, and hands out the part that is looked at.
 * The fine outlines have half a million points; the page sees some thousands at a time.
 */
import type { FeatureCollection, MultiLineString, MultiPolygon, Polygon, Position } from "geojson";
import { feature, mesh } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import { type Boxed, boxed, clippedRing, linesIn, unwrapped, withoutSeam } from "./atlas_part";
import { ringCentroid } from "./fences";
import type { LonLat } from "./geodesy";
import type { Bounds } from "./subscription";

export interface Place {
  readonly name: string;
  readonly at: LonLat;
  /** Width of its main part in degrees, by which labels are ranked. */
  readonly widthDeg: number;
}

export interface AtlasRequest {
  readonly url: string;
  readonly box: Bounds;
}

export interface AtlasPart {
  readonly url: string;
  readonly box: Bounds;
  readonly land: MultiPolygon;
  readonly borders: MultiLineString;
  readonly coast: MultiLineString;
  readonly places: readonly Place[];
}

interface Atlas {
  readonly polygons: readonly (readonly Boxed[])[];
  readonly borders: readonly Boxed[];
  readonly coast: readonly Boxed[];
  readonly places: readonly Place[];
}

type Source = Topology<{ countries: GeometryCollection<{ name: string }> }>;

const atlases = new Map<string, Promise<Atlas>>();

async function load(url: string): Promise<Atlas> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`base map: ${response.status} ${response.statusText}`);
  const source = (await response.json()) as Source;
  const { countries } = source.objects;
  const { features } = feature(source, countries) as FeatureCollection<Polygon | MultiPolygon | null, { name: string }>;
  const parts = features.map(({ geometry, properties }) => ({
    name: properties.name,
    polygons: (geometry === null ? [] : geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates).map((rings) => rings.map(boxed)),
  }));
  return {
    polygons: parts.flatMap(({ polygons }) => polygons),
    borders: mesh(source, countries, (a, b) => a !== b).coordinates.map(boxed),
    coast: withoutSeam(mesh(source, countries, (a, b) => a === b)).map(boxed),
    places: parts.flatMap(({ name, polygons }) => place(name, polygons)).sort((a, b) => b.widthDeg - a.widthDeg),
  };
}

function place(name: string, polygons: readonly (readonly Boxed[])[]): Place[] {
  const width = (ring: Boxed | undefined): number => (ring === undefined ? 0 : ring.bounds[2] - ring.bounds[0]);
  const main = polygons.map(([outer]) => outer).reduce<Boxed | undefined>((best, outer) => (width(outer) > width(best) ? outer : best), undefined);
  return main === undefined ? [] : [{ name, at: ringCentroid(main.points), widthDeg: width(main) }];
}

function part(atlas: Atlas, url: string, box: Bounds): AtlasPart {
  const boxes = unwrapped(box);
  const land: Position[][][] = boxes.flatMap((each) =>
    atlas.polygons.map((rings) => rings.map((ring) => clippedRing(ring, each)).filter((ring) => ring.length > 0)).filter((rings) => rings.length > 0));
  const lines = (all: readonly Boxed[]): MultiLineString => ({ type: "MultiLineString", coordinates: boxes.flatMap((each) => linesIn(all, each)) });
  return { url, box, land: { type: "MultiPolygon", coordinates: land }, borders: lines(atlas.borders), coast: lines(atlas.coast), places: atlas.places };
}

// In the page, this file is a worker; in tests of its types it is not run.
self.onmessage = async ({ data: { url, box } }: MessageEvent<AtlasRequest>): Promise<void> => {
  let atlas = atlases.get(url);
  if (atlas === undefined) {
    atlas = load(url);
    atlases.set(url, atlas);
  }
  self.postMessage(part(await atlas, url, box));
};
