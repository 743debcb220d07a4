/** The left pane: vehicles or fences, one at a time. */
import { h } from "./elements";

export type Tab = "vehicles" | "fences";

export function showTabs(root: HTMLElement, panes: Readonly<Record<Tab, HTMLElement>>): (tab: Tab) => void {
  const names: readonly Tab[] = ["vehicles", "fences"];
  const buttons = names.map((tab) =>
    h("button", { type: "button", class: "tab", "data-testid": `tab-${tab}`, onclick: () => open(tab) }, tab === "vehicles" ? "Vehicles" : "Fences"));
  function open(chosen: Tab): void {
    names.forEach((tab, i) => {
      buttons[i]?.setAttribute("aria-pressed", String(tab === chosen));
      panes[tab].hidden = tab !== chosen;
    });
  }
  root.replaceChildren(h("div", { class: "tabs" }, ...buttons), panes.vehicles, panes.fences);
  open("vehicles");
  return open;
}
