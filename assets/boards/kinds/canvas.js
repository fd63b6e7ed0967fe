/** A canvas that is drawn in CSS pixels, sharp on any screen. */

import { el, emptyContext } from "../../lib/dom.js";
import { token } from "../../lib/theme.js";

export const FONT_PX = 11;

export class Canvas {
  /** @param {string} label @param {(context: CanvasRenderingContext2D, width: number, height: number) => void} paint */
  constructor(label, paint) {
    this.paint = paint;
    this.element = el("canvas", { class: "board-canvas", role: "img", "aria-label": label });
    this.width = 0;
    this.height = 0;
  }

  /** @param {number} width @param {number} height */
  fit(width, height) {
    if (width === this.width && height === this.height) return;
    Object.assign(this, { width: Math.max(1, Math.floor(width)), height: Math.max(1, Math.floor(height)) });
    this.draw();
  }

  draw() {
    const { element, width, height } = this;
    if (!width) return;
    element.style.width = `${width}px`;
    const context = emptyContext(element, width, height);
    context.font = `${FONT_PX}px ${token("font-ui")}`;
    context.textBaseline = "middle";
    this.paint(context, width, height);
  }
}

/** A text that fits, with an ellipsis where it is cut. @param {CanvasRenderingContext2D} context @param {string} text @param {number} width */
export function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low ? `${text.slice(0, low)}…` : "";
}
