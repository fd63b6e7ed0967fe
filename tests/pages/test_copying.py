"""Copy copies, also where the browser gives the page no clipboard: below a plain `http://host`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import Dashboard, dashboard

CLIPBOARDS = {
    "refused": "",  # as it is: nobody gave the permission
    "none": "Object.defineProperty(navigator, 'clipboard', { value: undefined })",
}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with dashboard(tmp_path_factory.mktemp("copied") / "logs", "--no-profile") as running:
        yield running


def pasted(page: Page) -> str:
    field = page.evaluate_handle("() => document.body.appendChild(document.createElement('textarea'))").as_element()
    assert field is not None
    field.focus()
    page.keyboard.press("Control+v")
    return str(field.evaluate("field => field.value"))


@pytest.mark.parametrize("clipboard", CLIPBOARDS)
def test_the_snippet_of_an_empty_page_is_copied(empty: Dashboard, page: Page, clipboard: str) -> None:
    page.add_init_script(CLIPBOARDS[clipboard])
    page.goto(empty.address)
    code = page.locator(".first-run pre", has_text="deepseek-dashboard run")
    button = page.locator(".first-run button").first
    button.click()
    expect(button).to_have_text("Copied")
    assert pasted(page) == code.text_content()
    expect(button).to_have_text("Copy")


@pytest.mark.parametrize("clipboard", CLIPBOARDS)
def test_a_link_is_copied_in_its_dialog(empty: Dashboard, page: Page, clipboard: str) -> None:
    page.add_init_script(CLIPBOARDS[clipboard])
    page.goto(f"{empty.address}/settings")
    page.locator("#share").click()
    dialog = page.locator(".share-dialog")
    dialog.get_by_role("button", name="Copy link").click()
    expect(dialog).to_contain_text("Copied.")
    link = dialog.get_by_label("Link", exact=True).input_value()
    page.keyboard.press("Escape")
    assert link and pasted(page) == link
