/**
 * The map: the one file that touches MapLibre and deck.gl, always by differences.
 *
 * The base map and fences are MapLibre's and are drawn anew only when the camera or a fence changes. What moves lies on
 * deck.gl's own canvas above it, so that a second of traffic never redraws the ground.
 */
import { MapLibreOverlay } from "@deck.gl/maplibre";
import { AttributionControl, type GeoJSONSource, Map as MapLibre, NavigationControl, ScaleControl, setWorkerUrl } from "maplibre-gl";
import "maplibre-gl/dist/maplibre-gl.css";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url";
import type { Place } from "./atlas_worker";
import { baseStyle, followBaseMap, paintBase } from "./base_map";
import { draftFeatures } from "./draft_view";
import { type Draft, type DrawInput, IDLE } from "./draw";
import { type Extent, type Fence, drawnFence, fenceDifference, fenceExtent } from "./fences";
import type { Fleet } from "./fleet";
import { type LonLat, metresPerPixel } from "./geodesy";
import { graticuleFeature, graticuleLines, graticuleStep, graticuleText } from "./graticule";
import { LabelBoard } from "./label_board";
import { chooseLabels } from "./label_choice";
import { Window, nearestRow } from "./mercator";
import { frameIntervalMs } from "./motion";
import { movingLayers, symbolPx } from "./moving_layers";
import { listenToPointer } from "./pointer";
import { type Bounds, contains } from "./subscription";
import { type Symbols, drawSymbols } from "./symbols";
import type { Theme } from "./theme";
import { type Trail, type TrailPiece, trailPieces } from "./trail";

setWorkerUrl(workerUrl);

export interface MapListener {
  /** A click that was not for drawing: what lies there. */
  picked(deviceNumber: number | null, fenceId: string | null): void;
  /** The visible part changed and came to rest. */
  viewed(bounds: Bounds): void;
  draw(input: DrawInput): void;
  /** The dispatcher moved the map by hand. */
  grabbed(): void;
}

const PICK_WITHIN_PX = 14;
const LABELS_EVERY_MS = 500;
/** While the camera moves; names that are shown move along in between. */
const LABELS_MOVING_EVERY_MS = 120;

export class MapView {
  private readonly map: MapLibre;
  private readonly overlay: MapLibreOverlay;
  private readonly board: LabelBoard;
  private symbols: Symbols;
  private loaded = false;

  private fences: ReadonlyMap<string, Fence> = new Map();
  private readonly extents = new Map<string, Extent>();
  private places: readonly Place[] = [];
  private selected: number | null = null;
  private selectedFence: string | null = null;
  private follows = false;
  private draft: Draft = IDLE;
  private trail: readonly TrailPiece[] = [];

  private names: (deviceNumber: number) => string = String;
  private angles = new Float32Array(0);
  private drawnGraticule: { step: number; bounds: Bounds } | null = null;
  private frame = 0;
  private framesDrawn = 0;
  private lastFrameMs = 0;
  private lastLabelsMs = 0;
  private lastFollowMs = 0;
  private moved = true;

