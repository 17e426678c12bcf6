"""Where captures of these settings may go."""

from __future__ import annotations

from archiver.capture.recorder.guard import RelayPolicy
from archiver.capture.recorder.resolve import parse_resolve_rule
from archiver.config import Settings


def policy_of(settings: Settings) -> RelayPolicy:
    """Return what the relay may dial under *settings*."""
    return RelayPolicy(
        resolve=tuple(parse_resolve_rule(rule) for rule in settings.resolve),
        allow_private=settings.allow_private_network,
        allowed_addresses=settings.allowed_addresses,
        max_bytes_per_capture=settings.limits.capture_bytes,
        max_bytes_per_connection=settings.limits.connection_bytes,
        upstream=settings.upstream or None,
        resolver=settings.resolver or None,
    )
