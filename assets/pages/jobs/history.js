/** The table of jobs that are over (`dashboard/pages/jobs.py`), on a phone: what fits beside each other comes first. */

const ID = "jobs-history";
const PHONE = matchMedia("(max-width: 639px)");
const WIDTHS = { job: 44, state: 72, name: 114, worked: 74, ended: 54, how: 260 };
const LEFT_OUT = ["command", "slots", "waited"]; // a row opens its job, which has them

/** Follows the width of the screen. */
export async function fitHistory() {
  while (!document.getElementById(ID) || !(/** @type {any} */ (window).dash_ag_grid?.getApiAsync)) await new Promise((done) => setTimeout(done, 16));
  const api = await /** @type {any} */ (window).dash_ag_grid.getApiAsync(ID);
  const fit = () => {
    if (!PHONE.matches) return api.resetColumnState();
    const state = [...Object.entries(WIDTHS).map(([colId, width]) => ({ colId, width, flex: null, hide: false })), ...LEFT_OUT.map((colId) => ({ colId, hide: true }))];
    api.applyColumnState({ state, applyOrder: true });
  };
  PHONE.addEventListener("change", fit);
  if (PHONE.matches) fit();
}
