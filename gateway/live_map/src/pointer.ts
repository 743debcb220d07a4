/** Clicks and drags on the map, as inputs for drawing or as picks. */
import type { Map as MapLibre, MapMouseEvent, Point } from "maplibre-gl";
import { handlePoints } from "./draft_view";
import { type Draft, type DrawInput, type Handle, heldHandle } from "./draw";
import type { LonLat } from "./geodesy";

export interface PointerTarget {
  draft(): Draft;
  vehicleAt(point: Point): number | null;
  fenceAt(point: Point): string | null;
  picked(deviceNumber: number | null, fenceId: string | null): void;
  draw(input: DrawInput): void;
}

const HANDLE_WITHIN_PX = 10;

export function listenToPointer(map: MapLibre, target: PointerTarget): void {
  let held: Handle | null = null;
  const place = (event: MapMouseEvent): LonLat => [event.lngLat.lng, event.lngLat.lat];
  const near = ([longitude, latitude]: LonLat, point: Point): boolean => map.project([longitude, latitude]).dist(point) <= HANDLE_WITHIN_PX;
  const handleAt = (point: Point): Handle | null => {
    const found = handlePoints(target.draft()).filter(({ at }) => near(at, point));
    // A corner wins over the middle of a short edge.
    return (found.find(({ handle }) => handle.kind !== "middle") ?? found[0])?.handle ?? null;
  };

  map.on("click", (event) => {
    const draft = target.draft();
    if (draft.mode === "shape") return;
    if (draft.mode !== "idle") {
      const first = draft.mode === "polygon" ? draft.vertices[0] : undefined;
      target.draw({ type: "click", at: place(event), closes: first !== undefined && near(first, event.point) });
      return;
    }
    const vehicle = target.vehicleAt(event.point);
    target.picked(vehicle, vehicle === null ? target.fenceAt(event.point) : null);
  });
  // The two clicks of a double click came before it: the second lies on the first and is taken back.
  map.on("dblclick", () => {
    if (target.draft().mode !== "polygon") return;
    target.draw({ type: "undo" });
    target.draw({ type: "finish" });
  });
  map.on("mousedown", (event) => {
    const handle = handleAt(event.point);
    if (handle === null) return;
    event.preventDefault(); // the map stays where it is
    if (event.originalEvent.altKey && handle.kind === "vertex") target.draw({ type: "remove_vertex", index: handle.index });
    else held = handle;
  });
  map.on("mousemove", (event) => {
    const { mode } = target.draft();
    if (held !== null) {
      target.draw({ type: "drag", handle: held, at: place(event) });
      held = heldHandle(held);
    } else if (mode === "polygon" || mode === "circle") {
      target.draw({ type: "move", at: place(event) });
    } else {
      const overThing = mode === "idle" && (target.vehicleAt(event.point) !== null || target.fenceAt(event.point) !== null);
      map.getCanvas().style.cursor = handleAt(event.point) !== null ? "move" : overThing ? "pointer" : "";
    }
  });
  window.addEventListener("mouseup", () => {
    held = null;
  });
}
