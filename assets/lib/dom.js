/** Elements, and text that touches the page only when it changes. Names of files or processes never affect how the page is drawn. */

/**
 * `el("button", {class: "btn", onclick: go}, "Go")`. Children that are null or false are left out; strings become text, never HTML.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] properties that start with "on" become listeners
 * @param {...(Node | string | null | false)} children
 * @returns {any}
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : name === "title" ? visible(value) : value);
  }
  append(node, children);
  return node;
}

/** In the place of what `node` has; as for `el`, children that are null or false are left out. @param {Element} node @param {...(Node | string | null | false)} children */
export function fill(node, ...children) {
  node.replaceChildren();
  append(node, children);
}

/** @param {Element} node @param {(Node | string | null | false)[]} children */
function append(node, children) {
  for (const child of children) if (child !== null && child !== false) node.append(typeof child === "string" ? visible(child) : child);
}

/** @param {Element} node @param {string} text */
export function setText(node, text) {
  const shown = visible(text);
  if (node.textContent !== shown) node.textContent = shown;
}

/** @param {Element} node @param {string} name @param {boolean} on */
export function setClass(node, name, on) {
  if (node.classList.contains(name) !== on) node.classList.toggle(name, on);
}

/**
 * A context to paint on in CSS pixels, as sharp as the screen, empty. The width of the element is the style sheet's.
 * @param {HTMLCanvasElement} canvas @param {number} width @param {number} height both in CSS pixels
 */
export function emptyContext(canvas, width, height) {
  const ratio = devicePixelRatio;
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across) canvas.width = across;
  if (canvas.height !== down) canvas.height = down;
  canvas.style.height = `${height}px`;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

const SHAPES = {
  diamond: "M5 0 10 5 5 10 0 5Z",
  triangle: "M5 .5 10 9.5H0Z",
  cross: "M1.5 1.5 8.5 8.5M8.5 1.5 1.5 8.5",
  bar: "M5 0V10",
  octagon: "M3 0H7L10 3V7L7 10H3L0 7V3Z",
  disc: "M5 0A5 5 0 1 1 5 10 5 5 0 1 1 5 0Z",
};

/**
 * A status shows by its shape first and by its colour second.
 * @param {keyof typeof SHAPES} shape @param {string} kind a CSS class that sets the colour
 */
export function icon(shape, kind) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [name, value] of Object.entries({ width: 10, height: 10, class: `icon ${kind}`, "aria-hidden": "true" }))
    svg.setAttribute(name, String(value));
  path.setAttribute("d", SHAPES[shape]);
  path.setAttribute(shape === "cross" || shape === "bar" ? "stroke" : "fill", "currentColor");
  path.setAttribute("stroke-width", "2");
  svg.append(path);
  return svg;
}

const EDGE_PX = 12;

/** Open a popover below its button, inside the window. @param {HTMLElement} popover @param {HTMLElement} button */
export function hang(popover, button) {
  const { left, bottom } = button.getBoundingClientRect();
  popover.showPopover();
  const within = (/** @type {number} */ at, /** @type {number} */ length, /** @type {number} */ room) => `${Math.max(EDGE_PX, Math.min(at, room - length - EDGE_PX))}px`;
  Object.assign(popover.style, { left: within(left, popover.offsetWidth, innerWidth), top: within(bottom + 4, popover.offsetHeight, innerHeight) });
}

/**
 * A dialog that a key, a click beside it or its button closes. It lies in the document's body: a page's element moves into Dash's layout, which would close it.
 * @param {string} kind its class @param {string} label @param {HTMLElement} body
 */
export function dialogOf(kind, label, body) {
  Object.assign(body.style, { outline: "none", scrollMargin: "var(--s-3)" }); // of the padding around it
  const dialog = el("dialog", { class: `help ${kind}`, "aria-label": label }, body, el("button", { class: "btn", type: "button", onclick: () => dialog.close() }, "Close"));
  dialog.addEventListener("click", (/** @type {MouseEvent} */ event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  // It has the focus where the dialog opens; else its button has, and a long one is scrolled to its end. Set in the document: before, the page itself would ask for the focus.
  for (const name of ["tabindex", "autofocus"]) body.setAttribute(name, "-1");
  return dialog;
}

/** Call `changed` when an element has another size; one of a page that is not shown has none. @param {HTMLElement} element @param {() => void} changed */
export const onResize = (element, changed) => new ResizeObserver(() => element.offsetWidth && changed()).observe(element);

/** Where what lies in an element is scrolled to. @param {HTMLElement} root @returns {() => void} scrolls it there again */
export function scrolled(root) {
  const places = [root, ...root.querySelectorAll("*")].filter(({ scrollTop, scrollLeft }) => scrollTop || scrollLeft).map((element) => ({ element, top: element.scrollTop, left: element.scrollLeft }));
  return () => places.forEach(({ element, top, left }) => element.scrollTo({ top, left, behavior: "instant" }));
}

/** Who comes into view, or near it, also within an element that scrolls. @param {(entries: IntersectionObserverEntry[]) => void} seen @param {number} ahead_px */
export const nearView = (seen, ahead_px) => new IntersectionObserver(seen, /** @type {IntersectionObserverInit} */ ({ rootMargin: `${ahead_px}px`, scrollMargin: `${ahead_px}px` }));

// Characters that cannot be seen, made visible: controls, those that turn the direction of writing, and blanks where they stand alone or at an end (pure).

const UNSEEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u206f\u2800\u3164\ufeff\uffa0\u{e0000}-\u{e0fff}]/gu;
const OUTER = /^[\s\x1c-\x1f\x85]+|[\s\x1c-\x1f\x85]+$|[\t\n]+/g; // what Python takes for a blank as well

/** @param {string} text */
const spelled = (text) => [...text].map((char) => `[U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}]`).join("");

/** `"a\u202etxt.exe" -> "a[U+202E]txt.exe"` @param {string} text */
export const visible = (text) => String(text).replace(UNSEEN, spelled);

/** Of a name: its tabs, line breaks and blanks at its ends, too, which make it look like another one. `"loss " -> "loss[U+0020]"` @param {string} name */
export const visibleName = (name) => visible(String(name).replace(OUTER, spelled));
