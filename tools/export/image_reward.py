"""ImageReward (Xu et al. 2023, arXiv 2304.05977), built from transformers' BLIP and filled from the original
checkpoint.

A ViT encodes the picture, and a BERT with cross-attention to the picture encodes the prompt. Five linear
layers map the [CLS] token to a number. The key map follows transformers'
convert_blip_original_pytorch_to_hf.py.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from checkpoints import CheckpointError
from state_dicts import Origin, fill, refuse_kind
from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

# A score is (x - MEAN) / STD; the constants of the package come from its training set.
MEAN = 0.16717362830052426
STD = 1.0333394966054072
HEAD_WIDTH = 64
# Published sizes: number of layers by width. A file with fewer layers is incomplete, not a smaller
# model.
VISION_LAYERS = {1024: 24}
TEXT_LAYERS = {768: 12}
# Weights of the checkpoint that no score uses: projections of BLIP's pretraining, and position_ids.
UNUSED = {f"blip.{name}_proj.{kind}" for name in ("vision", "text") for kind in ("weight", "bias")} | {
    "blip.text_encoder.embeddings.position_ids"
}
VISION_NAMES = (
    ("embeddings.class_embedding", "cls_token"),
    ("embeddings.position_embedding", "pos_embed"),
    ("embeddings.patch_embedding", "patch_embed.proj"),
    ("encoder.layers.", "blocks."),
    ("self_attn.qkv", "attn.qkv"),
    ("self_attn.projection", "attn.proj"),
    ("layer_norm1", "norm1"),
    ("layer_norm2", "norm2"),
    ("post_layernorm", "norm"),
)


@dataclass(frozen=True)
class Shape:
    """The architecture, as far as the shapes of the weights determine it."""

    vision: dict
    text: dict
    # Inputs and outputs of the linear layers of the head, by their index in it.
    head: dict[int, tuple[int, int]]

    @property
    def image_size(self) -> int:
        """Width and height of a picture in pixels."""
        return self.vision["image_size"]

    @property
    def vocabulary(self) -> int:
        return self.text["vocab_size"]


class ImageReward(torch.nn.Module):
    """pixel_values [N, 3, S, S], input_ids [N, T], attention_mask [N, T] -> reward [N, 1]."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.visual = BlipVisionModel(BlipVisionConfig(**shape.vision))
        self.text = BlipTextModel(BlipTextConfig(**shape.text), add_pooling_layer=False)
        # Dropout layers take the missing indexes.
        layers = [
            torch.nn.Linear(*shape.head[i]) if i in shape.head else torch.nn.Dropout()
            for i in range(max(shape.head) + 1)
        ]
        self.mlp = torch.nn.Sequential(*layers)

    def forward(self, pixels: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        picture = self.visual(pixels).last_hidden_state
        # The mask value of BLIP; -10000 fits into float16.
        bias = (1.0 - mask[:, None, None, :].to(picture.dtype)) * -10000.0
        words = self.text.embeddings(input_ids=ids)
        words = self.text.encoder(words, attention_mask=bias, encoder_hidden_states=picture).last_hidden_state
        return (self.mlp(words[:, 0, :]) - MEAN) / STD


def origin(name: str) -> Origin:
    """Key of the checkpoint for a weight of ImageReward."""
    part, rest = name.split(".", 1)
    if part == "mlp":
        return f"mlp.layers.{rest}", None
    if part == "text":
        return f"blip.text_encoder.{rest}", None
    for ours, theirs in VISION_NAMES:
        rest = rest.replace(ours, theirs)
    return f"blip.visual_encoder.{rest}", None


def read_shape(weights: dict[str, torch.Tensor], path: Path, med_config: Path | None = None) -> Shape:
    """Returns the architecture of a checkpoint. Raises CheckpointError when it is not an ImageReward."""

    def size(key: str) -> torch.Size:
        if key not in weights:
            raise CheckpointError(
                f"{path} lacks {key}, which every ImageReward checkpoint has. Take the whole checkpoint, "
                "and download it again if it is that."
            )
        return weights[key].shape

    if not any(key.startswith("blip.visual_encoder.") for key in weights) or not any(
        key.startswith("mlp.layers.") for key in weights
    ):
        raise refuse_kind(path, weights, "an ImageReward checkpoint")
    visual, bert = "blip.visual_encoder.", "blip.text_encoder."
    width, _, patch, _ = _sizes(size(f"{visual}patch_embed.proj.weight"), 4, path)
    _, positions, _ = _sizes(size(f"{visual}pos_embed"), 3, path)
    words, hidden = _sizes(size(f"{bert}embeddings.word_embeddings.weight"), 2, path)
    layers = _count(weights, rf"{re.escape(visual)}blocks\.(\d+)\.")
    text_layers = _count(weights, rf"{re.escape(bert)}encoder\.layer\.(\d+)\.")
    for what, found, table, key in (
        ("vision", layers, VISION_LAYERS, width),
        ("text", text_layers, TEXT_LAYERS, hidden),
    ):
        if found != table.get(key, found):
            raise CheckpointError(
                f"{path} has {found} layers in its {what} encoder, and ImageReward has {table[key]}; it is "
                "not whole. Download it again."
            )
    side = round((positions - 1) ** 0.5)
    if side * side != positions - 1:
        raise CheckpointError(
            f"{path}: {visual}pos_embed has {positions} positions, which is not one more than a "
            "square number of patches; it is damaged, or another architecture."
        )
    vision = dict(
        hidden_size=width,
        intermediate_size=size(f"{visual}blocks.0.mlp.fc1.weight")[0],
        num_hidden_layers=layers,
        num_attention_heads=_heads(width, path),
        image_size=side * patch,
        patch_size=patch,
        hidden_act="gelu",
        layer_norm_eps=1e-6,
    )
    text = dict(
        vocab_size=words,
        hidden_size=hidden,
        encoder_hidden_size=width,
        intermediate_size=size(f"{bert}encoder.layer.0.intermediate.dense.weight")[0],
        num_hidden_layers=text_layers,
        num_attention_heads=_heads(hidden, path),
        max_position_embeddings=size(f"{bert}embeddings.position_embeddings.weight")[0],
        hidden_act="gelu",
        layer_norm_eps=1e-12,
        is_decoder=True,
        # Not read; the defaults are those of the published vocabulary.
        bos_token_id=None,
        eos_token_id=None,
        sep_token_id=None,
    )
    if med_config is not None:
        text |= _read_med_config(med_config, text)
    head = {
        int(match[1]): (tensor.shape[1], tensor.shape[0])
        for key, tensor in weights.items()
        if (match := re.fullmatch(r"mlp\.layers\.(\d{1,3})\.weight", key)) and tensor.dim() == 2
    }
    return Shape(vision, text, head or {0: (hidden, 1)})


def build(shape: Shape, weights: dict[str, torch.Tensor], path: Path) -> ImageReward:
    """Returns the model with the weights of the checkpoint. Raises CheckpointError when they do not fit."""
    with torch.device("meta"):
        model = ImageReward(shape)
    return fill(model, weights, origin, path, "ImageReward", UNUSED)


def _read_med_config(path: Path, text: dict) -> dict:
    """Returns the values of BLIP's med_config.json that shapes do not determine. The others must agree with
    the shapes.
    """
    try:
        config = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read as med_config.json ({error}).") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a med_config.json: a JSON object is expected.")
    for key in (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "max_position_embeddings",
        "vocab_size",
    ):
        if config.get(key, text[key]) != text[key]:
            raise CheckpointError(
                f"{path} has {key} {config[key]}, and the checkpoint {text[key]}; take the med_config.json "
                "that belongs to it, or leave --med-config out."
            )
    return {
        key: config[key] for key in ("num_attention_heads", "layer_norm_eps", "hidden_act") if key in config
    }


def _heads(width: int, path: Path) -> int:
    if width % HEAD_WIDTH:
        raise CheckpointError(
            f"{path} has an encoder of width {width}; multiples of {HEAD_WIDTH}, the width of a head, are "
            "accepted. It is another architecture."
        )
    return width // HEAD_WIDTH


def _count(weights: dict[str, torch.Tensor], pattern: str) -> int:
    return len({match[1] for key in weights if (match := re.match(pattern, key))})


def _sizes(shape: torch.Size, dimensions: int, path: Path) -> torch.Size:
    if len(shape) != dimensions:
        raise CheckpointError(
            f"{path} has an embedding of shape {list(shape)}, where {dimensions} dimensions were expected; "
            "it is damaged, or another architecture."
        )
    return shape
