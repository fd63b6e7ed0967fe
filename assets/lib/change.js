/** What the pages change. No other module of ours sends anything but questions, and no callback of Dash writes. */

import { send } from "./api.js";

/**
 * `change("profile", {action: "on"})`, `change(aboutOf(run), {archived: true})`, `change("settings", {currency: "EUR"})`.
 * Of what is said about a run, and of settings, only what is named changes. Throws an Error with the server's sentence.
 * @param {string} path below /api/v1 @param {Object} body
 * @returns {Promise<any>} what holds now
 */
export function change(path, body) {
  return send(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/** The path of a run's files. @param {string} run */
export const filesOf = (run) => `runs/${encodeURIComponent(run)}/files`;

/** The path of what is said about a run. @param {string} run */
export const aboutOf = (run) => `runs/${encodeURIComponent(run)}/about`;

/** The path at which steps of a run are asked to be traced. @param {string} run */
export const traceOf = (run) => `runs/${encodeURIComponent(run)}/trace`;
