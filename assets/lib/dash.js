/** What our modules and Dash share on a page: the selection, the place of what is drawn, Dash's first answers and its components. */

// The selection for Dash's callbacks: `dcc.Store(id="selection")` holds it, on every page. Our modules write it, callbacks read it.

/**
 * @typedef {Object} Selection
 * @property {string | null} run
 * @property {string[]} runs
 * @property {"time" | "step"} axis
 * @property {number | null} from start of the selected window, Unix seconds or a step; null where none is selected
 * @property {number | null} to
 * @property {boolean} live the view follows the newest point
 */

const ID = "selection";

/** @type {Selection | null} */
let newest = null;
let ready = false;
let written = "";

/** @param {Selection} selection */
export function publish(selection) {
  newest = selection;
  write();
}

/** Dash has laid out the page, and its store exists. */
export function dashIsReady() {
  ready = true;
  write();
}

function write() {
  const { dash_clientside } = /** @type {any} */ (window);
  const text = JSON.stringify(newest);
  if (!ready || newest === null || text === written || !dash_clientside?.set_props) return;
  written = text;
  dash_clientside.set_props(ID, { data: newest });
}

// What is drawn moves into Dash's layout once that is there. What the user does meanwhile goes on: places, focus, selection and the gesture under way stay.

const QUIET_MS = 300; // after which the next notch of a wheel is another gesture
const OPEN = CSS.supports("selector(select:open)") ? ":popover-open, :modal, select:open" : ":popover-open, :modal"; // moving closes them

/** @typedef {{home: () => Element, moved: () => void}} Move */

/** @type {Map<Element, Move>} */
const waiting = new Map();
let held = false; // a pointer is down
let scrolled_ms = -Infinity; // the user's last notch, swipe or key
let frame = 0;
let timer = 0;

addEventListener("pointerdown", () => (held = true), true);
for (const type of ["pointerup", "pointercancel", "contextmenu"]) addEventListener(type, letGo, true);
addEventListener("blur", letGo); // below a menu, or another window, a button goes up unheard
for (const type of ["toggle", "change", "focusout"]) addEventListener(type, () => setTimeout(look), true);
for (const type of ["wheel", "touchmove", "keydown"]) addEventListener(type, () => (scrolled_ms = performance.now()), { capture: true, passive: true });
document.addEventListener("visibilitychange", look);

function letGo() {
  held = false;
  setTimeout(look);
}

/**
 * Make it the first child of its home, as it is, as soon as nothing of it is held, open or being scrolled; at once where it stands nowhere yet.
 * @param {Element} element @param {() => Element} home @param {() => void} [moved] called after it
 */
export function moveWhenStill(element, home, moved = () => {}) {
  waiting.set(element, { home, moved });
  if (!element.isConnected) return moveNow(element);
  return look();
}

/** In a frame, before which the browser has said all that the user did: until then a wheel may have moved what nothing was said of. */
function look() {
  if (!waiting.size) return;
  if (document.hidden) [...waiting.keys()].forEach(moveNow); // has no frames, and no user
  else frame ||= requestAnimationFrame(() => ((frame = 0), moveWhatIsStill()));
}

function moveWhatIsStill() {
  if (held) return; // looked at again when that ends, as where something is open
  const rest_ms = QUIET_MS - (performance.now() - scrolled_ms);
  if (rest_ms <= 0) return [...waiting.keys()].filter((element) => !element.querySelector(OPEN)).forEach(moveNow);
  clearTimeout(timer);
  timer = setTimeout(look, rest_ms);
}

/** @param {Element} element */
function moveNow(element) {
  const { home, moved } = /** @type {Move} */ (waiting.get(element));
  waiting.delete(element);
  if (element.parentElement !== home()) move(element, home());
  moved();
}

/** @param {Element} element @param {Element} home */
function move(element, home) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const scrolled = [element, ...element.querySelectorAll("*")].map((of) => ({ of, top: of.scrollTop, left: of.scrollLeft })).filter(({ top, left }) => top || left);
  const { anchorNode, anchorOffset, focusNode, focusOffset } = getSelection() ?? {};
  insert(element, home); // what Dash has laid out stands behind it
  for (const { of, top, left } of scrolled) of.scrollTo({ top, left, behavior: "instant" }); // moving begins at the top again,
  if (anchorNode && focusNode && element.contains(anchorNode)) getSelection()?.setBaseAndExtent(anchorNode, anchorOffset ?? 0, focusNode, focusOffset ?? 0); // selects nothing,
  if (element.contains(focused) && document.activeElement !== focused) focused?.focus({ preventScroll: true }); // and loses the focus
}

/** Where browsers can, without an end to what is half typed. @param {Element} element @param {any} home */
function insert(element, home) {
  if (!home.moveBefore || !element.isConnected || !home.isConnected) return home.prepend(element);
  const offering = [...element.querySelectorAll("input[list]")].map((field) => ({ field, list: field.getAttribute("list") ?? "" }));
  for (const { field } of offering) field.removeAttribute("list"); // Chromium 150 crashes on a field that moves with its datalist
  home.moveBefore(element, home.firstChild);
  for (const { field, list } of offering) field.setAttribute("list", list);
}

// Dash's first questions, which the HTML of some pages asks: Dash sends headers of its own, for which the browser would ask again.

/** Answers them once, when Dash asks. Call before Dash's bundles run. */
export function answerDashEarly() {
  const links = /** @type {HTMLLinkElement[]} */ ([...document.querySelectorAll("link[data-dash]")]);
  const early = new Map(links.map(({ href }) => [new URL(href).pathname, fetch(href)]));
  if (!early.size) return;
  const { fetch: ask } = globalThis;
  globalThis.fetch = (asked, request) => {
    const path = typeof asked === "string" ? new URL(asked, location.href).pathname : "";
    const answer = early.get(path);
    if (!answer) return ask(asked, request);
    early.delete(path);
    if (!early.size) globalThis.fetch = ask;
    return answer.then((response) => (response.ok ? response : ask(asked, request)), () => ask(asked, request));
  };
}

// Dash's own components, for those who hear a page: what they lack is added as they appear.

/** Lists of checkboxes and of radio buttons are groups of inputs; Dash calls them list boxes, whose options may hold none. */
const LISTS = ".dash-options-list[role='listbox'], .dash-checklist[role='listbox'], .dash-radioitems[role='listbox']";
const TARGETS = ".dash-dropdown-focus-target[aria-hidden='true']"; // a label's click goes there; the Tab key must not

/** Mend what is there, and what comes. */
export function mendDashParts() {
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
  document.addEventListener("click", (event) => {
    // a link of a note that is no address becomes one that does nothing; the page's policy would report it
    if (/** @type {HTMLElement} */ (event.target).closest?.("a[href^='javascript:']")) event.preventDefault();
  });
  mend();
}

function mend() {
  for (const target of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(TARGETS))) target.tabIndex = -1;
  for (const list of document.querySelectorAll(LISTS)) {
    if (list.closest(".dash-dropdown-content")) continue; // of a dropdown: it is one
    list.setAttribute("role", "group");
    list.ariaLabel ||= list.id.replace(/^.*-/, "").replaceAll("_", " ") || "options";
    for (const option of list.querySelectorAll("[role='option']")) {
      option.removeAttribute("role");
      option.removeAttribute("aria-selected");
    }
  }
}
