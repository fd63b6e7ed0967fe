"""`python -m dashboard.api`: the OpenAPI description, from which the types of the browser's modules are made."""

from __future__ import annotations

import json
import sys

from fastapi import FastAPI

from . import register

app = FastAPI(title="DeepSeek Dashboard")
register(app, None)  # type: ignore[arg-type]  # nothing is asked
json.dump(app.openapi(), sys.stdout, indent=1)
