/**
 * The fleet as columns: one row a vehicle, rows dense from 0 to `length`. Frames are folded in without an object per
 * vehicle; the map reads the `shown` columns as they are.
 */
import { AGE_CLASSES, type AgeClass, ageClass } from "./age";
import type { PositionFrame } from "./frames";
import { glideMs, nearestLongitude, progress, turn } from "./motion";

export interface FleetChange {
  readonly added: number;
  readonly moved: number;
  readonly removed: number;
}

/** One row as an object, for the places that look at one vehicle. */
export interface Vehicle {
  readonly deviceNumber: number;
  readonly observedAtUs: number;
  readonly longitudeDeg: number;
  readonly latitudeDeg: number;
  readonly speedMps: number;
  readonly headingDeg: number;
  readonly accuracyM: number;
}

type Column = Float64Array | Float32Array | Uint32Array | Uint8Array;

export class Fleet {
  length = 0;

  deviceNumber = new Uint32Array(0);
  observedAtUs = new Float64Array(0);
  longitudeDeg = new Float64Array(0);
  latitudeDeg = new Float64Array(0);
  speedMps = new Float32Array(0);
  headingDeg = new Float32Array(0);
  accuracyM = new Float32Array(0);

  /** Where the vehicle is drawn now, longitude and latitude in turn, as deck.gl wants it. */
  shownPosition = new Float64Array(0);
  /** Drawn heading; NaN is a dot. */
  shownHeading = new Float32Array(0);
  shownAge = new Uint8Array(0);
  /** Counts changes of what symbol a row has: rows that come or go, ages, headings that become known. */
  symbolVersion = 0;

  /** Counts changes of which vehicles there are. */
  memberVersion = 0;

  private fromLongitude = new Float64Array(0);
  private fromLatitude = new Float64Array(0);
  private fromHeading = new Float32Array(0);
  private startMs = new Float64Array(0);
  private durationMs = new Float64Array(0);

  private readonly rows = new Map<number, number>();
  /** When the last glide ends; nothing moves after it. */
  private movingUntilMs = 0;

  row(deviceNumber: number): number | undefined {
    return this.rows.get(deviceNumber);
  }

  vehicle(deviceNumber: number): Vehicle | null {
    const row = this.rows.get(deviceNumber);
    if (row === undefined) return null;
    return {
      deviceNumber,
      observedAtUs: this.observedAtUs[row],
      longitudeDeg: this.longitudeDeg[row],
      latitudeDeg: this.latitudeDeg[row],
      speedMps: this.speedMps[row],
      headingDeg: this.headingDeg[row],
      accuracyM: this.accuracyM[row],
    };
  }

  /** Folds a frame in at browser time `nowMs`. A snapshot takes away what it does not name. */
  apply(frame: PositionFrame, nowMs: number): FleetChange {
    let added = 0;
    let moved = 0;
    let removed = 0;
    for (let i = 0; i < frame.count; i++) {
      const number = frame.deviceNumber[i];
      let row = this.rows.get(number);
      if (row === undefined) {
        row = this.append(number);
        added++;
      } else {
        // The server's word is the last: an older fix than before is one that a late fix put right.
        this.startGlide(row, frame.longitudeDeg[i], glideMs(this.observedAtUs[row], frame.observedAtUs[i]), nowMs);
        moved++;
        if (Number.isNaN(frame.headingDeg[i]) !== Number.isNaN(this.headingDeg[row])) this.symbolVersion++;
      }
      this.observedAtUs[row] = frame.observedAtUs[i];
      this.longitudeDeg[row] = frame.longitudeDeg[i];
      this.latitudeDeg[row] = frame.latitudeDeg[i];
      this.speedMps[row] = frame.speedMps[i];
      this.headingDeg[row] = frame.headingDeg[i];
      this.accuracyM[row] = frame.accuracyM[i];
      if (this.durationMs[row] === 0) this.show(row, 1);
    }
    for (let i = 0; i < frame.removed.length; i++) removed += this.remove(frame.removed[i]);
    if (frame.kind === "snapshot") {
      const named = new Set<number>(frame.deviceNumber);
      for (let row = this.length - 1; row >= 0; row--) {
        if (!named.has(this.deviceNumber[row])) removed += this.remove(this.deviceNumber[row]);
      }
    }
    if (added + removed > 0) {
      this.symbolVersion++;
      this.memberVersion++;
    }
    return { added, moved, removed };
  }

  /** Moves what glides to where it is at `nowMs`. False when nothing moved. */
  advance(nowMs: number): boolean {
    if (!this.moving) return false;
    for (let row = 0; row < this.length; row++) {
      if (this.durationMs[row] === 0) continue;
      const share = progress(nowMs, this.startMs[row], this.durationMs[row]);
      this.show(row, share);
      if (share === 1) this.durationMs[row] = 0;
    }
    if (nowMs >= this.movingUntilMs) this.movingUntilMs = 0;
    return true;
  }

