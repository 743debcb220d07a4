/** The recent way of one vehicle: stored fixes from the server, then live ones as they come. */
import type { Api } from "./api";
import type { Fleet } from "./fleet";
import type { LonLat } from "./geodesy";
import type { Selection } from "./state";

export interface Trail {
  readonly deviceNumber: number;
  readonly positions: readonly LonLat[];
  readonly observedAtUs: readonly number[];
}

/** No line is drawn across a longer silence: nobody knows the way. */
const LONGEST_GAP_US = 15 * 60e6;
const LONGEST_TRAIL = 5000;

/** `trail` with a live fix at its end; the same trail when the fix is not newer. */
export function extended(trail: Trail, position: LonLat, observedAtUs: number): Trail {
  const last = trail.observedAtUs[trail.observedAtUs.length - 1];
  if (last !== undefined && observedAtUs <= last) return trail;
  return {
    deviceNumber: trail.deviceNumber,
    positions: [...trail.positions.slice(-LONGEST_TRAIL), position],
    observedAtUs: [...trail.observedAtUs.slice(-LONGEST_TRAIL), observedAtUs],
  };
}

export interface TrailPiece {
  readonly path: readonly LonLat[];
  /** Share of the trail that lies before each point, 0 to 1: old parts fade. */
  readonly shares: readonly number[];
}

/** The trail cut at its gaps. */
export function trailPieces(trail: Trail): TrailPiece[] {
  const pieces: { path: LonLat[]; shares: number[] }[] = [];
  const last = Math.max(1, trail.positions.length - 1);
  trail.positions.forEach((position, i) => {
    const gapUs = i === 0 ? Infinity : (trail.observedAtUs[i] as number) - (trail.observedAtUs[i - 1] as number);
    if (gapUs > LONGEST_GAP_US) pieces.push({ path: [], shares: [] });
    const piece = pieces[pieces.length - 1] as { path: LonLat[]; shares: number[] };
    piece.path.push(position);
    piece.shares.push(i / last);
  });
  return pieces.filter((piece) => piece.path.length > 1);
}

/** How much of the past a trail shows. */
const TRAIL_US = 60 * 60e6;

/** Keeps the trail of the vehicle that is selected. */
export class TrailFollower {
  private selection: Selection | null = null;
  private trail: Trail | null = null;

  constructor(
    private readonly api: Api,
    private readonly fleet: Fleet,
    private readonly nowUs: () => number,
    private readonly show: (trail: Trail | null) => void,
  ) {}

  /** Asks for the stored part. Raises what the Api raises. */
  async follow(selection: Selection | null): Promise<void> {
    this.selection = selection;
    this.trail = null;
    this.show(null);
    if (selection === null) return;
    const lastUs = this.fleet.vehicle(selection.deviceNumber)?.observedAtUs ?? this.nowUs();
    const track = await this.api.track(selection.deviceId, lastUs - TRAIL_US);
    if (this.selection !== selection) return;
    this.trail = { deviceNumber: selection.deviceNumber, ...track };
    this.show(this.trail);
    this.extend();
  }

  /** A frame came. */
  extend(): void {
    const vehicle = this.trail === null ? null : this.fleet.vehicle(this.trail.deviceNumber);
    if (this.trail === null || vehicle === null) return;
    const longer = extended(this.trail, [vehicle.longitudeDeg, vehicle.latitudeDeg], vehicle.observedAtUs);
    if (longer === this.trail) return;
    this.trail = longer;
    this.show(longer);
  }
}
