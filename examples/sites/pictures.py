"""Our own drawings: steppe landscapes as JPEG, ornaments as PNG; the same bytes for the same number."""

from __future__ import annotations

import functools
import io
import random

from PIL import Image, ImageDraw, ImageOps

GRAIN_PERCENT = 12
"""How much film grain a landscape carries: it gives the JPEG the weight of a real photograph."""

SKIES = [("#f6c56b", "#3d6fb6"), ("#f2a488", "#5a5fa8"), ("#dfe9f3", "#4f8fc0"), ("#ffd9a0", "#806a9c")]
EARTHS = ["#8a9a5b", "#c2a35a", "#6f8f72", "#b0794a", "#5d7052"]
COLOURS = ["#1f5fa8", "#c23b3b", "#2e8b57", "#b8860b", "#6a4c93", "#d2691e", "#20808d", "#7a7a2e"]


def _hills(draw: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int) -> None:
    for layer in range(3):
        base = height * (50 + 14 * layer) // 100
        points = [(width * i // 8, base + rng.randint(-height // 12, height // 12)) for i in range(9)]
        draw.polygon([*points, (width, height), (0, height)], fill=rng.choice(EARTHS))


def _yurt(draw: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int) -> None:
    x, y, size = rng.randint(width // 8, width * 6 // 8), height * 82 // 100, height // 6
    draw.rectangle((x, y - size // 2, x + size, y), fill="#f3efe6", outline="#8b5a2b", width=2)
    roof = [(x - 4, y - size // 2), (x + size // 3, y - size), (x + size * 2 // 3, y - size)]
    draw.polygon([*roof, (x + size + 4, y - size // 2)], fill="#e6dfcf", outline="#8b5a2b")
    draw.rectangle((x + size * 2 // 5, y - size // 3, x + size * 3 // 5, y), fill="#a0522d")


@functools.cache
def landscape(number: int, width: int, height: int) -> bytes:
    """Return a JPEG of *width* by *height* pixels, drawn from *number* alone."""
    rng = random.Random(number)
    low, high = rng.choice(SKIES)
    image = ImageOps.colorize(Image.linear_gradient("L").resize((width, height)), high, low)
    draw = ImageDraw.Draw(image)
    x, y, radius = rng.randint(0, width), rng.randint(height // 8, height // 3), height // 12
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill="#fff4d0")
    _hills(draw, rng, width, height)
    _yurt(draw, rng, width, height)
    grain = Image.frombytes("L", (width, height), rng.randbytes(width * height)).convert("RGB")
    out = io.BytesIO()
    Image.blend(image, grain, GRAIN_PERCENT / 100).save(out, "JPEG", quality=72)
    return out.getvalue()


@functools.cache
def ornament(number: int, size: int) -> bytes:
    """Return a square PNG of *size* pixels with a mirrored pattern, drawn from *number* alone."""
    rng = random.Random(number)
    cells, half = 10, 5
    image = Image.new("RGB", (size, size), "#faf6ec")
    draw = ImageDraw.Draw(image)
    colours = rng.sample(COLOURS, 3)
    step = size / cells
    for row in range(cells):
        for column in range(half):
            if rng.random() < 0.45:  # a little under half filled looks like a carpet and not like noise
                continue
            fill = rng.choice(colours)
            for x in (column, cells - 1 - column):
                box = (x * step, row * step, (x + 1) * step - 1, (row + 1) * step - 1)
                draw.rectangle(tuple(round(v) for v in box), fill=fill)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
