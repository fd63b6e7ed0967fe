/** Dash's own components, for those who hear a page: what they lack is added as they appear. */

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
