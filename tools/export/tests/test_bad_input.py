"""Files that can't be imported. Each gives one line that says what is wrong and what to do, and leaves
nothing behind.
"""

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from checkpoint_command import TOOL, nothing_at, refused
from safetensors.torch import save_file


def test_a_truncated_download(sd1, tmp_path):
    path = sd1.save("cut.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused(
        sd1.options(path, tmp_path / "out"),
        "cut.safetensors",
        f"{len(data) // 2:,} of {len(data):,} bytes",
        "Download it again",
    )
    path.write_bytes(data[:40])
    refused(sd1.options(path, tmp_path / "out"), "cut.safetensors", "Download it again")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_pickle(sd1, tmp_path):
    path = sd1.save("cut.ckpt")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused(sd1.options(path, tmp_path / "out"), "cut.ckpt", "cut off", "Download it again")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "lfs.safetensors",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4265380512\n",
            ["pointer of Git LFS", "git lfs pull"],
        ),
        (
            "page.safetensors",
            b"<!doctype html><html><head><title>Sign in</title></head></html>" * 3,
            ["web page", "login"],
        ),
        ("model.zip", b"PK\x03\x04", ["unknown extension", ".safetensors"]),
        ("empty.safetensors", b"", ["is empty", "Download it again"]),
        ("noise.ckpt", bytes(range(1, 256)) * 9, ["Download it again"]),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    refused([str(tmp_path / name), str(tmp_path / "out")], name, *words)


def test_a_path_that_is_not_there(tmp_path):
    refused([str(tmp_path / "no.safetensors"), str(tmp_path / "out")], "does not exist")


def test_a_folder_that_is_no_pipeline(tmp_path):
    refused([str(tmp_path), str(tmp_path / "out")], "model_index.json", "diffusers pipeline")


class Evil:
    def __init__(self, marker: str):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_in_it_is_never_run(sd1, tmp_path, zipped):
    marker = tmp_path / "executed"
    path = tmp_path / "evil.ckpt"
    torch.save(
        {"state_dict": {"a": torch.zeros(1)}, "callbacks": Evil(str(marker))},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    refused(
        sd1.options(path, tmp_path / "out"), "evil.ckpt", "posix.system" if zipped else "", ".safetensors"
    )
    path.write_bytes(pickle.dumps(Evil(str(marker))))
    refused(sd1.options(path, tmp_path / "out"), "evil.ckpt")
    assert not marker.exists()


def test_what_training_scripts_leave_is_skipped(sd1, tmp_path):
    """Most early checkpoints contain callbacks of pytorch_lightning."""
    import types

    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type(
        "ModelCheckpoint",
        (),
        {"__module__": module.__name__, "__init__": lambda self: setattr(self, "best", 3)},
    )
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module.__name__):
        sys.modules[name] = module
    try:
        torch.save(
            {"state_dict": sd1.tensors, "callbacks": {module.ModelCheckpoint: module.ModelCheckpoint()}},
            tmp_path / "old.ckpt",
        )
    finally:
        for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module.__name__):
            del sys.modules[name]
    from checkpoints import read_weights

    assert set(read_weights(tmp_path / "old.ckpt")) == set(sd1.tensors)


def save(path: Path, shapes: dict[str, list[int]]) -> Path:
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, path)
    return path


