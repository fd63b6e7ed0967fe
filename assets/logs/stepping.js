/** From entry to entry with the keyboard. */

/** @typedef {import("./list.js").LineList} LineList */

const AFTER = 0.8; // of the view, above an entry that is reached downwards
const BEFORE = 0.15;

/** Choose the next entry, or the one before. @param {LineList} list @param {-1 | 1} way */
export function step(list, way) {
  const { current, book, shown } = list;
  const at = current ? book.find(current.number, current.run) : null;
  const from = at === null ? (way > 0 ? shown.lo - 1 : shown.hi) : way > 0 ? book.endOf(book.startOf(at)) - 1 : book.startOf(at);
  const to = way > 0 ? from + 1 : book.startOf(from - 1);
  const line = book.line(to);
  if (to < 0 || to === from || !line) return;
  if (to < shown.lo + 1 || to >= shown.hi - 1) list.go(to, way > 0 ? AFTER : BEFORE);
  list.choose({ run: line.run, number: line.number });
  list.page.chosen(line, to);
}

/** Open the chosen entry, or close it. @param {LineList} list */
export function openChosen(list) {
  const { current, book } = list;
  const at = current && book.find(current.number, current.run);
  if (at === null) return;
  const start = book.startOf(at);
  const line = book.line(start);
  if (line) list.toggle(line, start);
}
