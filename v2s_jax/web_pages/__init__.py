"""Self-contained HTML pages: data and media are embedded, nothing is fetched.

Templates are jinja2 with autoescape. Besides the templates next to it, a template can include
`style.css`, the style that all pages share.
"""

import base64
from pathlib import Path
from typing import Any

from v2s_jax.errors import require_extra
from v2s_jax.io import atomic_write


def write_page(path: Path, template: Path, **variables: Any) -> None:
    """Render a template to `path`. Raises InputError when that cannot be written."""
    require_extra("eval", "jinja2")
    import jinja2

    loader = jinja2.FileSystemLoader(
        [template.parent, template.parent.parent, Path(__file__).parent]
    )
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {}  # jinja2 sorts keys: the order of questions
    page = environment.get_template(template.name).render(variables)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def data_url(path: Path, media_type: str) -> str:
    """Return the content of a file as a data URL."""
    return f"data:{media_type};base64,{base64.b64encode(path.read_bytes()).decode()}"
