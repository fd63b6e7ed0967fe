/** The panel as a sheet on a phone: its grip pulls it up or down, and a tap selects the next height. */

import { el, setClass } from "../../lib/dom.js";

const HEIGHTS = ["peek", "half", "full"]; // app.css sets each height
const DRAG_PX = 4; // less is a tap

/** The grip of a sheet. @param {() => HTMLElement} sheet */
export function grip(sheet) {
  /** @type {{y: number, height: number, moved: boolean} | null} */
  let drag = null;
  const next = (/** @type {HTMLElement} */ { dataset }) => (dataset.sheet = HEIGHTS[(HEIGHTS.indexOf(dataset.sheet ?? "") + 1) % HEIGHTS.length]);
  const handle = el("button", { class: "grip", type: "button", "aria-label": "Pull the panel up or down" });
  handle.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    drag = { y: event.clientY, height: sheet().offsetHeight, moved: false };
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    if (!drag || !(drag.moved ||= Math.abs(event.clientY - drag.y) > DRAG_PX)) return;
    setClass(sheet(), "pulled", true);
    sheet().style.height = `${drag.height + drag.y - event.clientY}px`;
  });
  const drop = () => {
    if (drag?.moved) settle(sheet());
    setTimeout(() => (drag = null)); // after the click that ends it
  };
  handle.addEventListener("pointerup", drop);
  handle.addEventListener("pointercancel", drop);
  handle.addEventListener("click", (/** @type {MouseEvent} */ { detail }) => (detail && drag?.moved) || next(sheet())); // detail is 0 for a key
  return handle;
}

/** Take the height nearest to the release. @param {HTMLElement} sheet */
function settle(sheet) {
  const pulled = sheet.offsetHeight;
  sheet.style.height = "";
  const heights = HEIGHTS.map((name) => {
    sheet.dataset.sheet = name;
    return sheet.offsetHeight;
  });
  const far = heights.map((height) => Math.abs(height - pulled));
  sheet.dataset.sheet = HEIGHTS[far.indexOf(Math.min(...far))];
  setClass(sheet, "pulled", false);
}
