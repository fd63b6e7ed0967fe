/** A dashboard elsewhere, which `--allow-origin` lets this page read with a viewer's token. */

import { Refused, Unreachable, question, read } from "../lib/api.js";
import { Feed } from "./feed.js";

const PROTOCOL = "deepseek"; // in front of the token: browsers send no Authorization with a socket (dashboard/auth.py)
const LOG_IN = [401, 403, 429]; // further questions would be refused as well

export class RemoteDashboard {
  /** @param {string} address e.g. `http://box:8080` @param {string | undefined} token */
  constructor(address, token) {
    this.address = address.replace(/\/+$/, "");
    this.token = token;
    /** @type {Refused | null} nothing is asked until `again` is called */
    this.refused = null;
  }

  again() {
    this.refused = null;
  }

  /**
   * As `get` of `lib/api.js`. Throws Refused and Unreachable.
   * @template {import("../types/api").Noun} N
   * @param {N} noun @param {Record<string, string | number | string[] | null>} [parameters] @param {RequestInit} [request]
   * @returns {Promise<import("../types/api").Answer<N>>}
   */
  async get(noun, parameters = {}, request = {}) {
    if (this.refused) throw this.refused;
    try {
      return await read(await this.#fetch(question(noun, parameters), request));
    } catch (error) {
      if (error instanceof Refused && LOG_IN.includes(error.status)) this.refused = error;
      throw error;
    }
  }

  /** @param {string} path @param {RequestInit} request */
  async #fetch(path, request) {
    if (!/^https?:\/\/[^/]/.test(this.address)) throw new Refused(`${this.address || "source"} is not the address of a dashboard; write it as in http://127.0.0.1:8080`, 403);
    if (!this.token) throw new Refused(`${this.address} needs a viewer's token: pass token=, made with deepseek-dashboard token new NAME`, 403);
    try {
      return await fetch(`${this.address}/api/v1/${path}`, { ...request, credentials: "omit", headers: { Authorization: `Bearer ${this.token}` } });
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw (await this.#answers())
        ? new Refused(`${this.address} does not let pages of ${location.origin} read it; start it with --allow-origin ${location.origin}`, 403)
        : new Unreachable(`No dashboard answers at ${this.address}; start it, or correct the address.`);
    }
  }

  /** Browsers do not tell a refused origin from a server that is gone; a file that is anybody's does. */
  #answers() {
    return fetch(`${this.address}/assets/icon.svg`, { mode: "no-cors", credentials: "omit", cache: "no-store" }).then(
      () => true,
      () => false,
    );
  }

  /** @type {string | undefined} */
  #newest;

  /** These, or the run that a page without one would show: the newest that runs, else the newest. @param {string[]} names */
  async runs(names) {
    if (names.length) return names;
    if (this.#newest === undefined) {
      const { runs } = await this.get("runs");
      if (!runs.length) throw new Refused(`${this.address} has no runs yet`, 404);
      this.#newest = (runs.find(({ state }) => state === "running") ?? runs[0]).run;
    }
    return [this.#newest];
  }

  /** @param {ConstructorParameters<typeof Feed>[1]} listener */
  feed(listener) {
    return new Feed(`${this.address.replace(/^http/, "ws")}/api/v1/live`, listener, [PROTOCOL, this.token ?? ""]);
  }
}
