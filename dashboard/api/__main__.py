"""`python -m dashboard.api`: the OpenAPI description, from which the types of the browser's modules are made."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fastapi import FastAPI

from access.tokens import Tokens

from . import register

app = FastAPI(title="DeepSeek Dashboard")
register(app, None, Tokens(Path()))  # type: ignore[arg-type]  # nothing is asked
json.dump(app.openapi(), sys.stdout, indent=1)
