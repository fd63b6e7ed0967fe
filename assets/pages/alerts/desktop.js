/** Whether this browser shows alerts as notifications: a button that asks for its permission, and what stands in the way. */

import { el, setText } from "../../lib/dom.js";

export class DesktopChoice {
  constructor() {
    this.said = el("span", { role: "status" });
    this.button = el("button", { class: "btn", type: "button", hidden: true, onclick: () => this.#allow() }, "Show alerts as notifications of this browser");
    this.element = el("p", { class: "desktop dim" }, this.button, this.said);
    this.named = false; // there is a receiver of this kind
  }

  /** @param {boolean} named */
  draw(named) {
    this.named = named;
    const permission = "Notification" in window ? Notification.permission : null;
    this.button.hidden = permission !== "default" || !isSecureContext;
    const missing = named ? "" : " Add a receiver of kind desktop to the text below.";
    if (!isSecureContext || permission === null) setText(this.said, "Browsers show notifications of pages on https and localhost only.");
    else if (permission === "denied") setText(this.said, "This browser does not let the dashboard show notifications; its settings for this site change that.");
    else if (permission === "granted") setText(this.said, `This browser shows alerts as notifications while a page of the dashboard is open.${missing}`);
    else setText(this.said, missing);
  }

  async #allow() {
    await Notification.requestPermission();
    this.draw(this.named);
  }
}
