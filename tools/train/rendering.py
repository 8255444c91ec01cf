"""Draws a scene as a 64x64 picture and labels its cells."""

from dataclasses import dataclass

import numpy as np
from scenes import COLOURS, RELATIONS, Scene
from shapes import OBJECTS, sprite

SIZE = 64
CELLS = 16
"""Side of the grids of truth: cells of 4x4 pixels, as the latents have."""

Y, X = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / (SIZE - 1)


@dataclass
class Picture:
    pixels: np.ndarray
    """[64, 64, 3] uint8 RGB."""
    objects: np.ndarray
    """[16, 16] uint8: index in OBJECTS plus 1 of what covers most of a cell, 0 where nothing does."""
    colours: np.ndarray
    """[16, 16] uint8: index in COLOURS plus 1 of that thing."""
    centres: np.ndarray
    """[16, 16] uint8: number of things whose centre is in the cell."""


def _dots(rng, image, count, colour, bottom=1.0):
    ys = (rng.random(count) * bottom * (SIZE - 1)).astype(int)
    xs = rng.integers(0, SIZE, count)
    image[ys, xs] = np.array(colour, np.float32) * (0.6 + 0.4 * rng.random((count, 1)))


def background(rng: np.random.Generator, place: str) -> np.ndarray:
    """[64, 64, 3] float32 in 0 to 255."""
    image = np.empty((SIZE, SIZE, 3), np.float32)

    def jittered(colour):
        return np.clip(np.array(colour, np.float32) + rng.normal(0, 10, 3), 0, 255)

    def gradient(top, bottom, start=0.0, end=1.0):
        t = np.clip((Y - start) / (end - start), 0, 1)[..., None]
        return jittered(top) * (1 - t) + jittered(bottom) * t

    h = 0.5 + rng.random() * 0.2
    ground = (h + 0.02 * np.sin(X * 6 + rng.random() * 6) < Y)[..., None]
    if place == "grass":
        image[:] = np.where(
            ground,
            gradient((120, 190, 80), (80, 150, 60), h, 1),
            gradient((150, 205, 250), (205, 232, 252), 0, h),
        )
    elif place == "beach":
        sea = (h - 0.15 < Y)[..., None]
        above = np.where(
            sea,
            gradient((60, 150, 200), (90, 190, 215), h - 0.15, h),
            gradient((170, 215, 250), (215, 238, 252), 0, h),
        )
        image[:] = np.where(ground, gradient((240, 220, 165), (225, 195, 135), h, 1), above)
    elif place == "snow":
        image[:] = np.where(
            ground,
            gradient((250, 252, 255), (225, 235, 245), h, 1),
            gradient((170, 190, 215), (205, 218, 232), 0, h),
        )
        _dots(rng, image, 30, (255, 255, 255))
    elif place == "night":
        image[:] = gradient((12, 16, 48), (36, 40, 92))
        _dots(rng, image, 26, (255, 250, 210))
    elif place == "moon":
        image[:] = np.where(
            ground, gradient((190, 190, 195), (150, 150, 158), h, 1), gradient((5, 5, 15), (20, 20, 35), 0, h)
        )
        _dots(rng, image, 22, (255, 255, 255), h)
        for _ in range(4):
            cx, cy, r = rng.random(), h + 0.1 + rng.random() * (0.9 - h), 0.04 + rng.random() * 0.07
            image[((X - cx) ** 2 + ((Y - cy) * 2) ** 2) < r * r] *= 0.82
    elif place == "desert":
        image[:] = np.where(
            ground,
            gradient((225, 170, 100), (200, 140, 75), h, 1),
            gradient((255, 215, 150), (255, 235, 195), 0, h),
        )
    elif place == "underwater":
        image[:] = gradient((60, 170, 210), (10, 60, 130))
        _dots(rng, image, 12, (190, 230, 250))
    elif place == "sunset":
        image[:] = np.where(
            ground,
            gradient((70, 45, 80), (45, 30, 60), h, 1),
            gradient((255, 120, 80), (255, 200, 110), 0, h),
        )
    elif place.startswith("bg:"):
        colour = np.array(COLOURS[place[3:]], np.float32)
        image[:] = gradient(colour * 0.8 + 255 * 0.2, colour * 0.8 + 255 * 0.12)
    else:
        plain = [(236, 236, 240), (250, 244, 232), (228, 238, 246), (240, 232, 244)]
        colour = np.array(plain[rng.integers(4)], np.float32)
        image[:] = gradient(colour, colour * 0.95)
    return image


