/** The fences by name: go there, edit, delete, draw a new one. */
import { Problem, Unreachable, type Api } from "./api";
import type { DrawInput } from "./draw";
import { editableShape } from "./draw";
import { h } from "./elements";
import { type Fence, withFence } from "./fences";
import { mayEdit } from "./session";
import type { AppStore } from "./state";

export interface FenceActions {
  show(fenceId: string): void;
  draw(input: DrawInput): void;
  notice(text: string): void;
}

export class FenceList {
  readonly element: HTMLElement;
  private readonly list: HTMLElement;
  private readonly tools: HTMLElement;

  constructor(
    private readonly store: AppStore,
    private readonly api: Api,
    private readonly actions: FenceActions,
  ) {
    this.tools = h("div", { class: "tools" },
      h("button", { type: "button", "data-testid": "draw-polygon", onclick: () => actions.draw({ type: "start", tool: "polygon" }) }, "Draw polygon"),
      h("button", { type: "button", "data-testid": "draw-circle", onclick: () => actions.draw({ type: "start", tool: "circle" }) }, "Draw circle"));
    this.list = h("ul", { class: "fences", "data-testid": "fence-list" });
    this.element = h("div", { class: "pane" }, this.tools, h("div", { class: "scroll" }, this.list));
    store.watch(["fences", "selectedFence", "session"], () => this.render());
    this.render();
  }

  private render(): void {
    const { fences, selectedFence, session } = this.store.get();
    const editor = mayEdit(session);
    this.tools.hidden = !editor;
    const sorted = [...fences.values()].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    this.list.replaceChildren(...(sorted.length === 0 ? [h("li", { class: "empty" }, editor ? "No fences yet: draw the first one." : "No fences yet.")] : sorted.map((fence) => this.row(fence, fence.fenceId === selectedFence, editor))));
  }

  private row(fence: Fence, selected: boolean, editor: boolean): HTMLElement {
    return h("li", { class: selected ? "selected" : null, "data-testid": "fence-row", "data-fence-id": fence.fenceId },
      h("button", { type: "button", class: "name", onclick: () => this.actions.show(fence.fenceId) }, fence.name),
      selected && editor && h("span", { class: "actions" },
        editableShape(fence) !== null && h("button", { type: "button", class: "quiet", "data-testid": "fence-edit", onclick: () => this.actions.draw({ type: "edit", fence }) }, "Edit"),
        h("button", { type: "button", class: "quiet danger", "data-testid": "fence-delete", onclick: (event) => void this.remove(fence, event.currentTarget as HTMLButtonElement) }, "Delete")));
  }

  /** Asks once more on the button itself, then deletes. */
  private async remove(fence: Fence, button: HTMLButtonElement): Promise<void> {
    if (button.dataset.sure === undefined) {
      button.dataset.sure = "";
      button.textContent = "Really?";
      button.onblur = () => {
        delete button.dataset.sure;
        button.textContent = "Delete";
      };
      return;
    }
    button.disabled = true;
    try {
      await this.api.deleteFence(fence.fenceId);
      this.store.set({ fences: withFence(this.store.get().fences, fence.fenceId, null), selectedFence: null });
    } catch (error) {
      if (!(error instanceof Problem || error instanceof Unreachable)) throw error;
      button.disabled = false;
      this.actions.notice(`“${fence.name}” was not deleted: ${error.message}`);
    }
  }
}
