/** What a sample looks like, by its kind: an image as a thumbnail, audio as a player, all else as text. Nothing that is logged becomes HTML. */

import { sentenceOf } from "../lib/api.js";
import { el, setText } from "../lib/dom.js";
import { size } from "../lib/format.js";
import { Dropped, linkOf } from "./loading.js";
import { RidgeChart, histogramOf, wordsOf } from "./histogram.js";
import { some } from "./steps.js";
import { tableElement, tableOfJson, tableOfText } from "./table.js";

/** @typedef {import("./loading.js").Sample} Sample */
/** @typedef {import("./loading.js").Loaded} Loaded */
/**
 * @typedef {Object} Place
 * @property {string} run
 * @property {import("./loading.js").Loading} loading
 * @property {Sample[]} rows all samples of the name
 * @property {() => boolean} wanted whether this is still what is to be shown
 * @property {(title: string, blob: Blob) => void} enlarge
 */

const THUMB_PX = 360;
const MOST_TEXT = 100_000; // characters
const MOST_AUDIO_BYTES = 16e6; // a longer one is loaded when it is asked for
const RIDGES = 12;

/** Fill the host with a sample, once it is there; the earlier content stays until then. @param {HTMLElement} host @param {Sample} sample @param {Place} place */
export async function fill(host, sample, place) {
  try {
    const made = await makers[sample.kind](sample, place);
    if (!place.wanted()) return;
    for (const player of host.querySelectorAll("audio")) URL.revokeObjectURL(player.src);
    host.replaceChildren(...made);
  } catch (error) {
    if (!(error instanceof Dropped) && place.wanted()) host.replaceChildren(el("p", { class: "sample-trouble" }, sentenceOf(error)));
  }
}

/** @type {Record<Sample["kind"], (sample: Sample, place: Place) => Promise<Node[]>>} */
const makers = { image, audio, text, table, histogram, file: async (sample, place) => [link(sample, place)] };

/** @param {Sample} sample @param {Place} place */
async function image(sample, place) {
  return take(sample, place, async ({ blob, width, height }) => {
    if (!blob.type.startsWith("image/")) return [link(sample, place)];
    const scale = Math.min(1, (THUMB_PX * Math.min(2, devicePixelRatio)) / Math.max(width, height, 1));
    const wanted = scale < 1 ? { resizeWidth: Math.max(1, Math.round(width * scale)), resizeHeight: Math.max(1, Math.round(height * scale)) } : {};
    /** @type {ImageBitmap} */
    let bitmap;
    try {
      bitmap = await createImageBitmap(blob, { ...wanted, resizeQuality: "medium" });
    } catch {
      return [el("p", { class: "sample-trouble" }, "The image is damaged."), link(sample, place)];
    }
    const canvas = el("canvas", { width: bitmap.width, height: bitmap.height, class: Math.max(width, height) <= 64 ? "pixels" : "" });
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    const title = `${sample.name}${sample.step === null ? "" : `, step ${sample.step}`}`;
    const about = width ? `${width} × ${height}` : "";
    return [
      el("button", { type: "button", class: "sample-image", "aria-label": `Enlarge ${title}`, onclick: () => place.enlarge(title, blob) }, canvas),
      el("p", { class: "sub" }, about),
    ];
  });
}

/** @param {Sample} sample @param {Place} place */
async function audio(sample, place) {
  const load = () =>
    take(sample, place, ({ blob }) => {
      if (!blob.type.startsWith("audio/")) return [link(sample, place)];
      const player = el("audio", { controls: true, src: URL.createObjectURL(blob), "aria-label": sample.name });
      return [player];
    });
  if ((sample.bytes ?? 0) <= MOST_AUDIO_BYTES) return load();
  const host = el("div");
  const button = el("button", { class: "btn", type: "button", onclick: () => load().then((made) => host.replaceChildren(...made), (error) => host.replaceChildren(sentenceOf(error))) }, `Load ${size(sample.bytes ?? 0)}`);
  host.append(button);
  return [host];
}

/** @param {Sample} sample @param {Place} place */
async function text(sample, place) {
  return take(sample, place, async (loaded) => plain(sample, place, await loaded.blob.text(), loaded));
}

/** @param {Sample} sample @param {Place} place */
async function table(sample, place) {
  return take(sample, place, async (loaded) => {
    const found = await loaded.blob.text();
    const path = sample.path.toLowerCase();
    const separator = path.endsWith(".tsv") ? "\t" : path.endsWith(".csv") ? "," : "";
    const made = separator ? tableOfText(found, separator) : tableOfJson(found);
    const cut = loaded.total > loaded.blob.size ? [el("p", { class: "sub" }, `The first ${size(loaded.blob.size)} of ${size(loaded.total)}`)] : [];
    return made ? [tableElement(made, sample.name), ...cut] : plain(sample, place, found, loaded);
  });
}

/** @param {Sample} sample @param {Place} place */
async function histogram(sample, place) {
  const chosen = some(
    place.rows.filter(({ rank, kind }) => rank === sample.rank && kind === "histogram"),
    RIDGES,
    sample,
  );
  const read = (/** @type {Sample} */ row) => take(row, place, async ({ blob }) => ({ step: row.step, histogram: histogramOf(await blob.text()) }));
  const all = await Promise.all(chosen.map((row) => (row === sample ? read(row) : read(row).catch(optional))));
  const ridges = /** @type {import("./histogram.js").Ridge[]} */ (all.filter((ridge) => ridge?.histogram));
  const own = ridges.find(({ step }) => step === sample.step);
  if (!own) return [el("p", { class: "sub" }, "It holds no values."), link(sample, place)];
  const chart = new RidgeChart();
  chart.show(ridges, sample.step);
  return [chart.canvas, el("p", { class: "sub" }, wordsOf(own.histogram))];
}

/** A neighbour that cannot be read is left out. @param {unknown} error */
function optional(error) {
  if (error instanceof Dropped) throw error;
  sentenceOf(error);
  return null;
}

/** @param {Sample} sample @param {Place} place @param {string} found @param {Loaded} loaded */
function plain(sample, place, found, { blob, total }) {
  const pre = el("pre", { tabindex: "0", role: "region", "aria-label": sample.name });
  setText(pre, found.slice(0, MOST_TEXT));
  const shown = found.length > MOST_TEXT || total > blob.size;
  return shown ? [pre, el("p", { class: "sub" }, `The beginning of ${size(total)}. `, link(sample, place))] : [pre];
}

/** @param {Sample} sample @param {Place} place */
function link(sample, place) {
  const about = sample.bytes === null ? "" : `, ${size(sample.bytes)}`;
  const name = sample.path.split("/").pop() || sample.name;
  return el("a", { href: linkOf(place.run, sample), target: "_blank", rel: "noopener" }, `${name}${about}`);
}

/** @template T @param {Sample} sample @param {Place} place @param {(loaded: Loaded) => T | Promise<T>} make */
const take = (sample, place, make) => place.loading.take(place.run, sample, make, place.wanted);
