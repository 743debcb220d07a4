/** Packs frames for tests, byte by byte from the description of the protocol, not with the code under test. */
export interface Row {
  readonly device: number;
  readonly longitude?: number;
  readonly latitude?: number;
  readonly observedAtUs?: number;
  readonly speed?: number;
  readonly heading?: number;
}

export function packFrame(frame: { kind: "snapshot" | "difference"; rows: readonly Row[]; removed?: readonly number[]; sequence?: number; sentAtUs?: number }): ArrayBuffer {
  const bytes: number[] = [];
  const put = (width: number, write: (view: DataView) => void): void => {
    const view = new DataView(new ArrayBuffer(width));
    write(view);
    bytes.push(...new Uint8Array(view.buffer));
  };
  const u32 = (value: number): void => put(4, (view) => view.setUint32(0, value, true));
  const f32 = (value: number): void => put(4, (view) => view.setFloat32(0, value, true));
  const f64 = (value: number): void => put(8, (view) => view.setFloat64(0, value, true));
  const column = <T>(values: readonly T[], write: (value: T) => void): void => {
    values.forEach(write);
    while (bytes.length % 8 !== 0) bytes.push(0);
  };
  const { rows, removed = [] } = frame;
  bytes.push(0x44, 0x52, 0x4c, 0x56, 1, frame.kind === "snapshot" ? 1 : 2, 0, 0);
  u32(rows.length);
  u32(removed.length);
  f64(frame.sequence ?? 1);
  f64(frame.sentAtUs ?? 0);
  f64(0);
  column(rows.map((row) => row.observedAtUs ?? 1_700_000_000_000_000), f64);
  column(rows.map((row) => row.longitude ?? 0), f64);
  column(rows.map((row) => row.latitude ?? 0), f64);
  column(rows.map((row) => row.device), u32);
  column(rows.map((row) => row.speed ?? Number.NaN), f32);
  column(rows.map((row) => row.heading ?? Number.NaN), f32);
  column(rows.map(() => Number.NaN), f32);
  column(removed, u32);
  return new Uint8Array(bytes).buffer;
}
