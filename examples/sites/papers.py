"""A budget programme passport as a PDF, stamped top secret; the same bytes on every run.

The text is set in a Type 3 font made from the stroke alphabet, with a ToUnicode map, so that it can be
searched and copied. Source: ISO 32000-1, 7.5 (file structure), 9.6.5 (Type 3 fonts), 9.10.3 (ToUnicode).
"""

from __future__ import annotations

import functools
import zlib

from examples.sites.strokes import ADVANCE, ALPHABET

GRID = 100
STROKE = 55
PAGE_WIDTH_PT, PAGE_HEIGHT_PT = 595, 842
FIRST_CODE = 33

CODES = {character: FIRST_CODE + i for i, character in enumerate(ALPHABET)}

LINES = [
    (70, 770, 13, "ҚАЗАҚСТАН РЕСПУБЛИКАСЫ"),
    (70, 750, 11, "РЕСПУБЛИКА КАЗАХСТАН"),
    (70, 700, 15, "ПАСПОРТ БЮДЖЕТНОЙ ПРОГРАММЫ"),
    (70, 678, 11, "НА 2026-2028 ГОДЫ"),
    (70, 630, 8, "«ФОРМИРОВАНИЕ И ХРАНЕНИЕ ГОСУДАРСТВЕННОГО МАТЕРИАЛЬНОГО РЕЗЕРВА»"),
    (70, 590, 8, "ОПИСАНИЕ ПРОГРАММЫ"),
    (330, 590, 8, "- - - - - -"),
    (70, 562, 8, "УРОВЕНЬ УПРАВЛЕНИЯ"),
    (330, 562, 8, "- - - - - -"),
    (70, 534, 8, "СПОСОБ РЕАЛИЗАЦИИ"),
    (330, 534, 8, "- - - - - -"),
    (70, 506, 8, "РАСХОДЫ, 2026 ГОД, ТЫС. ТЕНГЕ"),
    (330, 506, 8, "- - - - - -"),
    (70, 478, 8, "РАСХОДЫ, 2027 ГОД, ТЫС. ТЕНГЕ"),
    (330, 478, 8, "- - - - - -"),
    (70, 450, 8, "РАСХОДЫ, 2028 ГОД, ТЫС. ТЕНГЕ"),
    (330, 450, 8, "- - - - - -"),
    (70, 90, 7, "УЧЕБНЫЙ ДОКУМЕНТ ДЛЯ ПРОВЕРКИ ПРОГРАММЫ. НЕ ЯВЛЯЕТСЯ ДОКУМЕНТОМ ВЕДОМСТВА."),
]
STAMP = [(18, 34, 20, "ӨТЕ ҚҰПИЯ"), (18, 8, 15, "СОВЕРШЕННО СЕКРЕТНО")]


def _text(x: int, y: int, size: int, text: str) -> bytes:
    codes = "".join(f"{CODES[character]:02X}" for character in text)
    return f"BT /F1 {size} Tf {x} {y} Td <{codes}> Tj ET\n".encode()


def _content() -> bytes:
    rules = b"".join(b"0.7 w 70 %d m 525 %d l S\n" % (y, y) for y in range(440, 609, 28))
    lines = b"".join(_text(*line) for line in LINES)
    stamp = b"q 0.8 0.1 0.1 RG 0.8 0.1 0.1 rg 0.951 0.309 -0.309 0.951 260 240 cm 3 w 0 0 206 64 re S\n"
    return rules + lines + stamp + b"".join(_text(*line) for line in STAMP) + b"Q\n"


def _glyph(lines: list[list[tuple[int, int]]]) -> bytes:
    path = []
    for line in lines:
        for i, (x, y) in enumerate(line):
            path.append(f"{(x + 1) * GRID} {(y - 2) * GRID} {'l' if i else 'm'}")
        path.append("S")
    return f"{ADVANCE * GRID} 0 d0 {STROKE} w 1 J 1 j {' '.join(path)}".encode()


def _stream(data: bytes) -> bytes:
    packed = zlib.compress(data, 9)
    return b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed)


def _to_unicode() -> bytes:
    pairs = "\n".join(f"<{code:02X}> <{ord(character):04X}>" for character, code in CODES.items())
    return (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def\n"
        "/CMapName /Strokes def 1 begincodespacerange <00> <FF> endcodespacerange\n"
        f"{len(CODES)} beginbfchar\n{pairs}\nendbfchar\nendcmap end end"
    ).encode()


def _font(first_glyph_object: int, to_unicode_object: int) -> bytes:
    last = FIRST_CODE + len(CODES) - 1
    names = " ".join(f"/g{code}" for code in CODES.values())
    glyphs = " ".join(f"/g{code} {first_glyph_object + i} 0 R" for i, code in enumerate(CODES.values()))
    widths = " ".join([str(ADVANCE * GRID)] * len(CODES))
    return (
        "<< /Type /Font /Subtype /Type3 /FontBBox [0 -200 600 800] /FontMatrix [0.001 0 0 0.001 0 0]\n"
        f"/CharProcs << {glyphs} >> /Encoding << /Type /Encoding /Differences [{FIRST_CODE} {names}] >>\n"
        f"/FirstChar {FIRST_CODE} /LastChar {last} /Widths [{widths}] /Resources << >>\n"
        f"/ToUnicode {to_unicode_object} 0 R >>"
    ).encode()


@functools.cache
def secret_passport() -> bytes:
    """Return the PDF, about 6 KB, one page, no date that changes."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /Lang (ru) >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>" % (PAGE_WIDTH_PT, PAGE_HEIGHT_PT),
        _stream(_content()),
        _font(8, 6),
        _stream(_to_unicode()),
        b"<< /Title (Budget programme passport 2026-2028) /CreationDate (D:20260312090000Z) >>",
        *(_stream(_glyph(lines)) for lines in ALPHABET.values()),
    ]
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table_at = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 7 0 R >>\n" % (len(objects) + 1)
    out += b"startxref\n%d\n%%%%EOF\n" % table_at
    return bytes(out)