  constructor(
    container: HTMLElement,
    labels: HTMLElement,
    private readonly graticule: HTMLElement,
    private readonly fleet: Fleet,
    private theme: Theme,
    tiles: { url: string; attribution: string } | null,
    private readonly listener: MapListener,
  ) {
    this.map = new MapLibre({
      container,
      style: baseStyle(tiles),
      center: [0, 25],
      zoom: 1.6,
      minZoom: 1,
      maxZoom: 19,
      // North is up and the view straight down: a dispatcher compares headings, and picking stays plain arithmetic.
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      maxPitch: 0,
      attributionControl: false,
      doubleClickZoom: true,
      fadeDuration: 0,
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(new NavigationControl({ showCompass: false }), "bottom-right");
    this.map.addControl(new ScaleControl({ maxWidth: 120, unit: "metric" }), "bottom-left");
    this.map.addControl(new AttributionControl({ compact: false, customAttribution: "Natural Earth" }), "bottom-right");
    this.board = new LabelBoard(labels);
    this.symbols = drawSymbols(theme);
    this.overlay = new MapLibreOverlay({ interleaved: false, layers: [], pickingRadius: 0 });
    this.map.addControl(this.overlay);
    this.map.getCanvas().setAttribute("aria-label", "Map: arrow keys move it, plus and minus zoom");

    this.map.on("style.load", () => {
      this.loaded = true;
      paintBase(this.map, this.theme);
      const fences = this.fences;
      this.fences = new Map();
      this.showFences(fences);
      this.showDraft(this.draft);
      this.showGraticule();
      followBaseMap(this.map, () => this.bounds(), (places) => {
        this.places = places;
        this.touch();
      });
    });
    this.map.on("move", () => {
      this.moved = true;
      this.showGraticule();
      this.request();
    });
    // The board moves with the ground, in the same picture.
    this.map.on("render", () => this.board.place(this.window()));
    this.map.on("moveend", () => this.listener.viewed(this.bounds()));
    this.map.on("dragstart", () => this.listener.grabbed());
    listenToPointer(this.map, {
      draft: () => this.draft,
      vehicleAt: (point) => this.vehicleAt(point),
      fenceAt: (point) => this.fenceAt(point),
      picked: (deviceNumber, fenceId) => this.listener.picked(deviceNumber, fenceId),
      draw: (input) => this.listener.draw(input),
    });
  }

  // What is shown -----------------------------------------------------------------------------------------------------

  /** The fleet's columns, or what names its vehicles, changed. */
  touch(): void {
    this.request();
  }

  nameBy(names: (deviceNumber: number) => string): void {
    this.names = names;
    this.lastLabelsMs = 0;
    this.request();
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    this.symbols = drawSymbols(theme);
    if (this.loaded) paintBase(this.map, theme);
    this.moved = true;
    this.request();
  }

  select(deviceNumber: number | null, follows: boolean): void {
    this.selected = deviceNumber;
    this.follows = follows;
    this.lastLabelsMs = 0;
    this.request();
  }

  showTrail(trail: Trail | null): void {
    this.trail = trail === null ? [] : trailPieces(trail);
    this.request();
  }

  showFences(fences: ReadonlyMap<string, Fence>): void {
    const { put, removed } = fenceDifference(this.fences, fences);
    this.fences = fences;
    for (const fenceId of removed) this.extents.delete(fenceId);
    for (const fence of put) this.extents.set(fence.fenceId, fenceExtent(fence));
    this.moved = true;
    this.request();
    // An update of a feature keeps its properties, so what is put is taken out first.
    if (this.loaded && put.length + removed.length > 0) {
      void this.source("fences").updateData({ remove: [...removed, ...put.map((fence) => fence.fenceId)], add: put.map(drawnFence) });
    }
  }

  selectFence(fenceId: string | null): void {
    if (this.selectedFence !== null && this.loaded) this.map.setFeatureState({ source: "fences", id: this.selectedFence }, { selected: false });
    this.selectedFence = fenceId;
    if (fenceId !== null && this.loaded) this.map.setFeatureState({ source: "fences", id: fenceId }, { selected: true });
  }

  showDraft(draft: Draft): void {
    const drawing = draft.mode === "polygon" || draft.mode === "circle";
    this.draft = draft;
    this.map.getCanvas().style.cursor = drawing ? "crosshair" : "";
    if (drawing) this.map.doubleClickZoom.disable();
    else this.map.doubleClickZoom.enable();
    if (this.loaded) void this.source("draft").setData(draftFeatures(draft));
  }

  // Where to look -----------------------------------------------------------------------------------------------------

  flyTo([longitude, latitude]: LonLat, zoom = Math.max(this.map.getZoom(), 13)): void {
    this.map.flyTo({ center: [longitude, latitude], zoom, duration: 900, essential: false });
  }

  fitFence(fenceId: string): void {
    const extent = this.extents.get(fenceId);
    if (extent !== undefined) this.fit([extent.west, extent.south, extent.east, extent.north]);
  }

  fit([west, south, east, north]: Bounds, duration = 700): void {
    // What the panels leave free; the draw panel is the one at the top.
    const padding = { top: this.draft.mode === "idle" ? 70 : 210, bottom: 70, left: 360, right: 380 };
    this.map.fitBounds([west, south, east, north], { padding, maxZoom: 15, duration });
  }

  bounds(): Bounds {
    const bounds = this.map.getBounds();
    return [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
  }

  get zoom(): number {
    return this.map.getZoom();
  }

  /** Whether the camera is on its way. */
  get travelling(): boolean {
    return this.map.isMoving();
  }

  get frames(): number {
    return this.framesDrawn;
  }

  /** Pixels of a place from the page's top left corner. */
  project([longitude, latitude]: LonLat): { x: number; y: number } {
    const { x, y } = this.map.project([longitude, latitude]);
    return { x, y };
  }

  jump([longitude, latitude]: LonLat, zoom: number): void {
    this.map.jumpTo({ center: [longitude, latitude], zoom });
  }

  // What lies at a pixel ----------------------------------------------------------------------------------------------

  private vehicleAt(point: { x: number; y: number }): number | null {
    const row = nearestRow(this.fleet.shownPosition, this.fleet.length, this.window(), point.x, point.y, PICK_WITHIN_PX);
    return row === null ? null : this.fleet.deviceNumber[row];
  }

  private fenceAt(point: { x: number; y: number }): string | null {
    if (!this.loaded) return null;
    const [feature] = this.map.queryRenderedFeatures([point.x, point.y], { layers: ["fence-area", "fence-corridor"] });
    return feature === undefined ? null : String(feature.properties.fence_id);
  }

  // Drawing -----------------------------------------------------------------------------------------------------------

  private source(id: string): GeoJSONSource {
    return this.map.getSource(id) as GeoJSONSource;
  }

  private window(): Window {
    const { lng, lat } = this.map.getCenter();
    const { clientWidth, clientHeight } = this.map.getContainer();
    return new Window(lng, lat, this.map.getZoom(), clientWidth, clientHeight);
  }

  private request(): void {
    if (this.frame === 0) this.frame = requestAnimationFrame((nowMs) => this.draw(nowMs));
  }

  private draw(nowMs: number): void {
    this.frame = 0;
    const interval = frameIntervalMs(metresPerPixel(this.map.getCenter().lat, this.map.getZoom()));
    if (!this.moved && nowMs - this.lastFrameMs < interval - 4) {
      this.request();
      return;
    }
    this.lastFrameMs = nowMs;
    this.framesDrawn++;
    this.fleet.advance(nowMs);
    const window = this.window();
    if (nowMs - this.lastLabelsMs > (this.map.isMoving() ? LABELS_MOVING_EVERY_MS : LABELS_EVERY_MS)) this.chooseLabels(nowMs, window);
    this.moved = false;
    this.board.place(window);
    this.follow(nowMs, window);
    this.overlay.setProps({ layers: this.layers() });
    if (this.fleet.moving) this.request();
  }

  /** Brings a followed vehicle back to the middle once it has gone far from it; gently, and not all the time. */
  private follow(nowMs: number, window: Window): void {
    const place = this.follows ? this.shownPlace(this.selected) : null;
    if (place === null || nowMs - this.lastFollowMs < 1000) return;
    const off = Math.max(
      Math.abs(window.x(place[0]) / window.widthPx - 0.5),
      Math.abs(window.y(place[1]) / window.heightPx - 0.5),
    );
    if (off < 0.12) return;
    this.lastFollowMs = nowMs;
    this.map.easeTo({ center: [place[0], place[1]], duration: 800 });
  }

  /** Where a vehicle is drawn now. */
  shownPlace(deviceNumber: number | null): LonLat | null {
    const row = deviceNumber === null ? undefined : this.fleet.row(deviceNumber);
    return row === undefined ? null : [this.fleet.shownPosition[2 * row], this.fleet.shownPosition[2 * row + 1]];
  }

  private layers(): ReturnType<typeof movingLayers> {
    const { fleet } = this;
    if (this.angles.length !== fleet.shownHeading.length) this.angles = new Float32Array(fleet.shownHeading.length);
    for (let row = 0; row < fleet.length; row++) {
      const heading = fleet.shownHeading[row];
      this.angles[row] = Number.isNaN(heading) ? 0 : -heading; // deck.gl turns the other way round
    }
    const at = this.shownPlace(this.selected);
    const selected = at === null ? null : { at, accuracyM: fleet.vehicle(this.selected as number)?.accuracyM ?? Number.NaN };
    return movingLayers({ fleet, angles: this.angles, symbols: this.symbols, theme: this.theme, symbolPx: symbolPx(this.map.getZoom()), selected, trail: this.trail });
  }

  private chooseLabels(nowMs: number, window: Window): void {
    this.lastLabelsMs = nowMs;
    const { fleet, fences, extents, places, selected } = this;
    const shownPlace = (deviceNumber: number): LonLat | null => this.shownPlace(deviceNumber);
    const things = { fleet, fences, extents, places, selected, shownPlace, nameOf: this.names, onBoard: (key: string) => this.board.label(key) };
    this.board.show(chooseLabels(things, window, this.map.getZoom()));
  }

  private showGraticule(): void {
    if (!this.loaded) return;
    const bounds = this.bounds();
    const { clientWidth, clientHeight } = this.map.getContainer();
    const step = graticuleStep((bounds[2] - bounds[0]) / clientWidth);
    const drawn = this.drawnGraticule;
    if (drawn === null || drawn.step !== step || !contains(drawn.bounds, bounds)) {
      const wide = withSurroundings(bounds);
      this.drawnGraticule = { step, bounds: wide };
      void this.source("graticule").setData(graticuleFeature(graticuleLines(wide, step), wide));
    }
    const window = this.window();
    // The scale bar and the marks of longitude have the lower and upper edge.
    const free = graticuleLines(bounds, step).filter((line) => line.axis === "longitude" || Math.abs(window.y(line.deg) - clientHeight / 2) < clientHeight / 2 - 40);
    const marks = free.map((line) => {
      const mark = document.createElement("span");
      mark.textContent = graticuleText(line, step);
      if (line.axis === "longitude") mark.style.cssText = `left:${this.project([line.deg, bounds[1]]).x}px;top:0px`;
      else mark.style.cssText = `top:${window.y(line.deg)}px`;
      mark.className = line.axis;
      return mark;
    });
    this.graticule.replaceChildren(...marks);
  }
}

/** Lines are drawn a bit beyond the view, so that a drag does not show their ends. */
function withSurroundings([west, south, east, north]: Bounds): Bounds {
  const [wide, high] = [(east - west) / 2, (north - south) / 2];
  return [west - wide, Math.max(-85, south - high), east + wide, Math.min(85, north + high)];
}
