/** The fields of a form: each shows a value and reports another one. */

import { el } from "../../lib/dom.js";

/** @param {string} label @param {HTMLElement} control @param {string} [help] */
export const labelled = (label, control, help = "") => el("label", { class: "board-field", title: help || null }, el("span", {}, label), control);

/** A change is reported when the field is left, or with Enter. @param {string} value @param {(value: string) => void} report @param {Record<string, any>} [more] */
export function textField(value, report, more = {}) {
  const input = el("input", { class: "input", type: "text", maxlength: 2000, value, ...more });
  input.addEventListener("change", () => report(input.value.trim()));
  return input;
}

/** @param {string} value @param {(value: string) => void} report @param {Record<string, any>} [more] */
export function areaField(value, report, more = {}) {
  const area = el("textarea", { class: "input", rows: 4, ...more });
  area.textContent = value;
  area.addEventListener("change", () => report(area.value));
  return area;
}

/** @param {string} value @param {[string, string][]} options value and label @param {(value: string) => void} report @param {Record<string, any>} [more] */
export function choiceField(value, options, report, more = {}) {
  const select = el("select", { class: "input", ...more }, ...options.map(([name, label]) => el("option", { value: name }, label)));
  select.value = value;
  select.addEventListener("change", () => report(select.value));
  return select;
}

/** @param {boolean} value @param {(value: boolean) => void} report */
export function flagField(value, report) {
  const box = el("input", { type: "checkbox" });
  box.checked = value;
  box.addEventListener("change", () => report(box.checked));
  return box;
}

/** @param {string} label @param {() => void} act @param {string} [title] @param {string} [kind] */
export const button = (label, act, title = "", kind = "btn") => el("button", { class: kind, type: "button", title: title || null, "aria-label": title && !/\w/.test(label) ? title : null, onclick: act }, label);

/** Call what it returns once the form is made anew: the focus and what is selected stay in the field of the same name, else the focus goes to the form's first. @param {HTMLElement} form */
export function focusOf(form) {
  const focused = /** @type {any} */ (document.activeElement);
  if (!form.contains(focused)) return () => {};
  const name = nameOf(focused);
  const nth = namesakes(form, name).indexOf(focused);
  const { selectionStart = null, selectionEnd } = focused; // null of what is no text
  return () => {
    const field = namesakes(form, name)[nth];
    (field ?? controlsOf(form)[0])?.focus({ preventScroll: true });
    if (field && selectionStart !== null) field.setSelectionRange(selectionStart, selectionEnd);
  };
}

/** @param {HTMLElement} form @returns {any[]} */
const controlsOf = (form) => [...form.querySelectorAll("input, select, textarea, button")];

/** @param {HTMLElement} form @param {string} name */
const namesakes = (form, name) => controlsOf(form).filter((control) => nameOf(control) === name);

/** @param {any} control */
const nameOf = (control) => `${control.type} ${control.ariaLabel ?? control.labels?.[0]?.firstElementChild?.textContent ?? control.textContent}`;
