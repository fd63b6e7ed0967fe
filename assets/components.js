/**
 * What Dash calls for our components: `window.deepseek.TimeChart` mounts the function of that name of `modules.js`.
 *
 * A classic script without a build step, so that any Dash app can load it. A component function takes its place, its properties and a
 * way to set them, and returns `update` and `close`, either of which may be missing, or a promise of these.
 */
(() => {
  const { src, dataset } = /** @type {HTMLScriptElement} */ (document.currentScript);
  const modules = import(new URL("built/modules.js", src).href);
  /** @param {string} name */
  const component = (name) =>
    function Component(/** @type {any} */ props) {
      const { createElement, useEffect, useRef } = /** @type {any} */ (window).React;
      const place = useRef(null);
      const mounted = useRef({ props });
      mounted.current.props = props;
      useEffect(() => {
        const { current } = mounted;
        modules.then((found) => {
          if (current.isGone) return;
          const given = current.props;
          const failed = (/** @type {Error} */ error) => say(place.current, props.component ?? name, error);
          const made = (/** @type {any} */ parts) => {
            if (current.isGone) return void parts?.close?.();
            current.update = (/** @type {any} */ changed) => tried(() => parts?.update?.(changed), failed);
            current.close = () => parts?.close?.();
            if (current.props !== given) current.update(current.props);
          };
          const parts = tried(() => found[name](place.current, given, (/** @type {any} */ changed) => current.props.setProps(changed)), failed);
          if (parts instanceof Promise) parts.then(made).catch(failed);
          else made(parts);
        });
        return () => {
          current.isGone = true;
          current.close?.();
        };
      }, []);
      useEffect(() => mounted.current.update?.(props));
      return createElement("div", { ref: place, id: props.id, className: props.className, style: props.style });
    };

  /** @param {() => any} call @param {(error: Error) => void} failed */
  function tried(call, failed) {
    try {
      return call();
    } catch (error) {
      return failed(/** @type {Error} */ (error));
    }
  }

  /** A component that fails says so in its place; the page's others stay. @param {any} place @param {string} name @param {Error} error */
  function say(place, name, error) {
    console.error(error);
    const said = Object.assign(document.createElement("p"), { className: "warn", role: "alert", textContent: `${name} cannot be shown: ${error?.message ?? error}` });
    (place.shadowRoot ?? place).replaceChildren(said);
  }

  /** An object whose components are made when they are first asked for; what else it has is `more`'s. @param {(name: string) => Function} make @param {() => any} [more] */
  function library(make, more = () => undefined) {
    /** @type {Record<string, Function>} */
    const known = {};
    const get = (/** @type {unknown} */ _, /** @type {string | symbol} */ name) =>
      typeof name === "string" && /^[A-Z]/.test(name) ? (known[name] ??= make(name)) : (/** @type {any} */ (known)[name] ?? more()?.[name]);
    return new Proxy(known, { get });
  }

  /** @type {any} */ (window).deepseek = library(component);

  // Packages of components that the first page of the dashboard does without: they are loaded when one of them is laid out. A component stays
  // the same one when its package has come, else React would make it anew. Before that Dash already asks what of it `persistence` keeps: the
  // controls of Dash say so themselves later.

  /** @type {Record<string, string[]>} what is not called `value` */
  const KEPT = { AgGrid: ["selectedRows"], DatePickerRange: ["start_date", "end_date"], DatePickerSingle: ["date"] };

  for (const [name, sources] of Object.entries(JSON.parse(dataset.later ?? "{}"))) {
    /** @type {any} */
    let real;
    /** @type {Promise<unknown> | undefined} */
    let loading;
    const load = () => (loading ??= Promise.all(sources.map(loaded)));
    const later = library(
      (type) => {
        const { Suspense, createElement, lazy } = /** @type {any} */ (window).React;
        const inner = lazy(() => load().then(() => ({ default: real[type] })));
        const Later = (/** @type {any} */ props) => createElement(Suspense, { fallback: null }, createElement(inner, props));
        const dashPersistence = { get: () => real?.[type]?.defaultProps ?? real?.[type]?.dashPersistence ?? { persisted_props: KEPT[type] ?? ["value"], persistence_type: "local" } };
        return Object.defineProperty(Object.assign(Later, { _dashprivate_isLazyComponentReady: load() }), "dashPersistence", dashPersistence);
      },
      () => real,
    );
    Object.defineProperty(window, name, { get: () => later, set: (found) => found === later || (real = found) }); // a package may set what it got
  }

  /** @type {Record<string, Promise<unknown>>} */
  const underWay = {};

  /** Once, also where packages share a script, or the page has it from the first. @param {string} source */
  function loaded(source) {
    if (!underWay[source] && document.querySelector(`script[src="${CSS.escape(source)}"]`)) return undefined;
    return (underWay[source] ??= new Promise((done, failed) => {
      const script = Object.assign(document.createElement("script"), { src: source, async: false, onload: done, onerror: failed });
      document.head.append(script);
    }));
  }
})();
