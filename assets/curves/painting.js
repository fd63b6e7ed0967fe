/** Shapes on a canvas. */

import { faded, mixed, token } from "../lib/theme.js";

/** @typedef {import("./shapes.js").Shape} Shape */
/** @typedef {import("./shapes.js").Bad} Bad */

const TAG = { width: 26, height: 13 };
const DOT = 2;

/**
 * Inside the plot of a uPlot chart, in CSS pixels from its canvas' corner.
 * @param {any} u @param {Shape[]} shapes @param {Bad[]} bad
 */
export function paint(u, shapes, bad) {
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.scale(ratio, ratio);
  ctx.lineJoin = "round";
  for (const shape of shapes) draw(ctx, shape);
  drawBad(ctx, bad, { left: bbox.left / ratio, right: (bbox.left + bbox.width) / ratio, top: bbox.top / ratio, bottom: (bbox.top + bbox.height) / ratio });
  ctx.restore();
}

/** @param {CanvasRenderingContext2D} ctx @param {Shape} shape */
function draw(ctx, { kind, colour, alpha, width, dash, parts }) {
  ctx.beginPath();
  for (const part of parts) {
    if (part.length === 2) ctx.rect(part[0] - DOT / 2, part[1] - DOT / 2, DOT, DOT);
    else ctx.moveTo(part[0], part[1]);
    for (let i = 2; i < part.length; i += 2) ctx.lineTo(part[i], part[i + 1]);
    if (kind === "area") ctx.closePath();
  }
  if (kind === "area") {
    ctx.fillStyle = faded(token(colour), alpha);
    ctx.fill();
    return;
  }
  ctx.setLineDash(dash);
  ctx.strokeStyle = mixed(token(colour), token("bg"), alpha);
  ctx.lineWidth = width;
  ctx.stroke();
}

/** Tags lie above the marks of their neighbours. @param {CanvasRenderingContext2D} ctx @param {Bad[]} bad @param {{left: number, right: number, top: number, bottom: number}} plot */
function drawBad(ctx, bad, plot) {
  ctx.setLineDash([]);
  ctx.font = `600 10px ${token("font-ui")}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  for (const { from, to } of bad) {
    ctx.fillStyle = faded(token("bad"), 0.16);
    ctx.fillRect(from, plot.top, to - from, plot.bottom - plot.top);
    ctx.fillStyle = token("bad");
    ctx.fillRect(from, plot.top, 1, plot.bottom - plot.top);
  }
  let free = -Infinity;
  for (const { from, text } of bad) {
    const half = TAG.width / 2;
    const middle = Math.max(plot.left + half, Math.min(plot.right - half, from)); // whole at the edges, too
    if (middle - half < free) continue;
    free = middle + half + 4;
    ctx.fillStyle = token("bad");
    ctx.fillRect(middle - half, plot.top, TAG.width, TAG.height);
    ctx.fillStyle = token("bg");
    ctx.fillText(text, middle, plot.top + TAG.height / 2 + 0.5);
  }
}
