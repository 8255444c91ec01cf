"""Scenes with known content (objects, positions, colours), and their captions."""

from dataclasses import dataclass

import numpy as np
from shapes import OBJECTS

COLOURS = {
    "red": (214, 40, 40),
    "green": (46, 160, 67),
    "blue": (38, 98, 217),
    "yellow": (246, 205, 40),
    "orange": (245, 130, 32),
    "purple": (134, 66, 190),
    "pink": (244, 132, 178),
    "brown": (139, 90, 48),
    "white": (245, 245, 245),
    "black": (52, 52, 58),
    "gray": (150, 152, 158),
}
TYPICAL = {
    "dog": "brown",
    "cat": "orange",
    "panda": "white",
    "rabbit": "white",
    "fish": "orange",
    "bird": "blue",
    "elephant": "gray",
    "frog": "green",
    "pig": "pink",
    "bear": "brown",
    "penguin": "black",
    "horse": "brown",
    "car": "red",
    "bus": "yellow",
    "rocket": "red",
    "boat": "white",
    "house": "red",
    "tree": "green",
    "apple": "red",
    "vase": "purple",
    "book": "green",
    "balloon": "red",
    "heart": "red",
    "star": "yellow",
}
PLACES = {
    "grass": "on the grass",
    "beach": "on the beach",
    "snow": "in the snow",
    "night": "at night",
    "moon": "on the moon",
    "desert": "in the desert",
    "underwater": "underwater",
    "sunset": "at sunset",
}
BACKGROUNDS = [*PLACES, *(f"bg:{colour}" for colour in COLOURS)]
RELATIONS = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}
PLURALS = {"fish": "fish", "bus": "buses"}


@dataclass(frozen=True)
class Thing:
    name: str
    colour: str
    said: bool
    """Whether the caption names the colour."""


@dataclass(frozen=True)
class Scene:
    kind: str
    """single, pair, relation or count."""
    things: tuple[Thing, ...]
    """Two for a pair and a relation, else one."""
    relation: str
    """Of the first thing to the second; '' unless the kind is relation."""
    place: str
    """One of BACKGROUNDS, or '' for a plain pale one, of which the caption says nothing."""
    count: int


def article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def phrase(thing: Thing) -> str:
    return article(f"{thing.colour} {thing.name}" if thing.said else thing.name)


def plural(name: str) -> str:
    return PLURALS.get(name, f"{name}s")


def caption(scene: Scene) -> str:
    first = scene.things[0]
    if scene.kind == "single":
        text = phrase(first)
    elif scene.kind == "count":
        text = " ".join([NUMBERS[scene.count], *([first.colour] if first.said else []), plural(first.name)])
    else:
        text = f"{phrase(first)} {RELATIONS.get(scene.relation, 'and')} {phrase(scene.things[1])}"
    if scene.place.startswith("bg:"):
        return f"{text} on {article(scene.place[3:])} background"
    return f"{text} {PLACES[scene.place]}" if scene.place else text


def draw_thing(rng: np.random.Generator, besides: tuple[str, ...] = (), rare: float = 0.45) -> Thing:
    """A random object; `rare` is the probability of a random colour instead of the typical one."""
    names = [name for name in OBJECTS if name not in besides]
    name = names[rng.integers(len(names))]
    said = rng.random() < 0.7
    colour = TYPICAL[name] if rng.random() > rare else list(COLOURS)[rng.integers(len(COLOURS))]
    return Thing(name, colour, bool(said))


KINDS = {"single": 0.38, "pair": 0.24, "relation": 0.18, "count": 0.20}
"""Shares of the generator's training scenes."""


def draw_scene(rng: np.random.Generator, kinds: dict[str, float] = KINDS) -> Scene:
    """A random scene, its kind with the probabilities `kinds`; 45 % are in a place, 25 % on a coloured
    background.
    """
    kind = str(rng.choice(list(kinds), p=list(kinds.values())))
    u = rng.random()
    place = ""
    if u < 0.45:
        place = list(PLACES)[rng.integers(len(PLACES))]
    elif u < 0.7:
        place = f"bg:{list(COLOURS)[rng.integers(len(COLOURS))]}"
    first = draw_thing(rng)
    if kind == "single":
        return Scene(kind, (first,), "", place, 1)
    if kind == "count":
        return Scene(kind, (first,), "", place, int(rng.integers(2, 6)))
    relation = list(RELATIONS)[rng.integers(4)] if kind == "relation" else ""
    return Scene(kind, (first, draw_thing(rng, (first.name,))), relation, place, 2)