def _paste(rng, image, cover, name, colour, x, y, size):
    """Draws an object. `cover` [64, 64] int gets its number where its body is."""
    size = int(size)
    line, fill = sprite(name, size)
    if rng.random() < 0.5:
        line, fill = line[:, ::-1], fill[:, ::-1]
    left = max(0, min(SIZE - size, int(round(x - size / 2))))
    top = max(0, min(SIZE - size, int(round(y - size / 2))))
    region = image[top : top + size, left : left + size]
    body = np.clip(np.array(COLOURS[colour], np.float32) + rng.normal(0, 9, 3), 0, 255)
    shade = 1.06 - 0.16 * np.linspace(0, 1, size)[:, None, None]
    region[:] = region * (1 - fill[..., None]) + np.clip(body * shade, 0, 255) * fill[..., None]
    ink = body * 0.30 if colour != "black" else np.array((168, 168, 176), np.float32)
    region[:] = region * (1 - line[..., None]) + ink * line[..., None]
    cover[top : top + size, left : left + size][fill > 0.5] = OBJECTS.index(name) + 1
    return top + size / 2, left + size / 2


SLOTS = {
    2: [(18, 32), (46, 32)],
    3: [(18, 20), (46, 20), (32, 46)],
    4: [(18, 18), (46, 18), (18, 46), (46, 46)],
    5: [(14, 16), (50, 16), (32, 32), (14, 49), (50, 49)],
}
SIZES = {2: (24, 29), 3: (20, 26), 4: (20, 26), 5: (17, 21)}


def _layout(rng, scene: Scene) -> list[tuple]:
    """(object, x, y, size) of everything to draw."""

    def u(a, b):
        return a + (b - a) * rng.random()

    if scene.kind == "single":
        return [(scene.things[0], u(24, 40), u(26, 40), u(32, 48))]
    if scene.kind == "count":
        slots, sizes = SLOTS[scene.count], SIZES[scene.count]
        if scene.count == 3 and rng.random() < 0.5:
            slots, sizes = [(13, 34), (32, 32), (51, 34)], (17, 20)
        size = u(*sizes)
        return [(scene.things[0], x + rng.normal(0, 1.5), y + rng.normal(0, 1.5), size) for x, y in slots]
    relation = scene.relation or list(RELATIONS)[rng.choice(4, p=[0.38, 0.38, 0.12, 0.12])]
    if relation in ("above", "below"):
        places = [(u(24, 40), u(14, 18)), (u(24, 40), u(46, 50))]
        sizes = [u(24, 30), u(24, 30)]
    else:
        places = [(u(14, 19), u(26, 42)), (u(45, 50), u(26, 42))]
        sizes = [u(24, 31), u(24, 31)]
    if relation in ("right", "below"):
        places.reverse()
    return [(thing, *place, size) for thing, place, size in zip(scene.things, places, sizes, strict=False)]


def render(rng: np.random.Generator, scene: Scene) -> Picture:
    image = background(rng, scene.place)
    cover = np.zeros((SIZE, SIZE), np.int64)
    centres = np.zeros((CELLS, CELLS), np.uint8)
    names = {}
    for thing, x, y, size in _layout(rng, scene):
        row, column = _paste(rng, image, cover, thing.name, thing.colour, x, y, size)
        centres[int(row) * CELLS // SIZE, int(column) * CELLS // SIZE] += 1
        names[OBJECTS.index(thing.name) + 1] = list(COLOURS).index(thing.colour) + 1
    step = SIZE // CELLS
    cells = cover.reshape(CELLS, step, CELLS, step).transpose(0, 2, 1, 3).reshape(CELLS, CELLS, -1)
    objects = np.zeros((CELLS, CELLS), np.uint8)
    colours = np.zeros((CELLS, CELLS), np.uint8)
    for number, colour in names.items():
        mine = (cells == number).mean(-1) > 0.5
        objects[mine], colours[mine] = number, colour
    return Picture(np.clip(image, 0, 255).astype(np.uint8), objects, colours, centres)
