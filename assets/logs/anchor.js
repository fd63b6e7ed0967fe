/** Where a list stands: at an entry, so many pixels of which are above the view (pure). */

/** @typedef {{offset: number, shift: number}} Anchor `offset`: of a line, `shift`: pixels from its entry's top to the top of the view, also negative or beyond the entry */
/** @typedef {{total: number, startOf: (offset: number) => number, endOf: (start: number) => number, tall: (start: number) => number}} Entries of one line or several, by the place of their first; `tall`: pixels */

/**
 * The same place, at the first entry in view; neither end of the list is left.
 * @param {Entries} entries @param {Anchor} anchor @param {number} height of the view @returns {Anchor}
 */
export function settled(entries, anchor, height) {
  const { total, endOf, tall } = entries;
  let place = anchor.offset >= total ? { offset: total, shift: Math.min(anchor.shift, 0) - height } : { offset: entries.startOf(anchor.offset), shift: anchor.shift };
  place = upwards(entries, place);
  while (place.offset < total && place.shift >= tall(place.offset)) place = { offset: endOf(place.offset), shift: place.shift - tall(place.offset) };
  let free = height + place.shift; // below the last entry
  for (let at = place.offset; at < total && free > 0; at = endOf(at)) free -= tall(at);
  if (free > 0) place = upwards(entries, { offset: place.offset, shift: place.shift - free });
  return { offset: place.offset, shift: Math.max(0, place.shift) };
}

/** @param {Entries} entries @param {Anchor} anchor @returns {Anchor} */
function upwards({ startOf, tall }, { offset, shift }) {
  while (shift < 0 && offset > 0) {
    offset = startOf(offset - 1);
    shift += tall(offset);
  }
  return { offset, shift };
}

/** @param {Entries} entries @param {Anchor} anchor settled @param {number} height of the view */
export function entriesInView({ total, endOf, tall }, { offset, shift }, height) {
  /** @type {number[]} */
  const starts = [];
  let [at, y] = [offset, -shift];
  while (at < total && y < height) {
    starts.push(at);
    y += tall(at);
    at = endOf(at);
  }
  return { starts, end: at, isFirst: offset === 0 && shift === 0, isLast: at >= total && y <= height + 1 };
}
