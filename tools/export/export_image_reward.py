"""Turns an ImageReward model (the `image-reward` package) into a reward bundle.

    python tools/export/export_image_reward.py ImageReward.pt med_config.json vocab.txt OUT [--dtype fp32|fp16]

ImageReward.pt and med_config.json are those of THUDM/ImageReward, vocab.txt that of bert-base-uncased. The graph takes pixel_values [N, 3, 224, 224],
input_ids and attention_mask [N, 35] and gives reward [N, 1], normalised as the package's `score`.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

import graphs
from components import Component

TOKENS = 35
# torchvision's Resize(224, BICUBIC), CenterCrop(224), ToTensor, Normalize, as ImageReward.py puts them.
PREPROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "crop_rounding": "nearest",
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "do_convert_rgb": True,
}


def component(model) -> Component:
    def call(module, pixels, ids, mask):
        return (module.score_gard(ids, mask, pixels),)

    inputs = {
        "pixel_values": torch.randn(2, 3, 224, 224),
        "input_ids": torch.randint(1000, 2000, (2, TOKENS)),
        "attention_mask": torch.ones(2, TOKENS, dtype=torch.int64),
    }
    axes = {name: {0: "batch"} for name in [*inputs, "reward"]}
    return Component("", model, call, inputs, ["reward"], axes)


def write_bundle(model, vocabulary: list[str], out: Path, dtype: str = "fp32", title: str = "ImageReward") -> float:
    """Writes the folder; returns the largest difference from PyTorch, relative. Raises RuntimeError when it is large."""
    out.mkdir(parents=True, exist_ok=True)
    part = component(model.eval())
    path = graphs.write(part, out, dtype)
    (out / "vocab.txt").write_text("".join(token + "\n" for token in [*vocabulary, "[DEC]", "[ENC]"]), encoding="utf8")
    # The package's own names for the two tokens that it adds; a prompt that spells them has their ids there too.
    added = {"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]}
    tokenizer = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": TOKENS, **added}
    card = {"kind": "reward", "title": title, "licence": "Apache-2.0", "reads": ["image", "text"], "range": [-2.3, 2.3]}
    for name, content in (
        ("preprocessor_config.json", PREPROCESSOR),
        ("tokenizer_config.json", tokenizer),
        ("findery.json", card),
    ):
        (out / name).write_text(json.dumps(content, indent=2) + "\n")
    return graphs.compare(graphs.reference(part), path, dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("med_config", type=Path)
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dtype", choices=["fp32", "fp16"], default="fp32")
    args = parser.parse_args()
    if args.out.exists():
        sys.exit(f"{args.out} is already there; choose another name, or remove it.")
    from ImageReward.ImageReward import ImageReward

    model = ImageReward(str(args.med_config))
    state = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    missing, unknown = model.load_state_dict(state, strict=False)
    if missing or unknown:
        sys.exit(f"{args.checkpoint} is no ImageReward checkpoint: it lacks {missing[:3]}, and has {unknown[:3]} besides.")
    difference = write_bundle(model, args.vocabulary.read_text(encoding="utf8").split(), args.out, args.dtype)
    print(f"{args.out} is ready; largest difference from PyTorch {difference:.1e}")


if __name__ == "__main__":
    main()
