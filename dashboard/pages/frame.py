"""The frame around all pages: the HTML that the browser gets first, and Dash's outermost layout.

The bar, the status line and a place for the first picture stand in the HTML itself, so that the page draws before Dash is
there: `assets/main.js` takes Dash's bundles out of their template when the first picture is drawn, and moves the drawn page
into its container when Dash has laid that out.
"""

from __future__ import annotations

from dash import html

from . import flame, gpus, live

PAGES = (("1", "Live", "/", live), ("2", "GPUs", "/gpus", gpus), ("4", "Flame", "/flame", flame))
STYLES = ("tokens.css", "vendor/uPlot.min.css", "app.css", "pages/gpus/page.css", "flame.css")
MODULES = (  # that every page needs; those of one page follow when it is asked for
    "main.js",
    "lib/api.js",
    "lib/axis.js",
    "data/book.js",
    "timeline/brush.js",
    "data/columns.js",
    "timeline/controls.js",
    "lib/dom.js",
    "timeline/events.js",
    "data/feed.js",
    "pages/files.js",
    "lib/format.js",
    "lib/keys.js",
    "timeline/lane.js",
    "timeline/lane_order.js",
    "data/lanes.js",
    "timeline/legend.js",
    "data/lost.js",
    "timeline/marks.js",
    "pages/page.js",
    "lib/painted.js",
    "data/phases.js",
    "lib/picker.js",
    "data/progress.js",
    "data/range.js",
    "lib/retry.js",
    "data/runs.js",
    "lib/scale.js",
    "data/series.js",
    "pages/status.js",
    "timeline/steering.js",
    "lib/theme.js",
    "timeline/timeline.js",
    "lib/url.js",
    "vendor/uPlot.esm.js",
    "pages/verdict.js",
    "lib/visible.js",
)

THEME = """
const asked = new URLSearchParams(location.search).get("theme") || localStorage.getItem("theme");
const system = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
document.documentElement.dataset.theme = ["dark", "light"].includes(asked) ? asked : system;
"""

LOGO = """<svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
<path d="M0 4h5v3h-1.5v5h9v-5H11V4h5" fill="none" stroke="var(--accent)" stroke-width="1.6"/></svg>"""


def index() -> str:
    """Dash's index string; the places in {%...%} are Dash's to fill."""
    styles = "\n".join(f'<link rel="stylesheet" href="/assets/{name}">' for name in STYLES)
    preloads = "\n".join(f'<link rel="modulepreload" href="/assets/{name}">' for name in MODULES)
    links = "".join(f'<a href="{path}"><i>{key}</i>{name}</a>' for key, name, path, _ in PAGES)
    return f"""<!doctype html>
<html lang="en">
<head>
{{%metas%}}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{%title%}}</title>
<script>{THEME}</script>
{styles}
{preloads}
<link rel="icon" href="/assets/icon.svg">
{{%css%}}
</head>
<body>
<header id="bar" class="bar">
<div class="brand">{LOGO}<span>DeepSeek Dashboard</span></div>
<nav class="nav" aria-label="Pages">{links}</nav>
<div id="controls" class="controls"></div>
</header>
<main id="first"></main>
<script type="module" async src="/assets/main.js"></script>
{{%app_entry%}}
<footer id="status" class="status"></footer>
{{%config%}}
<template id="dash">
{{%scripts%}}
{{%renderer%}}
</template>
</body>
</html>"""


INDEX = index()


def layout() -> html.Main:
    """The containers of all pages; the script fills that of the address."""
    return html.Main(id="page", children=[page.layout() for *_, page in PAGES])
