/** Share: a link to exactly this view, for a colleague to look at until it is over. It says first who can open it. */

import { change, get, sentenceOf } from "../lib/api.js";
import { copyText } from "../lib/clipboard.js";
import { dialogOf, el } from "../lib/dom.js";
import { here } from "../lib/url.js";

const DAYS = /** @type {const} */ ([1, 7, 30]);

export function openShare() {
  const days = el("select", { class: "chip", "aria-label": "The link is good for" }, ...DAYS.map((n) => el("option", { value: String(n), selected: n === 7 }, n === 1 ? "1 day" : `${n} days`)));
  const source = el("input", { type: "checkbox" });
  const link = el("input", { class: "input share-link", readonly: true, hidden: true, "aria-label": "Link" });
  const place = el("div", { class: "share-place", role: "status" }, el("p", { class: "dim" }, "Checking who can open it …"));
  const said = el("p", { class: "dim", role: "status" }, "Whoever opens it sees this view and the other pages, but no command lines, paths or processes of this machine, and can change nothing.");
  const make = el("button", { class: "btn pri", type: "button", onclick: () => share() }, "Copy link");
  const body = el(
    "div",
    { class: "share" },
    el("h2", {}, "Share this view"),
    place,
    el("label", {}, "Good for ", days),
    el("label", {}, source, " with source lines"),
    el("p", {}, make),
    link,
    said,
  );
  const dialog = dialogOf("share-dialog", "Share this view", body);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  get("share").then(
    ({ others, text, ways }) => place.replaceChildren(el("p", { class: others ? "" : "warn" }, text), ...ways.flatMap(({ text, command }) => [el("p", { class: "dim" }, text), commandOf(command)])),
    (error) => place.replaceChildren(el("p", { class: "warn" }, sentenceOf(error))),
  );

  async function share() {
    make.disabled = true;
    try {
      const address = `${here()}${location.search}`;
      const answer = await change("share", { address, days: Number(days.value), grants: source.checked ? ["source"] : [] });
      link.value = answer.link;
      link.hidden = false;
      const copied = await copyText(answer.link);
      link.select();
      said.textContent = `${copied ? "Copied." : "Copy it from the field."} Settings lists it as ${answer.name}, and revokes it.`;
    } catch (error) {
      said.textContent = sentenceOf(error);
    }
    make.disabled = false;
  }
}

/** A line for a shell, with a button that copies it. @param {string} line */
function commandOf(line) {
  const copy = el("button", { class: "btn", type: "button", onclick: async () => (copy.textContent = (await copyText(line)) ? "Copied" : "Select it, Ctrl C") }, "Copy");
  return el("div", { class: "share-command" }, el("code", {}, line), copy);
}