  get moving(): boolean {
    return this.movingUntilMs > 0;
  }

  /** Sorts rows into age classes. True when any changed. */
  age(nowUs: number): boolean {
    let changed = false;
    for (let row = 0; row < this.length; row++) {
      const age = ageClass(nowUs - this.observedAtUs[row]);
      if (this.shownAge[row] !== age) {
        this.shownAge[row] = age;
        changed = true;
      }
    }
    if (changed) this.symbolVersion++;
    return changed;
  }

  /** How many rows each age class has. */
  ageCounts(): number[] {
    const counts = AGE_CLASSES.map(() => 0);
    for (let row = 0; row < this.length; row++) counts[this.shownAge[row] as AgeClass]++;
    return counts;
  }

  private startGlide(row: number, toLongitude: number, durationMs: number, nowMs: number): void {
    this.fromLongitude[row] = this.shownPosition[2 * row] + (toLongitude - nearestLongitude(this.shownPosition[2 * row], toLongitude));
    this.fromLatitude[row] = this.shownPosition[2 * row + 1];
    this.fromHeading[row] = this.shownHeading[row];
    this.startMs[row] = nowMs;
    this.durationMs[row] = durationMs;
    if (durationMs > 0) this.movingUntilMs = Math.max(this.movingUntilMs, nowMs + durationMs);
  }

  private show(row: number, share: number): void {
    if (share === 1) {
      this.shownPosition[2 * row] = this.longitudeDeg[row];
      this.shownPosition[2 * row + 1] = this.latitudeDeg[row];
      this.shownHeading[row] = this.headingDeg[row];
      return;
    }
    this.shownPosition[2 * row] = this.fromLongitude[row] + (this.longitudeDeg[row] - this.fromLongitude[row]) * share;
    this.shownPosition[2 * row + 1] = this.fromLatitude[row] + (this.latitudeDeg[row] - this.fromLatitude[row]) * share;
    // A vehicle turns at once more than it slides: half the glide is enough.
    this.shownHeading[row] = turn(this.fromHeading[row], this.headingDeg[row], Math.min(1, 2 * share));
  }

  private append(number: number): number {
    if (this.length === this.deviceNumber.length) this.grow();
    const row = this.length++;
    this.rows.set(number, row);
    this.deviceNumber[row] = number;
    this.durationMs[row] = 0;
    this.shownHeading[row] = Number.NaN;
    this.shownAge[row] = 0;
    return row;
  }

  /** Takes a row out; the last row takes its place. 1 when there was one. */
  private remove(number: number): number {
    const row = this.rows.get(number);
    if (row === undefined) return 0;
    const last = --this.length;
    this.rows.delete(number);
    if (row !== last) {
      for (const column of this.columns()) {
        const width = column === this.shownPosition ? 2 : 1;
        column.copyWithin(row * width, last * width, (last + 1) * width);
      }
      this.rows.set(this.deviceNumber[row], row);
    }
    return 1;
  }

  private columns(): Column[] {
    return [
      this.deviceNumber, this.observedAtUs, this.longitudeDeg, this.latitudeDeg, this.speedMps, this.headingDeg,
      this.accuracyM, this.shownPosition, this.shownHeading, this.shownAge, this.fromLongitude, this.fromLatitude,
      this.fromHeading, this.startMs, this.durationMs,
    ];
  }

  private grow(): void {
    const capacity = Math.max(1024, 2 * this.deviceNumber.length);
    const wider = <T extends Column>(column: T, width = 1): T => {
      const copy = new (column.constructor as new (length: number) => T)(capacity * width);
      copy.set(column);
      return copy;
    };
    this.deviceNumber = wider(this.deviceNumber);
    this.observedAtUs = wider(this.observedAtUs);
    this.longitudeDeg = wider(this.longitudeDeg);
    this.latitudeDeg = wider(this.latitudeDeg);
    this.speedMps = wider(this.speedMps);
    this.headingDeg = wider(this.headingDeg);
    this.accuracyM = wider(this.accuracyM);
    this.shownPosition = wider(this.shownPosition, 2);
    this.shownHeading = wider(this.shownHeading);
    this.shownAge = wider(this.shownAge);
    this.fromLongitude = wider(this.fromLongitude);
    this.fromLatitude = wider(this.fromLatitude);
    this.fromHeading = wider(this.fromHeading);
    this.startMs = wider(this.startMs);
    this.durationMs = wider(this.durationMs);
  }
}
