/** Properties of Dash's components, from our modules. */

/** Before Dash has laid out the page, nothing happens. @param {string} id @param {Record<string, any>} props */
export function setProps(id, props) {
  const { dash_clientside } = /** @type {any} */ (window);
  if (document.getElementById("runs-grid")) dash_clientside?.set_props?.(id, props);
}
