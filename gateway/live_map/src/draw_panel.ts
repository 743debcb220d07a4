/** Beside the drawing: what to do next, then name and save. */
import { Problem, Unreachable, type Api } from "./api";
import { type DrawInput, type Draft, IDLE, fenceIdFor, toFeature } from "./draw";
import { h, setText } from "./elements";
import { withFence } from "./fences";
import { distanceM, distanceText } from "./geodesy";
import type { AppStore } from "./state";

function hintFor(draft: Draft): string {
  switch (draft.mode) {
    case "idle": return "";
    case "polygon":
      if (draft.vertices.length === 0) return "Click the corners of the fence.";
      return draft.vertices.length < 3 ? "Click the next corner. Backspace takes one back." : "Click the first corner, double-click or press Enter to close it.";
    case "circle":
      if (draft.centre === null) return "Click the centre.";
      return `Click again to set the radius: ${distanceText(draft.cursor === null ? 0 : distanceM(draft.centre, draft.cursor))}`;
    case "shape":
      return draft.shape.kind === "circle" ? "Drag the centre or the rim to adjust." : "Drag corners to adjust, middles to add one; Alt-click removes a corner.";
  }
}

export class DrawPanel {
  private readonly hint = h("p", { class: "hint", "data-testid": "draw-hint" });
  private readonly form: HTMLFormElement;
  private readonly name = h("input", { name: "name", required: true, maxlength: "120", autocomplete: "off", "data-testid": "fence-name" });
  private readonly radius = h("input", { name: "radius", type: "number", min: "1", max: "2000000", step: "any", "data-testid": "fence-radius" });
  private readonly radiusRow = h("label", {}, "Radius (m)", this.radius);
  private readonly complaint = h("p", { class: "error", role: "alert", hidden: true, "data-testid": "fence-error" });
  private readonly save = h("button", { type: "submit", class: "primary", "data-testid": "fence-save" }, "Save fence");
  private before: Draft = IDLE;

  constructor(
    private readonly root: HTMLElement,
    private readonly store: AppStore,
    private readonly api: Api,
    private readonly draw: (input: DrawInput) => void,
    private readonly saved: (fenceId: string) => void,
  ) {
    const cancel = (): HTMLButtonElement => h("button", { type: "button", "data-testid": "draw-cancel", onclick: () => draw({ type: "cancel" }) }, "Cancel");
    this.form = h("form", {}, h("label", {}, "Name", this.name), this.radiusRow, this.complaint, h("footer", {}, cancel(), this.save));
    root.replaceChildren(this.hint, this.form, h("footer", { class: "alone" }, cancel()));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submit();
    });
    this.radius.addEventListener("input", () => draw({ type: "radius", radiusM: this.radius.valueAsNumber }));
    store.watch(["draft"], ({ draft }) => this.render(draft));
    window.addEventListener("keydown", (event) => this.key(event));
  }

  private key(event: KeyboardEvent): void {
    const { draft } = this.store.get();
    if (draft.mode === "idle") return;
    if (event.key === "Escape") {
      event.stopImmediatePropagation();
      this.draw({ type: "cancel" });
    }
    if (event.target instanceof HTMLInputElement || event.target instanceof HTMLButtonElement) return;
    if (event.key === "Enter") this.draw({ type: "finish" });
    if (event.key === "Backspace") this.draw({ type: "undo" });
  }

  private render(draft: Draft): void {
    const before = this.before;
    this.before = draft;
    this.root.hidden = draft.mode === "idle";
    const drawn = draft.mode === "shape";
    this.form.hidden = !drawn;
    (this.root.querySelector("footer.alone") as HTMLElement).hidden = drawn;
    setText(this.hint, hintFor(draft));
    if (!drawn) return;
    const circle = draft.shape.kind === "circle" ? draft.shape : null;
    this.radiusRow.hidden = circle === null;
    this.radius.disabled = circle === null;
    if (circle !== null && document.activeElement !== this.radius) this.radius.value = String(Math.round(circle.radiusM));
    if (before.mode !== "shape") {
      this.complaint.hidden = true;
      this.name.value = draft.edits?.name ?? "";
      setText(this.save, draft.edits === null ? "Save fence" : "Save changes");
      this.name.focus();
    }
  }

  private async submit(): Promise<void> {
    const { draft } = this.store.get();
    const name = this.name.value.trim();
    if (draft.mode !== "shape" || name === "") return;
    this.save.disabled = true;
    this.complaint.hidden = true;
    try {
      const { edits } = draft;
      const fenceId = edits?.fenceId ?? fenceIdFor(name, Math.random());
      const feature = toFeature(draft.shape, name, fenceId, edits);
      const fence = edits === null ? await this.api.createFence(feature) : await this.api.replaceFence(fenceId, edits.version, feature);
      this.store.set({ fences: withFence(this.store.get().fences, fence.fenceId, fence), draft: IDLE });
      this.saved(fence.fenceId);
    } catch (error) {
      if (!(error instanceof Problem || error instanceof Unreachable)) throw error;
      const conflict = draft.edits !== null && error instanceof Problem && (error.status === 412 || error.status === 409);
      setText(this.complaint, conflict ? "Someone else changed this fence meanwhile. Cancel, look, and edit again." : error.message);
      this.complaint.hidden = false;
    } finally {
      this.save.disabled = false;
    }
  }
}
