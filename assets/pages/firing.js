/** The sign in every page's bar: how many alerts fire. It also has the browser show new ones, where a user has allowed it. */

import { setText } from "../lib/dom.js";
import { isOwner } from "../role.js";

const AGAIN_MS = 4000; // messages may come while as many alerts fire as before

/** @type {HTMLAnchorElement | null} */
const sign = document.querySelector(".firing");
let looked_ms = -Infinity;
let before = -1;

/** @param {number} firing */
export function showFiring(firing) {
  if (sign) {
    sign.hidden = !firing || !isOwner; // the Alerts page is the owner's
    setText(sign, String(firing));
    sign.ariaLabel = firing === 1 ? "1 active alert" : `${firing} active alerts`;
    sign.title = sign.ariaLabel;
  }
  const now_ms = performance.now();
  if (firing === before && now_ms - looked_ms < AGAIN_MS) return;
  [before, looked_ms] = [firing, now_ms];
  if (isOwner && globalThis.Notification?.permission === "granted") import("../findings/desktop.js").then(({ notify }) => notify()).catch(() => {}); // asked again at the next
}
