/** Questions to the server, as JSON over HTTP. What changes something there is in `change.js`. */

const ROOT = "/api/v1";

/** There is no connection: the feed says so. */
export class Unreachable extends Error {}

/** The server's one sentence on why it cannot answer. */
export class Refused extends Error {
  /** @param {string} sentence @param {number} status of HTTP */
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** Asking again in a while brings the same: the question itself is wrong. @param {unknown} error */
export const lasting = (error) => error instanceof Refused && error.status < 500;

/** What the page says of an error; one of our own code rises. @param {unknown} error @returns {string} */
export function sentenceOf(error) {
  if (error instanceof Refused || error instanceof Unreachable) return error.message;
  throw error;
}

/**
 * `get("points", {run: "a", series: ["loss", "lr"]})`; null parameters are left out, lists repeat.
 * @template {import("../types/api").Noun} N
 * @param {N} noun @param {Record<string, string | number | string[] | null>} [parameters]
 * @returns {Promise<import("../types/api").Answer<N>>}
 */
export async function get(noun, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null) for (const one of Array.isArray(value) ? value : [value]) query.append(name, String(one));
  }
  return send(`${noun}${query.size ? "?" : ""}${query}`);
}

/** The JSON of the answer. Throws Refused and Unreachable. @param {string} path @param {RequestInit} [request] @returns {Promise<any>} */
export async function send(path, request) {
  return answer(await reach(`${ROOT}/${path}`, request));
}

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
  if (response.ok) return response.json();
  const told = response.headers.get("Content-Type")?.includes("json") ? (await response.json()).error : null;
  const { status, statusText } = response;
  throw new Refused(told ?? `The dashboard failed on this question (${status} ${statusText}); its terminal says why.`, status);
}

/**
 * One question at a time: while one is under way, only the newest of those asked meanwhile is kept, and goes out next.
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
          (told) => done(told, now),
          (error) => failed(error, now),
        );
      }
    } finally {
      busy = false; // also after an answer that could not be drawn
    }
  };
}
