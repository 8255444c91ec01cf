"""import_image_reward.py, on small models of ImageReward's architecture with the original's keys."""

import json
import os
import re
import shutil
import sys
import types
from pathlib import Path

import numpy
import onnxruntime
import pytest
import torch
from reward_command import refused, run, run_apart
from reward_models import WORDS, OriginalImageReward, shake
from safetensors.torch import save_file

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(WORDS - 5))]


class Call:
    """Unpickled carelessly, it would make a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def original() -> OriginalImageReward:
    return shake(OriginalImageReward())


@pytest.fixture()
def place(tmp_path, original) -> Path:
    torch.save(original.state_dict(), tmp_path / "ImageReward.pt")
    (tmp_path / "vocab.txt").write_text("".join(token + "\n" for token in TOKENS))
    return tmp_path


def start(place: Path, *options, checkpoint: str = "ImageReward.pt"):
    return run("import_image_reward", place / checkpoint, place / "out" / "reward", "--vocabulary", place / "vocab.txt", *options)


def change(place: Path, **changes) -> None:
    """Rewrites the checkpoint: a tensor takes the place of a key's, None removes it."""
    state = torch.load(place / "ImageReward.pt", weights_only=True)
    for key, tensor in changes.items():
        if tensor is None:
            del state[key]
        else:
            state[key] = tensor
    torch.save(state, place / "ImageReward.pt")


def score(folder: Path, pixels, ids, mask) -> numpy.ndarray:
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    kind = numpy.float16 if session.get_inputs()[0].type == "tensor(float16)" else numpy.float32
    feeds = {"pixel_values": pixels.numpy().astype(kind), "input_ids": ids.numpy(), "attention_mask": mask.numpy()}
    return session.run(["reward"], feeds)[0].astype(numpy.float32)


def sample() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.ones(4, 35, dtype=torch.int64)
    mask[0, 5:] = 0
    mask[1, 20:] = 0
    return torch.randn(4, 3, 32, 32), torch.randint(WORDS + 2, (4, 35)), mask


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-4), ("fp16", 5e-2)])
def test_scores_as_the_original(place, original, dtype, tolerance):
    result = start(place, "--dtype", dtype)
    assert result.returncode == 0, result.stderr
    inputs = sample()
    with torch.no_grad():
        wanted = original(*inputs).numpy()
    assert wanted.std() > 0.1
    assert numpy.abs(score(place / "out" / "reward", *inputs) - wanted).max() < tolerance


def test_what_it_writes_and_says(place):
    result = start(place)
    reward = place / "out" / "reward"
    assert sorted(path.name for path in reward.iterdir()) == ["findery.json", "model.onnx", "preprocessor_config.json", "tokenizer_config.json", "vocab.txt"]
    assert sorted(path.name for path in reward.parent.iterdir()) == ["reward"]
    card = {"kind": "reward", "title": "ImageReward", "licence": "Apache-2.0", "reads": ["image", "text"], "range": [-2.3, 2.3]}
    assert json.loads((reward / "findery.json").read_text()) == card
    tokenizer = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 35, "bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]}
    assert json.loads((reward / "tokenizer_config.json").read_text()) == tokenizer
    assert json.loads((reward / "preprocessor_config.json").read_text())["crop_size"] == {"height": 32, "width": 32}
    assert (reward / "vocab.txt").read_text().splitlines() == [*TOKENS, "[DEC]", "[ENC]"]
    assert re.search(r"Needs about [\d.]+ GB of disk .* and [\d.]+ GB of memory", result.stdout)
    assert re.search(r"is ready; largest difference from PyTorch \d\.\de-\d\d\.", result.stdout)
    assert "comparing with PyTorch" in result.stderr and "100%" in result.stderr


def test_float16_and_safetensors_checkpoints(place, original):
    save_file({key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in original.state_dict().items()}, place / "half.safetensors")
    assert start(place, checkpoint="half.safetensors").returncode == 0
    inputs = sample()
    with torch.no_grad():
        wanted = original(*inputs).numpy()
    assert numpy.abs(score(place / "out" / "reward", *inputs) - wanted).max() < 5e-2


def test_without_what_no_score_reads(place):
    unread = ["blip.vision_proj.weight", "blip.vision_proj.bias", "blip.text_proj.weight", "blip.text_proj.bias", "blip.text_encoder.embeddings.position_ids"]
    change(place, **dict.fromkeys(unread))
    assert start(place).returncode == 0


def test_lightning_objects_are_passed_over(place):
    state = torch.load(place / "ImageReward.pt", weights_only=True)
    callbacks = types.ModuleType("pytorch_lightning.callbacks")
    callbacks.Checkpoint = type("Checkpoint", (), {"__module__": callbacks.__name__})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
        patch.setitem(sys.modules, callbacks.__name__, callbacks)
        torch.save({"state_dict": state, "callbacks": {callbacks.Checkpoint: callbacks.Checkpoint()}}, place / "ImageReward.pt")
    assert start(place).returncode == 0


