/** Events as the gateway sends them, and the words a dispatcher reads. */
import { timeUs } from "./time";

export type Severity = "none" | "info" | "warning" | "critical";
/** As told first; corrected; or taken back: it did not happen. */
export type Standing = "told" | "amended" | "withdrawn";

export interface TrackingEventJson {
  readonly event_id: string;
  readonly device_id: string;
  readonly device_number: number;
  readonly observed_at: string;
  readonly confirmed_at?: string | null;
  readonly cause?: string;
  readonly revision?: number;
  readonly standing?: string;
  readonly amends_event_id?: string;
  readonly assumed?: boolean;
  readonly severity?: string;
  readonly latitude_deg?: number | null;
  readonly longitude_deg?: number | null;
  readonly kind: string;
  readonly alert?: boolean;
  readonly details?: Readonly<Record<string, unknown>>;
}

export interface TrackingEvent {
  readonly eventId: string;
  readonly deviceId: string;
  readonly deviceNumber: number;
  readonly observedAtUs: number;
  /** The observation that made it certain; the time itself where none was needed. */
  readonly confirmedAtUs: number;
  readonly cause: string;
  readonly revision: number;
  readonly standing: Standing;
  /** The id under which the event was first told: the same through all its revisions. */
  readonly firstId: string;
  readonly assumed: boolean;
  readonly severity: Severity;
  readonly alert: boolean;
  readonly longitudeDeg: number | null;
  readonly latitudeDeg: number | null;
  readonly kind: string;
  readonly details: Readonly<Record<string, unknown>>;
}

const SEVERITIES: readonly string[] = ["none", "info", "warning", "critical"];
const STANDINGS: readonly string[] = ["told", "amended", "withdrawn"];

export function readEvent(json: TrackingEventJson, alert = json.alert ?? false): TrackingEvent {
  return {
    eventId: json.event_id,
    deviceId: json.device_id,
    deviceNumber: json.device_number,
    observedAtUs: timeUs(json.observed_at),
    confirmedAtUs: timeUs(json.confirmed_at || json.observed_at),
    cause: json.cause ?? "",
    revision: json.revision ?? 0,
    standing: (STANDINGS.includes(json.standing ?? "") ? json.standing : "told") as Standing,
    firstId: json.amends_event_id || json.event_id,
    assumed: json.assumed ?? false,
    severity: (SEVERITIES.includes(json.severity ?? "") ? json.severity : "none") as Severity,
    alert,
    longitudeDeg: json.longitude_deg ?? null,
    latitudeDeg: json.latitude_deg ?? null,
    kind: json.kind,
    details: json.details ?? {},
  };
}

/** The feed keeps this many alerts, and as many other events; older ones are in the history. */
export const FEED_LIMIT = 500;

/**
 * `feed` with `arrived` in it: of each event its last revision, newest first by device time, bounded. Plain events never
 * push an alert out.
 */
export function mergeEvents(feed: readonly TrackingEvent[], arrived: readonly TrackingEvent[]): readonly TrackingEvent[] {
  const newest = new Map(feed.map((event) => [event.firstId, event]));
  let fresh = false;
  for (const event of arrived) {
    const known = newest.get(event.firstId);
    if (known !== undefined && known.revision >= event.revision) continue;
    newest.set(event.firstId, event);
    fresh = true;
  }
  if (!fresh) return feed;
  const room = { alerts: FEED_LIMIT, others: FEED_LIMIT };
  return [...newest.values()]
    .sort((a, b) => b.observedAtUs - a.observedAtUs)
    .filter((event) => (event.alert ? room.alerts-- : room.others--) > 0);
}

const QUANTITIES: Readonly<Record<string, (value: number) => string>> = {
  temperature_celsius: (value) => `${value.toFixed(1)} °C`,
  humidity_ratio: (value) => `${Math.round(value * 100)} % humidity`,
  shock_mps2: (value) => `${value.toFixed(1)} m/s² shock`,
  battery_ratio: (value) => `${Math.round(value * 100)} % battery`,
  fuel_ratio: (value) => `${Math.round(value * 100)} % fuel`,
  voltage_v: (value) => `${value.toFixed(1)} V`,
};

function reading(details: Readonly<Record<string, unknown>>, field: string): string {
  const value = Number(details[field]);
  const quantity = String(details.quantity ?? "");
  return QUANTITIES[quantity]?.(value) ?? `${quantity.replaceAll("_", " ")} ${Number(value.toPrecision(4))}`;
}

/** "sgtin 0614141.812345.6789" for a tag with a GS1 identity, else its bytes. */
function tag(details: Readonly<Record<string, unknown>>): string {
  const uri = String(details.epc_uri ?? "");
  return uri ? uri.replace("urn:epc:id:", "").replace(":", " ") : String(details.epc ?? "");
}

function kmh(speedMps: unknown): string {
  return `${Math.round(Number(speedMps) * 3.6)} km/h`;
}

/** " of 12.3 km", where that is known. */
function kilometres(details: Readonly<Record<string, unknown>>): string {
  const metres = Number(details.distance_m ?? Number.NaN);
  return Number.isNaN(metres) ? "" : ` of ${(metres / 1000).toFixed(1)} km`;
}

function metres(details: Readonly<Record<string, unknown>>): string {
  return `${Math.round(Number(details.distance_m))} m`;
}

/** What happened, without who: "entered Harbour". */
export function describe(event: TrackingEvent): string {
  const { details } = event;
  const fence = String(details.fence_name || details.fence_id || "a fence");
  switch (event.kind) {
    case "geofence_entered": return details.restated ? `in ${fence} as its hours begin` : `entered ${fence}`;
    case "geofence_exited": return `left ${fence}`;
    case "excursion_opened": return `out of limits: ${reading(details, "value")}`;
    case "excursion_closed": return `back within limits: ${reading(details, "value")}`;
    case "tag_arrived": return `read tag ${tag(details)}`;
    case "tag_departed": return `lost tag ${tag(details)}`;
    case "geofence_dwelt": return `stayed at ${fence}`;
    case "geofence_speeding": return `too fast in ${fence}: ${kmh(details.speed_mps)} where ${kmh(details.limit_mps)} is the limit`;
    case "geofence_crossed": return `passed through ${fence}`;
    case "missed_arrival": return `not at stop ${String(details.stop_id || details.fence_id)} in time`;
    case "corridor_left": return `strayed from ${fence}`;
    case "corridor_returned": return details.restated ? `on ${fence} as its hours begin` : `back on ${fence}`;
    case "signal_lost": return "signal lost";
    case "signal_restored": return "signal restored";
    case "stop_began": return "stopped";
    case "stop_ended": return "left its stop";
    case "trip_started": return "set off";
    case "trip_ended": return `ended its trip${kilometres(details)}`;
    case "devices_met": return `met ${String(details.other_device_id ?? "another")}, ${metres(details)} apart`;
    case "devices_parted": return `parted from ${String(details.other_device_id ?? "another")}, ${metres(details)} apart`;
    default: return event.kind.replaceAll("_", " ");
  }
}
