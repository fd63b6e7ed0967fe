"""The Alerts page: what fires, mutes, the text of the rules, messages, the sign in the bar, notifications of the browser."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from alerts.delivery import Outbox
from alerts.messages import AlertMessage
from dashboard.pages import pages
from tests.axe import serious
from tests.conftest import wait_for
from tests.findings_scene import HOSTILE, FindingsScene, findings_scene

EXPECTED_ERRORS = ("400 (Bad Request)",)  # of texts with a mistake
RECEIVERS = "receivers:\n  - {name: ops, kind: webhook, url: 'https://example.org/hook/very-secret'}\n  - {name: mine, kind: desktop}\n"
RULES = "rules:\n  - {name: loss is high, when: train/loss > 8, for: 2 min}\n"
SHOWN = """
globalThis.shown = [];
globalThis.Notification = class { static permission = "granted"; constructor(title, { body, tag }) { shown.push([title, body, tag]); } };
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FindingsScene]:
    with findings_scene(tmp_path_factory.mktemp("alerts")) as scene:
        scene.run("vit")
        yield scene


@pytest.fixture
def fires(scene: FindingsScene) -> Iterator[str]:
    """The id of an alert that holds for the length of a test."""
    name = scene.find(
        "vit", "hung", -60, -1, weight="alert", over=False, said=f"{HOSTILE} No line for 5 min.", id_="hung-vit"
    )
    yield name
    scene.find("vit", "hung", -7200, -7100, weight="alert", said="It was hung.", id_=name)


def say(scene: FindingsScene, text: str) -> None:
    (scene.data_dir / "alerts.yaml").write_text(text)


def message(id_: str, receiver: str, sentence: str) -> AlertMessage:
    return AlertMessage(
        id_, receiver, "begin", "hung", "Hung", "alert", (sentence,), ("vit",), (id_,), time.time(), time.time()
    )


def sign(page: Page) -> str:
    """The number beside the bell."""
    return page.locator(".bell").inner_text()


def test_a_page_without_anything_says_what_to_do(scene: FindingsScene, page: Page) -> None:
    scene.open(page, "/alerts")
    expect(page.locator("#alerts-firing .none")).to_have_text("No active alerts.")
    expect(page.locator("#alerts-muted .none")).to_have_text("Nothing is muted.")
    expect(page.locator("#alerts-own .none")).to_contain_text("None yet.")
    expect(page.locator("#alerts-unsent")).to_contain_text("No message was sent yet.")
    wait_for(lambda: page.locator("#alerts-rules .ag-row").count() > 5, because="no table of the rules")
    assert sign(page) == ""
    page.get_by_role("button", name="Begin with an example").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".alerts-receivers .alert-row")).to_have_count(2)
    expect(page.locator("#alerts-own .alert-row")).to_have_count(2)
    (scene.data_dir / "alerts.yaml").unlink()


def test_an_alert_is_muted_and_taken_back(scene: FindingsScene, fires: str, page: Page) -> None:
    scene.open(page, "/alerts")
    row = page.locator("#alerts-firing .alert-row")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("Hung. <img src=x onerror='hacked=1'>[U+202E] No line for 5 min.")
    wait_for(lambda: sign(page) == "1", because="the sign does not say it")
    assert page.locator(".bell").get_attribute("aria-label") == "Alerts: 1 is active"
    assert serious(page) == []
    page.get_by_role("button", name="Mute Hung of vit for 1 h").click()
    expect(page.locator("#alerts-firing .none")).to_have_text("No active alerts.")
    expect(page.locator("#alerts-muted .alert-row")).to_contain_text("Hung of vit, for another 1 h")
    expect(page.locator("#alerts-muted .alert-row")).to_contain_text("1 would fire")
    wait_for(lambda: sign(page) == "", because="the sign still says it")
    page.get_by_role("button", name="Unmute Hung of vit").click()
    expect(row).to_have_count(1)
    expect(page.locator("#alerts-muted .none")).to_be_visible()
    assert page.evaluate("() => globalThis.hacked") is None
    row.locator("a").click()
    expect(page.locator(".found-detail h2")).to_have_text("Alert: Hung")
    wait_for(lambda: sign(page) == "1", because="no sign on Live")
    page.locator(".bell").click()
    wait_for(lambda: page.url.endswith("/alerts") or "/alerts?" in page.url, because="the sign leads elsewhere")


ODD_NAME = 'loss "too"  high, it\'s 100 %: <b> [1, 2] 损失'  # an own rule's name may have any printable character


def test_alerts_are_acknowledged_and_taken_back_whatever_their_rules_are_called(
    scene: FindingsScene, fires: str, page: Page
) -> None:
    rule = f"rule:{ODD_NAME}"
    own = scene.find(
        "vit", rule, -50, -1, weight="alert", over=False, said="It is high.", id_=f"{rule}-0a1b2c3d4e5f6071"
    )
    scene.open(page, "/alerts")
    rows = page.locator("#alerts-firing .alert-row")
    expect(rows).to_have_count(2)
    mine = rows.filter(has_text="It is high.").locator("[data-findings]")
    mine.click()
    expect(mine).to_have_attribute("aria-pressed", "true")
    wait_for(lambda: sign(page) == "1", because="the sign still counts it")
    mine.click()
    expect(mine).to_have_attribute("aria-pressed", "false")
    wait_for(lambda: sign(page) == "2", because="the sign does not count it again")
    page.get_by_role("button", name="Acknowledge all").click()
    expect(page.locator("#alerts-firing [aria-pressed=true]")).to_have_count(2)
    wait_for(lambda: sign(page) == "", because="the sign still counts them")
    expect(page.locator("#alerts-said")).to_have_text("")
    scene.find("vit", rule, -7200, -7100, weight="alert", said="It was high.", id_=own)
    (scene.data_dir / "acknowledged.yaml").unlink()


