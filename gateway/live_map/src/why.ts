/** Why an event is there: asked of the gateway when somebody wants to know, and shown under the event. */
import { Problem, Unreachable } from "./api";
import { h } from "./elements";
import type { TrackingEvent } from "./events";

/** The answer in sentences. */
export type Explain = (event: TrackingEvent, fenceId: string) => Promise<readonly string[]>;

/** The fence that an event is about; null for one that no fence is about. */
export function fenceOf(event: TrackingEvent): string | null {
  const fenceId = event.details.fence_id;
  return typeof fenceId === "string" && fenceId !== "" ? fenceId : null;
}

/** The button that asks, and where the answer comes; none for an event that no fence is about. */
export function whyParts(event: TrackingEvent, explain: Explain): HTMLElement[] {
  const fenceId = fenceOf(event);
  if (fenceId === null) return [];
  const answer = h("ul", { class: "answer", hidden: true, "data-testid": "alert-answer" });
  const button = h("button", { type: "button", class: "why", "aria-expanded": "false", "data-testid": "alert-why", onclick: () => void toggle() }, "Why?");
  const say = (sentences: readonly string[]): void => answer.replaceChildren(...sentences.map((said) => h("li", {}, said)));
  let asked = 0;
  const toggle = async (): Promise<void> => {
    answer.hidden = !answer.hidden;
    button.setAttribute("aria-expanded", String(!answer.hidden));
    if (answer.hidden) return;
    asked += 1;
    const mine = asked;
    say(["Looking it up …"]);
    const sentences = await explain(event, fenceId).catch((error: unknown) => {
      if (error instanceof Problem || error instanceof Unreachable) return [error.message];
      throw error;
    });
    if (mine === asked) say(sentences);
  };
  return [button, answer];
}
