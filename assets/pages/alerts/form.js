/** Parts of the forms of the Alerts page: a field for a secret, and the preview of a rule. */

import { Colours } from "../../data/colours.js";
import { el, fill, setText, visibleName } from "../../lib/dom.js";
import { minute, tick, weekday } from "../../lib/format.js";

/**
 * A secret that is typed; what is kept never comes back. `page.js` reads it when the channel is saved.
 * @param {HTMLElement} place @param {{id: string, name: string, label: string, isSet: boolean}} props
 */
export function SecretField(place, { name, label, isSet }) {
  const input = el("input", {
    type: "password",
    class: "input",
    autocomplete: "new-password",
    "aria-label": label,
    "data-secret": name,
    placeholder: isSet ? "set; type to replace it" : "kept in a file of its own; or env:NAME, file:/path",
  });
  place.replaceChildren(input);
}

/** A time as the browser's zone has it. @param {HTMLElement} place @param {{time_s: number}} props */
export function Moment(place, props) {
  const show = (/** @type {{time_s: number}} */ { time_s }) => setText(place, weekdayAt(time_s));
  show(props);
  return { update: show };
}

const [WIDTH, HEIGHT, LEFT, FOOT, TOP] = [480, 124, 44, 18, 6];
const SVG = "http://www.w3.org/2000/svg";

/** @typedef {{run: string, t: number[], v: (number | null)[]}} PreviewCurve */
/** @typedef {{curves: PreviewCurve[], firings: {run: string, t: number}[], limit?: number | null}} Previewed */

/** @param {HTMLElement} place @param {Previewed} given */
export function RulePreview(place, given) {
  const draw = (/** @type {Previewed} */ { curves, firings, limit = null }) => {
    const times = curves.flatMap(({ t }) => t);
    const values = /** @type {number[]} */ ([...curves.flatMap(({ v }) => v), limit].filter((value) => value !== null));
    if (!times.length || !values.length) return fill(place);
    const [t0, t1, low, high] = [least(times), -least(times.map((t) => -t)), least(values), -least(values.map((v) => -v))];
    const x = (/** @type {number} */ t) => LEFT + ((WIDTH - LEFT - 4) * (t - t0)) / Math.max(1e-9, t1 - t0);
    const y = (/** @type {number} */ v) => TOP + ((HEIGHT - FOOT - TOP) * (high - v)) / (high - low || 1);
    const colours = new Colours();
    colours.choose(curves.map(({ run }) => run));
    const picture = made("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${curves.length} runs, ${firings.length} firings` });
    for (const value of [low, high]) {
      picture.append(made("path", { d: `M${LEFT} ${y(value)}H${WIDTH}`, class: "grid" }), text(LEFT - 6, y(value) + 4, tick(value), "end"));
    }
    if (limit !== null) picture.append(made("path", { d: `M${LEFT} ${y(limit)}H${WIDTH}`, class: "limit" }));
    curves.forEach(({ t, v }, i) => picture.append(made("path", { d: pathOf(t.map(x), v.map((value) => (value === null ? null : y(value)))), stroke: `var(--${colours.of(curves[i]?.run ?? "")})`, class: "curve" })));
    for (const { t } of firings) picture.append(made("path", { d: `M${x(t)} ${TOP}V${HEIGHT - FOOT}`, class: "fires" }));
    picture.append(text(LEFT, HEIGHT - 4, weekdayAt(t0), "start"), text(WIDTH, HEIGHT - 4, weekdayAt(t1), "end"));
    const legend = curves.map(({ run }) => el("span", {}, Object.assign(el("i", { class: "key" }), { style: `background: var(--${colours.of(run)})` }), visibleName(run)));
    fill(place, picture, el("div", { class: "preview-legend" }, ...legend));
  };
  draw(given);
  return { update: draw };
}

/** @param {number[]} values */
const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);

/** `Tue 14:25` @param {number} time_s */
const weekdayAt = (time_s) => `${weekday(time_s)} ${minute(time_s)}`;

/** A gap where there is no value. @param {number[]} xs @param {(number | null)[]} ys */
function pathOf(xs, ys) {
  let pen = "M";
  return xs.map((x, i) => {
    const value = ys[i];
    if (value === null || value === undefined) {
      pen = "M";
      return "";
    }
    const step = `${pen}${x.toFixed(1)} ${value.toFixed(1)}`;
    pen = "L";
    return step;
  }).join("");
}

/** @param {string} tag @param {Record<string, string>} attributes */
function made(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** @param {number} x @param {number} y @param {string} said @param {string} anchor */
function text(x, y, said, anchor) {
  const node = made("text", { x: String(x), y: String(y), "text-anchor": anchor });
  node.textContent = said;
  return node;
}
