"""The templates of bundles. Pages are escaped as HTML; VERIFY.md holds nothing that a page said."""

from __future__ import annotations

import functools

import jinja2


@functools.cache
def template(name: str) -> jinja2.Template:
    """Return a template by its file name."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("archiver.bundle"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
