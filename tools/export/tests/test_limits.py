"""Weights that overflow in float16, and disks and folders that can't be written."""

import shutil
import subprocess
import sys

import pytest
import torch
from checkpoint_command import TOOL, nothing_at, refused


def overflowing(sd1) -> dict[str, torch.Tensor]:
    """A VAE whose first layer outputs hundreds of thousands, which its norms scale back."""
    tensors = dict(sd1.tensors)
    for key in ("weight", "bias"):
        name = f"first_stage_model.decoder.conv_in.{key}"
        tensors[name] = tensors[name] * 3e4
    return tensors


def test_a_vae_that_overflows_in_float16_is_written_in_float32(sd1, tmp_path):
    path = sd1.save("loud.safetensors", overflowing(sd1))
    done = subprocess.run(
        [sys.executable, str(TOOL), *sd1.options(path, tmp_path / "out", "--dtype", "fp16")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "because it overflows in fp16" in done.stdout
    import onnxruntime

    types = {
        part: onnxruntime.InferenceSession(str(tmp_path / "out" / part / "model.onnx")).get_inputs()[0].type
        for part in ("unet", "vae_decoder")
    }
    assert types == {"unet": "tensor(float16)", "vae_decoder": "tensor(float)"}


def test_a_vae_that_is_told_to_overflow_is_an_error(sd1, tmp_path):
    path = sd1.save("loud.safetensors", overflowing(sd1))
    refused(
        sd1.options(path, tmp_path / "out", "--dtype", "fp16", "--vae-dtype", "fp16"), "not finite", "fp32"
    )
    assert nothing_at(tmp_path / "out")


def test_a_disk_that_fills_up_half_way(sd1, tmp_path):
    # The 6 MB of the text encoder do not fit. A limit on file sizes simulates a full disk.
    refused(
        sd1.options(sd1.save(), tmp_path / "out"), "is full", "run the same command again", limit=4_000_000
    )
    assert nothing_at(tmp_path / "out")
    done = subprocess.run(
        [sys.executable, str(TOOL), *sd1.options(sd1.folder / "tiny.safetensors", tmp_path / "out")],
        capture_output=True,
        text=True,
    )
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
