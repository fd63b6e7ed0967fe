/** The callbacks of Dash: one that fails says why, and one that the server does not hear is sent again once it does. */

const PATH = "_dash-update-component";
const [FIRST_MS, LAST_MS] = [500, 5000];
const AWAY = [429, 502, 503, 504]; // a proxy's word for a server that is away, and ours for one that is busy

/** Those of the page that is shown. @type {Callbacks | null} */
let shown = null;
/** @type {typeof window.fetch | null} */
let plain = null;

/** Dash asks by `fetch`: while a page listens, this stands in its place. @param {RequestInfo | URL} input @param {RequestInit} [request] */
function watched(input, request) {
  const ask = () => /** @type {typeof window.fetch} */ (plain)(input, request);
  const isCallback = request?.method === "POST" && typeof input === "string" && input.split("?")[0].endsWith(PATH);
  return isCallback && shown ? shown.send(outputOf(request?.body), ask) : ask();
}

/** What a callback fills, which is its name. @param {unknown} body */
function outputOf(body) {
  return typeof body === "string" ? String(JSON.parse(body).output) : "";
}

/** Those of one page. */
export class Callbacks {
  /** @param {AbortSignal} signal the page is left @param {() => void} changed `troubles` or `waiting` */
  constructor(signal, changed) {
    this.signal = signal;
    this.changed = changed;
    shown = this;
    if (!plain) {
      plain = window.fetch.bind(window);
      window.fetch = watched;
    }
    signal.addEventListener("abort", () => {
      if (shown !== this) return; // the next page listens already
      if (window.fetch === watched && plain) window.fetch = plain;
      shown = plain = null;
    });
    /** Sentences of those that failed, by what they fill. @type {Map<string, string>} */
    this.troubles = new Map();
    /** Those that the server has not heard. @type {Set<string>} */
    this.waiting = new Set();
  }

  /** How often each was asked. @type {Map<string, number>} */
  #asked = new Map();

  /** The answer; none for one that failed: what it fills stays as it is, and Dash has nothing to add. @param {string} output @param {() => Promise<Response>} ask */
  async send(output, ask) {
    const number = (this.#asked.get(output) ?? 0) + 1;
    this.#asked.set(output, number);
    const isNewest = () => !this.signal.aborted && this.#asked.get(output) === number;
    for (let wait_ms = FIRST_MS; isNewest(); wait_ms = Math.min(LAST_MS, 2 * wait_ms)) {
      const response = await ask().catch(() => null);
      if (!isNewest()) break;
      if (response && !AWAY.includes(response.status)) return this.#answered(output, response);
      this.waiting.add(output);
      this.changed();
      await new Promise((again) => setTimeout(again, wait_ms));
    }
    return new Response(null, { status: 204 });
  }

  /** @param {string} output @param {Response} response */
  async #answered(output, response) {
    const said = response.ok ? "" : await sentenceOf(response);
    this.waiting.delete(output);
    if (said) this.troubles.set(output, said);
    else this.troubles.delete(output);
    this.changed();
    return said ? new Response(null, { status: 204 }) : response;
  }
}

/** @param {Response} response @returns {Promise<string>} */
async function sentenceOf(response) {
  const { error = "" } = await response.json().catch(() => ({}));
  return String(error) || `The dashboard failed on this page (${response.status}); its terminal says why.`;
}
