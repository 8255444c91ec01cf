"""Measures how often a scorer orders held-out pairs correctly: the right caption against one with ONE error,
by kind of error.

usage: python accuracy.py GRAPH.onnx --tokenizer models/stickers/tokenizer --painted held.npz [--rendered
1500] [--json OUT]

The pictures have seeds that no training used: rendered ones, and generated ones.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from data import Captions, Pictures, painted, rendered, to_tensor
from errors import ERRORS, one_error, possible_errors
from scenes import caption


def pairs(pictures: Pictures, rng: np.random.Generator) -> dict[str, list[tuple[int, str, str]]]:
    """Pairs (row, right caption, wrong caption) of each kind of error."""
    found: dict[str, list[tuple[int, str, str]]] = {error: [] for error in ERRORS}
    for row, scene in enumerate(pictures.scenes):
        for error in possible_errors(scene):
            found[error].append((row, caption(scene), caption(one_error(rng, scene, error))))
    return found


def accuracy(score, pictures: Pictures, rng: np.random.Generator) -> dict[str, dict]:
    """For each kind of error: number of pairs, share ordered correctly, share of right captions above 0 and
    of wrong ones below.

    score: function of pixels [B, 64, 64, 3] uint8 and texts that returns scores [B].
    """
    report = {}
    for error, entries in pairs(pictures, rng).items():
        right, wrong = [], []
        for first in range(0, len(entries), 250):
            part = entries[first : first + 250]
            pixels = pictures.pixels[[row for row, _, _ in part]]
            right.append(score(pixels, [text for _, text, _ in part]))
            wrong.append(score(pixels, [text for _, _, text in part]))
        right, wrong = np.concatenate(right), np.concatenate(wrong)
        report[error] = {
            "pairs": len(entries),
            "inOrder": float((right > wrong).mean()),
            "margin": float((right - wrong).mean()),
        }
    return report


def graph_score(graph: Path, captions: Captions):
    session = onnxruntime.InferenceSession(str(graph))

    def score(pixels, texts):
        ids, mask = captions.encode(texts, full=True)
        feed = {
            "pixel_values": to_tensor(pixels).contiguous().numpy(),
            "input_ids": ids.numpy(),
            "attention_mask": mask.numpy(),
        }
        return session.run(None, feed)[0]

    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graph", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--painted", type=Path, required=True)
    parser.add_argument("--rendered", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=99)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    score = graph_score(options.graph, Captions(options.tokenizer))
    report = {}
    for name, pictures in (
        ("rendered", rendered(options.rendered, 990 + options.seed)),
        ("painted", painted(options.painted)),
    ):
        report[name] = accuracy(score, pictures, np.random.default_rng(options.seed))
        for error, row in report[name].items():
            print(
                f"{name:9s} {error:9s} {row['pairs']:5d} pairs  {100 * row['inOrder']:.2f} % in order  "
                f"margin {row['margin']:.2f}"
            )
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
