/** What is drawn moves into Dash's layout once that is there. What the user does meanwhile goes on: places, focus, selection and the gesture under way stay. */

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