def test_a_mistake_of_the_text_shows_its_line_and_nothing_is_saved(scene: FindingsScene, page: Page) -> None:
    say(scene, RECEIVERS)
    scene.open(page, "/alerts")
    text = page.locator("#alerts-yaml")
    expect(text).to_have_value(RECEIVERS)
    text.fill(RECEIVERS + RULES.replace("when", "wen"))
    page.keyboard.press("Control+s")
    expect(page.locator(".mistakes")).to_contain_text("line 5: a rule has no key 'wen'")
    expect(page.locator(".editor-lines .wrong")).to_have_text("5")
    assert text.get_attribute("aria-invalid") == "true"
    assert (scene.data_dir / "alerts.yaml").read_text() == RECEIVERS
    assert serious(page) == []
    text.fill(RECEIVERS + RULES)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#alerts-own .alert-row")).to_contain_text("loss is high when train/loss > 8 for 2 min")
    assert (scene.data_dir / "alerts.yaml").read_text() == RECEIVERS + RULES
    expect(page.locator(".mistakes li")).to_have_count(0)
    say(scene, RECEIVERS + "rulez: []\n")
    expect(page.locator(".mistakes")).to_contain_text("line 4: there is no key 'rulez'")
    assert "very-secret" not in page.locator(".alerts-receivers").inner_text()


def test_what_is_typed_stays_while_the_page_is_read_anew(scene: FindingsScene, page: Page) -> None:
    say(scene, RECEIVERS)
    scene.open(page, "/alerts")
    expect(page.locator("#alerts-yaml")).to_have_value(RECEIVERS)
    page.locator("#alerts-yaml").fill("# mine\n")
    say(scene, RECEIVERS + RULES)
    page.evaluate("() => dash_clientside.set_props('alerts-asked', {data: 99})")
    expect(page.locator("#alerts-own .alert-row")).to_have_count(1)
    expect(page.locator("#alerts-yaml")).to_have_value("# mine\n")
    page.get_by_role("button", name="Discard changes").click()
    expect(page.locator("#alerts-yaml")).to_have_value(RECEIVERS + RULES)


def test_messages_say_what_became_of_them(scene: FindingsScene, page: Page) -> None:
    say(scene, RECEIVERS)
    outbox = Outbox(scene.data_dir)
    for number, state in enumerate(("delivered", "failed", "waiting")):
        sent = message(f"m{number}", "ops", f"{HOSTILE} {state}")
        outbox.add(sent)
        if state != "waiting":
            outbox.over(sent, state, time.time(), "" if state == "delivered" else "404 Not Found")  # type: ignore[arg-type]
    scene.open(page, "/alerts")
    states = page.locator("#alerts-messages .ag-center-cols-container [col-id=state]")
    expect(states).to_have_count(3)
    assert sorted(states.all_inner_texts()) == ["delivered", "failed", "waiting"]
    expect(page.locator("#alerts-messages")).to_contain_text("404 Not Found")
    expect(page.locator(".alerts-receivers .alert-row").first).to_contain_text("1 waiting")
    assert page.evaluate("() => globalThis.hacked") is None


def test_each_page_has_the_sign_while_an_alert_fires(scene: FindingsScene, fires: str, page: Page) -> None:
    for shown in pages()[::2]:
        scene.open(page, shown.path, run="vit")
        wait_for(lambda: sign(page) == "1", because=f"no sign on {shown.name}")


def test_each_message_is_one_notification_whichever_page_is_open(scene: FindingsScene, page: Page) -> None:
    say(scene, RECEIVERS)
    page.add_init_script(SHOWN)
    outbox = Outbox(scene.data_dir)
    sent = message("n1", "mine", "No line for 5 min.")
    outbox.add(sent)
    outbox.over(sent, "delivered", time.time())
    scene.open(page, "/runs")
    shown = wait_for(lambda: page.evaluate("() => shown"), because="no notification")
    assert shown == [["Hung", "vit: No line for 5 min.", "n1"]]
    scene.open(page, "/settings")
    sent = message("n2", "mine", "Again.")
    outbox.add(sent)
    outbox.over(sent, "delivered", time.time())
    assert wait_for(lambda: page.evaluate("() => shown"), because="no second one") == [["Hung", "vit: Again.", "n2"]]


def test_a_button_asks_for_the_permission(scene: FindingsScene, page: Page) -> None:
    page.add_init_script(SHOWN.replace('static permission = "granted";', 'static permission = "default"; static requestPermission() { this.permission = "granted"; return Promise.resolve("granted"); }'))  # fmt: skip
    scene.open(page, "/alerts")
    page.get_by_role("button", name="Show alerts as notifications of this browser").click()
    expect(page.locator(".desktop [role=status]")).to_contain_text("This browser shows alerts as notifications")


def test_on_a_phone_nothing_is_wider_than_the_screen(scene: FindingsScene, fires: str, browser: Browser) -> None:
    phone = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    scene.open(phone, "/alerts")
    expect(phone.locator("#alerts-firing .alert-row")).to_have_count(1)
    assert (
        phone.evaluate(
            "() => Math.max(document.documentElement.scrollWidth, document.querySelector('.alerts-page').scrollWidth)"
        )
        == 390
    )
    box = wait_for(
        lambda: phone.get_by_role("button", name="Mute Hung of vit for 1 h").bounding_box(), because="no button"
    )
    assert min(box["width"], box["height"]) >= 44
    assert serious(phone) == []
    phone.close()
