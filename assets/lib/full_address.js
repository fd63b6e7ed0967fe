/** The chart that fills the window has an address, and is a step for *Back*. */

import { FULL, fillWindow } from "./chart_tools.js";
import { keepBack, writeAddress } from "./url.js";

export class FullAddress {
  /**
   * @param {string} name of the parameter
   * @param {HTMLElement} place the page's element that its charts lie in
   * @param {{idOf: (chart: HTMLElement) => string | undefined, find: (id: string) => HTMLElement | null | undefined, isAway: () => boolean}} page `isAway`: the address is not the page's to write
   */
  constructor(name, place, page) {
    this.name = name;
    this.place = place;
    this.page = page;
    place.addEventListener(FULL, (/** @type {any} */ event) => this.#keep(page.idOf(event.target), event.detail));
  }

  get #asked() {
    return new URLSearchParams(location.search).get(this.name);
  }

  /** @param {string | undefined} id @param {boolean} full */
  #keep(id, full) {
    if (id === undefined || this.page.isAway()) return;
    if (full && this.#asked !== id) keepBack();
    writeAddress({ [this.name]: full ? id : null });
  }

  /** Enlarge the chart that the address asks for, once it has its place in the page. */
  fill() {
    const asked = this.#asked;
    const chart = asked !== null && this.place.closest("#content") && this.page.find(asked);
    if (chart) fillWindow(chart);
  }
}
