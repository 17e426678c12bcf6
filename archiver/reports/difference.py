"""How two captures differ: text, answer of the server, and pictures with the places that changed.

Says what differs and never why: two loads of one page differ in advertisements, times and counters too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageChops, ImageDraw

from archiver.reports.pictures import MAX_PICTURE_PX, PictureUnreadable

MAX_LINES = 3_000
"""Lines of each text that are compared: the comparison's time grows with their product."""
CONTEXT_LINES = 2
CELL_PX = 32
"""Changed places closer together than this are one region."""
MIN_STEP = 16
"""Of 255, in any colour: below it a difference is one of rendering."""
MAX_REGIONS = 100
MARK_COLOUR = (213, 0, 50)
MARK_PX = 4


@dataclass(frozen=True, slots=True)
class TextDifference:
    """Two texts by lines.

    Args:
        added: Lines that only the second has.
        removed: Lines that only the first has.
        lines: As pairs of ``+``, ``-``, ``' '`` or ``@`` and text.
        is_cut: One of them has more than ``MAX_LINES`` lines, and the rest was not compared.
    """

    added: int
    removed: int
    lines: tuple[tuple[str, str], ...]
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class HeaderChange:
    """A header field whose values differ; all values of a name together, empty where it is missing."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Region:
    """A changed place, in image pixels of the whole page."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int


@dataclass(slots=True)
class PictureDifference:
    """Two pictures of one place of the page.

    Args:
        regions: Changed places, from top to bottom.
        changed_percent: Of the pixels of the larger one.
        before: The first with its regions marked.
        after: The second likewise.
    """

    regions: list[Region]
    changed_percent: float
    before: Image.Image = field(repr=False)
    after: Image.Image = field(repr=False)


def text_difference(before: str, after: str) -> TextDifference:
    """Compare two texts line by line."""
    first, second = before.splitlines(), after.splitlines()
    is_cut = max(len(first), len(second)) > MAX_LINES
    lines: list[tuple[str, str]] = []
    changes = difflib.unified_diff(first[:MAX_LINES], second[:MAX_LINES], lineterm="", n=CONTEXT_LINES)
    for number, line in enumerate(changes):
        if number >= 2:  # the two lines that name files
            lines.append((line[:1], line[1:]))
    added = sum(kind == "+" for kind, _ in lines)
    removed = sum(kind == "-" for kind, _ in lines)
    return TextDifference(added, removed, tuple(lines), is_cut)


def header_changes(before: Sequence[tuple[str, str]], after: Sequence[tuple[str, str]]) -> list[HeaderChange]:
    """Return the header fields that differ, by name."""
    first, second = _by_name(before), _by_name(after)
    return [
        HeaderChange(name, first.get(name, ""), second.get(name, ""))
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    ]


def picture_difference(before: Image.Image, after: Image.Image, offset_y_px: int = 0) -> PictureDifference:
    """Compare two pictures pixel by pixel; where only one reaches, it has changed.

    Args:
        before: The first; at most ``MAX_PICTURE_PX`` pixels.
        after: The second.
        offset_y_px: Of both, from the top of the page.

    Raises:
        PictureUnreadable: E222, one is too large.
    """
    size = max(before.width, after.width), max(before.height, after.height)
    if size[0] * size[1] > MAX_PICTURE_PX:
        raise PictureUnreadable(
            f"pictures: expected at most {MAX_PICTURE_PX} px, got {size[0]} x {size[1]}", code="E222"
        )
    mask = _changed(before, after, size)
    boxes = _boxes(mask)
    marked = [_marked(one, boxes) for one in (before, after)]
    regions = [
        Region(left, top + offset_y_px, right - left, bottom - top) for left, top, right, bottom in boxes
    ]
    share = mask.histogram()[255] / (size[0] * size[1])
    return PictureDifference(regions, round(100 * share, 2), *marked)


Box = tuple[int, int, int, int]


def _changed(before: Image.Image, after: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a mask: 255 where the two differ."""
    canvases = []
    for one in (before, after):
        canvas = Image.new("RGB", size)
        canvas.paste(one.convert("RGB"))
        canvases.append(canvas)
    bands = ImageChops.difference(*canvases).split()
    strongest = ImageChops.lighter(ImageChops.lighter(bands[0], bands[1]), bands[2])
    mask = strongest.point([0] * MIN_STEP + [255] * (256 - MIN_STEP))
    common = min(before.width, after.width), min(before.height, after.height)
    only_one = Image.new("L", size, 255)
    only_one.paste(0, (0, 0, *common))
    return ImageChops.lighter(mask, only_one)


def _boxes(mask: Image.Image) -> list[Box]:
    """Return the boxes around changed places, from top to bottom; one for all when there are too many."""
    whole = mask.getbbox()
    if whole is None:
        return []
    cells = set(_changed_cells(mask))
    boxes = []
    while cells:
        group = _taken_group(cells)
        columns, rows = [column for column, _ in group], [row for _, row in group]
        left, top = min(columns) * CELL_PX, min(rows) * CELL_PX
        around = (
            left,
            top,
            min((max(columns) + 1) * CELL_PX, mask.width),
            min((max(rows) + 1) * CELL_PX, mask.height),
        )
        if (inner := mask.crop(around).getbbox()) is not None:
            boxes.append((left + inner[0], top + inner[1], left + inner[2], top + inner[3]))
    return sorted(boxes, key=lambda box: (box[1], box[0])) if len(boxes) <= MAX_REGIONS else [whole]


def _changed_cells(mask: Image.Image) -> Iterator[tuple[int, int]]:
    for row in range(-(-mask.height // CELL_PX)):
        top = row * CELL_PX
        strip = mask.crop((0, top, mask.width, min(top + CELL_PX, mask.height)))
        if strip.getbbox() is None:
            continue
        for column in range(-(-mask.width // CELL_PX)):
            left = column * CELL_PX
            cell = strip.crop((left, 0, min(left + CELL_PX, mask.width), strip.height))
            if cell.getbbox() is not None:
                yield column, row


def _taken_group(cells: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Take one cell out of *cells*, and all that touch it or each other."""
    group, edge = [], [cells.pop()]
    while edge:
        column, row = edge.pop()
        group.append((column, row))
        around = {(column + x, row + y) for x in (-1, 0, 1) for y in (-1, 0, 1)} & cells
        cells -= around
        edge += around
    return group


def _marked(picture: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    marked = picture.convert("RGB")
    draw = ImageDraw.Draw(marked)
    for left, top, right, bottom in boxes:
        draw.rectangle(
            (left - MARK_PX, top - MARK_PX, right + MARK_PX - 1, bottom + MARK_PX - 1),
            outline=MARK_COLOUR,
            width=MARK_PX,
        )
    return marked


def _by_name(fields: Sequence[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name.lower(), []).append(value)
    return {name: ", ".join(values) for name, values in found.items()}
