"""Two captures side by side as one HTML page: no scripts, no network, everything escaped."""

from __future__ import annotations

import base64
import hashlib
import io
from datetime import datetime
from importlib import resources
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from manifests.findings import shown

if TYPE_CHECKING:
    from PIL import Image

    from archiver.reports.difference_source import Difference

MAX_LINE_CHARS = 2_000
MAX_VALUE_CHARS = 4_000


def difference_html(found: Difference, *, made_at: datetime) -> str:
    """Return the page.

    Args:
        found: What differs.
        made_at: When the page is made, aware UTC.
    """
    style = (resources.files("archiver.reports") / "templates" / "difference.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("archiver.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = lambda text: shown(text, MAX_VALUE_CHARS)
    return environment.get_template("difference.html").render(
        found=found,
        sides=[
            ("Before", found.before, found.record_sha256[0]),
            ("After", found.after, found.record_sha256[1]),
        ],
        lines=[(kind, shown(text, MAX_LINE_CHARS)) for kind, text in found.text.lines] if found.text else [],
        pictures=[(one, _data_url(one.before), _data_url(one.after)) for one in found.pictures],
        made_at=made_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        # Our own text, named by the policy with the digest of exactly these bytes.
        style=Markup(style),  # noqa: S704
        policy=(
            f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
            "base-uri 'none'; form-action 'none'"
        ),
    )


def _data_url(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
