"""Scenes that differ from a given one in a single respect: their captions are wrong for its picture."""

from dataclasses import replace

import numpy as np
from scenes import BACKGROUNDS, COLOURS, RELATIONS, Scene, Thing, draw_thing
from shapes import OBJECTS

ERRORS = ("object", "colour", "swap", "count", "relation", "place")
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}


def possible_errors(scene: Scene) -> list[str]:
    """The kinds in ERRORS that a scene can have."""
    errors = ["object", "place"]
    if any(thing.said for thing in scene.things):
        errors.append("colour")
    if (
        len(scene.things) == 2
        and all(thing.said for thing in scene.things)
        and scene.things[0].colour != scene.things[1].colour
    ):
        errors.append("swap")
    if scene.kind in ("single", "count"):
        errors.append("count")
    if scene.kind == "relation":
        errors.append("relation")
    return errors


def one_error(rng: np.random.Generator, scene: Scene, error: str) -> Scene:
    """The scene with one error; `error` is one of possible_errors(scene)."""

    def put(index: int, thing: Thing) -> Scene:
        return replace(
            scene, things=tuple(thing if i == index else other for i, other in enumerate(scene.things))
        )

    def pick(choices: list):
        return choices[rng.integers(len(choices))]

    if error == "object":
        index = int(rng.integers(len(scene.things)))
        used = [thing.name for thing in scene.things]
        return put(
            index, replace(scene.things[index], name=pick([name for name in OBJECTS if name not in used]))
        )
    if error == "colour":
        index = pick([i for i, thing in enumerate(scene.things) if thing.said])
        thing = scene.things[index]
        return put(
            index, replace(thing, colour=pick([colour for colour in COLOURS if colour != thing.colour]))
        )
    if error == "swap":
        first, second = scene.things
        return replace(
            scene, things=(replace(first, colour=second.colour), replace(second, colour=first.colour))
        )
    if error == "count":
        count = pick([n for n in (1, 2, 3, 4, 5) if n != scene.count])
        return replace(scene, count=count, kind="single" if count == 1 else "count")
    if error == "relation":
        # Mostly the opposite relation, sometimes a perpendicular one: an object on the left may be
        # slightly higher, but it is not above.
        across = [other for other in RELATIONS if other not in (scene.relation, OPPOSITE[scene.relation])]
        return replace(scene, relation=OPPOSITE[scene.relation] if rng.random() < 0.7 else pick(across))
    # A plain background is nearly white, so "on a white background" is not wrong for it.
    return replace(
        scene, place=pick([p for p in BACKGROUNDS if p != scene.place and (scene.place or p != "bg:white")])
    )


def too_few_or_many(rng: np.random.Generator, scene: Scene) -> Scene | None:
    """A pair or relation without one of its objects, or a single object with a second one beside it; None for
    counts.
    """
    if scene.kind == "count":
        return None
    if scene.kind == "single":
        other = draw_thing(rng, (scene.things[0].name,))
        return replace(scene, kind="pair", things=(scene.things[0], other), count=2)
    return replace(scene, kind="single", things=(scene.things[int(rng.integers(2))],), relation="", count=1)
