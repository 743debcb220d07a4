/**
 * Binary frames of live positions, as `gateway/live/frames.py` packs them.
 *
 * Little-endian. A header of 40 bytes, then columns, each padded to 8 bytes, so that typed arrays lie straight on the
 * received buffer: nothing is copied and no object is made per vehicle.
 */

const MAGIC = 0x564c5244; // "DRLV"
const VERSION = 1;
const HEADER_BYTES = 40;

export interface PositionFrame {
  /** A snapshot is everything that is subscribed; a difference is what changed since the frame before. */
  readonly kind: "snapshot" | "difference";
  readonly sequence: number;
  readonly sentAtUs: number;
  readonly count: number;
  readonly observedAtUs: Float64Array;
  readonly longitudeDeg: Float64Array;
  readonly latitudeDeg: Float64Array;
  readonly deviceNumber: Uint32Array;
  /** NaN where unknown; so are heading and accuracy. */
  readonly speedMps: Float32Array;
  readonly headingDeg: Float32Array;
  readonly accuracyM: Float32Array;
  /** Device numbers that left the subscription. */
  readonly removed: Uint32Array;
}

/** A frame that is not what the header promises. The connection is at fault, not the data: reconnect. */
export class DamagedFrame extends Error {}

const padded = (bytes: number): number => (bytes + 7) & ~7;

/** Length in bytes of a frame with `count` positions and `removed` removals. */
export function frameBytes(count: number, removed: number): number {
  return HEADER_BYTES + 3 * 8 * count + 4 * padded(4 * count) + padded(4 * removed);
}

/** Lays columns over `buffer`. Throws DamagedFrame. */
export function decodeFrame(buffer: ArrayBuffer): PositionFrame {
  if (buffer.byteLength < HEADER_BYTES) throw new DamagedFrame(`${buffer.byteLength} bytes are no frame`);
  const header = new DataView(buffer);
  if (header.getUint32(0, true) !== MAGIC) throw new DamagedFrame("not a position frame");
  const version = header.getUint8(4);
  if (version !== VERSION) throw new DamagedFrame(`frame version ${version}, this page reads ${VERSION}: reload it`);
  const kind = header.getUint8(5);
  if (kind !== 1 && kind !== 2) throw new DamagedFrame(`frame kind ${kind}`);
  const count = header.getUint32(8, true);
  const removed = header.getUint32(12, true);
  const expected = frameBytes(count, removed);
  if (buffer.byteLength !== expected) {
    throw new DamagedFrame(`${buffer.byteLength} bytes where ${count} positions and ${removed} removals take ${expected}`);
  }

  let offset = HEADER_BYTES;
  const next = <T>(column: new (buffer: ArrayBuffer, offset: number, length: number) => T, width: number, length: number): T => {
    const array = new column(buffer, offset, length);
    offset += padded(width * length);
    return array;
  };
  return {
    kind: kind === 1 ? "snapshot" : "difference",
    sequence: header.getFloat64(16, true),
    sentAtUs: header.getFloat64(24, true),
    count,
    observedAtUs: next(Float64Array, 8, count),
    longitudeDeg: next(Float64Array, 8, count),
    latitudeDeg: next(Float64Array, 8, count),
    deviceNumber: next(Uint32Array, 4, count),
    speedMps: next(Float32Array, 4, count),
    headingDeg: next(Float32Array, 4, count),
    accuracyM: next(Float32Array, 4, count),
    removed: next(Uint32Array, 4, removed),
  };
}
