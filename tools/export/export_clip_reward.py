"""Turns a CLIP model into a reward bundle: CLIP score, PickScore, HPSv2 or LAION's aesthetic predictor.

    python tools/export/export_clip_reward.py CLIP OUT [--scale 100] [--aesthetic HEAD.pth]
        [--dtype fp32|fp16]

CLIP is a transformers folder, or one file in the original key layout (OpenAI's, open_clip's,
HPS_v2_compressed.pt). The architecture follows from the shapes of the weights. Code in a file is never
executed.

Without --aesthetic the graph returns image_embeds and text_embeds, and findery computes scale * cosine. The
scale is 100 for CLIP score; --scale learned takes exp(logit_scale) of the checkpoint, as PickScore needs;
HPSv2 needs --scale 1 and --fit pad. With --aesthetic (a state dict of improved-aesthetic-predictor) the graph
returns `reward` and reads no text.

OUT appears complete or not at all.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import aesthetic_head
import clip_sources
import reward_bundle
import torch
from checkpoints import CheckpointError
from components import Component
from tqdm import tqdm
from transformers import CLIPModel
from workspace import Workspace


def component(model: CLIPModel, head: aesthetic_head.Affine | None) -> Component:
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
        inputs["input_ids"], inputs["attention_mask"] = sample_prompts(text)

        def call(module, pixels, ids, mask):
            image = module.visual_projection(module.vision_model(pixels).pooler_output)
            words = module.text_projection(module.text_model(ids, attention_mask=mask).pooler_output)
            return image, words

        outputs = ["image_embeds", "text_embeds"]
    axes = {name: {0: "batch"} for name in [*inputs, *outputs]}
    return Component("", model, call, inputs, outputs, axes)


def sample_prompts(text) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask [2, T] of two prompts: one of half the length, padded, and one of the full
    length.
    """
    tokens = text.max_position_embeddings
    end = clip_sources.end_token(text)
    ids = torch.randint(min(end, text.vocab_size - 1), (2, tokens))
    ids[0, tokens // 2 :] = end
    ids[1, -1] = end
    mask = torch.ones(2, tokens, dtype=torch.int64)
    mask[0, tokens // 2 + 1 :] = 0
    return ids, mask


def export(
    source: Path,
    out: Path,
    scale: float | None = 100.0,
    aesthetic: Path | None = None,
    dtype: str = "fp32",
    title: str | None = None,
    activation: str | None = None,
    fit: str = "crop",
    report: Callable[[str], None] = tqdm.write,
) -> float:
    """Creates the folder `out`. Returns the largest relative difference from PyTorch.

    scale: None: that of the model. aesthetic: file of a head. activation: for a file that does not determine
    it.
    fit: how a picture that is not square is fitted: "crop", or "pad" (as HPSv2: resize the longer side, black
    borders).
    Raises CheckpointError, WorkspaceError or RuntimeError; the message says what to do.
    """
    Workspace(out, {})  # refuses an existing folder
    if scale is not None and not (math.isfinite(scale) and scale != 0):
        raise CheckpointError(
            f"--scale {scale} can't be used; a number that is not 0, or `learned`, is accepted."
        )
    clip = clip_sources.open_source(source, activation)
    for line in clip.notes:
        report(line)
    head = None if aesthetic is None else aesthetic_head.read(aesthetic, clip.embedding)
    reward_bundle.needs(out, clip.parameters, clip.stored, dtype, report)
    card = {
        "kind": "reward",
        "title": title or ("CLIP score" if head is None else "LAION aesthetic"),
        "licence": None,
        "reads": ["image"],
    }
    if head is None:
        scale = clip.learned_scale() if scale is None else scale
        card |= {"reads": ["image", "text"], "score": {"type": "cosine", "scale": scale}}

    def files(folder: Path) -> None:
        clip.copy_processor(folder)
        # The predictor was trained with OpenAI's preprocessing, which crops as torchvision does;
        # HPSv2 pads as torchvision does.
        changes = {} if head is None and fit == "crop" else {"crop_rounding": "nearest"}
        if fit == "pad":
            changes |= {
                "size": {"longest_edge": clip.image_size},
                "crop_size": {"height": clip.image_size, "width": clip.image_size},
            }
        path = folder / "preprocessor_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=2) + "\n")
        if head is None:
            clip.copy_tokenizer(folder)

    with reward_bundle.progress() as step:
        step("reading")
        torch.manual_seed(0)
        # Not bound to a name, so that the model is freed before the graph is opened.
        return reward_bundle.write(component(clip.load(), head), out, dtype, files, card, step)


def scale_of(text: str) -> float | None:
    return None if text == "learned" else float(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "clip", type=Path, help="transformers folder, or checkpoint file of OpenAI or open_clip"
    )
    parser.add_argument("out", type=Path, help="folder to be made, inside one that FINDERY_MODELS names")
    parser.add_argument(
        "--scale",
        type=scale_of,
        default=100.0,
        help="what the cosine is multiplied with; `learned`: the model's own",
    )
    parser.add_argument("--aesthetic", type=Path, help="state dict of an aesthetic predictor's head")
    parser.add_argument(
        "--dtype", choices=["fp32", "fp16"], default="fp32", help="of weights and computation"
    )
    parser.add_argument(
        "--fit", choices=["crop", "pad"], default="crop", help="of pictures that are not square; HPSv2 pads"
    )
    parser.add_argument(
        "--activation", choices=["gelu", "quick_gelu"], help="for a file that does not tell it"
    )
    args = parser.parse_args()
    reward_bundle.main(
        lambda: export(
            args.clip,
            args.out,
            args.scale,
            args.aesthetic,
            args.dtype,
            activation=args.activation,
            fit=args.fit,
        ),
        args.out,
    )


if __name__ == "__main__":
    main()
