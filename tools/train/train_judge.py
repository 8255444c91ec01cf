"""Trains the unseen scorer: its detector on the labels of cells, then its rules by the binary cross-entropy
of (picture, caption) pairs.

usage: python train_judge.py OUT.pt --tokenizer models/stickers/tokenizer --painted painted-judge.npz
--minutes 9,3

Its pictures must not be those of the reward: give a generated set with another seed and other starts. Stages
that OUT.pt has are skipped.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from data import Captions, captions_for, jitter, painted, rendered, to_tensor
from judge_model import Judge
from train_reward import Batches, broken, run_stage

WRONG = 3
"""Wrong captions for each right one, which counts three times."""


def focal(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Focal loss (Lin et al. 2017, equation 4, gamma 1) of classes [B, C, h, w]."""
    loss = F.cross_entropy(logits, true, reduction="none", label_smoothing=0.02)
    return ((1 - torch.exp(-loss)) * loss * (0.3 + 1.7 * (true > 0))).mean()


def train_detector(model: Judge, batches: Batches, minutes: float) -> None:
    pictures = batches.pictures

    def step():
        rows = batches.rows(32)

        def grid(array):
            return torch.from_numpy(array[rows].astype(np.int64))

        objects, colours, centres, place = model.detector(
            jitter(to_tensor(pictures.pixels[rows])).contiguous()
        )
        true, there = grid(pictures.objects), grid(pictures.centres).clamp(max=1).float()
        loss = 3 * focal(objects, true) + 2 * focal(colours, grid(pictures.colours))
        loss = (
            loss
            + 0.2
            * F.binary_cross_entropy_with_logits(centres[:, 0], there, reduction="none").sum((1, 2)).mean()
        )
        loss = loss + 0.3 * F.cross_entropy(place, torch.from_numpy(pictures.places[rows]))
        return loss, (objects.argmax(1) == true)[true > 0].float().mean().item()

    run_stage(minutes, 2e-3, list(model.detector.parameters()), step, "detector")


def train_rules(model: Judge, batches: Batches, captions: Captions, minutes: float) -> None:
    """Trains on detections that are computed once. One picture in ten is broken, and no caption is right for
    it.
    """
    pictures, found, spoilt = batches.pictures, [], torch.rand(len(batches.pictures)) < 0.1
    model.detector.eval()
    with torch.no_grad():
        for first in range(0, len(pictures), 250):
            images = jitter(to_tensor(pictures.pixels[first : first + 250])).contiguous()
            bad = spoilt[first : first + 250]
            images[bad] = broken(images[bad]) if bad.any() else images[bad]
            found.append([output.half() for output in model.detector(images)])
    outputs = [torch.cat(parts) for parts in zip(*found, strict=True)]

    def step():
        rows = batches.rows(128)
        lists = [captions_for(batches.rng, pictures.scenes[row], 1 + WRONG) for row in rows]
        ids, _ = captions.encode([row[i] for i in range(1 + WRONG) for row in lists])
        detected = [output[rows].float().repeat(1 + WRONG, *[1] * (output.ndim - 1)) for output in outputs]
        logits = model.rules(model.compare(detected, ids)).reshape(1 + WRONG, -1)
        good, weight = torch.zeros_like(logits), torch.ones_like(logits)
        good[0] = 1 - spoilt[rows].float()
        weight[0] = 3
        return F.binary_cross_entropy_with_logits(logits, good, weight), (
            (logits > 0) == (good > 0.5)
        ).float().mean().item()

    run_stage(minutes, 3e-3, list(model.rules.parameters()), step, "rules")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--painted", type=Path, required=True)
    parser.add_argument("--rendered", type=int, default=16000)
    parser.add_argument("--minutes", default="9,3", help="of the detector and of the rules")
    parser.add_argument("--seed", type=int, default=4242)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)
    captions = Captions(options.tokenizer)
    model = Judge(len(captions))
    model.grammar.learn(captions.tokenizer)
    done = []
    if options.out.exists():
        stored = torch.load(options.out)
        done = stored["done"]
        model.load_state_dict(stored["model"])
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters; done: {done}")
    first, second = rendered(options.rendered, 5 + options.seed), painted(options.painted)
    batches = Batches(first + second + second.flipped(), len(first), np.random.default_rng(options.seed))
    minutes = list(map(float, options.minutes.split(",")))
    for stage, train in (
        ("detector", lambda: train_detector(model, batches, minutes[0])),
        ("rules", lambda: train_rules(model, batches, captions, minutes[1])),
    ):
        if stage in done:
            continue
        train()
        done.append(stage)
        torch.save({"model": model.state_dict(), "done": done}, options.out)


if __name__ == "__main__":
    main()
