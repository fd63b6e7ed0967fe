/** Where the heads of groups and the cells of charts stand, of thousands as of ten (pure). */

/** @typedef {import("./catalogue.js").Tag} Tag */
/** @typedef {{name: string, title: string, tags: Tag[], note: string, inside?: string, total?: number}} Group `note` stands in place of charts, or before them; `inside`: the group whose part it is; `total`: charts with those of its parts */
/** @typedef {{kind: "head" | "note" | "chart", key: string, group: Group, tag: Tag | null, x: number, y: number, width: number, height: number}} Item */

/** Least width and the height of a cell. */
export const SIZES = { s: { width: 168, height: 150 }, m: { width: 320, height: 220 }, l: { width: 520, height: 320 } };
const GAP = 16;
const HEAD = 36;
const NOTE = 36;
const ROW_GAP = 8;
const INDENT = 16; // of a part's head

/**
 * @param {Group[]} groups @param {Set<string>} folded names of groups @param {number} width @param {keyof typeof SIZES} size
 * @returns {{items: Item[], height: number, columns: number}} items from top to bottom
 */
export function layout(groups, folded, width, size) {
  const least = SIZES[size];
  const columns = Math.max(1, Math.floor((width + GAP) / (least.width + GAP)));
  const cell = Math.max(1, (width - GAP * (columns - 1)) / columns);
  /** @type {Item[]} */
  const items = [];
  let y = 0;
  for (const group of groups) {
    if (group.inside !== undefined && folded.has(group.inside)) continue;
    const indent = group.inside === undefined ? 0 : INDENT;
    items.push({ kind: "head", key: `head ${group.name}`, group, tag: null, x: indent, y, width: Math.max(1, width - indent), height: HEAD });
    y += HEAD;
    if (folded.has(group.name)) continue;
    if (group.note) {
      items.push({ kind: "note", key: `note ${group.name}`, group, tag: null, x: 0, y, width, height: NOTE });
      y += NOTE;
    }
    group.tags.forEach((tag, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      const place = { x: column * (cell + GAP), y: y + row * (least.height + ROW_GAP), width: cell, height: least.height };
      items.push({ kind: "chart", key: `chart ${group.name}\n${tag.key}`, group, tag, ...place });
    });
    y += Math.ceil(group.tags.length / columns) * (least.height + ROW_GAP);
  }
  return { items, height: y, columns };
}

/** The items that lie between two heights. @param {Item[]} items @param {number} top @param {number} bottom */
export function between(items, top, bottom) {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle].y + items[middle].height < top) low = middle + 1;
    else high = middle;
  }
  while (low > 0 && items[low - 1].y + items[low - 1].height >= top) low--; // cells of a row end together
  let end = low;
  while (end < items.length && items[end].y <= bottom) end++;
  return items.slice(low, end);
}
