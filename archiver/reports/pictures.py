"""Pictures cut into parts that fit on printed pages: nothing is left out, nothing is drawn over them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from archiver.errors import ArchiverError

PAGE_RATIO = 1.3
"""Height of a part by its width: what fits on an A4 page above its caption."""
MAX_PICTURE_PX = 178_000_000
MIN_LAST_ROWS = 8


class PictureUnreadable(ArchiverError):
    """An exhibit that should be a picture is none."""


@dataclass(frozen=True, slots=True)
class PicturePart:
    """One part.

    Args:
        path: File name.
        number: From 1.
        count: Of how many.
        width_px: Of the whole picture.
        height_px: Of the whole picture.
    """

    path: str
    number: int
    count: int
    width_px: int
    height_px: int


def cut_picture(source: BinaryIO, name: str, folder: Path) -> Iterator[PicturePart]:
    """Cut a PNG into parts of a page's height, written to *folder* without loss, and yield them in order.

    Args:
        source: The PNG.
        name: Stem of the parts' names.
        folder: Where they go.

    Raises:
        PictureUnreadable: E222.
    """
    try:
        with Image.open(source, formats=["PNG"]) as picture:
            width, height = picture.size
            if width * height > MAX_PICTURE_PX:
                raise PictureUnreadable(
                    f"picture {name}: expected at most {MAX_PICTURE_PX} px, got {width} x {height}",
                    code="E222",
                    hint="print it by other means; the file itself is in the store",
                )
            rows = max(1, round(width * PAGE_RATIO))
            count = max(1, -(-(height - MIN_LAST_ROWS) // rows)) if height > rows else 1
            for number in range(count):
                top = number * rows
                bottom = height if number == count - 1 else top + rows
                path = f"{name}-{number + 1:03d}.png"
                picture.crop((0, top, width, bottom)).convert("RGB").save(folder / path, compress_level=1)
                yield PicturePart(path, number + 1, count, width, height)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PictureUnreadable(
            f"picture {name}: expected a PNG, got {type(error).__name__}",
            code="E222",
            hint="run `archiver verify` on the capture",
        ) from error
