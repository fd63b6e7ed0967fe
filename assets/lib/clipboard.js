/** Text for the clipboard, also where the page has none: below a plain `http://host` browsers hide it. */

import { el } from "./dom.js";

const SAID_MS = 1500;

/** Call in a click. @param {string} text @returns {Promise<boolean>} whether it is in the clipboard now */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(text);
  }
}

/** As the user's own Ctrl C would. @param {string} text */
function copySelected(text) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const field = el("textarea", { style: "position: fixed; opacity: 0; white-space: pre", "aria-hidden": "true", tabindex: "-1", readonly: true });
  field.value = text;
  ([...document.querySelectorAll("dialog:modal")].at(-1) ?? document.body).append(field); // outside of an open dialog nothing can be selected
  field.select();
  const copied = document.activeElement === field && document.execCommand("copy");
  field.remove();
  focused?.focus({ preventScroll: true });
  return copied;
}

/**
 * A button that copies the result of `text()` at the click.
 * @param {string} label @param {() => string} text
 */
export function copyButton(label, text) {
  const button = el("button", { class: "btn", type: "button" }, label);
  button.addEventListener("click", async () => {
    button.textContent = (await copyText(text())) ? "Copied" : "Not copied";
    setTimeout(() => (button.textContent = label), SAID_MS);
  });
  return button;
}
