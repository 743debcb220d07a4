/**
 * The server's clock, as far as a browser can know it. Ages are differences between device time and now; with a wrong
 * clock on the dispatcher's desk every vehicle would look stale, so `now` follows the times that frames carry.
 */
export class ServerClock {
  /** Server minus browser, microseconds. A frame is late by its way here, never early: the greatest difference seen is the closest. */
  #offsetUs: number | null = null;

  constructor(private readonly browserNowMs: () => number = Date.now) {}

  heard(sentAtUs: number): void {
    const offsetUs = sentAtUs - this.browserNowMs() * 1000;
    if (this.#offsetUs === null || offsetUs > this.#offsetUs) this.#offsetUs = offsetUs;
    // Drifts back slowly, so that a clock set right meanwhile is noticed.
    else this.#offsetUs += (offsetUs - this.#offsetUs) * 0.01;
  }

  nowUs(): number {
    return this.browserNowMs() * 1000 + (this.#offsetUs ?? 0);
  }
}
