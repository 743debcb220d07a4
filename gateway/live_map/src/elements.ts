/** Elements without a framework: the panels are few, and change in few places. */

type Child = Node | string | null | false;
type Attributes = Readonly<Record<string, string | boolean | EventListener | null>>;

/** An element; `on...` attributes are listeners, false and null leave an attribute out. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  for (const child of children) if (child !== null && child !== false) element.append(child);
  return element;
}

/** Text that is set only when it changed, so that a page at rest lays nothing out. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element;
}

/** Calls at most once in `delayMs`, with the last call never lost. */
export function throttled(delayMs: number, call: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | null = null;
  let lastMs = -Infinity;
  return () => {
    if (timer !== null) return;
    const waitMs = Math.max(0, lastMs + delayMs - performance.now());
    timer = setTimeout(() => {
      timer = null;
      lastMs = performance.now();
      call();
    }, waitMs);
  };
}
