/** What the holder of this page may do, as the server wrote it into the page (dashboard/pages/frame.py). The server decides; the page does not ask in vain. */

const { role = "owner", grants = "" } = document.documentElement.dataset;
const granted = grants.split(" ");

export const isOwner = role === "owner";

/** Whether files of all details may be made: what offers one has `data-exports`. */
export const mayExport = isOwner || granted.includes("exports");

/** What must be granted to a viewer, by the route that is asked. @type {Record<string, [string, string]>} */
const GRANTS = {
  source: ["source", "Source lines are"],
  diff: ["source", "The difference from the commit is"],
  export: ["exports", "Exports are"],
  report: ["exports", "Reports are"],
  processes: ["processes", "Processes of the machine are"],
};

/** Why a route is not for this page, one sentence; "" where it is. @param {string} path below /api/v1 @param {string} [method] */
export function refusal(path, method = "GET") {
  if (isOwner) return "";
  if (method !== "GET") return "Only the owner of this dashboard may change this.";
  const [grant, what] = GRANTS[/** @type {string} */ (path.split("?")[0])] ?? [];
  return grant && !granted.includes(grant) ? `${what} not part of this link.` : "";
}
