import { beforeEach, expect, test } from "vitest";
import { Connection, type Link, type Socket, backoffMs } from "../src/connection";
import type { PositionFrame } from "../src/frames";
import { EVERYTHING, type Subscription } from "../src/subscription";
import { packFrame } from "./pack_frame";

class FakeSocket implements Socket {
  binaryType: BinaryType = "blob";
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  sent: Record<string, unknown>[] = [];
  closedWith: number | undefined;
  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
  close(code?: number): void {
    this.closedWith = code;
  }
  opens(): void {
    this.onopen?.(new Event("open"));
  }
  says(data: object | ArrayBuffer): void {
    this.onmessage?.({ data: data instanceof ArrayBuffer ? data : JSON.stringify(data) } as MessageEvent);
  }
  async drops(code = 1006): Promise<void> {
    this.onclose?.({ code } as CloseEvent);
    await Promise.resolve();
    await Promise.resolve();
  }
}

let sockets: FakeSocket[];
let links: Link[];
let frames: PositionFrame[];
let timers: { atMs: number; call: () => void }[];
let nowMs: number;
let accepted: boolean;
let subscription: Subscription;
let connection: Connection;

const last = (): FakeSocket => sockets[sockets.length - 1] as FakeSocket;
const phase = (): string | undefined => links[links.length - 1]?.phase;

/** Lets time pass; timers fire in order. */
function passes(ms: number): void {
  const untilMs = nowMs + ms;
  for (;;) {
    const next = timers.filter((timer) => timer.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
    if (next === undefined) break;
    timers.splice(timers.indexOf(next), 1);
    nowMs = next.atMs;
    next.call();
  }
  nowMs = untilMs;
}

function goesLive(resume = "t1"): FakeSocket {
  const socket = last();
  socket.opens();
  socket.says({ type: "subscribed", resume });
  return socket;
}

beforeEach(() => {
  [sockets, links, frames, timers, nowMs, accepted, subscription] = [[], [], [], [], 1_000_000, true, EVERYTHING];
  connection = new Connection(
    {
      open() {
        sockets.push(new FakeSocket());
        return last();
      },
      accepted: () => Promise.resolve(accepted),
      subscription: () => subscription,
      nowMs: () => nowMs,
      after(delayMs, call) {
        const timer = { atMs: nowMs + delayMs, call };
        timers.push(timer);
        return () => {
          if (timers.includes(timer)) timers.splice(timers.indexOf(timer), 1);
        };
      },
      random: () => 1,
    },
    { link: (link) => links.push(link), frame: (frame) => frames.push(frame), message: () => undefined },
  );
});

test("subscribes when open, and is live when the server says so", () => {
  connection.start();
  expect(phase()).toBe("connecting");
  last().opens();
  expect(last().binaryType).toBe("arraybuffer");
  expect(last().sent).toEqual([{ type: "subscribe", everything: true, format: "binary", events: "all" }]);
  expect(phase()).toBe("connecting");
  last().says({ type: "subscribed", resume: "t1" });
  expect(phase()).toBe("live");
  last().says(packFrame({ kind: "snapshot", rows: [{ device: 3 }] }));
  expect([...(frames[0] as PositionFrame).deviceNumber]).toEqual([3]);
});

test("comes back where it was: with token and sequence of the last frame", async () => {
  connection.start();
  goesLive();
  last().says(packFrame({ kind: "snapshot", rows: [], sequence: 41 }));
  last().says(packFrame({ kind: "difference", rows: [], sequence: 42 }));
  await last().drops();
  expect(links[links.length - 1]).toEqual({ phase: "reconnecting", attempt: 1, retryAtMs: nowMs + 500 });
  passes(500);
  expect(sockets).toHaveLength(2);
  last().opens();
  expect(last().sent[0]).toMatchObject({ resume: "t1", sequence: 42 });
});

test("does not go on from a frame of the subscription before", async () => {
  connection.start();
  const socket = goesLive();
  socket.says(packFrame({ kind: "snapshot", rows: [], sequence: 41 }));
  subscription = { viewport: [0, 0, 1, 1] };
  connection.resubscribe();
  expect(socket.sent[1]).toMatchObject({ viewport: [0, 0, 1, 1] });
  expect(socket.sent[1]).not.toHaveProperty("resume");
  socket.says(packFrame({ kind: "difference", rows: [], sequence: 42 })); // still of everything
  socket.says({ type: "subscribed", resume: "t2" });
  await socket.drops();
  passes(500);
  last().opens();
  expect(last().sent[0]).not.toHaveProperty("resume");
});

test("waits longer each time, up to a bound, and forgets that once live", async () => {
  connection.start();
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    await last().drops();
    const link = links[links.length - 1] as Link;
    waits.push((link.retryAtMs as number) - nowMs);
    passes(waits[i] as number);
  }
  expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
  goesLive();
  await last().drops();
  expect((links[links.length - 1] as Link).retryAtMs).toBe(nowMs + 500);
});

test("half of the wait is random", () => {
  expect(backoffMs(3, 0)).toBe(1000);
  expect(backoffMs(3, 1)).toBe(2000);
  expect(backoffMs(1000, 1)).toBe(15_000);
});

test("start() brings a planned attempt forward, and makes no second socket", async () => {
  connection.start();
  goesLive();
  await last().drops();
  connection.start();
  connection.start();
  passes(60_000 - 1);
  expect(sockets).toHaveLength(2);
});

test("a silent line is dead", () => {
  connection.start();
  const socket = goesLive();
  passes(10_000);
  expect(socket.sent[1]).toEqual({ type: "ping" });
  socket.says({ type: "pong" });
  passes(20_000);
  expect(socket.closedWith).toBeUndefined();
  passes(10_000);
  expect(socket.closedWith).toBe(4001);
  expect(phase()).toBe("reconnecting");
});

test("a pinged line that answers lives on", () => {
  connection.start();
  const socket = goesLive();
  for (let i = 0; i < 20; i++) {
    passes(10_000);
    socket.says({ type: "pong" });
  }
  expect(phase()).toBe("live");
  expect(sockets).toHaveLength(1);
});

test("a refused token stops the attempts: told by close code, or asked when the handshake fails", async () => {
  connection.start();
  goesLive();
  await last().drops(4401);
  expect(phase()).toBe("refused");
  passes(60_000);
  expect(sockets).toHaveLength(1);

  connection.start();
  accepted = false;
  await last().drops();
  expect(phase()).toBe("refused");
  passes(60_000);
  expect(sockets).toHaveLength(2);
});

test("a damaged frame closes the line and asks for a snapshot after", async () => {
  connection.start();
  const socket = goesLive();
  socket.says(packFrame({ kind: "snapshot", rows: [], sequence: 9 }));
  socket.says(new ArrayBuffer(12));
  expect(socket.closedWith).toBe(4000);
  await socket.drops(4000);
  passes(500);
  last().opens();
  expect(last().sent[0]).not.toHaveProperty("resume");
});

test("stop() is final until started again", async () => {
  connection.start();
  const socket = goesLive();
  connection.stop();
  expect(socket.closedWith).toBe(1000);
  await socket.drops(1000);
  passes(60_000);
  expect(sockets).toHaveLength(1);
});
