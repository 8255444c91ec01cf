"""Calibrates a trained scorer and writes it as the graph of a reward bundle (weights stored as float16,
computed as float32).

usage: python export_scorer.py reward reward.pt OUT_FOLDER --model models/stickers
       python export_scorer.py judge judge.pt OUT_FOLDER --model models/stickers --painted held.npz

The reward is scaled to mean 0 and deviation 1 over 240 pictures of the base model for random captions, as
ImageReward is over its data. The judge is shifted so that 0 is the threshold with the best balanced accuracy
on labelled pictures: above it, a picture obeys.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import torch
from accuracy import graph_score, pairs
from data import KINDS, Captions, painted, rendered, to_tensor
from judge_model import Judge
from onnx import TensorProto, helper, numpy_helper
from painted import ImageSource
from reward_model import Reward, know_kinds
from scenes import caption, draw_scene

CALIBRATION_PICTURES = 240
CALIBRATION_SEED = 2024


def half(path: Path) -> None:
    """Stores large float32 initializers as float16 followed by a Cast, which the runtime folds when it loads
    the graph.
    """
    model = onnx.load(path)
    kept, casts = [], []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT and array.size > 256:
            name = f"{tensor.name}_f16"
            kept.append(numpy_helper.from_array(array.astype(np.float16), name))
            casts.append(
                helper.make_node(
                    "Cast", [name], [tensor.name], to=TensorProto.FLOAT, name=f"{tensor.name}_cast"
                )
            )
        else:
            kept.append(tensor)
    nodes = casts + list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    onnx.save(model, path)
    onnx.checker.check_model(path)


def export(model: torch.nn.Module, path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=4096)
    inputs = (torch.randn(2, 3, 64, 64), torch.randint(0, 5, (2, 24)), torch.ones(2, 24, dtype=torch.long))
    names = ["pixel_values", "input_ids", "attention_mask"]
    torch.onnx.export(
        model,
        inputs,
        path,
        input_names=names,
        output_names=["reward"],
        dynamo=True,
        external_data=False,
        optimize=True,
        verbose=False,
        opset_version=18,
        dynamic_shapes={name: {0: batch} for name in names},
    )
    half(path)


def base_scores(model: torch.nn.Module, captions: Captions, folder: Path) -> np.ndarray:
    """Scores of the base model's pictures for random captions."""
    rng = np.random.default_rng(CALIBRATION_SEED)
    source = ImageSource(folder)
    scores = []
    for _ in range(CALIBRATION_PICTURES // 24):
        texts = [caption(draw_scene(rng, KINDS)) for _ in range(24)]
        pixels = source.generate(texts, guidance=4.0, steps=25, rng=rng)
        with torch.no_grad():
            scores.append(model(to_tensor(pixels), *captions.encode(texts)).numpy())
    return np.concatenate(scores)


def best_threshold(model: torch.nn.Module, captions: Captions, file: Path) -> tuple[float, float]:
    """(threshold, balanced accuracy) over pairs of labelled generated pictures."""
    pictures = painted(file)
    right, wrong = [], []
    for entries in pairs(pictures, np.random.default_rng(CALIBRATION_SEED)).values():
        for first in range(0, len(entries), 250):
            part = entries[first : first + 250]
            pixels = to_tensor(pictures.pixels[[row for row, _, _ in part]])
            with torch.no_grad():
                right.append(model(pixels, *captions.encode([text for _, text, _ in part])).numpy())
                wrong.append(model(pixels, *captions.encode([text for _, _, text in part])).numpy())
    right, wrong = np.concatenate(right), np.concatenate(wrong)
    thresholds = np.linspace(-4, 4, 161)
    balanced = [((right > t).mean() + (wrong <= t).mean()) / 2 for t in thresholds]
    best = int(np.argmax(balanced))
    return float(thresholds[best]), float(balanced[best])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["reward", "judge"])
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--painted", type=Path, help="labelled pictures for the judge's threshold")
    options = parser.parse_args()
    captions = Captions(options.model / "tokenizer")
    model = (Reward if options.kind == "reward" else Judge)(len(captions))
    model.load_state_dict(torch.load(options.weights)["model"], strict=False)
    model.eval()
    if options.kind == "reward":
        know_kinds(model, captions.tokenizer, rendered(4000, CALIBRATION_SEED))
    model.mean.zero_()
    model.std.fill_(1)
    if options.kind == "reward":
        scores = base_scores(model, captions, options.model)
        model.mean.fill_(float(scores.mean()))
        model.std.fill_(float(scores.std()))
        scaled = (scores - scores.mean()) / scores.std()
        print(
            f"base pictures: mean {scores.mean():.4f}, deviation {scores.std():.4f}; 5, 50, 95 % at "
            f"{np.quantile(scaled, [0.05, 0.5, 0.95]).round(2)}"
        )
    else:
        threshold, balanced = best_threshold(model, captions, options.painted)
        model.mean.fill_(threshold)
        print(f"threshold {threshold:.2f}, balanced accuracy {balanced:.4f}")
    options.out.mkdir(parents=True, exist_ok=True)
    graph = options.out / "model.onnx"
    export(model, graph)
    for file in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(options.model / "tokenizer" / file, options.out)
    side = {"height": 64, "width": 64}
    (options.out / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "CLIPImageProcessor",
                "do_resize": True,
                "size": {"shortest_edge": 64},
                "do_center_crop": True,
                "crop_size": side,
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
                "do_convert_rgb": True,
                "resample": 3,
            },
            indent=2,
        )
        + "\n"
    )
    pixels = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)
    texts = [
        "a dog",
        "four pandas",
        "a red book and a yellow vase",
        "a cat to the left of a blue book",
        "a green dog on the grass",
    ]
    with torch.no_grad():
        ours = model(to_tensor(pixels), *captions.encode(texts, full=True)).numpy()
    theirs = graph_score(graph, captions)(pixels, texts)
    print(
        f"{graph.stat().st_size / 1e6:.2f} MB; largest difference of the graph to torch: "
        f"{abs(ours - theirs).max():.5f}"
    )


if __name__ == "__main__":
    main()
