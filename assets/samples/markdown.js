/** Markdown as elements: what is logged becomes text in a few elements of ours, and never HTML. */

import { el } from "../lib/dom.js";

const SIGNS = /^(#{1,6} |[-*+] |\d{1,9}[.)] |> |\x60\x60\x60|\|.+\|)|\*\*[^*\s]|\]\(|\x60[^\x60\n]+\x60/m;
const MAX_DEPTH = 4; // of quotes and emphasis in each other

/** Whether a text is written for it; all else is shown as it is. @param {string} text */
export const isMarkdown = (text) => SIGNS.test(text);

/** @param {string} text @returns {HTMLElement} */
export const markdown = (text) => el("div", { class: "markdown" }, ...blocks(text.replaceAll("\r\n", "\n").split("\n"), 0));

/** @param {string[]} lines @param {number} depth @returns {HTMLElement[]} */
function blocks(lines, depth) {
  /** @type {HTMLElement[]} */
  const found = [];
  let at = 0;
  /** The lines from here that match, without what matches. @param {RegExp} start */
  const run = (start) => {
    const from = at;
    while (at < lines.length && start.test(lines[at])) at++;
    return lines.slice(from, at).map((line) => line.replace(start, ""));
  };
  while (at < lines.length) {
    const line = lines[at];
    const heading = /^(#{1,6}) +(.*?)#*\s*$/.exec(line);
    if (!line.trim()) at++;
    else if (/^```/.test(line)) {
      const end = lines.findIndex((other, i) => i > at && /^```\s*$/.test(other));
      const last = end < 0 ? lines.length : end;
      found.push(el("pre", {}, el("code", {}, lines.slice(at + 1, last).join("\n"))));
      at = last + 1;
    } else if (heading) {
      found.push(el(`h${Math.min(6, heading[1].length + 3)}`, {}, ...inline(heading[2], 0)));
      at++;
    } else if (/^ {0,3}([-*_])( *\1){2,} *$/.test(line)) {
      found.push(el("hr"));
      at++;
    } else if (/^> ?/.test(line) && depth < MAX_DEPTH) found.push(el("blockquote", {}, ...blocks(run(/^> ?/), depth + 1)));
    else if (/^ {0,3}[-*+] /.test(line)) found.push(el("ul", {}, ...run(/^\s*[-*+] /).map((item) => el("li", {}, ...inline(item, 0)))));
    else if (/^ {0,3}\d{1,9}[.)] /.test(line)) found.push(el("ol", {}, ...run(/^\s*\d{1,9}[.)] /).map((item) => el("li", {}, ...inline(item, 0)))));
    else if (/^\|.+\|\s*$/.test(line)) found.push(table(run(/^(?=\|.+\|\s*$)/)));
    else {
      const from = at;
      at++;
      while (at < lines.length && lines[at].trim() && !/^(#{1,6} |```|> |\s*[-*+] |\|.+\|)/.test(lines[at])) at++;
      found.push(el("p", {}, ...lines.slice(from, at).flatMap((each, i) => (i ? [el("br"), ...inline(each, 0)] : inline(each, 0)))));
    }
  }
  return found;
}

/** `| a | b |`, of which the second line only rules. @param {string[]} lines */
function table(lines) {
  const rows = lines.map((line) => line.trim().slice(1, -1).split("|").map((cell) => cell.trim()));
  const ruled = rows.length > 1 && rows[1].every((cell) => /^:?-+:?$/.test(cell));
  const [head, body] = ruled ? [rows[0], rows.slice(2)] : [null, rows];
  const row = (/** @type {string[]} */ cells, /** @type {string} */ tag) => el("tr", {}, ...cells.map((cell) => el(tag, tag === "th" ? { scope: "col" } : {}, ...inline(cell, 0))));
  return el("table", {}, head && el("thead", {}, row(head, "th")), el("tbody", {}, ...body.map((cells) => row(cells, "td"))));
}

const INLINE = /`([^`\n]+)`|!?\[([^\]\n]{0,500})\]\(\s*((?:[^\s()]|\([^\s()]*\)){1,2000})[^)\n]{0,200}\)|\*\*([^\n]+?)\*\*|(?<![\w*])\*([^*\s][^*\n]*?)\*(?!\w)|~~([^~\n]+)~~/g;

/** Links lead to the web or nowhere, and no picture is fetched. @param {string} text @param {number} depth @returns {(Node | string)[]} */
function inline(text, depth) {
  if (depth > MAX_DEPTH) return [text];
  /** @type {(Node | string)[]} */
  const found = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    const [all, code, label, address, strong, em, gone] = match;
    const inner = (/** @type {string} */ words) => inline(words, depth + 1);
    if (match.index > at) found.push(text.slice(at, match.index));
    at = match.index + all.length;
    if (code !== undefined) found.push(el("code", {}, code));
    else if (address !== undefined) found.push(...(/^https?:\/\//i.test(address) ? [el("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow", title: address }, ...inner(label || address))] : inner(label || address)));
    else if (strong !== undefined) found.push(el("strong", {}, ...inner(strong)));
    else if (em !== undefined) found.push(el("em", {}, ...inner(em)));
    else found.push(el("del", {}, ...inner(gone)));
  }
  if (at < text.length) found.push(text.slice(at));
  return found;
}
