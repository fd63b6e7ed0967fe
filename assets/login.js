/** The log-in page: a link's secret, which stands behind `#` and is never sent by itself, goes into the form. The button sends it. */

const [asked, system] = [localStorage.getItem("theme"), matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"];
document.documentElement.dataset.theme = asked === "dark" || asked === "light" ? asked : system;

const fragment = new URLSearchParams(location.hash.slice(1));
const secret = fragment.get("token");
if (secret) {
  const field = /** @type {HTMLInputElement} */ (document.getElementById("token"));
  field.value = secret;
  const next = fragment.get("next");
  if (next) /** @type {HTMLInputElement} */ (document.getElementById("next")).value = next;
  history.replaceState(null, "", location.pathname); // neither the history nor a copied address keeps it
  /** @type {HTMLElement} */ (document.querySelector("button")).focus();
}
