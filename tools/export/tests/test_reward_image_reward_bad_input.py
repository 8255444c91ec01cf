"""Files that import_image_reward.py refuses, and runs that fail."""

import shutil

import pytest
import torch
from image_reward_command import change, start
from reward_command import Call, refused, run_apart
from safetensors.torch import save_file


def test_a_pickle_with_code_is_not_run(place):
    state = torch.load(place / "ImageReward.pt", weights_only=True)
    torch.save({**state, "extra": Call(place / "was-run")}, place / "ImageReward.pt")
    result = run_apart(
        "import_image_reward",
        place / "ImageReward.pt",
        place / "out" / "reward",
        "--vocabulary",
        place / "vocab.txt",
    )
    refused(result, place / "out" / "reward", "ImageReward.pt", "posix.system", "not run")
    assert not (place / "was-run").exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_download(place, share):
    path = place / "ImageReward.pt"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(start(place), place / "out" / "reward", "ImageReward.pt", "ownload it again")


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_truncated_safetensors_file(place, original, share):
    path = place / "cut.safetensors"
    save_file(original.state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(
        start(place, checkpoint="cut.safetensors"),
        place / "out" / "reward",
        "cut.safetensors",
        "ownload it again",
    )


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"blip.visual_encoder.blocks.1.attn.qkv.weight": None},
            ["lacks 1 of the", "blip.visual_encoder.blocks.1.attn.qkv.weight"],
        ),
        ({"blip.visual_encoder.pos_embed": None}, ["lacks blip.visual_encoder.pos_embed"]),
        ({"mlp.layers.7.bias": None}, ["lacks 1 of the", "mlp.layers.7.bias"]),
        ({"mlp.layers.4.weight": None}, ["mlp.layers.4"]),
        (
            {"blip.itm_head.weight": torch.ones(2, 4), "blip.temp": torch.ones(1)},
            ["no place for", "blip.itm_head.weight, blip.temp"],
        ),
        ({"mlp.layers.9.weight": torch.ones(1, 1)}, ["mlp.layers.9"]),
        (
            {"blip.text_encoder.encoder.layer.1.output.dense.bias": torch.ones(7)},
            ["blip.text_encoder.encoder.layer.1.output.dense.bias is [7]", "[64] was expected"],
        ),
        ({"blip.visual_encoder.pos_embed": torch.ones(1, 12, 128)}, ["pos_embed has 12 positions"]),
        ({"mlp.layers.7.weight": torch.ones(1, 4, dtype=torch.int8)}, ["mlp.layers.7.weight", "int8"]),
        ({"mlp.layers.7.weight": torch.full((1, 4), float("nan"))}, ["mlp.layers.7.weight", "not finite"]),
        (
            {"blip.visual_encoder.patch_embed.proj.weight": torch.ones(1024, 3, 8, 8)},
            ["2 layers in its vision encoder", "has 24"],
        ),
        (
            {"blip.text_encoder.embeddings.position_embeddings.weight": torch.ones(20, 64)},
            ["reads 20 tokens"],
        ),
    ],
    ids=lambda value: None if isinstance(value, list) else next(iter(value)),
)
def test_keys_that_do_not_fit(place, changes, parts):
    change(place, **changes)
    refused(start(place), place / "out" / "reward", "ImageReward.pt", *parts)


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (["model.diffusion_model.input_blocks.0.0.weight"], "import_checkpoint.py"),
        (["visual.transformer.resblocks.0.ln_1.weight", "token_embedding.weight"], "export_clip_reward.py"),
        (["vision_model.post_layernorm.weight"], "transformers' layout"),
        (["encoder.weight"], "its keys are encoder.weight"),
    ],
)
def test_a_file_of_another_kind(place, keys, what):
    torch.save({key: torch.ones(2) for key in keys}, place / "ImageReward.pt")
    refused(start(place), place / "out" / "reward", "ImageReward.pt is not an ImageReward checkpoint", what)


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("page.pt", b"<!DOCTYPE html><html>", "web page"),
        ("pointer.pt", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        ("ImageReward.zip", b"PK", "unknown extension"),
        ("text.pt", b"not a checkpoint at all", "text.pt"),
    ],
)
def test_what_is_no_checkpoint(place, name, content, part):
    (place / name).write_bytes(content)
    refused(start(place, checkpoint=name), place / "out" / "reward", name, part)


def test_a_path_that_is_not_there(place):
    refused(start(place, checkpoint="other.pt"), place / "out" / "reward", "other.pt does not exist")


def test_a_folder(place):
    refused(start(place, checkpoint="."), place / "out" / "reward", "is a folder")


def test_a_folder_that_is_there_already_is_kept(place):
    out = place / "out" / "reward"
    out.mkdir(parents=True)
    (out / "mine.txt").write_text("mine")
    result = start(place)
    assert result.returncode == 1 and "already there" in result.stderr
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_disk_that_fills_up_half_way(place, share):
    assert start(place).returncode == 0
    size = (place / "out" / "reward" / "model.onnx").stat().st_size
    shutil.rmtree(place / "out")
    arguments = [
        "import_image_reward",
        place / "ImageReward.pt",
        place / "out" / "reward",
        "--vocabulary",
        place / "vocab.txt",
    ]
    result = run_apart(*arguments, largest_file=int(size * share))
    refused(result, place / "out" / "reward", "is full", "was not made")


def test_a_disk_without_enough_room(place, monkeypatch):
    import import_image_reward
    import workspace

    usage = workspace.shutil.disk_usage(place)
    monkeypatch.setattr(workspace.shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(workspace.WorkspaceError, match=r"0\.0 GB free, and .* needed; free some space"):
        import_image_reward.export(
            place / "ImageReward.pt", place / "out" / "reward", vocabulary=place / "vocab.txt"
        )
    assert not (place / "out").exists()


def test_a_graph_that_differs_is_not_kept(place, monkeypatch):
    import graphs
    import import_image_reward

    monkeypatch.setitem(graphs.TOLERANCE, "fp32", -1.0)
    with pytest.raises(RuntimeError, match="differs from PyTorch"):
        import_image_reward.export(
            place / "ImageReward.pt", place / "out" / "reward", vocabulary=place / "vocab.txt"
        )
    assert list((place / "out").iterdir()) == []
