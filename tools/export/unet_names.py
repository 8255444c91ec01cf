"""Names of a UNet's modules and weights in the original key layout (CompVis, Stability)."""

import re

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def original_name(name: str, config: dict) -> str | None:
    """Original name of a weight of a UNet, from its name in diffusers; None if that layout has none.

    config: the UNet's, with layers_per_block and up_block_types.
    """
    for ours, original in UNET.items():
        if name.startswith(ours + "."):
            return original + name[len(ours) :]
    per_block = config["layers_per_block"]
    match = re.match(
        r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name
    )
    if match is None:
        middle = re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", name)
        if middle is None:
            return None
        block, i, rest = middle.groups()
        index = 1 if block == "attentions" else 2 * int(i)
        return f"middle_block.{index}.{_resnet(rest) if block == 'resnets' else rest}"
    side, level, kind, i, rest = match.group(1), int(match[2]), match[3], int(match[4]), match[5]
    part = f"0.{_resnet(rest)}" if kind == "resnets" else f"1.{rest}"
    if side == "down":
        if kind == "downsamplers":
            return f"input_blocks.{(level + 1) * (per_block + 1)}.0.op.{rest.removeprefix('conv.')}"
        number = level * (per_block + 1) + i + 1
        return f"input_blocks.{number}.{part}"
    if kind == "upsamplers":
        has_attention = config["up_block_types"][level].startswith("CrossAttn")
        return f"output_blocks.{(level + 1) * (per_block + 1) - 1}.{2 if has_attention else 1}.{rest}"
    number = level * (per_block + 1) + i
    return f"output_blocks.{number}.{part}"


def _resnet(rest: str) -> str:
    for ours, original in RESNET.items():
        if rest.startswith(ours + "."):
            return original + rest[len(ours) :]
    return rest