def test_a_pickle_with_code_is_not_run(place):
    state = torch.load(place / "ImageReward.pt", weights_only=True)
    torch.save({**state, "extra": Call(place / "was-run")}, place / "ImageReward.pt")
    result = run_apart("import_image_reward", place / "ImageReward.pt", place / "out" / "reward", "--vocabulary", place / "vocab.txt")
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
    refused(start(place, checkpoint="cut.safetensors"), place / "out" / "reward", "cut.safetensors", "ownload it again")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"blip.visual_encoder.blocks.1.attn.qkv.weight": None}, ["lacks 1 of the", "blip.visual_encoder.blocks.1.attn.qkv.weight"]),
        ({"blip.visual_encoder.pos_embed": None}, ["lacks blip.visual_encoder.pos_embed"]),
        ({"mlp.layers.7.bias": None}, ["lacks 1 of the", "mlp.layers.7.bias"]),
        ({"mlp.layers.4.weight": None}, ["mlp.layers.4"]),
        ({"blip.itm_head.weight": torch.ones(2, 4), "blip.temp": torch.ones(1)}, ["no place for", "blip.itm_head.weight, blip.temp"]),
        ({"mlp.layers.9.weight": torch.ones(1, 1)}, ["mlp.layers.9"]),
        ({"blip.text_encoder.encoder.layer.1.output.dense.bias": torch.ones(7)}, ["blip.text_encoder.encoder.layer.1.output.dense.bias is [7]", "[64] was expected"]),
        ({"blip.visual_encoder.pos_embed": torch.ones(1, 12, 128)}, ["pos_embed has 12 positions"]),
        ({"mlp.layers.7.weight": torch.ones(1, 4, dtype=torch.int8)}, ["mlp.layers.7.weight", "int8"]),
        ({"mlp.layers.7.weight": torch.full((1, 4), float("nan"))}, ["mlp.layers.7.weight", "not finite"]),
        ({"blip.visual_encoder.patch_embed.proj.weight": torch.ones(1024, 3, 8, 8)}, ["2 layers in its vision encoder", "has 24"]),
        ({"blip.text_encoder.embeddings.position_embeddings.weight": torch.ones(20, 64)}, ["reads 20 tokens"]),
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
    refused(start(place, checkpoint="other.pt"), place / "out" / "reward", "other.pt is not there")


def test_a_folder(place):
    refused(start(place, checkpoint="."), place / "out" / "reward", "is a folder")


def test_a_folder_that_is_there_already_is_kept(place):
    out = place / "out" / "reward"
    out.mkdir(parents=True)
    (out / "mine.txt").write_text("mine")
    result = start(place)
    assert result.returncode == 1 and "already there" in result.stderr
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_another_vocabulary(place):
    (place / "vocab.txt").write_text("[CLS]\nword\n")
    refused(start(place), place / "out" / "reward", "vocab.txt has 2 tokens", f"trained with {WORDS}")


def test_the_vocabulary_that_comes_with_it(place):
    result = run("import_image_reward", place / "ImageReward.pt", place / "out" / "reward")
    refused(result, place / "out" / "reward", "vocab.txt has 30522 tokens", f"trained with {WORDS}")


def test_med_config(place):
    path = place / "med_config.json"
    path.write_text(json.dumps({"hidden_size": 64, "num_attention_heads": 1, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}))
    assert start(place, "--med-config", path).returncode == 0
    shutil.rmtree(place / "out")
    path.write_text(json.dumps({"hidden_size": 768}))
    refused(start(place, "--med-config", path), place / "out" / "reward", "hidden_size 768, and the checkpoint 64")
    path.write_text("{")
    refused(start(place, "--med-config", path), place / "out" / "reward", "can't be read as med_config.json")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_disk_that_fills_up_half_way(place, share):
    assert start(place).returncode == 0
    size = (place / "out" / "reward" / "model.onnx").stat().st_size
    shutil.rmtree(place / "out")
    arguments = ["import_image_reward", place / "ImageReward.pt", place / "out" / "reward", "--vocabulary", place / "vocab.txt"]
    result = run_apart(*arguments, largest_file=int(size * share))
    refused(result, place / "out" / "reward", "is full", "was not made")


def test_a_disk_without_enough_room(place, monkeypatch):
    import import_image_reward
    import workspace

    usage = workspace.shutil.disk_usage(place)
    monkeypatch.setattr(workspace.shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(workspace.WorkspaceError, match=r"0\.0 GB free, and .* needed; free some space"):
        import_image_reward.export(place / "ImageReward.pt", place / "out" / "reward", vocabulary=place / "vocab.txt")
    assert not (place / "out").exists()


def test_a_graph_that_differs_is_not_kept(place, monkeypatch):
    import graphs
    import import_image_reward

    monkeypatch.setitem(graphs.TOLERANCE, "fp32", -1.0)
    with pytest.raises(RuntimeError, match="differs from PyTorch"):
        import_image_reward.export(place / "ImageReward.pt", place / "out" / "reward", vocabulary=place / "vocab.txt")
    assert list((place / "out").iterdir()) == []
