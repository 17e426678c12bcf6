"""Web fonts made from the stroke alphabet; the same bytes on every run."""

from __future__ import annotations

import functools
import io
import itertools
import math

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from examples.sites.strokes import ADVANCE, ALPHABET, Point

UNITS_PER_EM = 1000
GRID = 100
BASE_LINE = 2
CREATED = 3_850_070_400
"""1 January 2026 in seconds since 1904, so that the bytes do not change with the clock."""


def _bar(pen: TTGlyphPen, start: Point, end: Point, weight: int, narrow: float) -> None:
    """Draw one stroke as a rectangle that reaches half its weight past both ends, so that corners close."""
    (x0, y0), (x1, y1) = (((x + 1) * GRID * narrow, (y - BASE_LINE) * GRID) for x, y in (start, end))
    half = weight / 2
    length = math.hypot(x1 - x0, y1 - y0)
    along = ((x1 - x0) / length * half, (y1 - y0) / length * half)
    across = (-along[1], along[0])
    corners = [
        (x0 - along[0] + across[0], y0 - along[1] + across[1]),
        (x1 + along[0] + across[0], y1 + along[1] + across[1]),
        (x1 + along[0] - across[0], y1 + along[1] - across[1]),
        (x0 - along[0] - across[0], y0 - along[1] - across[1]),
    ]
    pen.moveTo((round(corners[0][0]), round(corners[0][1])))
    for x, y in corners[1:]:
        pen.lineTo((round(x), round(y)))
    pen.closePath()


@functools.cache
def web_font(weight: int, narrow_percent: int) -> bytes:
    """Return a WOFF2 font whose strokes are *weight* units of 1000 thick, *narrow_percent* of full width."""
    narrow = narrow_percent / 100
    names = {character: f"uni{ord(character):04X}" for character in ALPHABET}
    glyphs = {".notdef": TTGlyphPen(None).glyph()}
    for character, lines in ALPHABET.items():
        pen = TTGlyphPen(None)
        for line in lines:
            for start, end in itertools.pairwise(line):
                _bar(pen, start, end, weight, narrow)
        glyphs[names[character]] = pen.glyph()
    builder = FontBuilder(UNITS_PER_EM, isTTF=True)
    builder.setupGlyphOrder(list(glyphs))
    # Lower case is drawn as capitals: a face for headlines needs no more.
    builder.setupCharacterMap(
        {ord(case): name for character, name in names.items() for case in (character, character.lower())},
    )
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics({name: (round(ADVANCE * GRID * narrow), 0) for name in glyphs})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Example Strokes", "styleName": f"{weight} {narrow_percent}"})
    builder.setupOS2(sTypoAscender=800, sTypoDescender=-200, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.updateHead(created=CREATED, modified=CREATED)
    builder.font.recalcTimestamp = False
    builder.font.flavor = "woff2"
    out = io.BytesIO()
    builder.save(out)
    return out.getvalue()
