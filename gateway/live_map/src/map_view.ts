/**
 * The map: the one file that touches MapLibre and deck.gl, always by differences.
 *
 * The base map and fences are MapLibre's and are drawn anew only when the camera or a fence changes. What moves lies on
 * deck.gl's own canvas above it, so that a second of traffic never redraws the ground.
 */
import { type Layer } from "@deck.gl/core";
import { IconLayer, PathLayer, ScatterplotLayer } from "@deck.gl/layers";
import { MapLibreOverlay } from "@deck.gl/maplibre";
import { AttributionControl, type GeoJSONSource, Map as MapLibre, type MapMouseEvent, NavigationControl, ScaleControl, setWorkerUrl } from "maplibre-gl";
import "maplibre-gl/dist/maplibre-gl.css";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url";
import { type Place, baseStyle, loadBaseMap, paintBase } from "./base_map";
import { draftFeatures, handlePoints } from "./draft_view";
import { type Draft, type DrawInput, type Handle, heldHandle } from "./draw";
import { type Extent, type Fence, drawnFence, fenceDifference, fenceExtent } from "./fences";
import type { Fleet } from "./fleet";
import { type LonLat, metresPerPixel } from "./geodesy";
import { graticuleFeature, graticuleLines, graticuleStep, graticuleText } from "./graticule";
import { type Label, LabelBoard } from "./label_board";
import { placeLabels, textWidthPx } from "./labels";
import { Window, nearestRow } from "./mercator";
import { frameIntervalMs } from "./motion";
import { type Bounds, contains } from "./subscription";
import { drawSymbols, symbolName, type Symbols } from "./symbols";
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
const HANDLE_WITHIN_PX = 10;
const MOST_LABELS = 250;
const VEHICLE_LABELS_FROM_ZOOM = 9;
/** A few vehicles are named at any zoom. */
const FEW_VEHICLES = 40;
const COUNTRIES_BELOW_ZOOM = 8;

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
  private draft: Draft = { mode: "idle" };
  private held: Handle | null = null;

  private body: readonly TrailPiece[] = [];
  private trail: Trail | null = null;

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
      void loadBaseMap(this.map, (places) => {
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
    this.listenToPointer();
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
    this.trail = trail;
    this.body = trail === null ? [] : trailPieces(trail);
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
    this.map.fitBounds([west, south, east, north], { padding: { top: 70, bottom: 70, left: 360, right: 380 }, maxZoom: 15, duration });
  }

  bounds(): Bounds {
    const bounds = this.map.getBounds();
    return [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
  }

  get zoom(): number {
    return this.map.getZoom();
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

  // Pointers ----------------------------------------------------------------------------------------------------------

  private listenToPointer(): void {
    const at = (event: MapMouseEvent): LonLat => [event.lngLat.lng, event.lngLat.lat];
    this.map.on("click", (event) => {
      if (this.draft.mode === "shape") return;
      if (this.draft.mode !== "idle") {
        const first = this.draft.mode === "polygon" ? this.draft.vertices[0] : undefined;
        const closes = first !== undefined && this.near(first, event.point, HANDLE_WITHIN_PX);
        this.listener.draw({ type: "click", at: at(event), closes });
        return;
      }
      const vehicle = this.vehicleAt(event.point);
      this.listener.picked(vehicle, vehicle === null ? this.fenceAt(event.point) : null);
    });
    this.map.on("dblclick", () => this.listener.draw({ type: "finish" }));
    this.map.on("mousedown", (event) => {
      const handle = this.handleAt(event.point);
      if (handle === null) return;
      event.preventDefault();
      if (event.originalEvent.altKey && handle.kind === "vertex") this.listener.draw({ type: "remove_vertex", index: handle.index });
      else this.held = handle;
    });
    this.map.on("mousemove", (event) => {
      if (this.held !== null) {
        this.listener.draw({ type: "drag", handle: this.held, at: at(event) });
        this.held = heldHandle(this.held);
      } else if (this.draft.mode === "polygon" || this.draft.mode === "circle") {
        this.listener.draw({ type: "move", at: at(event) });
      } else {
        const overHandle = this.handleAt(event.point) !== null;
        const over = this.draft.mode === "idle" && (this.vehicleAt(event.point) !== null || this.fenceAt(event.point) !== null);
        this.map.getCanvas().style.cursor = overHandle ? "move" : over ? "pointer" : "";
      }
    });
    window.addEventListener("mouseup", () => {
      this.held = null;
    });
  }

  private near(place: LonLat, point: { x: number; y: number }, withinPx: number): boolean {
    const { x, y } = this.project(place);
    return Math.hypot(x - point.x, y - point.y) <= withinPx;
  }

  private handleAt(point: { x: number; y: number }): Handle | null {
    const found = handlePoints(this.draft).filter(({ at }) => this.near(at, point, HANDLE_WITHIN_PX));
    // A corner wins over the middle of a short edge.
    return (found.find(({ handle }) => handle.kind !== "middle") ?? found[0])?.handle ?? null;
  }

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
    if (this.moved || nowMs - this.lastLabelsMs > 500) this.chooseLabels(nowMs, window);
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

  private layers(): Layer[] {
    const { fleet, theme } = this;
    const zoom = this.map.getZoom();
    const sizePx = symbolPx(zoom);
    if (this.angles.length !== fleet.shownHeading.length) this.angles = new Float32Array(fleet.shownHeading.length);
    for (let row = 0; row < fleet.length; row++) {
      const heading = fleet.shownHeading[row];
      this.angles[row] = Number.isNaN(heading) ? 0 : -heading; // deck.gl turns the other way round
    }
    const place = this.shownPlace(this.selected);
    const vehicle = this.selected === null ? null : fleet.vehicle(this.selected);

    return [
      ...this.trailLayers(place),
      new ScatterplotLayer<LonLat>({
        id: "accuracy",
        data: place !== null && vehicle !== null && vehicle.accuracyM > 0 ? [place] : [],
        getPosition: (at) => [...at],
        getRadius: vehicle?.accuracyM ?? 0,
        radiusUnits: "meters",
        getFillColor: [...theme.trail, 28],
        getLineColor: [...theme.trail, 110],
        stroked: true,
        lineWidthUnits: "pixels",
        getLineWidth: 1,
        updateTriggers: { getRadius: vehicle?.accuracyM },
      }),
      new IconLayer({
        id: "vehicles",
        data: {
          length: fleet.length,
          attributes: {
            getPosition: { value: fleet.shownPosition, size: 2 },
            getAngle: { value: this.angles, size: 1 },
          },
        },
        iconAtlas: this.symbols.atlas as never,
        iconMapping: this.symbols.mapping as never,
        getIcon: ((_: unknown, { index }: { index: number }) => symbolName(fleet.shownAge[index], fleet.headingDeg[index])) as never,
        getSize: 1,
        sizeScale: sizePx,
        updateTriggers: { getIcon: fleet.symbolVersion },
      }),
      new ScatterplotLayer<LonLat>({
        id: "selection",
        data: place === null ? [] : [place],
        getPosition: (at) => [...at],
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

  private trailLayers(place: LonLat | null): Layer[] {
    const { theme, trail } = this;
    const last = trail?.positions[trail.positions.length - 1];
    const before = trail?.positions[trail.positions.length - 2];
    return [
      new PathLayer<TrailPiece>({
        id: "trail",
        // The way to the newest fix is drawn by the head, only as far as the vehicle has come.
        data: this.body as TrailPiece[],
        getPath: (piece) => (piece === this.body[this.body.length - 1] ? piece.path.slice(0, -1) : piece.path).map((at) => [...at] as [number, number]),
        getColor: ((piece: TrailPiece) => piece.shares.map((share) => [...theme.trail, 40 + 200 * share])) as never,
        getWidth: 3.5,
        widthUnits: "pixels",
        jointRounded: true,
        capRounded: true,
        updateTriggers: { getColor: theme.name },
      }),
      new PathLayer<LonLat[]>({
        id: "trail-head",
        data: place !== null && before !== undefined && last !== undefined && this.body.length > 0 ? [[before, place]] : [],
        getPath: (path) => path.map((at) => [...at] as [number, number]),
        getColor: [...theme.trail, 240],
        getWidth: 3.5,
        widthUnits: "pixels",
        capRounded: true,
        updateTriggers: { getColor: theme.name },
      }),
    ];
  }

  /** Chooses names that fit: the selected vehicle, fences, vehicles, countries, in this order. */
  private chooseLabels(nowMs: number, window: Window): void {
    this.lastLabelsMs = nowMs;
    const zoom = this.map.getZoom();
    const { fleet } = this;
    const candidates: { x: number; y: number; widthPx: number; heightPx: number; label: Label }[] = [];
    const add = (label: Label, x: number, y: number, sizePx: number): void => {
      candidates.push({ x, y: y + label.offsetPx, widthPx: textWidthPx(label.text, sizePx) + 10, heightPx: sizePx + 6, label });
    };
    const addVehicle = (row: number): void => {
      const number = fleet.deviceNumber[row];
      const label: Label = { key: `vehicle ${number}`, kind: "vehicle", text: this.names(number), at: () => this.shownPlace(number), offsetPx: symbolPx(zoom) / 2 + 9 };
      add(label, window.x(fleet.shownPosition[2 * row]), window.y(fleet.shownPosition[2 * row + 1]), 12);
    };
    const selected = this.selected === null ? undefined : fleet.row(this.selected);
    if (selected !== undefined) addVehicle(selected);

    for (const fence of this.fences.values()) {
      const extent = this.extents.get(fence.fenceId) as Extent;
      const widthPx = Math.abs(window.x(extent.east) - window.x(extent.west));
      if (widthPx < 22) continue;
      // Over the upper edge, out of the way of what is inside; in the middle when the upper edge is out of sight.
      const x = window.x(extent.anchor[0]);
      const overEdge = extent.labelled === "edge" && window.visible(x, window.y(extent.north), -24);
      const at: LonLat = overEdge ? [extent.anchor[0], extent.north] : extent.anchor;
      const y = window.y(at[1]);
      if (window.visible(x, y)) add({ key: `fence ${fence.fenceId}`, kind: "fence", text: fence.name, at: () => at, offsetPx: overEdge ? -10 : 0 }, x, y, 12);
    }

    const visible: number[] = [];
    for (let row = 0; row < fleet.length; row++) {
      if (row !== selected && window.visible(window.x(fleet.shownPosition[2 * row]), window.y(fleet.shownPosition[2 * row + 1]))) visible.push(row);
    }
    if (zoom >= VEHICLE_LABELS_FROM_ZOOM || visible.length <= FEW_VEHICLES) {
      // Named before, named again: names do not take turns.
      const rank = (row: number): number => (this.board.has(`vehicle ${fleet.deviceNumber[row]}`) ? 0 : 1);
      const ordered = visible.map((row) => ({ row, rank: rank(row), number: fleet.deviceNumber[row] }));
      for (const { row } of ordered.sort((a, b) => a.rank - b.rank || a.number - b.number)) addVehicle(row);
    }

    if (zoom < COUNTRIES_BELOW_ZOOM) {
      const pxPerDeg = (512 * 2 ** zoom) / 360;
      for (const country of this.places) {
        const [x, y] = [window.x(country.at[0]), window.y(country.at[1])];
        if (!window.visible(x, y) || textWidthPx(country.name, 13) > country.widthDeg * pxPerDeg * 1.1) continue;
        add({ key: `country ${country.name}`, kind: "country", text: country.name, at: () => country.at, offsetPx: 0 }, x, y, 14);
      }
    }
    this.board.show(placeLabels(candidates, MOST_LABELS).map((i) => (candidates[i] as (typeof candidates)[number]).label));
  }

  private showGraticule(): void {
    if (!this.loaded) return;
    const bounds = this.bounds();
    const { clientWidth } = this.map.getContainer();
    const step = graticuleStep((bounds[2] - bounds[0]) / clientWidth);
    const drawn = this.drawnGraticule;
    if (drawn === null || drawn.step !== step || !contains(drawn.bounds, bounds)) {
      const wide = withSurroundings(bounds);
      this.drawnGraticule = { step, bounds: wide };
      void this.source("graticule").setData(graticuleFeature(graticuleLines(wide, step), wide));
    }
    const window = this.window();
    const marks = graticuleLines(bounds, step).map((line) => {
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

/** Size of a vehicle's symbol. */
const symbolPx = (zoom: number): number => Math.min(24, Math.max(9, 9 + (zoom - 3) * 1.6));

/** Lines are drawn a bit beyond the view, so that a drag does not show their ends. */
function withSurroundings([west, south, east, north]: Bounds): Bounds {
  const [wide, high] = [(east - west) / 2, (north - south) / 2];
  return [west - wide, Math.max(-85, south - high), east + wide, Math.min(85, north + high)];
}
