"""The host names of the example sites, and the ``--resolve`` rules that bring them to loopback."""

from __future__ import annotations

from dataclasses import dataclass

import idna

ADDRESS = "127.0.0.1"

NEWS = "www.dala.example"
NEWS_CDN = "cdn.dala.example"
SHORT = "l.dala.example"
COUNTER = "counter.example"
AGENCY = "www.tan-agency.example"
AGENCY_MIRROR = "mirror.tan-agency.example"
CUT = "www.total-news.example"
ULYS = "www.ulys-media.example"
PROVIDER = "zapret.provider.example"
SOCIAL = "www.faces.example"
PHOTOS = "www.snaps.example"
CHANNELS = "tm.example"
VIDEOS = "www.videos.example"
STRINGS = "www.strings.example"
CHIRPS = "chirps.example"
CLIPS = "www.clips.example"
WALLS = "walls.example"
TALK = "talk.example"
BUDGETS = "budget.egov.example"
WEEKLY = "www.oral-apta.example"
HUNDRED = "hundred.example"
HUNDRED_H1 = "hundred-h1.example"
IDN_AS_SHOWN = "қазақстан.example"
IDN = idna.encode(IDN_AS_SHOWN).decode()
VANISHED = "www.airan-live.invalid"
"""Answers nowhere: RFC 6761 section 6.4 keeps ``.invalid`` from ever resolving."""

RESETTING = (AGENCY_MIRROR, CUT)
"""Connections to these end in a reset."""
SELF_SIGNED = (WEEKLY,)
H1_ONLY = (HUNDRED_H1, PROVIDER, BUDGETS)
"""These speak HTTP/1.1 over TLS; the rest offer HTTP/2 as well."""
_PLATFORMS = (SOCIAL, PHOTOS, CHANNELS, VIDEOS, STRINGS, CHIRPS, CLIPS, WALLS, TALK)
H2 = (NEWS, NEWS_CDN, SHORT, COUNTER, AGENCY, ULYS, *_PLATFORMS, HUNDRED, IDN)


@dataclass(frozen=True, slots=True)
class Ports:
    """The loopback ports that the example servers listen on.

    Args:
        http: HTTP/1.1 without TLS, for every host but those that reset.
        https: TLS with HTTP/2 and HTTP/1.1.
        https_h1: TLS with HTTP/1.1 alone.
        https_self_signed: TLS whose certificate no authority has signed.
        reset: Plain HTTP that ends in a reset.
        https_reset: Resets at the ClientHello.
    """

    http: int
    https: int
    https_h1: int
    https_self_signed: int
    reset: int
    https_reset: int

    def rules(self) -> list[str]:
        """Return the rules for ``archiver --resolve``: ``HOST:PORT:ADDRESS:PORT``."""
        plain = dict.fromkeys((*H2, *H1_ONLY, *SELF_SIGNED), self.http)
        plain |= dict.fromkeys(RESETTING, self.reset)
        secure = dict.fromkeys(H2, self.https) | dict.fromkeys(H1_ONLY, self.https_h1)
        secure |= dict.fromkeys(SELF_SIGNED, self.https_self_signed)
        secure |= dict.fromkeys(RESETTING, self.https_reset)
        return [
            f"{host}:{asked}:{ADDRESS}:{port}"
            for asked, ports in ((80, plain), (443, secure))
            for host, port in ports.items()
        ]
