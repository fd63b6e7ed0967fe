/** The links to the pages: those that the bar has no room for stand in a list below "More". */

import { el } from "../lib/dom.js";

const GAP_PX = 1; // widths are rounded

/** @param {HTMLElement} nav with a link a page */
export function foldNav(nav) {
  const links = /** @type {HTMLElement[]} */ ([...nav.children]);
  const widths = links.map((link) => link.getBoundingClientRect().width);
  const list = el("div", { class: "nav-list", popover: "auto", id: "more-pages" });
  const more = el("button", { class: "nav-more", type: "button", popovertarget: list.id, hidden: true }, "More");
  nav.append(more, list);
  const fold = () => {
    more.hidden = false;
    const shown = new Set(fitting(links, widths, nav.clientWidth, more.getBoundingClientRect().width));
    more.hidden = shown.size === links.length;
    const [bar, below] = [true, false].map((inBar) => links.filter((link) => shown.has(link) === inBar));
    if (bar.length + 2 === nav.childElementCount && bar.every((link, i) => nav.children[i] === link)) return; // as it is
    if (list.matches(":popover-open")) list.hidePopover();
    nav.prepend(...bar);
    list.replaceChildren(...below);
  };
  list.addEventListener("beforetoggle", () => {
    const { left, bottom } = more.getBoundingClientRect();
    Object.assign(list.style, { left: `${Math.max(0, Math.min(left, innerWidth - 180))}px`, top: `${bottom}px` });
  });
  new ResizeObserver(fold).observe(nav);
  fold();
}

/**
 * Those that stand in the bar: all, or as many as leave room for "More"; the present page's always.
 * @param {HTMLElement[]} links @param {number[]} widths of them @param {number} room @param {number} more
 */
function fitting(links, widths, room, more) {
  const all = widths.reduce((sum, width) => sum + width, 0);
  if (all <= room + GAP_PX) return links;
  const present = links.findIndex((link) => link.ariaCurrent === "page");
  let left = room - more - (widths[present] ?? 0);
  return links.filter((_, i) => {
    if (i === present) return true;
    left -= widths[i];
    return left >= 0;
  });
}
