"""From a script's lines to the pages, with the real collector: a finding on Live, a message at a receiver, the sign in the bar."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.conftest import dashboard, script, wait_for

TRAINER = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1]) / "spiky"
folder.mkdir(parents=True)
with open(folder / "metrics.jsonl", "a") as log:
    for step in range(100_000):
        time.sleep(0.3 if step % 20 == 0 and step > 80 else 0.01)
        loss = float("nan") if step > 200 else 2.0 + 0.01 * (step % 7)
        log.write(json.dumps({"time_s": time.time(), "step": step, "train/loss": loss}) + "\\n")
        log.flush()
"""


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its address, and what it was sent."""
    sent: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, name="webhook", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", sent
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_run_that_turns_nan_is_on_live_and_at_the_receiver(tmp_path: Path, page: Page) -> None:
    log_dir = tmp_path / "logs"
    with webhook() as (url, sent), dashboard(log_dir, "--no-profile") as running:
        page.goto(f"{running.address}/alerts?tab=rules&edit=channel:")
        page.get_by_text("Webhook", exact=True).click()
        page.locator("#channel-name").fill("hook")
        page.locator("[data-secret='webhook url']").fill(url)
        page.locator("#channel-save").click()
        page.get_by_role("button", name="Send test to hook").click()
        expect(page.locator(".tested").filter(has_text="hook")).to_have_text("hook has taken a test message.")
        assert len(sent) == 1
        with script(TRAINER, str(log_dir)):
            wait_for(lambda: running.run("spiky").get("last_step", 0) > 10, because="the run does not get on")
            page.goto(f"{running.address}/?run=spiky")
            expect(page.locator(".finding-said")).to_contain_text("NaN for ten steps.", timeout=30_000)
            wait_for(lambda: page.locator(".bell.on").is_visible(), because="no sign")
            page.get_by_role("button", name="Why", exact=True).click()
            expect(page.locator(".found-detail h2")).to_have_text("Alert: NaN for ten steps")
            wait_for(lambda: len(sent) > 1, because="the receiver gets nothing")
            assert "NaN" in json.dumps(sent[1])
        page.goto(f"{running.address}/alerts?tab=history")
        expect(page.locator("#alerts-messages")).to_contain_text("delivered")
