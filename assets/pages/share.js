/** Share: a link to exactly this view, for a colleague to look at until it is over. */

import { change, sentenceOf } from "../lib/api.js";
import { copyText } from "../lib/clipboard.js";
import { dialogOf, el } from "../lib/dom.js";
import { here } from "../lib/url.js";

const DAYS = /** @type {const} */ ([1, 7, 30]);

export function openShare() {
  const days = el("select", { class: "chip", "aria-label": "The link is good for" }, ...DAYS.map((n) => el("option", { value: String(n), selected: n === 7 }, n === 1 ? "1 day" : `${n} days`)));
  const source = el("input", { type: "checkbox" });
  const link = el("input", { class: "input share-link", readonly: true, hidden: true, "aria-label": "Link" });
  const said = el("p", { class: "dim", role: "status" }, "Those who have the link see this view and the other pages, without command lines, paths and processes of the machine. They change nothing.");
  const make = el("button", { class: "btn pri", type: "button", onclick: () => share() }, "Copy link");
  const body = el(
    "div",
    { class: "share" },
    el("h2", {}, "Share this view"),
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

  async function share() {
    make.disabled = true;
    try {
      const address = `${here()}${location.search}`;
      const answer = await change("share", { address, days: Number(days.value), grants: source.checked ? ["source"] : [] });
      link.value = answer.link;
      link.hidden = false;
      const copied = await copyText(answer.link);
      link.select();
      said.textContent = `${copied ? "Copied." : "Copy it from the field."} Its name is ${answer.name}: Settings lists and revokes it. ${answer.note}`;
    } catch (error) {
      said.textContent = sentenceOf(error);
    }
    make.disabled = false;
  }
}
