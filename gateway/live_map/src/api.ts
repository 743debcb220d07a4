/** The gateway's REST, as far as the map needs it. Times become microseconds since the epoch here and nowhere else. */
import type { Feature, FeatureCollection, LineString, Point } from "geojson";
import { type TrackingEvent, type TrackingEventJson, readEvent } from "./events";
import { type Fence, type FenceGeometry, readFence } from "./fences";
import { timeText, timeUs } from "./time";

/** A request that the server refused: its problem document (RFC 9457), or what stands in for one. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
  ) {
    super(detail || title);
  }
}

/** The server could not be reached at all. */
export class Unreachable extends Error {}

export interface MapSettings {
  readonly tile_url: string | null;
  readonly attribution?: string | null;
  /** Fleets larger than this are followed by viewport; the page has a default. */
  readonly everything_limit?: number | null;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly next_cursor: string | null;
}

export interface PositionDetails {
  readonly display_name?: string | null;
  readonly inside_fence_ids?: readonly string[];
}

export interface ShipmentStop {
  readonly stop_id: string;
  readonly name?: string;
  readonly arrived_at?: string | null;
  readonly departed_at?: string | null;
  readonly planned_arrival_at?: string | null;
  readonly missed_at?: string | null;
}

export interface Shipment {
  readonly shipment_id: string;
  readonly reference?: string;
  readonly device_id: string;
  readonly status: string;
  readonly stops: readonly ShipmentStop[];
  readonly exceptions?: readonly { readonly kind: string; readonly detail: string; readonly closed_at?: string | null }[];
}

export interface StopEta {
  readonly stop_id: string;
  readonly p10_at: string | null;
  readonly p50_at: string | null;
  readonly p90_at: string | null;
  readonly passed: boolean;
}

export interface Eta {
  readonly stops: readonly StopEta[];
  readonly reasons: readonly string[];
}

/** A trail: fixes in device time order, as columns. */
export interface Track {
  readonly positions: readonly (readonly [number, number])[];
  readonly observedAtUs: readonly number[];
}

export class Api {
  /** `onRefused` hears of every 401, so that one place asks for a new token. */
  constructor(
    private readonly token: () => string | null,
    private readonly onRefused: () => void,
  ) {}

  mapSettings(): Promise<MapSettings> {
    return this.call<MapSettings>("GET", "map-settings");
  }

  /** Whether the token is taken; a server out of reach says nothing against it. */
  async accepted(): Promise<boolean> {
    const response = await this.request("GET", "events?limit=1").catch((error: unknown) => {
      if (error instanceof Unreachable) return null;
      throw error;
    });
    return response === null || (response.status !== 401 && response.status !== 403);
  }

  async fences(): Promise<Fence[]> {
    const fences: Fence[] = [];
    let cursor: string | null = null;
    do {
      const page: FeatureCollection<FenceGeometry> & { next_cursor?: string | null } = await this.call(
        "GET", `geofences?limit=1000${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`);
      fences.push(...page.features.map(readFence));
      cursor = page.next_cursor ?? null;
    } while (cursor !== null);
    return fences;
  }

  /** Null when there is none (any more). */
  async fence(fenceId: string): Promise<Fence | null> {
    return this.orNull(this.call<Feature<FenceGeometry>>("GET", `geofences/${encodeURIComponent(fenceId)}`).then(readFence));
  }

  async createFence(feature: Feature<FenceGeometry>): Promise<Fence> {
    return readFence(await this.call<Feature<FenceGeometry>>("POST", "geofences", feature));
  }

  /** Replaces a fence, unless someone else did since `version`. */
  async replaceFence(fenceId: string, version: number | null, feature: Feature<FenceGeometry>): Promise<Fence> {
    const headers: Record<string, string> = version === null ? {} : { "If-Match": `"${version}"` };
    return readFence(await this.call<Feature<FenceGeometry>>("PUT", `geofences/${encodeURIComponent(fenceId)}`, feature, headers));
  }

  async deleteFence(fenceId: string): Promise<void> {
    await this.orNull(this.call("DELETE", `geofences/${encodeURIComponent(fenceId)}`));
  }

  /** Newest first. */
  async events(limit: number, query = ""): Promise<TrackingEvent[]> {
    const page = await this.call<Page<TrackingEventJson>>("GET", `events?limit=${limit}${query}`);
    return page.items.map((item) => readEvent(item));
  }

  async position(deviceId: string): Promise<PositionDetails | null> {
    const feature = await this.orNull(this.call<Feature<Point, PositionDetails>>("GET", `devices/${encodeURIComponent(deviceId)}/position`));
    return feature?.properties ?? null;
  }

  /** Counted fixes from `fromUs` on, oldest first; at most `pages` pages of 1000. */
  async track(deviceId: string, fromUs: number, pages = 4): Promise<Track> {
    const positions: (readonly [number, number])[] = [];
    const observedAtUs: number[] = [];
    let cursor: string | null = null;
    for (let page = 0; page < pages; page++) {
      const query: string = `from=${encodeURIComponent(timeText(fromUs))}&limit=1000${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`;
      const feature: Feature<LineString | Point | null, { times: readonly string[]; next_cursor: string | null }> = await this.call(
        "GET", `devices/${encodeURIComponent(deviceId)}/track?${query}`);
      const geometry = feature.geometry;
      const coordinates = geometry === null ? [] : geometry.type === "Point" ? [geometry.coordinates] : geometry.coordinates;
      for (const [longitude, latitude] of coordinates) positions.push([longitude as number, latitude as number]);
      observedAtUs.push(...feature.properties.times.map(timeUs));
      cursor = feature.properties.next_cursor;
      if (cursor === null) break;
    }
    return { positions, observedAtUs };
  }

  /** Why a device has the events it has at a fence round a time, in sentences. */
  async explain(deviceId: string, fenceId: string, atUs: number): Promise<readonly string[]> {
    const query = `fence=${encodeURIComponent(fenceId)}&at=${encodeURIComponent(timeText(atUs))}`;
    return (await this.call<{ answer: readonly string[] }>("GET", `devices/${encodeURIComponent(deviceId)}/explain?${query}`)).answer;
  }

  /** Shipments of a device that are under way or planned, newest first. */
  async shipments(deviceId: string): Promise<readonly Shipment[]> {
    return (await this.call<Page<Shipment>>("GET", `shipments?device_id=${encodeURIComponent(deviceId)}&limit=20`)).items;
  }

  eta(shipmentId: string): Promise<Eta | null> {
    return this.orNull(this.call<Eta>("GET", `shipments/${encodeURIComponent(shipmentId)}/eta`));
  }

  private async orNull<T>(answer: Promise<T>): Promise<T | null> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof Problem && error.status === 404) return null;
      throw error;
    }
  }

  private async request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
    const token = this.token();
    try {
      return await fetch(`v1/${path}`, {
        method,
        headers: {
          Accept: "application/json",
          ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      if (error instanceof TypeError) throw new Unreachable("the gateway cannot be reached");
      throw error;
    }
  }

  private async call<T>(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<T> {
    const response = await this.request(method, path, body, headers);
    if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
    if (response.status === 401) this.onRefused();
    const text = await response.text();
    let problem: { title?: string; detail?: string } = {};
    if (response.headers.get("Content-Type")?.includes("json")) problem = JSON.parse(text) as typeof problem;
    throw new Problem(response.status, problem.title ?? response.statusText, problem.detail ?? "");
  }
}
