/** Whether what is seen is live, and the legend of ages. */
import { AGE_CLASSES } from "./age";
import { h, setText } from "./elements";
import type { AppStore } from "./state";

const WORDS = { connecting: "connecting", live: "live", reconnecting: "reconnecting", refused: "signed out" } as const;

export function showLink(element: HTMLElement, store: AppStore, nowMs: () => number = Date.now): void {
  const dot = h("i", {});
  const word = h("span", {});
  const note = h("small", { "data-testid": "last-update" });
  element.replaceChildren(dot, word, note);
  const render = (): void => {
    const { link, heardAtMs } = store.get();
    element.dataset.phase = link.phase;
    setText(word, WORDS[link.phase]);
    const silentS = heardAtMs === 0 ? null : Math.floor((nowMs() - heardAtMs) / 1000);
    const inS = link.retryAtMs === null ? null : Math.max(0, Math.ceil((link.retryAtMs - nowMs()) / 1000));
    const updated = silentS === null ? "" : silentS < 5 ? "updated now" : `updated ${silentS < 120 ? `${silentS} s` : `${Math.floor(silentS / 60)} min`} ago`;
    setText(note, link.phase === "reconnecting" && inS !== null ? [`again in ${inS} s`, updated].filter(Boolean).join(", ") : updated);
  };
  store.watch(["link"], render);
  setInterval(render, 1000);
  render();
}

export function showLegend(element: HTMLElement, store: AppStore): void {
  const counts = AGE_CLASSES.map(({ name }) => h("b", { "data-testid": `count-${name}` }, "0"));
  element.replaceChildren(...AGE_CLASSES.map(({ name, meaning }, i) =>
    h("span", { title: `last fix ${meaning} old` }, h("i", { class: `dot ${name}` }), name, " ", counts[i] as HTMLElement)));
  const number = new Intl.NumberFormat();
  store.watch(["ageCounts"], ({ ageCounts }) => ageCounts.forEach((count, i) => setText(counts[i] as HTMLElement, number.format(count))));
}
