"""What a seal must hold before it counts as one: the requirements a verdict is measured against."""

from __future__ import annotations

import msgspec


class SealPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requirements on a seal, from the ``[policy]`` table of the trust file.

    Args:
        tokens_required: Timestamp tokens of different authorities that must verify.
        log_required: Whether the custody log must prove the seal. Without it a stamped capture counts
            as sealed, and the completeness of the set is not shown.
        certificate_required: Whether the certificate of a trusted organisation must have signed too.
        stamp_each: Ask each authority once for each capture instead of once for a batch.
        max_stamp_delay_s: A token later than this after the capture is noted as late.
    """

    tokens_required: int = 1
    log_required: bool = True
    certificate_required: bool = False
    stamp_each: bool = False
    max_stamp_delay_s: int = 600

    def __post_init__(self) -> None:
        if not 1 <= self.tokens_required <= 8:
            raise ValueError(f"tokens_required: expected 1 to 8, got {self.tokens_required}")
        if self.max_stamp_delay_s < 1:
            raise ValueError(f"max_stamp_delay_s: expected 1 or more, got {self.max_stamp_delay_s}")
