/** What comes by REST: all of it after every connection, parts of it when the server says that they changed. */
import { Problem, Unreachable, type Api } from "./api";
import { mergeEvents } from "./events";
import { fencesById, withFence } from "./fences";
import type { AppStore } from "./state";

export class Refresh {
  constructor(
    private readonly api: Api,
    private readonly store: AppStore,
    private readonly notice: (text: string) => void,
  ) {}

  async all(): Promise<void> {
    await Promise.all([this.fences(), this.events()]);
  }

  async fences(): Promise<void> {
    await this.forgiving(async () => this.store.set({ fences: fencesById(await this.api.fences()) }));
  }

  async fence(fenceId: string): Promise<void> {
    await this.forgiving(async () => {
      const fence = await this.api.fence(fenceId);
      const { fences } = this.store.get();
      // Our own save is known already; the same version again would only draw it twice.
      if (fence !== null && fence.version !== null && fences.get(fenceId)?.version === fence.version) return;
      this.store.set({ fences: withFence(fences, fenceId, fence) });
    });
  }

  async events(): Promise<void> {
    await this.forgiving(async () => {
      const [alerts, all] = await Promise.all([this.api.events(200, "&alerts=true"), this.api.events(200)]);
      this.store.set({ events: mergeEvents(this.store.get().events, [...alerts, ...all]) });
    });
  }

  /** A request that fails is made good by the next connection; the link indicator shows the trouble. */
  async forgiving(request: () => Promise<void>): Promise<void> {
    try {
      await request();
    } catch (error) {
      if (error instanceof Problem && error.status !== 401) this.notice(error.message);
      else if (!(error instanceof Problem || error instanceof Unreachable)) throw error;
    }
  }
}
