/** An expression as fields: a series, by what it is divided, and by which labels it is grouped (pure). Any other expression is text. */

/**
 * @typedef {Object} Shape
 * @property {string} source a series, as the language has it
 * @property {string} by what it is divided by: a series or a number; "" for nothing
 * @property {string} keys labels it is grouped by, such as `host, rank`; ALL for one group; "" where each series is itself
 * @property {string} summary of a group
 */

export const ALL = "all";
export const SUMMARIES = ["mean", "sum", "min", "max", "count", "stddev"];

const SERIES = String.raw`(?:[A-Za-z_][\w.:]*(?:/[\w.:]+)*|"(?:[^"\\]|\\.)*")(?:\{[^{}]*\})?`;
const NUMBER = String.raw`(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:Ki|Mi|Gi|Ti|k|M|G|T)?(?: ?[A-Za-z%°]+)?`;
const KEYS = String.raw`[A-Za-z_]\w*(?: *, *[A-Za-z_]\w*)*`;
const DIVISOR = new RegExp(`^(?:${SERIES}|${NUMBER})$`);
const LABELS = new RegExp(`^${KEYS}$`);
const SHAPE = new RegExp(`^(?:(?<plain>${SERIES})|(?<summary>${SUMMARIES.join("|")})\\((?<inner>${SERIES})\\)(?: by (?:\\((?<keys>${KEYS})\\)|(?<key>[A-Za-z_]\\w*)))?)(?: / (?<by>${SERIES}|${NUMBER}))?$`);

/** Null where the expression is of another shape. @param {string} text @returns {Shape | null} */
export function shapeOf(text) {
  const found = SHAPE.exec(text.trim())?.groups;
  if (!found) return null;
  const { plain, summary = "mean", inner, keys, key, by = "" } = found;
  return { source: plain ?? inner, by, keys: plain ? "" : (keys ?? key ?? ALL).replace(/\s*,\s*/g, ", "), summary };
}

/** @param {Shape} shape */
export function textOf({ source, by, keys, summary }) {
  const grouped = keys === "" ? source : `${summary}(${source})${keys === ALL ? "" : ` by (${keys})`}`;
  return by === "" ? grouped : `${grouped} / ${by}`;
}

/** A divisor as it is typed, a name in quotes where it needs them. @param {string} text */
export const divisorOf = (text) => (text === "" || DIVISOR.test(text) ? text : `"${text.replace(/[\\"]/g, "\\$&")}"`);

/** Whether these are labels to group by. @param {string} text */
export const areKeys = (text) => text === "" || LABELS.test(text);
