"""Loads CLIP in its original key layout (OpenAI's CLIP and open_clip) as transformers' CLIPModel.

The architecture follows from the shapes of the weights. The key map follows transformers'
convert_clip_original_pytorch_to_hf.py.
"""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from checkpoints import CheckpointError
from state_dicts import Origin, fill, refuse_kind
from transformers import CLIPConfig, CLIPModel

# Attention heads are 64 wide, except in the vision towers of these widths: ViT-H, g, G and e
# (open_clip's model_configs).
HEAD_WIDTH = 64
VISION_HEAD_WIDTHS = {1280: 80, 1408: 88, 1664: 104, 1792: 112}
# OpenAI's checkpoints contain these three numbers. Its models use QuickGELU, which no shape
# reveals.
OPENAI = {"input_resolution", "context_length", "vocab_size"}
VISION = "visual."
LAYER = {
    "self_attn": "attn",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
PLAIN = {
    "logit_scale": "logit_scale",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
}
NORMS = {
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "text_model.final_layer_norm": "ln_final",
}
PROJECTIONS = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}


def plain_keys(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Removes the prefixes of wrappers from keys: "module." of parallel training, "text." of open_clip's
    CustomTextCLIP.
    """
    if all(key.startswith("module.") for key in weights):
        weights = {key.removeprefix("module."): tensor for key, tensor in weights.items()}
    if "text.token_embedding.weight" in weights:
        weights = {key.removeprefix("text."): tensor for key, tensor in weights.items()}
    return weights


def is_openai(weights: dict[str, torch.Tensor]) -> bool:
    """Whether these are the weights of a checkpoint of OpenAI."""
    return weights.keys() >= OPENAI


def read_config(weights: dict[str, torch.Tensor], path: Path, activation: str | None) -> CLIPConfig:
    """Returns the architecture of a checkpoint.

    activation: "gelu", "quick_gelu", or None to derive it from the file.
    Raises CheckpointError when the file is not such a CLIP, or when the file does not determine the
    activation.
    """
    wanted = "a CLIP checkpoint in OpenAI's or open_clip's layout"
    if not any(key.startswith("visual.transformer.resblocks.") for key in weights):
        raise refuse_kind(path, weights, wanted)

    def sizes(key: str, dimensions: int) -> torch.Size:
        if key not in weights:
            raise CheckpointError(
                f"{path} lacks {key}, which {wanted} has. Take the whole checkpoint, and download it again "
                "if it is that."
            )
        shape = weights[key].shape
        if len(shape) != dimensions:
            raise CheckpointError(
                f"{path}: {key} is {list(shape)}, where {dimensions} dimensions were expected; it is "
                "damaged, or another architecture."
            )
        return shape

    width, _, patch, _ = sizes("visual.conv1.weight", 4)
    positions, _ = sizes("visual.positional_embedding", 2)
    words, text_width = sizes("token_embedding.weight", 2)
    tokens, _ = sizes("positional_embedding", 2)
    _, embedding = sizes("visual.proj", 2)
    side = round((positions - 1) ** 0.5)
    if side * side != positions - 1:
        raise CheckpointError(
            f"{path}: visual.positional_embedding has {positions} positions, which is not one more than "
            "a square number of patches; it is another architecture."
        )
    hidden_act = activation or _activation(weights, width, path)
    vision = dict(
        hidden_size=width,
        intermediate_size=sizes("visual.transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        num_hidden_layers=_layers(weights, "visual.transformer.resblocks."),
        num_attention_heads=_heads(width, VISION_HEAD_WIDTHS.get(width, HEAD_WIDTH), path),
        image_size=side * patch,
        patch_size=patch,
        hidden_act=hidden_act,
    )
    text = dict(
        vocab_size=words,
        hidden_size=text_width,
        intermediate_size=sizes("transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        num_hidden_layers=_layers(weights, "transformer.resblocks."),
        num_attention_heads=_heads(text_width, HEAD_WIDTH, path),
        max_position_embeddings=tokens,
        hidden_act=hidden_act,
        # CLIP's tokenizer puts both tokens at the end of the vocabulary.
        bos_token_id=words - 2,
        eos_token_id=words - 1,
        pad_token_id=words - 1,
    )
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=embedding)


def build(config: CLIPConfig, weights: dict[str, torch.Tensor], path: Path) -> CLIPModel:
    """Returns the model with the weights of the file. Raises CheckpointError when they do not fit."""
    with torch.device("meta"):
        model = CLIPModel(config)
    return fill(model, weights, origin, path, "CLIP", OPENAI)


def origin(name: str) -> Origin:
    """Returns the original key of a weight of CLIPModel, and how to derive the weight from its tensor."""
    if name in PLAIN:
        return PLAIN[name], None
    if name in PROJECTIONS:
        # The original computes x @ proj; transformers has a linear layer.
        return PROJECTIONS[name], torch.t
    stem, kind = name.rsplit(".", 1)
    if stem in NORMS:
        return f"{NORMS[stem]}.{kind}", None
    tower, index, part = re.fullmatch(r"(vision|text)_model\.encoder\.layers\.(\d+)\.(.+)", stem).groups()
    block = f"{VISION if tower == 'vision' else ''}transformer.resblocks.{index}."
    if part.startswith("self_attn.") and part != "self_attn.out_proj":
        return f"{block}attn.in_proj_{kind}", _third("qkv".index(part.removeprefix("self_attn.")[0]))
    for ours, theirs in LAYER.items():
        part = part.replace(ours, theirs)
    return f"{block}{part}.{kind}", None


def _third(index: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Query, key and value are stored in one tensor. Returns a function that takes one of them."""
    return lambda tensor: tensor.tensor_split(3)[index]


def _activation(weights: dict[str, torch.Tensor], width: int, path: Path) -> str:
    if is_openai(weights):
        return "quick_gelu"
    if width in VISION_HEAD_WIDTHS:
        # OpenAI published no model of these sizes; those of LAION and HPSv2 use GELU.
        return "gelu"
    raise CheckpointError(
        f"{path} does not determine its activation: give --activation quick_gelu for weights of OpenAI, "
        "MetaCLIP or DFN, "
        "--activation gelu for LAION's and DataComp's (open_clip's name for the model ends in -quickgelu, "
        "or does not)."
    )


def _heads(width: int, head: int, path: Path) -> int:
    if width % head:
        raise CheckpointError(
            f"{path} has an encoder of width {width}; multiples of {head}, the width of a head, are "
            "accepted. It is another architecture."
        )
    return width // head


def _layers(weights: dict[str, torch.Tensor], start: str) -> int:
    return len({key.removeprefix(start).split(".")[0] for key in weights if key.startswith(start)})
