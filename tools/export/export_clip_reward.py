"""Turns a CLIP model (a transformers folder) into a reward bundle: CLIP score, PickScore, HPSv2 or LAION's aesthetic predictor.

    python tools/export/export_clip_reward.py CLIP OUT [--scale 100] [--aesthetic HEAD.pth] [--dtype fp32|fp16]

Without --aesthetic the graph gives image_embeds and text_embeds, and findery makes scale * cosine of them: 100 for CLIP score; PickScore's checkpoint has
its own, exp(logit_scale); HPSv2 takes 1. With --aesthetic (improved-aesthetic-predictor's state dict: layers without activations, that is, one affine map of the
normalised image embedding) it gives `reward` and reads no text.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

import graphs
from components import Component


def affine(state: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """The layers of an MLP without activations as one weight [1, D] and one bias [1]."""
    names = sorted({key.rsplit(".", 1)[0] for key in state}, key=lambda name: int(name.split(".")[-1]))
    weight, bias = None, None
    for name in names:
        w, b = state[f"{name}.weight"].float(), state[f"{name}.bias"].float()
        weight, bias = (w, b) if weight is None else (w @ weight, w @ bias + b)
    return weight, bias


def component(model: CLIPModel, head: tuple[torch.Tensor, torch.Tensor] | None) -> Component:
    vision, text = model.config.vision_config, model.config.text_config
    inputs = {"pixel_values": torch.randn(2, 3, vision.image_size, vision.image_size)}
    if head is not None:
        weight, bias = head

        def call(module, pixels):
            embeds = module.visual_projection(module.vision_model(pixels).pooler_output)
            embeds = embeds / embeds.norm(dim=-1, keepdim=True)
            return (embeds @ weight.T + bias,)

        outputs = ["reward"]
    else:
        tokens = text.max_position_embeddings
        inputs["input_ids"] = torch.full((2, tokens), text.eos_token_id)
        inputs["attention_mask"] = torch.ones(2, tokens, dtype=torch.int64)

        def call(module, pixels, ids, mask):
            image = module.visual_projection(module.vision_model(pixels).pooler_output)
            words = module.text_projection(module.text_model(ids, attention_mask=mask).pooler_output)
            return image, words

        outputs = ["image_embeds", "text_embeds"]
    axes = {name: {0: "batch"} for name in [*inputs, *outputs]}
    return Component("", model, call, inputs, outputs, axes)


def export(
    source: Path, out: Path, scale: float = 100.0, head=None, dtype: str = "fp32", title: str = "CLIP score"
) -> float:
    """Writes the folder; returns the largest difference from PyTorch, relative. Raises RuntimeError when it is large."""
    model = CLIPModel.from_pretrained(source, local_files_only=True).eval()
    part = component(model, None if head is None else affine(head))
    difference = graphs.compare(graphs.reference(part), graphs.write(part, out, dtype), dtype)
    AutoImageProcessor.from_pretrained(source, local_files_only=True).save_pretrained(out)
    if head is not None:
        # The predictor was trained behind OpenAI's own preprocessing, which crops as torchvision does.
        path = out / "preprocessor_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"crop_rounding": "nearest"}, indent=2) + "\n")
    card = {"kind": "reward", "title": title, "licence": None, "reads": ["image"]}
    if head is None:
        AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(out)
        card |= {"reads": ["image", "text"], "score": {"type": "cosine", "scale": scale}}
    (out / "findery.json").write_text(json.dumps(card, indent=2) + "\n")
    return difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", type=float, default=100.0)
    parser.add_argument("--aesthetic", type=Path)
    parser.add_argument("--dtype", choices=["fp32", "fp16"], default="fp32")
    args = parser.parse_args()
    if args.out.exists():
        sys.exit(f"{args.out} is already there; choose another name, or remove it.")
    head = torch.load(args.aesthetic, map_location="cpu", weights_only=True) if args.aesthetic else None
    title = "LAION aesthetic" if args.aesthetic else "CLIP score"
    difference = export(args.clip, args.out, args.scale, head, args.dtype, title)
    print(f"{args.out} is ready; largest difference from PyTorch {difference:.1e}")


if __name__ == "__main__":
    main()
