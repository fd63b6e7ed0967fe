/** "Notify": which channels hear that a run that goes on crashed or finished, in two clicks from the run. */

import { change, get, isOwner, sentenceOf } from "../lib/api.js";
import { el, fill, hang, setText, visibleName } from "../lib/dom.js";
import { pathTo } from "../lib/url.js";

/** @typedef {import("../types/api").Answer<"alerts/notify">} Notice */

const ENDS = /** @type {const} */ ([["crash", "When this run crashes"], ["finished", "When it finishes"]]);
const FIRST = { ntfy: ["Topic", "such as my-trainings-7f3a91"], slack: ["Webhook URL", "https://hooks.slack.com/services/..."], webhook: ["URL", "https://example.org/hook"] };

/** The button by itself, in a layout of Dash's. @param {HTMLElement} place @param {{run: string}} props */
export function RunNotify(place, { run }) {
  const button = new NotifyButton();
  place.replaceChildren(button.element);
  button.draw(run);
  return { update: (/** @type {{run: string}} */ { run }) => button.draw(run) };
}

export class NotifyButton {
  /** @param {string} look a CSS class */
  constructor(look = "btn") {
    /** @type {string | null} */
    this.run = null;
    this.popover = el("div");
    this.button = el("button", { class: look, type: "button", hidden: true, title: "Notify me when this run crashes or finishes", onclick: () => this.open() }, "Notify");
    this.element = el("span", { class: "notify" }, this.button);
  }

  /** @param {string | null} run the shown one; null where it is over */
  draw(run) {
    this.run = run;
    this.button.hidden = run === null || !isOwner;
  }

  /** It lies in the document's body: what is being typed stays, although the run ends or the page shows another one. */
  async open() {
    const { run } = this;
    if (run === null) return;
    const popover = el("div", { class: "notify-for", popover: "auto", ontoggle: (/** @type {ToggleEvent} */ { newState }) => newState === "closed" && popover.remove() }, el("p", { class: "dim" }, "Reading …"));
    this.popover = popover;
    document.body.append(popover);
    hang(popover, this.button);
    try {
      const notice = await get("alerts/notify", { run });
      if (popover === this.popover) this.#draw(run, notice);
    } catch (error) {
      fill(popover, el("p", {}, sentenceOf(error)));
    }
  }

  /** @param {string} run @param {Notice} notice @param {string} [sentence] */
  #draw(run, notice, sentence = "") {
    if (!notice.channels.length) return this.#drawFirst(run);
    const said = el("p", { class: "mid", role: "status" }, sentence);
    const rows = ENDS.map(([end, words]) => [
      el("p", { class: "mid" }, words),
      ...notice.channels.map(({ name }) => {
        const box = el("input", { type: "checkbox", checked: notice[end].includes(name), onchange: () => this.#set(run, end, box.checked ? [...notice[end], name] : notice[end].filter((other) => other !== name)) });
        return el("label", {}, box, visibleName(name));
      }),
    ]);
    fill(this.popover, ...rows.flat(), said, el("a", { href: `${pathTo("/alerts")}?tab=rules` }, "Rules and channels"));
  }

  /** @param {string} run @param {"crash" | "finished"} finding @param {string[]} to */
  async #set(run, finding, to) {
    try {
      const notice = await change("alerts/notify", { run, finding, to });
      const what = finding === "crash" ? "A crash" : "Its end";
      this.#draw(run, notice, to.length ? `${what} is sent to ${to.map(visibleName).join(", ")}.` : `${what} is sent to no one.`);
    } catch (error) {
      fill(this.popover, el("p", { class: "bad" }, sentenceOf(error)));
    }
  }

  /** There is no channel yet: the smallest form that makes one. @param {string} run */
  #drawFirst(run) {
    const kind = el("select", { class: "chip", "aria-label": "Kind", onchange: () => choose() }, ...[["ntfy", "Phone, by ntfy"], ["slack", "Slack"], ["webhook", "Webhook"], ["desktop", "This browser"], ["email", "Email"]].map(([value, name]) => el("option", { value }, name)));
    const input = el("input", { class: "input", type: "text", autocomplete: "off", onkeydown: (/** @type {KeyboardEvent} */ { key }) => key === "Enter" && !save.disabled && make() });
    const note = el("p", { class: "dim" });
    const said = el("p", { class: "bad", role: "status" });
    const choose = () => {
      const [label, example] = FIRST[/** @type {keyof typeof FIRST} */ (kind.value)] ?? ["", ""];
      input.hidden = !label;
      input.ariaLabel = label;
      input.placeholder = example;
      input.type = kind.value === "ntfy" ? "text" : "password"; // the address is a key
      setText(note, kind.value === "ntfy" ? "Choose a topic that is hard to guess, and subscribe to it in the ntfy app." : kind.value === "email" ? "A mail server has more fields: continue on the Alerts page." : "");
    };
    const save = el("button", { class: "btn pri", type: "button", onclick: () => make() }, "Add channel");
    const make = async () => {
      if (kind.value === "email") {
        location.assign(`${pathTo("/alerts")}?tab=rules&edit=channel:`);
        return;
      }
      const name = { ntfy: "phone", slack: "slack", webhook: "webhook", desktop: "this browser" }[/** @type {"ntfy"} */ (kind.value)];
      const key = kind.value === "ntfy" ? "topic" : "url";
      save.disabled = true;
      try {
        await change("alerts/channel", { name: null, channel: { name, kind: kind.value, ...(input.hidden ? {} : { [key]: input.value.trim() }) } });
        if (kind.value === "desktop" && "Notification" in window) await Notification.requestPermission();
        this.#draw(run, await get("alerts/notify", { run }), `Crashes of all runs are sent to ${name}.`);
      } catch (error) {
        setText(said, sentenceOf(error));
        save.disabled = false;
      }
    };
    choose();
    fill(this.popover, el("p", { class: "mid" }, "Notify me when a run crashes, this one or any other"), kind, input, note, said, save);
    input.focus();
  }
}
