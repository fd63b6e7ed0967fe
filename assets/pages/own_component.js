/** A component of a page of one's own: the function of its name in a JavaScript file of `--pages-dir`. */

import { el } from "../lib/dom.js";
import { pathTo } from "../lib/url.js";

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,79}\.js$/; // as dashboard/pages/custom.py serves them
const [LONG_MS, FAULT_MS] = [10_000, 2000];

/** @param {HTMLElement} place @param {any} props @param {(changed: Object) => void} setProps */
export async function OwnComponent(place, props, setProps) {
  const { module, component } = props;
  if (!NAME.test(module ?? "")) throw new Error(`module = ${JSON.stringify(module ?? "")} is not the name of a file beside the page; that is letters, digits, - and _, and ends with .js`);
  const address = pathTo(`/own-modules/${module}`);
  const { [component]: make } = await soon(place, component, import(address), `${module} has not loaded`).catch(async (error) => {
    throw new Error(await reasonOf(address, error));
  });
  if (typeof make !== "function") throw new Error(`${module} exports no function ${component}`);
  const made = make(place, props, setProps);
  return made instanceof Promise ? soon(place, component, made, "its function is async and has not ended") : made;
}

/** What takes long says so until it is there. @template T @param {HTMLElement} place @param {string} name @param {Promise<T>} made @param {string} what @returns {Promise<T>} */
async function soon(place, name, made, what) {
  const said = el("p", { class: "warn", role: "alert" }, `${name} is not ready after ${LONG_MS / 1000} s: ${what}.`);
  const late = setTimeout(() => place.append(said), LONG_MS);
  try {
    return await made;
  } finally {
    clearTimeout(late);
    said.remove();
  }
}

/** The server's reason why there is no such module, else what the browser says of it, with the line. @param {string} address @param {Error} error */
async function reasonOf(address, error) {
  const answer = await fetch(address).catch(() => null);
  if (!answer) return "The dashboard does not answer.";
  if (!answer.ok) return String((await answer.json().catch(() => ({}))).error ?? `${answer.status} ${answer.statusText}`);
  return (await faultIn(address)) || (error?.message ?? String(error));
}

/** The browser tells a window, and no one else, where a module cannot be read. @param {string} address @returns {Promise<string>} */
function faultIn(address) {
  return new Promise((done) => {
    const script = el("script", { type: "module", src: address });
    const hear = (/** @type {ErrorEvent} */ { filename, lineno, message }) => filename.includes("/own-modules/") && end(`${filename.split("/").pop()}, line ${lineno}: ${message.replace(/^Uncaught /, "")}`);
    const end = (/** @type {string} */ fault) => {
      removeEventListener("error", hear);
      script.remove();
      done(fault);
    };
    addEventListener("error", hear);
    setTimeout(() => end(""), FAULT_MS);
    document.head.append(script);
  });
}
