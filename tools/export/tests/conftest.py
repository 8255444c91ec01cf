"""Fixtures: tiny checkpoints of each layout with the names of large ones, small CLIPs and ImageRewards."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

TOOLS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOOLS / "export"), str(TOOLS / "parity")]

import original_layout  # noqa: E402
from clip_reward import END, TOKENIZER  # noqa: E402
from image_reward_command import TOKENS  # noqa: E402
from reward_models import OriginalClip, OriginalImageReward, QuickGelu, shake  # noqa: E402

CHANGES = {
    "unet": dict(
        block_out_channels=[32, 64],
        attention_head_dim=2,
        layers_per_block=1,
        sample_size=8,
        norm_num_groups=8,
    ),
    "vae": dict(
        block_out_channels=[16, 16, 16, 16],
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=64,
    ),
    "text_encoder": dict(
        hidden_size=32, intermediate_size=64, num_attention_heads=2, num_hidden_layers=3, projection_dim=32
    ),
    "text_encoder_2": dict(
        hidden_size=32, intermediate_size=64, num_attention_heads=2, num_hidden_layers=3, projection_dim=32
    ),
}


def shrink(layout: str, folder: Path) -> Path:
    """The configs of a family with small sizes."""
    shutil.copytree(TOOLS / "export" / "configs" / layout, folder)
    for name, changes in CHANGES.items():
        path = folder / name / "config.json"
        if not path.exists():
            continue
        config = {**json.loads(path.read_text()), **changes}
        if name == "unet":
            config["cross_attention_dim"] = 64 if layout == "sdxl" else 32
            for key in ("down_block_types", "up_block_types"):
                plain, crossed = (
                    ("DownBlock2D", "CrossAttnDownBlock2D")
                    if key.startswith("down")
                    else ("UpBlock2D", "CrossAttnUpBlock2D")
                )
                config[key] = (
                    [plain, crossed] if (key.startswith("up")) != (layout == "sdxl") else [crossed, plain]
                )
            if layout == "sdxl":
                config["transformer_layers_per_block"] = [1, 2]
                config["addition_time_embed_dim"] = 8
                config["projection_class_embeddings_input_dim"] = 32 + 6 * 8
        path.write_text(json.dumps(config))
    return folder


class Tiny:
    """Configs and random modules of a layout, and their tensors under the original names."""

    def __init__(self, layout: str, folder: Path):
        self.layout = layout
        self.folder = folder
        self.configs = shrink(layout, folder / "configs")
        self.modules, self.module_configs = original_layout.make(layout, self.configs, seed=1)
        self.tensors = original_layout.original(self.modules, self.module_configs, layout)

    def save(
        self, name: str = "tiny.safetensors", tensors: dict | None = None, drop=lambda key: False
    ) -> Path:
        chosen = {
            key: value.contiguous() for key, value in (tensors or self.tensors).items() if not drop(key)
        }
        path = self.folder / name
        if path.suffix == ".safetensors":
            save_file(chosen, path)
        else:
            torch.save({"state_dict": chosen, "global_step": 3}, path)
        return path

    def options(self, path: Path, out: Path, *more: str) -> list[str]:
        """Arguments of the command."""
        extra = ["--prediction-type", "v_prediction"] if self.layout == "sd2" else []
        return [str(path), str(out), "--configs", str(self.configs), *extra, *more]


@pytest.fixture(scope="session", params=["sd1", "sd2", "sdxl"])
def tiny(request, tmp_path_factory) -> Tiny:
    return Tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def sd1(tmp_path_factory) -> Tiny:
    return Tiny("sd1", tmp_path_factory.mktemp("sd1-only"))


@pytest.fixture(scope="module")
def openai() -> OriginalClip:
    """A CLIP of OpenAI."""
    return shake(OriginalClip(QuickGelu()))


@pytest.fixture(scope="module")
def laion() -> OriginalClip:
    """A CLIP with the width of ViT-H, whose heads are 80 wide."""
    return shake(OriginalClip(torch.nn.GELU(), 1280, 80))


@pytest.fixture()
def folder(tmp_path) -> Path:
    """A folder with a CLIP of transformers in the subfolder `clip`."""
    shape = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2)
    text = dict(shape, max_position_embeddings=12, bos_token_id=END - 1, eos_token_id=END, pad_token_id=END)
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config=text, vision_config=dict(shape, image_size=32, patch_size=8), projection_dim=16
        )
    )
    shake(model).save_pretrained(tmp_path / "clip")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        tmp_path / "clip"
    )
    CLIPTokenizer.from_pretrained(TOKENIZER, model_max_length=12).save_pretrained(tmp_path / "clip")
    return tmp_path


@pytest.fixture(scope="module")
def original() -> OriginalImageReward:
    """An ImageReward with the original keys."""
    return shake(OriginalImageReward())


@pytest.fixture()
def place(tmp_path, original) -> Path:
    """A folder with a checkpoint of ImageReward and its vocabulary."""
    torch.save(original.state_dict(), tmp_path / "ImageReward.pt")
    (tmp_path / "vocab.txt").write_text("".join(token + "\n" for token in TOKENS))
    return tmp_path
