"""Where the scroll bar of the Logs page stands."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.conftest import wait_for
from tests.pages.test_logs_page import Scene
from tests.pages.test_logs_page import scene as scene  # a fixture

BAR = """() => {
  const frames = [];
  const look = () => {
    const [bar, last] = [document.querySelector(".log-scroll"), document.querySelector(".log-rows .entry:last-child .m")];
    if (last?.textContent === "line 29999 of many") frames.push(bar.scrollTop);
    if (frames.length < 30) requestAnimationFrame(look);
    else window.frames_ = frames;
  };
  look();
}"""


def test_the_end_can_be_scrolled_from_the_moment_in_which_it_is_shown(scene: Scene, page: Page) -> None:
    page.add_init_script(f"addEventListener('DOMContentLoaded', {BAR})")
    scene.open(page, "many")
    tops = wait_for(lambda: page.evaluate("() => window.frames_"), because="the end is not shown")
    assert min(tops[1:]) > 0, "the scroll bar stands at the top while the last lines are shown"
