/**
 * The live socket: subscribes, decodes, watches that the line is alive, and comes back with backoff where it left off.
 * Everything it needs from the outside is a port, so that tests drive it with a false socket and a false clock.
 */
import { DamagedFrame, type PositionFrame, decodeFrame } from "./frames";
import type { Subscription } from "./subscription";

export type Phase = "connecting" | "live" | "reconnecting" | "refused";

export interface Link {
  readonly phase: Phase;
  /** Failed attempts since the line was last live. */
  readonly attempt: number;
  /** Browser time of the next attempt, when one is planned. */
  readonly retryAtMs: number | null;
}

/** A text message of the server, by its `type`. */
export type ServerMessage =
  | { readonly type: "subscribed"; readonly resume: string | null }
  | { readonly type: "names"; readonly devices: readonly { device_number: number; device_id: string; display_name?: string | null }[] }
  | { readonly type: "event"; readonly alert: boolean; readonly event: unknown }
  | { readonly type: "events_missed"; readonly count: number }
  | { readonly type: "definition_changed"; readonly kind: string; readonly id: string }
  | { readonly type: "shipment_changed"; readonly id: string }
  | { readonly type: "error"; readonly problem: { readonly title?: string; readonly detail?: string } }
  | { readonly type: "pong" };

/** The part of WebSocket that is used. */
export interface Socket {
  binaryType: BinaryType;
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export interface Ports {
  /** Opens a socket; throws where the token cannot be sent. */
  open(): Socket;
  /** Whether the server still takes our token. Unreachable counts as yes: that is the backoff's business. */
  accepted(): Promise<boolean>;
  subscription(): Subscription;
  nowMs(): number;
  after(delayMs: number, call: () => void): () => void;
  random(): number;
}

export interface Listener {
  link(link: Link): void;
  frame(frame: PositionFrame): void;
  message(message: ServerMessage): void;
}

const FIRST_BACKOFF_MS = 500;
const LONGEST_BACKOFF_MS = 15_000;
/** The server answers a ping; a line silent for longer is dead, whatever TCP thinks. */
const PING_EVERY_MS = 10_000;
const DEAD_AFTER_MS = 25_000;

/** Close codes: the gateway's for a token that is invalid or has run out, and our own. */
const UNAUTHENTICATED = 4401;
const DAMAGED = 4000;
const DEAD = 4001;

/** Delay before attempt number `attempt` (from 1), with half of it random, so that a fleet of pages does not come back at once. */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(attempt - 1, 10));
  return full * (0.5 + 0.5 * random);
}

export class Connection {
  private socket: Socket | null = null;
  private attempt = 0;
  private everOpened = false;
  private resume: string | null = null;
  /** Of the newest frame; with the resume token the server sends what changed since. */
  private sequence: number | null = null;
  /** Frames of the subscription before may still be on their way; they do not count as a place to go on from. */
  private awaitsSnapshot = true;
  private heardAtMs = 0;
  private cancelRetry: (() => void) | null = null;
  private cancelPing: (() => void) | null = null;

  constructor(
    private readonly ports: Ports,
    private readonly listener: Listener,
  ) {}

  /** Connects now; a planned attempt is brought forward. No effect on an open line. */
  start(): void {
    this.cancelRetry?.();
    this.cancelRetry = null;
    if (this.socket !== null) return;
    this.listener.link({ phase: this.everOpened || this.attempt > 0 ? "reconnecting" : "connecting", attempt: this.attempt, retryAtMs: null });
    const socket = this.ports.open();
    this.socket = socket;
    let opened = false;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      opened = true;
      this.everOpened = true;
      this.heardAtMs = this.ports.nowMs();
      this.subscribe();
      this.watch();
    };
    socket.onmessage = (event: MessageEvent) => {
      if (this.socket === socket) this.heard(event.data as ArrayBuffer | string);
    };
    socket.onclose = (event: CloseEvent) => {
      if (this.socket === socket) void this.lost(opened, event.code);
    };
  }

  /** Ends the line and forgets where it was. */
  stop(): void {
    this.cancelRetry?.();
    this.cancelPing?.();
    this.cancelRetry = null;
    this.cancelPing = null;
    const socket = this.socket;
    this.socket = null;
    this.resume = null;
    this.sequence = null;
    this.attempt = 0;
    socket?.close(1000);
  }

  /** Tells the server of a changed subscription; it answers with a snapshot. */
  resubscribe(): void {
    this.resume = null;
    this.sequence = null;
    if (this.socket !== null) this.subscribe();
  }

  private subscribe(): void {
    const place = this.resume === null || this.sequence === null ? null : { resume: this.resume, sequence: this.sequence };
    this.awaitsSnapshot = place === null;
    this.send({ type: "subscribe", ...this.ports.subscription(), format: "binary", events: "all", ...place });
  }

  private send(message: object): void {
    try {
      this.socket?.send(JSON.stringify(message));
    } catch (error) {
      // A socket that is not open yet or closing; its own events tell the rest.
      if (!(error instanceof DOMException)) throw error;
    }
  }

  private heard(data: ArrayBuffer | string): void {
    this.heardAtMs = this.ports.nowMs();
    if (typeof data !== "string") {
      try {
        const frame = decodeFrame(data);
        if (frame.kind === "snapshot") this.awaitsSnapshot = false;
        if (!this.awaitsSnapshot) this.sequence = frame.sequence;
        this.listener.frame(frame);
      } catch (error) {
        if (!(error instanceof DamagedFrame)) throw error;
        console.error("drover: damaged frame:", error.message);
        this.resume = null;
        this.socket?.close(DAMAGED);
      }
      return;
    }
    const message = JSON.parse(data) as ServerMessage;
    if (message.type === "subscribed") {
      this.resume = message.resume;
      this.attempt = 0;
      this.listener.link({ phase: "live", attempt: 0, retryAtMs: null });
    }
    this.listener.message(message);
  }

  private watch(): void {
    this.cancelPing?.();
    this.cancelPing = this.ports.after(PING_EVERY_MS, () => {
      if (this.ports.nowMs() - this.heardAtMs > DEAD_AFTER_MS) {
        const socket = this.socket;
        void this.lost(true, DEAD);
        socket?.close(DEAD);
        return;
      }
      this.send({ type: "ping" });
      this.watch();
    });
  }

  private async lost(opened: boolean, code: number): Promise<void> {
    this.cancelPing?.();
    this.cancelPing = null;
    this.socket = null;
    this.attempt++;
    const attempt = this.attempt;
    const delayMs = backoffMs(attempt, this.ports.random());
    const retryAtMs = this.ports.nowMs() + delayMs;
    this.cancelRetry?.();
    this.cancelRetry = this.ports.after(delayMs, () => this.start());
    this.listener.link({ phase: "reconnecting", attempt, retryAtMs });
    // A browser does not say why a handshake failed. Ask by REST whether it was the token.
    const refused = code === UNAUTHENTICATED || (!opened && !(await this.ports.accepted()));
    // Meanwhile someone may have signed in again.
    if (refused && this.attempt === attempt) {
      this.stop();
      this.listener.link({ phase: "refused", attempt, retryAtMs: null });
    }
  }
}
