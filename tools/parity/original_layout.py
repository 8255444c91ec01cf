"""Makes random checkpoints in the original key layouts, for tests of the importer.

    python tools/parity/original_layout.py OUT.safetensors [--layout sd1|sd2|sdxl] [--dtype fp32|fp16]
        [--part all|no-vae|vae|lora] [--seed N] [--configs FOLDER]

The architecture is that of tools/export/configs/LAYOUT (full size), or of FOLDER. The names are those of the
files of CompVis and Stability. The conversion follows diffusers'
convert_diffusers_to_original_stable_diffusion.py and its XL form, the inverse of the importer.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

EXPORT = Path(__file__).resolve().parents[1] / "export"
sys.path.insert(0, str(EXPORT))
import module_weights  # noqa: E402
from pipeline_source import MODULES  # noqa: E402
from unet_names import original_name  # noqa: E402

CLIP_TO_OPEN = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm": "ln_final",
}


def vae_key(name: str, levels: int) -> str:
    """Original name of an autoencoder weight, from its name in diffusers."""
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)", r"encoder.down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(
        r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}", name
    )
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    for ours, original in (
        ("group_norm", "norm"),
        ("to_q", "q"),
        ("to_k", "k"),
        ("to_v", "v"),
        ("to_out.0", "proj_out"),
    ):
        name = name.replace(f"mid_block.attentions.0.{ours}.", f"mid.attn_1.{original}.")
    return name


def open_clip(state: dict, layers: int) -> dict:
    """Converts to OpenCLIP's layout: fused projections and one more layer (2.x does not use its last layer,
    XL does).
    """
    out = {}
    for name, tensor in state.items():
        name = name.removeprefix("text_model.")
        for ours, original in CLIP_TO_OPEN.items():
            if name.startswith(ours):
                out[original + name[len(ours) :]] = tensor
        match = re.match(r"encoder\.layers\.(\d+)\.(.*)", name)
        if match:
            rest = (
                match[2]
                .replace("layer_norm", "ln_")
                .replace("mlp.fc1", "mlp.c_fc")
                .replace("mlp.fc2", "mlp.c_proj")
                .replace("self_attn.out_proj", "attn.out_proj")
            )
            if ".q_proj." in rest:
                kind = rest.rpartition(".")[2]
                parts = [
                    state[
                        next(
                            key
                            for key in state
                            if key.endswith(f"layers.{match[1]}.self_attn.{p}_proj.{kind}")
                        )
                    ]
                    for p in "qkv"
                ]
                out[f"transformer.resblocks.{match[1]}.attn.in_proj_{kind}"] = torch.cat(parts)
            elif "k_proj" not in rest and "v_proj" not in rest:
                out[f"transformer.resblocks.{match[1]}.{rest}"] = tensor
        if name == "text_projection.weight":
            out["text_projection"] = tensor.T.contiguous()
    return out


def original(source_modules: dict, configs: dict, layout: str) -> dict[str, torch.Tensor]:
    """Tensors of a complete checkpoint. source_modules: torch modules by component names of diffusers; vae
    may be missing.
    """
    out = {}
    for name, module in source_modules.items():
        state = module.state_dict()
        if name == "unet":
            out.update(
                {
                    f"model.diffusion_model.{original_name(key, configs[name])}": value
                    for key, value in state.items()
                }
            )
        elif name == "vae":
            levels = len(configs[name]["block_out_channels"])
            for key, value in state.items():
                # The original attention consists of 1 x 1 convolutions.
                value = value[:, :, None, None] if ".attentions." in key and value.dim() == 2 else value
                out[f"first_stage_model.{vae_key(key, levels)}"] = value
        elif layout == "sd2" or name == "text_encoder_2":
            prefix = "cond_stage_model.model." if layout == "sd2" else "conditioner.embedders.1.model."
            layers = configs[name]["num_hidden_layers"]
            converted = open_clip(state, layers)
            if layout == "sd2":
                last = {key: value for key, value in converted.items() if f"resblocks.{layers - 1}." in key}
                converted |= {
                    key.replace(f"resblocks.{layers - 1}.", f"resblocks.{layers}."): value.clone()
                    for key, value in last.items()
                }
                converted["text_projection"] = torch.eye(configs[name]["hidden_size"])
            converted["logit_scale"] = torch.tensor(4.6)
            out.update({prefix + key: value for key, value in converted.items()})
        else:
            prefix = (
                "cond_stage_model.transformer." if layout == "sd1" else "conditioner.embedders.0.transformer."
            )
            out.update(
                {
                    f"{prefix}text_model.{key.removeprefix('text_model.')}": value
                    for key, value in state.items()
                }
            )
            out[prefix + "text_model.embeddings.position_ids"] = torch.arange(
                configs[name]["max_position_embeddings"]
            )[None]
    out["alphas_cumprod"] = torch.linspace(0.999, 0.005, 1000)
    return out


def randomize(module: torch.nn.Module, generator: torch.Generator, gain: float = 1.0) -> None:
    """Sets weights that keep activations near one: N(0, gain / fan-in); norms near one, biases near zero."""
    with torch.no_grad():
        for name, weight in module.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() == 1:
                weight.copy_(noise * 0.02 + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
            elif "embedding" in name and "time" not in name and "add" not in name:
                weight.copy_(noise * 0.5)
            else:
                weight.copy_(noise * (gain / weight[0].numel()) ** 0.5)


def make(layout: str, configs_folder: Path, seed: int, with_vae: bool = True) -> tuple[dict, dict]:
    """Random modules of an architecture, and their configs."""
    generator = torch.Generator().manual_seed(seed)
    modules, configs = {}, {}
    for name in MODULES:
        path = configs_folder / name / "config.json"
        if not path.exists() or (name == "vae" and not with_vae):
            continue
        configs[name] = json.loads(path.read_text())
        module = module_weights.create(name, configs[name]).eval()
        randomize(module, generator)
        modules[name] = module
    return modules, configs


def lora(unet: torch.nn.Module, rank: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """A LoRA of the UNet's attention with kohya's names, strong enough to change a picture."""
    out = {}
    for name, part in unet.named_modules():
        if name.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            key = "lora_unet_" + name.replace(".", "_")
            rows, columns = part.weight.shape
            out[key + ".lora_down.weight"] = torch.randn(rank, columns, generator=generator) / columns**0.5
            out[key + ".lora_up.weight"] = torch.randn(rows, rank, generator=generator) / rank**0.5
            out[key + ".alpha"] = torch.tensor(rank / 2)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--layout", choices=["sd1", "sd2", "sdxl"], default="sd1")
    parser.add_argument("--dtype", choices=["fp32", "fp16"], default="fp32")
    parser.add_argument(
        "--part",
        choices=["all", "no-vae", "vae", "lora"],
        default="all",
        help="vae: an autoencoder alone; lora: a LoRA of rank 8",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--configs", type=Path)
    args = parser.parse_args()
    modules, configs = make(
        args.layout, args.configs or EXPORT / "configs" / args.layout, args.seed, args.part != "no-vae"
    )
    if args.part == "lora":
        tensors = lora(modules["unet"], 8, torch.Generator().manual_seed(args.seed))
    else:
        tensors = original({"vae": modules["vae"]} if args.part == "vae" else modules, configs, args.layout)
    if args.dtype == "fp16":
        tensors = {
            key: value.half() if value.is_floating_point() else value for key, value in tensors.items()
        }
    save_file({key: value.contiguous() for key, value in tensors.items()}, args.out)
    print(f"{args.out}: {len(tensors)} tensors, {args.out.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
