"""Reading JSON that may come from outside."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Parse JSON. Raises ValueError for anything else, and for nesting that is too deep."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
