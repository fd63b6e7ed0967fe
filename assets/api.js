/** Questions to the server, as JSON over HTTP. */

const ROOT = "/api/v1";

/** The server's one sentence on why it cannot answer. */
export class Refused extends Error {}

/**
 * `get("points", {run: "a", series: ["loss", "lr"]})`; null parameters are left out, lists repeat.
 * @param {string} path @param {Record<string, string | number | string[] | null>} [parameters]
 * @returns {Promise<any>}
 */
export async function get(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null) for (const one of Array.isArray(value) ? value : [value]) query.append(name, String(one));
  }
  return answer(await fetch(`${ROOT}/${path}${query.size ? "?" : ""}${query}`));
}

/** @param {string} path @param {Object} body @returns {Promise<any>} */
export async function post(path, body) {
  return answer(
    await fetch(`${ROOT}/${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
  );
}

/** @param {Response} response */
async function answer(response) {
  if (response.ok) return response.json();
  const told = response.headers.get("Content-Type")?.includes("json") ? (await response.json()).error : null;
  throw new Refused(told ?? `The server answered ${response.status} ${response.statusText}.`);
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
