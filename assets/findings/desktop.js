/** Messages to receivers of kind `desktop`, as notifications of this browser: each id once, whichever page is open. */

import { get } from "../lib/api.js";
import { go } from "../lib/url.js";

const SEEN = "alerts.shown"; // key of localStorage: ids, the newest last
const MAX_SEEN = 500;

/** Of several pages of a browser only one asks at a time. */
export async function notify() {
  const { locks } = navigator;
  if (locks) await locks.request("alerts.desktop", { ifAvailable: true }, (lock) => (lock ? show() : undefined));
  else await show();
}

async function show() {
  const answer = await get("alerts").catch(() => null);
  if (!answer) return;
  const seen = seenBefore();
  const fresh = answer.desktop.filter(({ id }) => !seen.includes(id));
  for (const message of fresh) notification(message);
  if (fresh.length) localStorage.setItem(SEEN, JSON.stringify([...seen, ...fresh.map(({ id }) => id)].slice(-MAX_SEEN)));
}

/** @returns {string[]} */
function seenBefore() {
  try {
    const seen = JSON.parse(localStorage.getItem(SEEN) ?? "[]");
    return Array.isArray(seen) ? seen : [];
  } catch {
    return [];
  }
}

/** @param {import("../types/api").Row<"AlertMessageRow">} message */
function notification({ id, title, phase, sentence, run }) {
  const shown = new Notification(phase === "end" ? `${title}: over` : title, { body: run ? `${run}: ${sentence}` : sentence, tag: id });
  shown.onclick = () => {
    window.focus();
    go("/alerts");
  };
}
