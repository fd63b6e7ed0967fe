/** Requests to the server as JSON over HTTP, and what this page may do. Only this module sends changes. */

import { pathTo } from "./url.js";

const ROOT = "/api/v1";
const [UNAUTHORIZED, FORBIDDEN] = [401, 403];

/** There is no connection; the feed reports that. */
export class Unreachable extends Error {}

/** The server's sentence on why it cannot answer. */
export class Refused extends Error {
  /** @param {string} sentence @param {number} status of HTTP @param {string} [field] whose value is wrong, where it is one */
  constructor(sentence, status, field = "") {
    super(sentence);
    this.status = status;
    this.field = field;
  }
}

/** A retry would fail again: the request itself is wrong. @param {unknown} error */
export const lasting = (error) => error instanceof Refused && error.status < 500;

/** The page's sentence for an error; errors of our own code are thrown. @param {unknown} error @returns {string} */
export function sentenceOf(error) {
  if (error instanceof Refused || error instanceof Unreachable) return error.message;
  throw error;
}

/**
 * `get("curves", {run: "a", expr: ["loss", "lr"]})`; null parameters are left out, lists repeat.
 * @template {import("../types/api").Noun} N
 * @param {N} noun @param {Record<string, string | number | string[] | null>} [parameters] @param {RequestInit} [request] e.g. a signal that ends it
 * @returns {Promise<import("../types/api").Answer<N>>}
 */
export async function get(noun, parameters = {}, request = undefined) {
  return send(question(noun, parameters), request);
}

/** `curves?run=a&expr=loss&expr=lr` @param {string} noun @param {Record<string, string | number | string[] | null>} parameters */
export function question(noun, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null) for (const item of Array.isArray(value) ? value : [value]) query.append(name, String(item));
  }
  return `${noun}${query.size ? "?" : ""}${query}`;
}

/** The JSON of the answer. Throws Refused and Unreachable. @param {string} path @param {RequestInit} [request] @returns {Promise<any>} */
export async function send(path, request) {
  const why = refusal(path, request?.method);
  if (why) throw new Refused(why, FORBIDDEN);
  return answer(await reach(pathTo(`${ROOT}/${path}`), request));
}

/** An answer that is no JSON. Throws Refused and Unreachable. @param {string} path @returns {Promise<Response>} */
export async function raw(path) {
  const why = refusal(path);
  if (why) throw new Refused(why, FORBIDDEN);
  const response = await reach(addressOf(path));
  return response.ok ? response : answer(response);
}

/** Of an answer, for a link. @param {string} path */
export const addressOf = (path) => pathTo(`${ROOT}/${path}`);

/** @param {string} url @param {RequestInit} [request] @returns {Promise<Response>} */
async function reach(url, request) {
  try {
    return await fetch(url, request);
  } catch (error) {
    if (error instanceof TypeError) throw new Unreachable("The dashboard does not answer.");
    throw error;
  }
}

/** @param {Response} response */
async function answer(response) {
  if (response.status === UNAUTHORIZED) location.reload(); // the page becomes the log-in page, and leads back here
  return read(response);
}

/** The JSON of an answer. Throws Refused and Unreachable. @param {Response} response @returns {Promise<any>} */
export async function read(response) {
  if (response.ok) return whole(response.json());
  const { error: said = null, field = "" } = response.headers.get("Content-Type")?.includes("json") ? await response.json() : {};
  const { status, statusText } = response;
  throw new Refused(said ?? `The dashboard failed on this question (${status} ${statusText}); its terminal says why.`, status, field);
}

/** A body may break off. @template T @param {Promise<T>} body of an answer @returns {Promise<T>} */
export async function whole(body) {
  try {
    return await body;
  } catch (error) {
    if (error instanceof TypeError || error instanceof SyntaxError) throw new Unreachable("The dashboard's answer broke off.");
    throw error;
  }
}

/**
 * One request at a time: while it is under way, only the newest further one is kept, and sent next.
 * @template Q, A
 * @param {(question: Q) => Promise<A>} ask
 * @param {(answer: A, question: Q) => void} done
 * @param {(error: unknown, question: Q) => void} failed
 * @returns {(question: Q) => Promise<void>}
 */
export function newest(ask, done, failed) {
  /** @type {Q[]} */
  let waiting = [];
  let busy = false;
  return async (question) => {
    waiting = [question];
    if (busy) return;
    busy = true;
    try {
      while (waiting.length) {
        const [now] = waiting.splice(0);
        await ask(now).then(
          (answer) => done(answer, now),
          (error) => failed(error, now),
        );
      }
    } finally {
      busy = false; // also after an answer that could not be drawn
    }
  };
}

// What the pages change. No other module of ours sends anything but questions, and no callback of Dash writes.

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

// What the holder of this page may do, as the server wrote it into the page (dashboard/pages/frame.py). The server decides; the page does not ask in vain.

const { role = "owner", grants = "" } = document.documentElement.dataset;
const granted = grants.split(" ");

export const isOwner = role === "owner";

/** Whether files of all details may be made: what offers one has `data-exports`. */
export const mayExport = isOwner || granted.includes("exports");

/** What must be granted to a viewer, by the route that is asked. @type {Record<string, [string, string]>} */
const GRANTS = {
  source: ["source", "Source lines are"],
  diff: ["source", "The difference from the commit is"],
  export: ["exports", "Exports are"],
  report: ["exports", "Reports are"],
  processes: ["processes", "Processes of the machine are"],
};

/** Why a route is not for this page, one sentence; "" where it is. @param {string} path below /api/v1 @param {string} [method] */
function refusal(path, method = "GET") {
  if (isOwner) return "";
  if (method !== "GET") return "Only the owner of this dashboard may change this.";
  const [grant, what] = GRANTS[/** @type {string} */ (path.split("?")[0])] ?? [];
  return grant && !granted.includes(grant) ? `${what} not part of this link.` : "";
}

/** What Dash will ask for soon, so that the browser has it by then. @param {string} address */
export const askAhead = (address) => void fetch(address).catch(() => {});
