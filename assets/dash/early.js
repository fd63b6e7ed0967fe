/** Dash's first questions, which the HTML of some pages asks: Dash sends headers of its own, for which the browser would ask again. */

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
