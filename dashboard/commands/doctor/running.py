"""The dashboard that runs for the data folder, and how it is."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request

from collectors.service import lock

from ... import address
from .place import CheckedHost, Fact, Symptom

WITHIN_S = 1.0
MOST_BYTES = 1 << 20


def check(place: CheckedHost) -> Symptom:
    url = address.of(place.data_dir)
    writer = lock.writer_of(place.data_dir)
    facts: dict[str, Fact] = {
        "collector": writer.version if isinstance(writer, lock.Writer) else None,
        "dashboard": url is not None,
    }
    if isinstance(writer, lock.Stranger):
        return Symptom(
            "warning", f"{writer.sentence}.", "Type: end that program, or choose another folder with --data-dir", facts
        )
    if url is None:
        if writer is None:
            return Symptom("ok", "no dashboard runs for this data folder.", "", facts)
        return Symptom("warning", f"a collector (process {writer.pid}) writes to the data folder, and no dashboard shows it.", "Type: deepseek-dashboard --log-dir FOLDER", facts)  # fmt: skip
    try:
        with _direct(url).open(f"{url}/healthz", timeout=WITHIN_S) as answer:
            health = json.loads(answer.read(MOST_BYTES))
        if not isinstance(health, dict):
            raise ValueError("what answers is no dashboard")
    except urllib.error.HTTPError as error:
        return Symptom("ok", f"a dashboard answers, and does not say how it is (HTTP {error.code}).", "", facts)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Symptom("wrong", f"the dashboard of this folder does not answer ({error}).", "Type: end it with Ctrl-C and start it again", facts)  # fmt: skip
    if "collectors" not in health:  # this process is not its user's, or asks through a tunnel
        facts["status"] = health.get("status")
        if health.get("status") != "ok":
            return Symptom("warning", "a dashboard runs and is degraded; it says why to its own user.", "Type: deepseek-dashboard doctor, as the user that runs it", facts)  # fmt: skip
        return Symptom("ok", "a dashboard runs and is well; it says more to its own user.", "", facts)
    failing = [f"{row['name']} is {row['state']}" for row in health.get("collectors", []) if row.get("state") != "ok"]
    problems = [*health.get("problems", []), *failing]
    facts |= {"status": health.get("status"), "cpu_pct": health.get("cpu_pct"), "rss_bytes": health.get("rss_bytes")}
    facts |= {f"problem {number}": str(problem) for number, problem in enumerate(problems[:10])}
    if health.get("status") != "ok" or problems:
        return Symptom("warning", f"a dashboard runs and is degraded: {problems[0] if problems else 'no collector answers'}", f"Type: curl -s{'k' if url.startswith('https') else ''} {url}/healthz", facts)  # fmt: skip
    return Symptom("ok", f"a dashboard runs and is well ({health.get('rss_bytes', 0) / 1e6:.0f} MB, {health.get('cpu_pct', 0):.1f} % of a core).", "", facts)  # fmt: skip


def _direct(url: str) -> urllib.request.OpenerDirector:
    """Past the proxy of the environment, which would be a stranger to the dashboard. Its certificate has another name than the loopback
    address that our own file gives; no secret is sent there."""
    context = ssl.create_default_context()
    if url.startswith("https"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
