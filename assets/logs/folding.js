/** Which lines are shown as one: equal messages in a row, and tracebacks (pure). What joins two lines depends on the lines before them only, so that entries stay as they are while others are read. */

/** @typedef {import("../types/api").Row<"PlacedLineRow">} Line */

export const PAGE = 256; // lines; equal ones are counted within a page, so that no page depends on those far before it
export const BEGINS = 0; // an entry
export const SAME = 1; // as the line before
export const TRACE = 2; // goes on with a traceback

/** The part that the columns show already: `2026-11-24 17:48:37.354+00:00 INFO `, also in brackets. */
const STAMP =
  /^\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?[\s:-]*(?:\[?(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL)\]?[\s:-]+)?/;
const HEAD = /^(.*?)(?:\+ Exception Group )?Traceback \(most recent call last\):\s*$/;
const LINK = /^(?:During handling of the above exception|The above exception was the direct cause)/;
const INDENTED = /^[\s|+]/;
const MOST_PREFIX = 80; // of the lines of a traceback

/** How many characters of a line its columns show already. @param {string} text */
export const stampOf = (text) => STAMP.exec(text)?.[0].length ?? 0;

/**
 * @param {Line[]} lines of the page before, if there is one, and of a page
 * @param {number} from where that page begins among them
 * @param {boolean} [folds] equal messages, too
 * @returns {Uint8Array} an entry per line of the page
 */
export function joinsOf(lines, from, folds = true) {
  const out = new Uint8Array(lines.length - from);
  /** @type {{prefix: string, hasEnded: boolean} | null} */
  let trace = null;
  for (let i = 0; i < lines.length; i++) {
    const [line, before] = [lines[i], lines[i - 1]];
    const opens = beginsTrace(line.text);
    const goesOn = trace !== null && before !== undefined && fromOneSource(line, before) && continued(trace, line.text);
    let join = BEGINS;
    if (goesOn) join = TRACE;
    else {
      trace = opens;
      if (folds && i > 0 && i !== from && !opens && isSame(line, before)) join = SAME;
    }
    if (i >= from) out[i - from] = join;
  }
  return out;
}

/** @param {string} text */
function beginsTrace(text) {
  if (!text.includes("Traceback (most recent call last)")) return null;
  const prefix = HEAD.exec(text)?.[1];
  return prefix === undefined || prefix.length > MOST_PREFIX ? null : { prefix: prefix.trimEnd() === "" ? "" : prefix, hasEnded: false };
}

/** Whether this line belongs to it, too; notes where its exception is named. @param {{prefix: string, hasEnded: boolean}} trace @param {string} text */
function continued(trace, text) {
  if (!text.startsWith(trace.prefix.trimEnd())) return false;
  const rest = text.slice(trace.prefix.length);
  if (LINK.test(rest)) return true;
  if (beginsTrace(rest)) {
    trace.hasEnded = false;
    return true;
  }
  if (rest.trim() === "") return true;
  if (INDENTED.test(rest)) return !trace.hasEnded;
  if (trace.hasEnded) return false;
  trace.hasEnded = true;
  return true;
}

/** @param {Line} a @param {Line} b */
const fromOneSource = (a, b) => a.run === b.run && a.file === b.file && a.rank === b.rank;

/** Of several ranks, too. @param {Line} a @param {Line} b */
const isSame = (a, b) => a.run === b.run && a.level === b.level && a.text.slice(stampOf(a.text)) === b.text.slice(stampOf(b.text));

/** Of a traceback the line that names the last exception. @param {Line[]} lines @returns {Line} */
export function lastOf(lines) {
  const frame = lines.findLastIndex(({ text }) => /^.*File "/.test(text));
  const prefix = beginsTrace(lines[0].text)?.prefix ?? "";
  return lines.slice(frame + 1).find(({ text }) => !INDENTED.test(text.slice(prefix.length) || " ")) ?? lines[lines.length - 1];
}
