"""What OpenAPI says of each route is what it answers: schemathesis asks each with all kinds of parameters, as owner and as viewer."""

from __future__ import annotations

import json
import os
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from access.roles import GRANTS, Role
from access.tokens import Tokens
from collectors.store.engines import open_store
from dashboard.app import make_app
from dashboard.queries import Queries
from tests.support.canaries import PATH, RUNS, T0, canary_records
from tests.support.other_clients import PROXIED
from tests.support.serving import served_app

EXAMPLES = 60 if os.environ.get("EXPLORE") else 6  # of each route and role
KNOWN: dict[
    str, list[Any]
] = {  # by the name of a parameter, what this store has: else nearly all answers were "no run of that name"
    "run": [*RUNS],
    "against": ["b", "c"],
    "baseline": ["b", "c", "normal", "@b", f"{T0}-{T0 + 50}", f"{T0}-{T0 + 50}@b"],
    "series": ["train/loss", "train/lr", "none"],
    "file": ["out.log", PATH],
    "group": ["lr", "data", "argv", ""],
    "columns": ["name,config.lr,last.train/loss", "run"],
    "expr": ["{train/loss} * 2", "rate({train/loss})", "train/loss", "1 +"],
    "from": [T0, T0 + 10],
    "to": [T0 + 100, T0 + 300],
}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


class Described(NamedTuple):
    address: str
    schema: Any
    secrets: dict[str, str]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    folder = tmp_path_factory.mktemp("typed")
    writer = open_store(folder, write=True)
    writer.append(list(canary_records()))
    writer.close()
    tokens = Tokens(folder)
    secrets = {
        "owner": tokens.new("o", Role.OWNER, None, {}),
        "viewer": tokens.new("v", Role.VIEWER, None, {}),
        "granted": tokens.new("g", Role.VIEWER, None, {"grants": list(GRANTS)}),
    }
    queries = Queries(open_store(folder, write=False), folder, folder)
    app = make_app(queries)
    with served_app(app) as web:
        yield Described(
            f"http://127.0.0.1:{web.port}", schemathesis.openapi.from_dict(with_known(app.openapi())), secrets
        )
    queries.close()


def with_known(described: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(described))
    for operation in (each for methods in found["paths"].values() for each in methods.values()):
        for parameter in operation.get("parameters", []):
            if (known := KNOWN.get(parameter["name"])) is not None:
                is_list = any(
                    part.get("type") == "array" for part in parameter["schema"].get("anyOf", [parameter["schema"]])
                )
                one_of = {"enum": known}
                parameter["schema"] = (
                    {"type": "array", "items": one_of, "minItems": 1, "maxItems": 2} if is_list else one_of
                )
    return found


@pytest.mark.hypothesis
@pytest.mark.parametrize("role", ["owner", "viewer", "granted"])
def test_each_answer_is_as_typed_and_none_is_5xx(described: Described, role: str) -> None:
    statuses: Counter[int] = Counter()
    headers = {"Authorization": f"Bearer {described.secrets[role]}", **PROXIED}
    for found in described.schema.get_all_operations():
        operation = found.ok()
        if role != "owner" and operation.method.upper() != "GET":
            continue  # refused before it is read: tests/access/test_auth.py

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )
        @given(operation.as_strategy())
        def asked(case: Any) -> None:
            response = case.call(base_url=described.address, headers=headers, timeout=60)
            statuses[response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

        asked()
    assert statuses[200] > 100 and not [status for status in statuses if status >= 500], statuses


@pytest.mark.parametrize("more", ["", "&buckets=1", "&x=time", "&ranks=mean", "&baseline=b", "&band=stderr"])
def test_groups_of_curves_without_a_point_are_empty(described: Described, more: str) -> None:
    address = f"{described.address}/api/v1/curves?run=a&run=b&expr=train/loss&group=lr&from=1e15{more}"
    with urllib.request.urlopen(address) as answer:
        assert all(curve["x"] == [] for curve in json.load(answer)["curves"])
