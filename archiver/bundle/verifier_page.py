"""verify.html of a bundle: a verifier in one file, for a browser without any network.

What it relies on (keys, roots, logs) is written into it, and named on it. Its policy allows its own script
and style, by their digests, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from markupsafe import Markup

from archiver.bundle.templating import template
from manifests.keys import fingerprint
from manifests.proof import utc_text
from manifests.trust import Trust, root_fingerprint


def verifier_page(trust: Trust | None) -> str:
    """Return the page.

    Args:
        trust: What its checks rely on; with None signatures, times and logs stay unchecked.
    """
    folder = resources.files("archiver.bundle") / "templates"
    script, style = ((folder / f"verify.{end}").read_text("utf-8") for end in ("js", "css"))
    facts = _facts(trust or Trust())
    policy = (
        f"default-src 'none'; script-src '{_mark(script)}'; style-src '{_mark(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # Script and style are our own text; of the facts, no character that could end the element is left.
    plain = json.dumps(facts).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return template("verify.html").render(
        policy=policy,
        trust=facts,
        trust_json=Markup(plain),  # noqa: S704
        script=Markup(script),  # noqa: S704
        style=Markup(style),  # noqa: S704
    )


def _facts(trust: Trust) -> dict[str, Any]:
    return {
        "tokens_required": trust.policy.tokens_required,
        "keys": [
            {
                "principal": key.principal,
                "public_key": key.public_key.hex(),
                "fingerprint": fingerprint(key.public_key),
                **{
                    name: utc_text(moment) if (moment := getattr(key, name)) else None
                    for name in ("valid_after", "valid_before", "revoked_at")
                },
            }
            for key in trust.keys
        ],
        "authorities": [
            {
                "name": one.name,
                "root": base64.b64encode(one.root.public_bytes(Encoding.DER)).decode(),
                "root_sha256": root_fingerprint(one.root),
                "policies": sorted(one.policies),
            }
            for one in trust.authorities
        ],
        "logs": [
            {
                "origin": log.origin,
                "public_key": log.public_key.hex(),
                "key_id": log.key_id.hex(),
                "verifier_key": log.verifier_key,
            }
            for log in trust.logs
        ],
    }


def _mark(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
