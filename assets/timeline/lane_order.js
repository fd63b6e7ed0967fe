/** The order of lanes: the user drags a lane by its name, or moves it with Shift and an arrow key; the browser remembers. */

const ORDER = "order of lanes";
const DRAG_PX = 4; // less is a click, which folds
const WAYS = { ArrowUp: -1, ArrowDown: 1 };

/** A lane that was not moved stays after its predecessor. @template {{id: string}} L @param {L[]} lanes @param {string[]} [order] ids @returns {L[]} */
export function ordered(lanes, order = remembered()) {
  let before = -1;
  const places = new Map(
    lanes.map(({ id }) => {
      const place = order.indexOf(id);
      if (place >= 0) before = place;
      return [id, place < 0 ? before + 0.5 : place];
    }),
  );
  return [...lanes].sort((a, b) => Number(places.get(a.id)) - Number(places.get(b.id)));
}

/** @returns {string[]} ids */
const remembered = () => JSON.parse(localStorage.getItem(ORDER) ?? "[]");

/** @param {string[]} ids of the lanes that are shown */
export function remember(ids) {
  const others = remembered().filter((id) => !ids.includes(id));
  localStorage.setItem(ORDER, JSON.stringify([...ids, ...others]));
}

/** Let the user move an element among its siblings. @param {HTMLElement} lane @param {HTMLElement} handle @param {() => void} moved */
export function movable(lane, handle, moved) {
  /** @type {{y: number, moved: boolean} | null} */
  let drag = null;
  handle.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return; // a finger scrolls
    drag = { y: event.clientY, moved: false };
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => {
    if (!drag || !(drag.moved ||= Math.abs(event.clientY - drag.y) > DRAG_PX)) return;
    lane.classList.add("moving");
    const { top, bottom } = lane.getBoundingClientRect();
    if (event.clientY < top && middle(lane.previousElementSibling) > event.clientY) swap(lane, -1);
    if (event.clientY > bottom && middle(lane.nextElementSibling) < event.clientY) swap(lane, 1);
  });
  const drop = () => {
    lane.classList.remove("moving");
    if (drag?.moved) moved();
    setTimeout(() => (drag = null)); // after the click that ends it
  };
  handle.addEventListener("pointerup", drop);
  handle.addEventListener("pointercancel", drop);
  handle.addEventListener("click", (event) => drag?.moved && event.stopImmediatePropagation(), true); // before the one that folds
  handle.addEventListener("keydown", (event) => {
    const way = WAYS[/** @type {keyof typeof WAYS} */ (event.key)];
    if (!way || !event.shiftKey) return;
    event.preventDefault();
    swap(lane, way);
    moved();
    lane.scrollIntoView({ block: "nearest" });
  });
}

/** @param {Element | null} element NaN without one, which is neither above nor below anything */
function middle(element) {
  const { top, bottom } = element?.getBoundingClientRect() ?? { top: NaN, bottom: NaN };
  return (top + bottom) / 2;
}

/** Move the neighbour to the other side: a moved element would lose the focus and the pointer. @param {Element} lane @param {number} way */
function swap(lane, way) {
  if (way < 0 && lane.previousElementSibling) lane.after(lane.previousElementSibling);
  if (way > 0 && lane.nextElementSibling) lane.before(lane.nextElementSibling);
}
