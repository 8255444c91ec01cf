"""The outlines of the 24 objects, from Microsoft's Fluent Emoji (high contrast; MIT licence), as sprites."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

HERE = Path(__file__).parent
INDEX = json.loads((HERE / "shapes.json").read_text())
SIDE = INDEX["size"]
OBJECTS = INDEX["names"]
MASKS = np.frombuffer((HERE / "shapes.u8").read_bytes(), np.uint8).reshape(-1, SIDE, SIDE)

INK = 96
"""Value of a mask from which a pixel counts as drawn."""


def _resize(values: np.ndarray, size: int) -> np.ndarray:
    resized = Image.fromarray(values).resize((size, size), Image.LANCZOS)
    return np.asarray(resized, np.float32) / 255


@lru_cache(maxsize=20000)
def sprite(name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(line, fill) of an object, each [size, size] float32 in [0, 1]: coverage of each pixel by its outline
    and by its body.
    """
    mask = MASKS[OBJECTS.index(name)]
    ink = mask > INK
    filled = ndimage.binary_fill_holes(ink)
    line = _resize(mask, size)
    fill = _resize((filled * 255).astype(np.uint8), size)
    if ink.sum() > 0.62 * filled.sum():  # a solid icon: only its rim and its holes are dark
        rim = filled & ~ndimage.binary_erosion(filled, iterations=4)
        line = np.maximum(
            _resize((rim * 255).astype(np.uint8), size),
            _resize(((filled & ~ink) * 255).astype(np.uint8), size),
        )
    return np.clip(line, 0, 1), np.clip(fill, 0, 1)
