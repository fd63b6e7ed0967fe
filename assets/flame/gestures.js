/** Gestures on the flame graph: drag pans, the wheel with Ctrl zooms and with Shift pans, a click and a pointer point. */

const CLICK_PX = 3; // less is a click, not a drag
const ZOOM_PER_PX = 1.002; // of the wheel

/**
 * @typedef {Object} Gestures
 * @property {(x: number, y: number) => void} point where the pointer is, CSS pixels on the canvas
 * @property {() => void} leave
 * @property {(x: number, y: number) => void} click
 * @property {() => void} grab a drag begins
 * @property {(share: number) => void} pan by a share of the width since the drag began
 * @property {(share: number) => void} shift by a share of the width, now
 * @property {(factor: number, at: number) => void} zoom what is seen by a factor, at 0 left to 1 right
 */

/** @param {HTMLCanvasElement} canvas @param {HTMLElement} scroll what scrolls it @param {Gestures} gestures */
export function listenTo(canvas, scroll, gestures) {
  /** @type {{x: number, y: number, top: number, moved: boolean} | null} */
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return; // a finger scrolls the page
    canvas.setPointerCapture(event.pointerId);
    drag = { x: event.clientX, y: event.clientY, top: scroll.scrollTop, moved: false };
    gestures.grab();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return gestures.point(event.offsetX, event.offsetY);
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!(drag.moved ||= Math.hypot(dx, dy) > CLICK_PX)) return undefined;
    scroll.scrollTop = drag.top - dy;
    return gestures.pan(-dx / scroll.clientWidth);
  });
  canvas.addEventListener("pointercancel", () => (drag = null));
  canvas.addEventListener("click", (event) => {
    if (!drag?.moved) gestures.click(event.offsetX, event.offsetY);
    drag = null;
  });
  canvas.addEventListener("pointerleave", gestures.leave);
  canvas.addEventListener(
    "wheel",
    (event) => {
      const across = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
      if (event.ctrlKey) gestures.zoom(ZOOM_PER_PX ** event.deltaY, event.offsetX / scroll.clientWidth);
      else if (event.shiftKey || Math.abs(across) > Math.abs(event.deltaY)) gestures.shift(across / scroll.clientWidth);
      else return; // up and down scrolls
      event.preventDefault();
    },
    { passive: false },
  );
}
