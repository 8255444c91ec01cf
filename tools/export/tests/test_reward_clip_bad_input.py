"""Files and folders that export_clip_reward.py refuses."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from clip_reward import OPENAI, head, start
from reward_command import Call, refused, run_apart
from safetensors.torch import save_file
from transformers import CLIPModel


def test_code_in_a_torchscript_archive_is_not_run(tmp_path):
    with zipfile.ZipFile(tmp_path / "ViT.pt", "w") as archive:
        archive.writestr("ViT/constants.pkl", b"")
        archive.writestr("ViT/data.pkl", pickle.dumps(Call(tmp_path / "was-run")))
    refused(start(tmp_path, "ViT.pt"), tmp_path / "out" / "reward", "ViT.pt", "posix.system", "not run")
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    ("state", "parts"),
    [
        (head(20, 4, 1), ["layers.0.weight is [4, 20]", "CLIP's embedding has 16", "ViT-L/14"]),
        (head(16, 4, 2), ["ends in 2 numbers"]),
        (
            {**head(16, 4, 1), "layers.2.weight": torch.ones(1, 5)},
            ["layers.2.weight is [1, 5]", "the layer before gives 4"],
        ),
        ({**head(16, 4, 1), "norm.weight": torch.ones(4)}, ["no place for: norm.weight"]),
        (
            {key: value for key, value in head(16, 4, 1).items() if key != "layers.2.bias"},
            ["lacks layers.2.bias"],
        ),
        ({**head(16, 1), "layers.0.bias": torch.tensor([float("inf")])}, ["layers.0.bias", "not finite"]),
        (
            {"model.diffusion_model.a": torch.ones(1)},
            ["not the head of an aesthetic predictor", "Stable Diffusion"],
        ),
    ],
    ids=["width", "outputs", "chain", "unknown", "missing", "infinite", "kind"],
)
def test_heads_that_do_not_fit(tmp_path, openai, state, parts):
    torch.save({**openai.state_dict(), **OPENAI}, tmp_path / "ViT.pt")
    torch.save(state, tmp_path / "head.pth")
    refused(
        start(tmp_path, "ViT.pt", "--aesthetic", tmp_path / "head.pth"),
        tmp_path / "out" / "reward",
        "head.pth",
        *parts,
    )


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"visual.transformer.resblocks.1.attn.in_proj_weight": None},
            ["lacks 1 of the", "visual.transformer.resblocks.1.attn.in_proj_weight"],
        ),
        (
            {"visual.ln_pre.weight": None, "visual.ln_pre.bias": None},
            ["lacks 2 of the", "visual.ln_pre.bias, visual.ln_pre.weight"],
        ),
        ({"token_embedding.weight": None}, ["lacks token_embedding.weight"]),
        (
            {"visual.transformer.resblocks.0.ls_1.gamma": torch.ones(64)},
            ["no place for: visual.transformer.resblocks.0.ls_1.gamma"],
        ),
        ({"ln_final.weight": torch.ones(5)}, ["ln_final.weight is [5]", "[64] was expected"]),
        (
            {"visual.transformer.resblocks.0.attn.in_proj_weight": torch.ones(9, 64)},
            ["in_proj_weight is [9, 64]"],
        ),
        (
            {"visual.positional_embedding": torch.ones(13, 128)},
            ["visual.positional_embedding has 13 positions"],
        ),
        ({"visual.conv1.weight": torch.ones(128, 3)}, ["visual.conv1.weight is [128, 3]"]),
        ({"token_embedding.weight": torch.ones(32000, 64)}, ["knows 32000 tokens", "49408"]),
        ({"visual.conv1.weight": torch.ones(100, 3, 8, 8)}, ["width 100"]),
        ({"ln_final.weight": torch.full((64,), float("nan"))}, ["ln_final.weight", "not finite"]),
    ],
    ids=lambda value: None if isinstance(value, list) else next(iter(value)),
)
def test_keys_that_do_not_fit(tmp_path, openai, changes, parts):
    state = {**openai.state_dict(), **OPENAI, **changes}
    torch.save({key: tensor for key, tensor in state.items() if tensor is not None}, tmp_path / "ViT.pt")
    refused(start(tmp_path, "ViT.pt"), tmp_path / "out" / "reward", "ViT.pt", *parts)


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("visual.layer1.0.conv1.weight", "ResNet"),
        ("visual.trunk.patch_embed.proj.weight", "SigLIP"),
        ("vision_model.encoder.layers.0.layer_norm1.weight", "give its folder"),
        ("blip.visual_encoder.norm.weight", "import_image_reward.py"),
        ("lora_unet_mid_block.alpha", "a LoRA"),
        ("encoder.weight", "its keys are encoder.weight"),
    ],
)
def test_a_file_of_another_kind(tmp_path, key, what):
    torch.save({key: torch.ones(2)}, tmp_path / "ViT.pt")
    refused(start(tmp_path, "ViT.pt"), tmp_path / "out" / "reward", "ViT.pt is not a CLIP checkpoint", what)


def test_pickles_with_code_are_not_run(folder, openai):
    was_run = folder / "was-run"
    torch.save({**openai.state_dict(), **OPENAI, "extra": Call(was_run)}, folder / "ViT.pt")
    refused(
        run_apart("export_clip_reward", folder / "ViT.pt", folder / "out" / "reward"),
        folder / "out" / "reward",
        "ViT.pt",
        "posix.system",
        "not run",
    )
    torch.save({**openai.state_dict(), **OPENAI}, folder / "good.pt")
    torch.save({**head(16, 1), "extra": Call(was_run)}, folder / "head.pth")
    refused(
        start(folder, "good.pt", "--aesthetic", folder / "head.pth"),
        folder / "out" / "reward",
        "head.pth",
        "posix.system",
        "not run",
    )
    (folder / "clip" / "model.safetensors").unlink()
    torch.save({"extra": Call(was_run)}, folder / "clip" / "pytorch_model.bin")
    refused(start(folder, "clip"), folder / "out" / "reward", "pytorch_model.bin", "posix.system", "not run")
    assert not was_run.exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_files(folder, openai, share):
    torch.save({**openai.state_dict(), **OPENAI}, folder / "ViT.pt")
    for path, source in ((folder / "ViT.pt", "ViT.pt"), (folder / "clip" / "model.safetensors", "clip")):
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        refused(start(folder, source), folder / "out" / "reward", path.name, "ownload it again")


def edit_config(folder: Path, **changes) -> None:
    path = folder / "clip" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_folders_that_do_not_fit(folder):
    out = folder / "out" / "reward"
    refused(start(folder, "clip", "--activation", "gelu"), out, "--activation is for single files")
    refused(start(folder, "none"), out, "none does not exist")
    shutil.copytree(folder / "clip", folder / "whole")

    edit_config(folder, model_type="siglip")
    refused(start(folder, "clip"), out, "type siglip")
    (folder / "clip" / "config.json").write_text("{")
    refused(start(folder, "clip"), out, "no readable config.json")
    (folder / "clip" / "config.json").rename(folder / "clip" / "open_clip_config.json")
    refused(start(folder, "clip"), out, "a folder of open_clip; give the checkpoint file")

    for name, parts in (
        ("model.safetensors", ["no weights"]),
        ("preprocessor_config.json", ["no preprocessor_config.json"]),
        ("tokenizer.json", ["tokenizer of", "49408"]),
    ):
        shutil.rmtree(folder / "clip")
        shutil.copytree(folder / "whole", folder / "clip")
        (folder / "clip" / name).unlink()
        refused(start(folder, "clip"), out, "copy the whole folder", *parts)


def test_folders_with_other_weights(folder):
    path = folder / "clip" / "model.safetensors"
    state = CLIPModel.from_pretrained(folder / "clip").state_dict()
    save_file(
        {key: tensor for key, tensor in state.items() if key != "text_projection.weight"},
        path,
        {"format": "pt"},
    )
    refused(start(folder, "clip"), folder / "out" / "reward", "lacks weights: text_projection.weight")
    save_file({**state, "vision_model.head.weight": torch.ones(2)}, path, {"format": "pt"})
    refused(start(folder, "clip"), folder / "out" / "reward", "no place for: vision_model.head.weight")
    save_file({**state, "logit_scale": torch.tensor(float("nan"))}, path, {"format": "pt"})
    refused(start(folder, "clip"), folder / "out" / "reward", "logit_scale has numbers that are not finite")


@pytest.mark.parametrize("scale", ["0", "nan", "inf"])
def test_scales_that_make_no_score(folder, scale):
    refused(start(folder, "clip", "--scale", scale), folder / "out" / "reward", "--scale", "not 0")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_disk_that_fills_up_half_way(tmp_path, openai, share):
    torch.save({**openai.state_dict(), **OPENAI}, tmp_path / "ViT.pt")
    result = run_apart(
        "export_clip_reward",
        tmp_path / "ViT.pt",
        tmp_path / "out" / "reward",
        largest_file=int(13_500_000 * share),
    )
    refused(result, tmp_path / "out" / "reward", "is full", "was not made")