UNET = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (
            {"transformer.h.0.attn.weight": [2, 2]},
            ["unknown family", "transformer.h.0.attn.weight", "diffusers folder"],
        ),
        ({UNET: [32, 9, 3, 3], "cond_stage_model.transformer.x": [1]}, ["inpainting", "9 channels"]),
        ({UNET: [32, 4, 3, 3], "conditioner.embedders.0.model.x": [1]}, ["refiner", "base model"]),
        ({UNET: [32, 4, 3, 3]}, ["no text encoder"]),
        ({"lora_unet_down_blocks_0.lora_down.weight": [1, 1]}, ["is a LoRA", "--lora"]),
        ({"double_blocks.0.img_attn.qkv.weight": [1, 1]}, ["FLUX", "diffusers folder"]),
        ({"model.diffusion_model.joint_blocks.0.x": [1, 1]}, ["Stable Diffusion 3", "diffusers folder"]),
        ({"control_model.input_blocks.0.0.weight": [1, 1]}, ["ControlNet"]),
        ({"decoder.conv_in.weight": [1, 1]}, ["autoencoder alone", "--vae"]),
        (
            {"down_blocks.0.resnets.0.conv1.weight": [1, 1]},
            ["one part of a diffusers pipeline", "model_index.json"],
        ),
        (
            {"blip.text_encoder.embeddings.weight": [1, 1], "mlp.layers.0.weight": [1, 1]},
            ["ImageReward", "import_image_reward.py"],
        ),
    ],
)
def test_a_checkpoint_of_another_kind(tmp_path, shapes, words):
    path = save(tmp_path / "other.safetensors", shapes)
    refused([str(path), str(tmp_path / "out")], "other.safetensors", *words)
    assert nothing_at(tmp_path / "out")


def test_missing_keys(sd1, tmp_path):
    path = sd1.save("part.safetensors", drop=lambda key: "output_blocks.1" in key)
    refused(sd1.options(path, tmp_path / "out"), "part.safetensors: unet lacks", "up_blocks", "whole")
    assert nothing_at(tmp_path / "out")


def test_unknown_keys(sd1, tmp_path):
    extra = {**sd1.tensors, "model.diffusion_model.middle_block.1.ip_adapter.weight": torch.zeros(3, 3)}
    path = sd1.save("more.safetensors", extra)
    refused(sd1.options(path, tmp_path / "out"), "ip_adapter", "--ignore-unknown-keys")
    assert nothing_at(tmp_path / "out")
    done = subprocess.run(
        [sys.executable, str(TOOL), *sd1.options(path, tmp_path / "out", "--ignore-unknown-keys")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_another_architecture_of_the_same_layout(sd1, tmp_path):
    """Without --configs the published sizes of the family are expected."""
    refused(
        [str(sd1.save()), str(tmp_path / "out")], "is [", "was expected", "another architecture", "--configs"
    )


def test_another_resolution_than_its_configs(sd1, tmp_path):
    refused(sd1.options(sd1.save(), tmp_path / "out", "--size", "500"), "--size 500", "multiple of 64")


def test_no_vae(sd1, tmp_path):
    path = sd1.save("bare.safetensors", drop=lambda key: key.startswith("first_stage_model."))
    refused(sd1.options(path, tmp_path / "out"), "no autoencoder", "--vae FILE")


def test_2x_needs_what_it_predicts(tiny, tmp_path):
    if tiny.layout != "sd2":
        pytest.skip("of 2.x only")
    refused(
        [str(tiny.save()), str(tmp_path / "out"), "--configs", str(tiny.configs)],
        "--prediction-type v_prediction",
    )


def test_a_lora_of_another_family(sd1, tmp_path):
    path = save(
        tmp_path / "xl.safetensors",
        {"lora_te2_x.lora_down.weight": [1, 1], "lora_te2_x.lora_up.weight": [1, 1]},
    )
    refused(
        sd1.options(sd1.save(), tmp_path / "out", "--lora", str(path)),
        "xl.safetensors changes lora_te2_x",
        "another family",
    )
    path = save(tmp_path / "hada.safetensors", {"lora_unet_x.hada_w1_a": [1, 1]})
    refused(sd1.options(sd1.save(), tmp_path / "out", "--lora", str(path)), "LoHa", "can't be merged")
    refused(sd1.options(sd1.save(), tmp_path / "out", "--lora", f"{path}:strong"), "'strong' is not a weight")
    assert nothing_at(tmp_path / "out")


def test_the_output_is_there_already(sd1, tmp_path):
    (tmp_path / "out").mkdir()
    refused(sd1.options(sd1.save(), tmp_path / "out"), "already there")


def test_a_zip_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as file:
        file.writestr("hello.txt", "hello")
    refused([str(tmp_path / "other.pt"), str(tmp_path / "out")], "other.pt", "Download it again")
