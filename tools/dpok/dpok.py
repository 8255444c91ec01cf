r"""Runs DPOK on each prompt of a file for a given time, and judges it on the held-out noises of findery's
optimizers.

usage: python dpok.py PIPELINE --prompts prompts.json --noises noises.npy --reward models/stickers-reward \
                      --unseen models/stickers-unseen --seconds 30 --out dpok.jsonl

PIPELINE is the diffusers folder with the weights of the served bundle. `npm run evaluate:noises` writes
prompts.json and noises.npy. OUT gets JSON lines in the format of bench/evaluate. Prompts that OUT has are
skipped, and an interrupted one continues from its checkpoint.
"""

import argparse
import json
import os
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from policy import Policy
from scorer import Scorer
from trainer import Settings, Trainer

CHECKPOINT_SECONDS = 20


def rounded(values) -> list[float]:
    return [round(float(value), 4) for value in values]


def success_rate(before: np.ndarray, after: np.ndarray) -> float:
    """Share of `after` above the 90th percentile of `before`."""
    return float((after > np.quantile(before, 0.9)).mean())


def train(
    policy: Policy,
    prompt: str,
    reward: Scorer,
    settings: Settings,
    seed: int,
    seconds: float,
    checkpoint: Path,
) -> tuple[Trainer, float]:
    """Returns the trainer and its processor time after at least `seconds` of training. Continues from a
    checkpoint.
    """
    policy.set_prompt(prompt)
    trainer = Trainer(policy, lambda pixels: reward(pixels, prompt), settings, seed)
    spent = 0.0
    if checkpoint.exists():
        stored = torch.load(checkpoint)
        if stored["prompt"] == prompt:
            trainer.restore(stored["state"])
            spent = stored["seconds"]
    began, saved = time.process_time() - spent, spent
    while (spent := time.process_time() - began) < seconds:
        trainer.iterate()
        if spent - saved > CHECKPOINT_SECONDS:
            unfinished = checkpoint.with_suffix(".unfinished")
            torch.save({"prompt": prompt, "seconds": spent, "state": trainer.state()}, unfinished)
            os.replace(unfinished, checkpoint)
            saved = spent
    return trainer, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("--prompts", type=Path, required=True, help="a JSON list")
    parser.add_argument("--noises", type=Path, required=True, help="[N, 4, h, w] float32, the fresh draws")
    parser.add_argument("--reward", type=Path, required=True)
    parser.add_argument("--unseen", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--seconds", type=float, required=True, help="processor time of each prompt's training"
    )
    parser.add_argument(
        "--steps", type=int, default=12, help="denoising steps, of training and of the fresh images"
    )
    parser.add_argument("--guidance-scale", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's choice")
    for field in fields(Settings):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=field.type, default=field.default)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    settings = Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})
    prompts, noises = json.loads(options.prompts.read_text()), np.load(options.noises)
    reward, unseen = Scorer(options.reward), Scorer(options.unseen)
    policy = Policy(options.pipeline, options.steps, options.guidance_scale)
    done = (
        {json.loads(line)["prompt"] for line in options.out.read_text().splitlines()}
        if options.out.exists()
        else set()
    )
    checkpoint = options.out.with_suffix(".checkpoint")
    for number, prompt in enumerate(prompts):
        if prompt in done:
            continue
        policy.set_prompt(prompt)
        if getattr(policy.unet, "peft_config", None):
            policy.unet.delete_adapters("default")
        before = policy.paint(noises, options.steps)
        began = time.monotonic()
        trainer, seconds = train(policy, prompt, reward, settings, options.seed, options.seconds, checkpoint)
        after = policy.paint(noises, options.steps)
        base, learned = reward(before, prompt), reward(after, prompt)
        record = {
            "type": "run",
            "prompt": prompt,
            "optimizer": "dpok",
            "seed": options.seed,
            "budget": len(trainer.rewards),
            "base": rounded([base.mean()])[0],
            "learned": rounded([learned.mean()])[0],
            "success": rounded([success_rate(base, learned)])[0],
            "diversity": None,
            "norm": rounded([np.sqrt((noises**2).mean((1, 2, 3))).mean()])[0],
            "unseenBase": rounded(unseen(before, prompt)),
            "unseenLearned": rounded(unseen(after, prompt)),
            "search": rounded(trainer.rewards),
            "seconds": rounded([time.monotonic() - began])[0],
            "cpuSeconds": rounded([seconds])[0],
        }
        with options.out.open("a") as out:
            out.write(json.dumps(record) + "\n")
        checkpoint.unlink(missing_ok=True)
        print(
            f"{number + 1} of {len(prompts)}: {prompt}: {record['base']:.2f} -> {record['learned']:.2f}, "
            f"{len(trainer.rewards)} images",
            flush=True,
        )


if __name__ == "__main__":
    main()
