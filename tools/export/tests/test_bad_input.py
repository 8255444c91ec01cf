"""Files that can't be imported: each gives one line that says what is wrong and what to do, and leaves nothing behind."""

import os
import pickle
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

TOOL = Path(__file__).resolve().parents[1] / "import_checkpoint.py"


def refused(arguments: list[str], *words: str, limit: int | None = None) -> str:
    """Runs the command as a user does. `limit`: bytes that any file of it may have."""

    def restrict():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            import signal

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = subprocess.run([sys.executable, str(TOOL), *arguments], capture_output=True, text=True, preexec_fn=restrict)
    lines = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.strip() and "%|" not in line]
    message = lines[-1] if lines else ""
    assert done.returncode == 1, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in message, message
    return message


def nothing_at(out: Path) -> bool:
    return not out.exists()


def test_a_truncated_download(sd1, tmp_path):
    path = sd1.save("cut.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused(sd1.options(path, tmp_path / "out"), "cut.safetensors", f"{len(data) // 2:,} of {len(data):,} bytes", "Download it again")
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
        ("lfs.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4265380512\n", ["pointer of Git LFS", "git lfs pull"]),
        ("page.safetensors", b"<!doctype html><html><head><title>Sign in</title></head></html>" * 3, ["web page", "login"]),
        ("model.zip", b"PK\x03\x04", ["unknown extension", ".safetensors"]),
        ("empty.safetensors", b"", ["is empty", "Download it again"]),
        ("noise.ckpt", bytes(range(1, 256)) * 9, ["Download it again"]),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    refused([str(tmp_path / name), str(tmp_path / "out")], name, *words)


def test_a_path_that_is_not_there(tmp_path):
    refused([str(tmp_path / "no.safetensors"), str(tmp_path / "out")], "is not there")


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
    torch.save({"state_dict": {"a": torch.zeros(1)}, "callbacks": Evil(str(marker))}, path, _use_new_zipfile_serialization=zipped)
    refused(sd1.options(path, tmp_path / "out"), "evil.ckpt", "posix.system" if zipped else "", ".safetensors")
    path.write_bytes(pickle.dumps(Evil(str(marker))))
    refused(sd1.options(path, tmp_path / "out"), "evil.ckpt")
    assert not marker.exists()


def test_what_training_scripts_leave_is_skipped(sd1, tmp_path):
    """pytorch_lightning's callbacks are in most of the early checkpoints."""
    import types

    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__, "__init__": lambda self: setattr(self, "best", 3)})
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module.__name__):
        sys.modules[name] = module
    try:
        torch.save({"state_dict": sd1.tensors, "callbacks": {module.ModelCheckpoint: module.ModelCheckpoint()}}, tmp_path / "old.ckpt")
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
        ({"transformer.h.0.attn.weight": [2, 2]}, ["unknown family", "transformer.h.0.attn.weight", "diffusers folder"]),
        ({UNET: [32, 9, 3, 3], "cond_stage_model.transformer.x": [1]}, ["inpainting", "9 channels"]),
        ({UNET: [32, 4, 3, 3], "conditioner.embedders.0.model.x": [1]}, ["refiner", "base model"]),
        ({UNET: [32, 4, 3, 3]}, ["no text encoder"]),
        ({"lora_unet_down_blocks_0.lora_down.weight": [1, 1]}, ["is a LoRA", "--lora"]),
        ({"double_blocks.0.img_attn.qkv.weight": [1, 1]}, ["FLUX", "diffusers folder"]),
        ({"model.diffusion_model.joint_blocks.0.x": [1, 1]}, ["Stable Diffusion 3", "diffusers folder"]),
        ({"control_model.input_blocks.0.0.weight": [1, 1]}, ["ControlNet"]),
        ({"decoder.conv_in.weight": [1, 1]}, ["autoencoder alone", "--vae"]),
        ({"down_blocks.0.resnets.0.conv1.weight": [1, 1]}, ["one part of a diffusers pipeline", "model_index.json"]),
        ({"blip.text_encoder.embeddings.weight": [1, 1], "mlp.layers.0.weight": [1, 1]}, ["ImageReward", "import_image_reward.py"]),
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
    done = subprocess.run([sys.executable, str(TOOL), *sd1.options(path, tmp_path / "out", "--ignore-unknown-keys")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_another_architecture_of_the_same_layout(sd1, tmp_path):
    """Without --configs the family's published sizes are expected."""
    refused([str(sd1.save()), str(tmp_path / "out")], "is [", "was expected", "another architecture", "--configs")


def test_another_resolution_than_its_configs(sd1, tmp_path):
    refused(sd1.options(sd1.save(), tmp_path / "out", "--size", "500"), "--size 500", "multiples of 64")


def test_no_vae(sd1, tmp_path):
    path = sd1.save("bare.safetensors", drop=lambda key: key.startswith("first_stage_model."))
    refused(sd1.options(path, tmp_path / "out"), "no autoencoder", "--vae FILE")


def test_2x_needs_what_it_predicts(tiny, tmp_path):
    if tiny.layout != "sd2":
        pytest.skip("of 2.x only")
    refused([str(tiny.save()), str(tmp_path / "out"), "--configs", str(tiny.configs)], "--prediction-type v_prediction")


def test_a_lora_of_another_family(sd1, tmp_path):
    path = save(tmp_path / "xl.safetensors", {"lora_te2_x.lora_down.weight": [1, 1], "lora_te2_x.lora_up.weight": [1, 1]})
    refused(sd1.options(sd1.save(), tmp_path / "out", "--lora", str(path)), "xl.safetensors changes lora_te2_x", "another family")
    path = save(tmp_path / "hada.safetensors", {"lora_unet_x.hada_w1_a": [1, 1]})
    refused(sd1.options(sd1.save(), tmp_path / "out", "--lora", str(path)), "LoHa", "can't be merged")
    refused(sd1.options(sd1.save(), tmp_path / "out", "--lora", f"{path}:strong"), "'strong' is no weight")
    assert nothing_at(tmp_path / "out")


def test_the_output_is_there_already(sd1, tmp_path):
    (tmp_path / "out").mkdir()
    refused(sd1.options(sd1.save(), tmp_path / "out"), "already there")


def overflowing(sd1) -> dict[str, torch.Tensor]:
    """A VAE whose first layer makes hundreds of thousands, which its norms bring back."""
    tensors = dict(sd1.tensors)
    for key in ("weight", "bias"):
        name = f"first_stage_model.decoder.conv_in.{key}"
        tensors[name] = tensors[name] * 3e4
    return tensors


def test_a_vae_that_overflows_in_float16_is_written_in_float32(sd1, tmp_path):
    path = sd1.save("loud.safetensors", overflowing(sd1))
    done = subprocess.run([sys.executable, str(TOOL), *sd1.options(path, tmp_path / "out", "--dtype", "fp16")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "since it overflows in fp16" in done.stdout
    import onnxruntime

    types = {part: onnxruntime.InferenceSession(str(tmp_path / "out" / part / "model.onnx")).get_inputs()[0].type for part in ("unet", "vae_decoder")}
    assert types == {"unet": "tensor(float16)", "vae_decoder": "tensor(float)"}


def test_a_vae_that_is_told_to_overflow_is_an_error(sd1, tmp_path):
    path = sd1.save("loud.safetensors", overflowing(sd1))
    refused(sd1.options(path, tmp_path / "out", "--dtype", "fp16", "--vae-dtype", "fp16"), "not finite", "fp32")
    assert nothing_at(tmp_path / "out")


def test_a_disk_that_fills_up_half_way(sd1, tmp_path):
    # The text encoder's 6 MB do not fit; the limit on a file's size stands for the end of the disk.
    refused(sd1.options(sd1.save(), tmp_path / "out"), "is full", "run the same command again", limit=4_000_000)
    assert nothing_at(tmp_path / "out")
    done = subprocess.run([sys.executable, str(TOOL), *sd1.options(sd1.folder / "tiny.safetensors", tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_disk_that_is_full_from_the_start(sd1, tmp_path, monkeypatch):
    import workspace

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1_000_000))
    with pytest.raises(workspace.WorkspaceError, match=r"0\.0 GB free, and 4\.4 GB are needed"):
        workspace.state_needs(tmp_path / "out", disk=4.4e9, memory=1e9)


def test_a_folder_that_can_not_be_written(sd1, tmp_path):
    (tmp_path / "file").write_text("")
    refused(sd1.options(sd1.save(), tmp_path / "file" / "out"), "file")


def test_a_zip_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as file:
        file.writestr("hello.txt", "hello")
    refused([str(tmp_path / "other.pt"), str(tmp_path / "out")], "other.pt", "Download it again")
