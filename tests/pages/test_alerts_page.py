"""The Alerts page: what fires, mutes, the text of the rules, messages, the sign in the bar, notifications of the browser."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from alerts.config import settings_of
from alerts.delivery import Outbox
from alerts.messages import AlertMessage
from collectors.records import Event
from dashboard.pages import pages
from tests.conftest import tools_work, wait_for
from tests.support.axe import serious
from tests.support.findings_scene import HOSTILE, FindingsScene, findings_scene

EXPECTED_ERRORS = ("400 (Bad Request)",)  # of texts with a mistake
RECEIVERS = "receivers:\n  - {name: ops, kind: webhook, url: 'https://example.org/hook/very-secret'}\n  - {name: mine, kind: desktop}\n"
RULES = "rules:\n  - {name: loss is high, when: train/loss > 8, for: 2 min}\n"
MOVED = """
globalThis.moved = 0;
new PerformanceObserver((list) => list.getEntries().forEach((entry) => { if (!entry.hadRecentInput) moved += entry.value; })).observe({ type: "layout-shift", buffered: true });
"""
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
    expect(page.locator(".alerts-left .none")).to_contain_text("No active alerts.")
    assert sign(page) == ""
    page.get_by_role("link", name="Rules").click()
    expect(page.locator("#alerts-rules .none").first).to_contain_text("No channels yet.")
    expect(page.locator("#alerts-form")).to_contain_text("Add a channel")
    assert serious(page) == []


def test_an_alert_has_its_evidence_and_is_muted_and_taken_back(scene: FindingsScene, fires: str, page: Page) -> None:
    scene.open(page, "/alerts")
    row = page.locator(".alert-row.fires")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("<img src=x onerror='hacked=1'>[U+202E] No line for 5 min.")
    expect(page.locator(".alerts-aside .said")).to_contain_text("No line for 5 min.")
    wait_for(lambda: sign(page) == "1", because="the sign does not say it")
    assert page.locator(".bell").get_attribute("aria-label") == "Alerts: 1 is active"
    assert serious(page) == []
    page.keyboard.press("m")
    page.get_by_role("button", name="Mute Hung of vit: 1 h").click()
    expect(page.locator(".alerts-left .none")).to_contain_text("No active alerts.")
    expect(page.locator(".alert-row.mute")).to_contain_text("for another 1 h; 1 would fire")
    wait_for(lambda: sign(page) == "", because="the sign still says it")
    page.get_by_role("button", name="Unmute Hung of vit").click()
    expect(row).to_have_count(1)
    assert page.evaluate("() => globalThis.hacked") is None
    page.locator(".alerts-aside a", has_text="Open run").click()
    expect(page.locator(".found-detail h2")).to_have_text("Alert: Hung")
    wait_for(lambda: sign(page) == "1", because="no sign on Live")
    page.locator(".bell").click()
    wait_for(lambda: page.url.endswith("/alerts") or "/alerts?" in page.url, because="the sign leads elsewhere")


ODD_NAME = 'loss "too"  high, it\'s 100 %: <b> [1, 2] 损失'  # an own rule's name may have any printable character


def test_alerts_are_acknowledged_by_a_click_or_a_key_and_taken_back(
    scene: FindingsScene, fires: str, page: Page
) -> None:
    rule = f"rule:{ODD_NAME}"
    own = scene.find(
        "vit", rule, -50, -1, weight="alert", over=False, said="It is high.", id_=f"{rule}-0a1b2c3d4e5f6071"
    )
    scene.open(page, "/alerts")
    rows = page.locator(".alert-row.fires")
    expect(rows).to_have_count(2)
    rows.filter(has_text="It is high.").get_by_role("button", name="Acknowledge").click()
    expect(rows).to_have_count(1)
    wait_for(lambda: sign(page) == "1", because="the sign still counts it")
    page.get_by_label("Show acknowledged (1)").check()
    expect(rows).to_have_count(2)
    rows.filter(has_text="It is high.").get_by_role("button", name="Undo").click()
    wait_for(lambda: sign(page) == "2", because="the sign does not count it again")
    rows.first.click()
    page.keyboard.press("a")
    wait_for(lambda: sign(page) == "1", because="the key does not acknowledge")
    scene.find("vit", rule, -7200, -7100, weight="alert", said="It was high.", id_=own)
    (scene.data_dir / "acknowledged.yaml").unlink()


def test_a_run_that_ended_without_recovering_says_so_and_a_finished_one_is_no_alert(
    scene: FindingsScene, page: Page
) -> None:
    scene.find("vit", "nan_lasting", -900, -800, weight="alert", said="It was NaN.", ended_with_run=True)
    scene.find("vit", "finished", -700, said="It finished.")
    scene.open(page, "/alerts")
    expect(page.locator(".alert-row", has_text="It was NaN.")).to_contain_text("Run ended without recovering")
    expect(page.locator(".alert-row", has_text="It finished.")).to_have_count(1)
    assert page.locator(".alert-row.fires", has_text="It finished.").count() == 0
    page.get_by_role("link", name="History").click()
    expect(page.locator("#alerts-past .ag-row", has_text="It was NaN.")).to_contain_text("run ended without recovering")


def test_a_rule_is_made_by_form_with_a_preview_of_real_runs(scene: FindingsScene, page: Page) -> None:
    say(scene, "# mine\n" + RECEIVERS)
    scene.open(page, "/alerts", tab="rules", edit="new")
    page.locator("#rule-save").click()
    expect(page.locator("#rule-name-wrong")).to_have_text("Give the rule a name.")
    expect(page.locator("#rule-when-wrong")).to_have_text("Choose a metric.")
    page.locator("#rule-name").fill("loss is high")
    page.locator("#rule-metric").click()
    page.get_by_role("option", name="train/loss").click()
    page.locator("#rule-number").fill("0.5")
    page.locator("#rule-for").fill("2 min")
    expect(page.locator("#rule-preview")).to_contain_text("Would have fired once in 1 run.")
    assert serious(page) == []
    page.locator("#rule-save").click()
    expect(page.locator("#alerts-form-said")).to_have_text("Saved.")
    expect(page.locator("#alerts-rules tr.own")).to_contain_text("train/loss is above 0.5 for 2 min")
    text = (scene.data_dir / "alerts.yaml").read_text()
    assert text.startswith("# mine\n" + RECEIVERS) and "when: train/loss > 0.5" in text
    page.get_by_role("switch", name="Alert on: loss is high").click()
    wait_for(lambda: "enabled: false" in (scene.data_dir / "alerts.yaml").read_text(), because="it is still on")


def test_the_preview_of_a_rule_has_the_tools_of_every_chart(scene: FindingsScene, page: Page) -> None:
    say(scene, RECEIVERS + "rules:\n- {name: high, when: train/loss > 0.5, for: 2 min}\n")
    scene.open(page, "/alerts", tab="rules", edit="rule:high")
    expect(page.locator("#rule-preview .fires")).to_be_visible()
    tools_work(page, page.locator("#rule-preview .chart-plot"))


def test_an_alert_shows_the_series_around_its_time_with_its_limit(scene: FindingsScene, page: Page) -> None:
    say(scene, "rules:\n- {name: high, when: train/loss > 0.5}\n")
    own = scene.find("vit", "rule:high", -100, -90, weight="alert", over=False, said="It is high.", id_="rule:high-0a")
    scene.open(page, "/alerts")
    expect(page.locator(".alerts-aside .said")).to_have_text("It is high.")
    painted = wait_for(
        lambda: page.evaluate("() => globalThis.deepseekPainted?.curves['train/loss'] ?? null"),
        because="no chart of the evidence",
    )
    assert painted["points"] > 10
    expect(page.locator(".evidence-chart")).to_contain_text("limit")
    expect(page.locator(".evidence-chart")).to_contain_text("fired")
    assert serious(page) == []
    scene.find("vit", "rule:high", -7200, -7100, weight="alert", said="It was high.", id_=own)


def test_what_is_wrong_with_a_channel_or_quiet_hours_stands_below_its_field(scene: FindingsScene, page: Page) -> None:
    say(scene, "")
    scene.open(page, "/alerts", tab="rules", edit="channel:")
    page.locator("#channel-save").click()
    expect(page.locator("#channel-name-wrong")).to_have_text("The name of a receiver has 1 to 80 printable characters.")
    page.locator("#channel-name").fill("phone")
    page.locator("#channel-topic").fill("no such/topic")
    page.locator("#channel-save").click()
    expect(page.locator("#channel-topic-wrong")).to_have_text("Topic has up to 64 letters, digits, - and _.")
    expect(page.locator("#channel-name-wrong")).to_have_text("")
    expect(page.locator("#alerts-form-said")).to_have_text("")
    page.get_by_text("Webhook", exact=True).click()
    page.locator("[data-secret='webhook url']").fill("nowhere")
    page.locator("#channel-save").click()
    expect(page.locator("#channel-webhook-url-wrong")).to_contain_text("Url is an address such as")
    scene.open(page, "/alerts", tab="rules", edit="quiet")
    page.get_by_label("On", exact=True).check()
    page.locator("#quiet-to").fill("25:00")
    page.locator("#quiet-save").click()
    expect(page.locator("#quiet-to-wrong")).to_have_text("To is a time of the day such as 22:00.")
    page.locator("#quiet-to").fill("07:00")
    page.locator("#quiet-save").click()
    expect(page.locator("#alerts-form-said")).to_have_text("Saved.")
    expect(page.locator("#quiet-to-wrong")).to_have_text("")


def test_a_built_in_rule_is_changed_for_some_runs_by_form(scene: FindingsScene, page: Page) -> None:
    say(scene, RECEIVERS)
    scene.open(page, "/alerts", tab="rules", edit="hung")
    page.locator("#policy-runs").fill("sweep/*")
    page.get_by_label("Mark on the axis only").check()
    page.locator("#policy-save").click()
    expect(page.locator("#alerts-rules tr.own")).to_contain_text("in sweep/*")
    policy = settings_of((scene.data_dir / "alerts.yaml").read_text()).policies[0]
    assert (policy.rules, policy.runs, policy.alerts) == (("hung",), "sweep/*", False)


def test_a_channel_is_made_by_form_and_its_secret_never_comes_back(scene: FindingsScene, page: Page) -> None:
    say(scene, "")
    seen: list[str] = []
    page.on("response", lambda answer: seen.append(answer.url) if "sesame" in _text_of(answer) else None)
    scene.open(page, "/alerts", tab="rules", edit="channel:")
    page.get_by_text("Slack", exact=True).click()
    page.locator("#channel-name").fill("team")
    page.locator("[data-secret='slack url']").fill("https://hooks.example.org/sesame")
    page.locator("#channel-save").click()
    expect(page.locator("#alerts-rules .alerts-channels")).to_contain_text("team")
    text = (scene.data_dir / "alerts.yaml").read_text()
    assert "kind: slack" in text and "sesame" not in text
    expect(page.locator("[data-secret='slack url']")).to_have_attribute("placeholder", "set; type to replace it")
    expect(page.locator("[data-secret='slack url']")).to_have_value("")
    assert seen == [] and "sesame" not in page.content()
    kept = list((scene.data_dir / "alerts" / "secrets").iterdir())
    assert [path.read_text() for path in kept] == ["https://hooks.example.org/sesame"]
    assert kept[0].stat().st_mode & 0o077 == 0


def _text_of(answer: Response) -> str:
    return answer.text() if "json" in answer.headers.get("content-type", "") else ""


def test_a_run_notifies_in_two_clicks_also_without_a_channel(scene: FindingsScene, page: Page) -> None:
    say(scene, "")
    scene.run("vit", -30)  # it goes on
    scene.open(page, "/", run="vit")
    page.get_by_role("button", name="Notify", exact=True).click()
    page.get_by_label("Topic").fill("my-trainings-7f3a91")
    page.get_by_role("button", name="Add channel").click()
    expect(page.locator(".notify-for")).to_contain_text("Crashes of all runs are sent to phone.")
    boxes = page.locator(".notify-for input[type=checkbox]")
    expect(boxes.nth(0)).to_be_checked()
    expect(boxes.nth(1)).not_to_be_checked()
    boxes.nth(1).check()
    expect(page.locator(".notify-for")).to_contain_text("Its end is sent to phone.")
    policy = settings_of((scene.data_dir / "alerts.yaml").read_text()).policies
    assert [(row.rules, row.runs, row.to) for row in policy] == [(("finished",), "vit", ("phone",))]


def test_what_is_typed_into_notify_stays_though_the_run_ends(scene: FindingsScene, page: Page) -> None:
    say(scene, "")
    scene.run("ends", -30)
    scene.open(page, "/", run="ends")
    page.get_by_role("button", name="Notify", exact=True).click()
    page.get_by_label("Kind").select_option("webhook")
    page.get_by_label("URL", exact=True).press_sequentially("http:")
    scene.store.append([Event("ends", "end", time.time(), fields={"status": "finished"})])
    expect(page.get_by_role("button", name="Notify", exact=True)).to_be_hidden()
    page.keyboard.type("//127.0.0.1/hook")
    page.keyboard.press("Enter")
    expect(page.locator(".notify-for")).to_contain_text("Crashes of all runs are sent to webhook.")
    (receiver,) = settings_of((scene.data_dir / "alerts.yaml").read_text()).receivers
    secrets = {path.read_text().strip() for path in (scene.data_dir / "alerts" / "secrets").iterdir()}
    assert receiver.kind == "webhook" and "http://127.0.0.1/hook" in secrets
    assert "hook" not in page.url
    page.keyboard.press("Escape")
    expect(page.locator(".notify-for")).to_have_count(0)


def test_a_mistake_of_the_text_shows_its_line_and_nothing_is_saved(scene: FindingsScene, page: Page) -> None:
    say(scene, RECEIVERS)
    scene.open(page, "/alerts", tab="rules", edit="yaml")
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
    expect(page.locator("#alerts-rules tr.own")).to_contain_text("train/loss is above 8 for 2 min")
    assert (scene.data_dir / "alerts.yaml").read_text() == RECEIVERS + RULES
    expect(page.locator(".mistakes li")).to_have_count(0)
    assert "very-secret" not in page.locator("#alerts-rules").inner_text()


def test_what_is_typed_stays_while_the_page_is_read_anew(scene: FindingsScene, page: Page) -> None:
    say(scene, RECEIVERS)
    scene.open(page, "/alerts", tab="rules", edit="yaml")
    expect(page.locator("#alerts-yaml")).to_have_value(RECEIVERS)
    page.locator("#alerts-yaml").fill("# mine\n")
    say(scene, RECEIVERS + RULES)
    expect(page.locator("#alerts-rules tr.own")).to_have_count(1, timeout=20_000)
    expect(page.locator("#alerts-yaml")).to_have_value("# mine\n")
    page.get_by_role("button", name="Discard changes").click()
    expect(page.locator("#alerts-yaml")).to_have_value(RECEIVERS + RULES, timeout=20_000)


def test_messages_say_what_became_of_them(scene: FindingsScene, page: Page) -> None:
    say(scene, RECEIVERS)
    outbox = Outbox(scene.data_dir)
    for number, state in enumerate(("delivered", "failed", "waiting")):
        sent = message(f"m{number}", "ops", f"{HOSTILE} {state}")
        outbox.add(sent)
        if state != "waiting":
            outbox.over(sent, state, time.time(), "" if state == "delivered" else "404 Not Found")  # type: ignore[arg-type]
    scene.open(page, "/alerts", tab="history")
    states = page.locator("#alerts-messages .ag-center-cols-container [col-id=state]")
    expect(states).to_have_count(3)
    assert sorted(states.all_inner_texts()) == ["delivered", "failed", "waiting"]
    expect(page.locator("#alerts-messages")).to_contain_text("404 Not Found")
    page.get_by_role("link", name="Rules").click()
    expect(page.locator("#alerts-rules .alerts-channels tr").first).to_contain_text("1 waiting")
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
    scene.open(page, "/alerts", tab="rules")
    page.get_by_role("button", name="Show alerts as notifications of this browser").click()
    expect(page.locator(".desktop [role=status]")).to_contain_text("This browser shows alerts as notifications")


def test_on_a_phone_nothing_is_wider_than_the_screen_and_nothing_moves(
    scene: FindingsScene, fires: str, browser: Browser
) -> None:
    phone = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    phone.add_init_script(MOVED)
    for tab in ("active", "history", "rules"):
        scene.open(phone, "/alerts", tab=tab)
        expect(phone.locator(".alert-row.fires, #alerts-past .ag-row, .alerts-rules tr.on").first).to_be_visible()
        assert phone.evaluate("() => document.documentElement.scrollWidth") == 390
        assert phone.evaluate("() => moved") <= 0.02
        assert serious(phone) == []
    scene.open(phone, "/alerts")
    box = wait_for(
        lambda: phone.get_by_role("button", name="Acknowledge Hung of vit").first.bounding_box(), because="no button"
    )
    assert min(box["width"], box["height"]) >= 44
    phone.close()
