/** Charts change places within their group: dragged by the name, or with Shift and an arrow key. */

const DRAG_PX = 5; // less is a click, which opens the chart

/**
 * @param {HTMLElement} element of the chart @param {HTMLElement} handle
 * @param {{keys: string[], key: string, columns: () => number, moved: (before: string | null) => void}} place `keys`: of the group, as they stand
 */
export function movable(element, handle, { keys, key, columns, moved }) {
  element.dataset.key = key;
  let from = /** @type {{x: number, y: number} | null} */ (null);
  let dragging = false;
  handle.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return; // a finger scrolls
    from = { x: event.clientX, y: event.clientY };
    dragging = false;
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => {
    if (!from || !(dragging ||= Math.hypot(event.clientX - from.x, event.clientY - from.y) > DRAG_PX)) return;
    element.classList.add("moving");
  });
  handle.addEventListener("pointerup", (event) => {
    from = null;
    element.classList.remove("moving");
    if (!dragging) return;
    const other = /** @type {HTMLElement | null} */ (document.elementFromPoint(event.clientX, event.clientY)?.closest(".chart"));
    const target = other?.dataset.key;
    if (target !== undefined && target !== key && keys.includes(target)) moved(keys.indexOf(target) > keys.indexOf(key) ? (keys[keys.indexOf(target) + 1] ?? null) : target);
  });
  handle.addEventListener("pointercancel", () => (from = null));
  handle.addEventListener("click", (event) => {
    if (dragging) event.stopImmediatePropagation();
    dragging = false;
  }, true);
  handle.addEventListener("keydown", (event) => {
    const by = event.shiftKey ? { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() }[event.key] : undefined;
    if (by === undefined) return;
    event.preventDefault();
    const at = Math.max(0, Math.min(keys.length - 1, keys.indexOf(key) + by));
    moved(by > 0 ? (keys[at + 1] ?? null) : keys[at]);
  });
}
