"""export_clip_reward.py, on small CLIPs: transformers' folders, and files in OpenAI's and open_clip's layout."""

import json
import math
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy
import onnxruntime
import pytest
import torch
from reward_command import refused, run, run_apart
from reward_models import OriginalClip, QuickGelu, shake
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

TOKENIZER = Path(__file__).resolve().parents[1] / "configs" / "clip-tokenizer"
OPENAI = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(12), "vocab_size": torch.tensor(49408)}
END = 49407


@pytest.fixture(scope="module")
def openai() -> OriginalClip:
    return shake(OriginalClip(QuickGelu()))


@pytest.fixture(scope="module")
def laion() -> OriginalClip:
    """Of the width of ViT-H, whose heads are 80 wide."""
    return shake(OriginalClip(torch.nn.GELU(), 1280, 80))


def start(place: Path, source: str, *options):
    return run("export_clip_reward", place / source, place / "out" / "reward", *options)


def graph(folder: Path, **feeds) -> list[numpy.ndarray]:
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    kinds = {value.name: numpy.float16 if value.type == "tensor(float16)" else None for value in session.get_inputs()}
    feeds = {name: value.numpy().astype(kinds[name] or value.numpy().dtype) for name, value in feeds.items()}
    return [value.astype(numpy.float32) for value in session.run(None, feeds)]


def sample() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(40000, (3, 12))
    ids[:, 0], ids[:, -1] = END - 1, END
    ids[1, 4:] = END
    mask = torch.ones(3, 12, dtype=torch.int64)
    mask[1, 5:] = 0
    return {"pixel_values": torch.randn(3, 3, 32, 32), "input_ids": ids, "attention_mask": mask}


def embeddings_agree(folder: Path, model: OriginalClip, tolerance: float) -> None:
    feeds = sample()
    with torch.no_grad():
        wanted = model(feeds["pixel_values"], feeds["input_ids"])
    for expected, actual in zip(wanted, graph(folder, **feeds)):
        assert expected.std() > 0.1
        assert numpy.abs(expected.numpy() - actual).max() < tolerance * expected.abs().max()


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-4), ("fp16", 3e-2)])
def test_openai_as_the_original(tmp_path, openai, dtype, tolerance):
    torch.save({**openai.state_dict(), **OPENAI}, tmp_path / "ViT.pt")
    result = start(tmp_path, "ViT.pt", "--dtype", dtype)
    assert result.returncode == 0, result.stderr
    assert "activation quick_gelu" in result.stdout
    embeddings_agree(tmp_path / "out" / "reward", openai, tolerance)


class Archived(OriginalClip):
    """With the three numbers that OpenAI's archives have."""

    def __init__(self):
        super().__init__(QuickGelu())
        for name, value in OPENAI.items():
            self.register_buffer(name, value)


@pytest.mark.filterwarnings("ignore")
def test_openais_torchscript_archive(tmp_path, openai):
    model = Archived().half()
    model.load_state_dict({**openai.state_dict(), **OPENAI})
    feeds = sample()
    torch.jit.save(torch.jit.trace(model.float(), (feeds["pixel_values"], feeds["input_ids"])).half(), tmp_path / "ViT-L-14.pt")
    result = start(tmp_path, "ViT-L-14.pt")
    assert result.returncode == 0, result.stderr
    embeddings_agree(tmp_path / "out" / "reward", model.float(), 1e-3)

    path = tmp_path / "ViT-L-14.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    shutil.rmtree(tmp_path / "out")
    refused(start(tmp_path, "ViT-L-14.pt"), tmp_path / "out" / "reward", "ViT-L-14.pt is cut off", "Download it again")


def test_code_in_a_torchscript_archive_is_not_run(tmp_path):
    with zipfile.ZipFile(tmp_path / "ViT.pt", "w") as archive:
        archive.writestr("ViT/constants.pkl", b"")
        archive.writestr("ViT/data.pkl", pickle.dumps(Call(tmp_path / "was-run")))
    refused(start(tmp_path, "ViT.pt"), tmp_path / "out" / "reward", "ViT.pt", "posix.system", "not run")
    assert not (tmp_path / "was-run").exists()


def test_a_checkpoint_of_training_as_hpsv2s(tmp_path, laion):
    state = {f"module.{key}": tensor for key, tensor in laion.state_dict().items()}
    torch.save({"epoch": 1, "name": "HPS", "state_dict": state, "optimizer": {"state": {0: {"step": torch.ones(())}}}}, tmp_path / "HPS.pt")
    result = start(tmp_path, "HPS.pt", "--scale", "1", "--fit", "pad")
    assert result.returncode == 0, result.stderr
    assert "activation gelu (--activation takes another)" in result.stdout
    embeddings_agree(tmp_path / "out" / "reward", laion, 1e-4)
    assert json.loads((tmp_path / "out" / "reward" / "findery.json").read_text())["score"] == {"type": "cosine", "scale": 1.0}
    processor = json.loads((tmp_path / "out" / "reward" / "preprocessor_config.json").read_text())
    assert (processor["size"], processor["crop_size"], processor["crop_rounding"]) == ({"longest_edge": 32}, {"height": 32, "width": 32}, "nearest")


def test_custom_text_towers_and_safetensors(tmp_path, openai):
    visual = ("visual.", "logit_scale")
    state = {key if key.startswith(visual) else f"text.{key}": tensor for key, tensor in openai.state_dict().items()}
    save_file(state, tmp_path / "open_clip.safetensors")
    refused(start(tmp_path, "open_clip.safetensors"), tmp_path / "out" / "reward", "does not tell its activation", "--activation quick_gelu", "LAION")
    assert start(tmp_path, "open_clip.safetensors", "--activation", "quick_gelu").returncode == 0
    embeddings_agree(tmp_path / "out" / "reward", openai, 1e-4)


def test_the_activation_counts(tmp_path, openai):
    torch.save(openai.state_dict(), tmp_path / "ViT.pt")
    assert start(tmp_path, "ViT.pt", "--activation", "gelu").returncode == 0
    with pytest.raises(AssertionError):
        embeddings_agree(tmp_path / "out" / "reward", openai, 1e-4)


def test_what_it_writes_for_a_file(tmp_path, openai):
    torch.save({**openai.state_dict(), **OPENAI}, tmp_path / "ViT.pt")
    result = start(tmp_path, "ViT.pt", "--scale", "learned")
    reward = tmp_path / "out" / "reward"
    assert sorted(path.name for path in reward.iterdir()) == ["findery.json", "merges.txt", "model.onnx", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"]
    assert [path.name for path in reward.parent.iterdir()] == ["reward"]
    card = json.loads((reward / "findery.json").read_text())
    assert card["score"]["scale"] == pytest.approx(math.exp(float(openai.logit_scale)))
    assert (card["kind"], card["reads"]) == ("reward", ["image", "text"])
    tokenizer = CLIPTokenizer.from_pretrained(reward)
    ids = tokenizer("A photo of a cat", padding="max_length", truncation=True).input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368, *[END] * 6]
    processor = json.loads((reward / "preprocessor_config.json").read_text())
    assert (processor["size"], processor["crop_rounding"]) == ({"shortest_edge": 32}, "nearest")
    assert "Needs about" in result.stdout and "largest difference from PyTorch" in result.stdout and "100%" in result.stderr


@pytest.fixture()
def folder(tmp_path) -> Path:
    shape = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2)
    text = dict(shape, max_position_embeddings=12, bos_token_id=END - 1, eos_token_id=END, pad_token_id=END)
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=dict(shape, image_size=32, patch_size=8), projection_dim=16))
    shake(model).save_pretrained(tmp_path / "clip")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(tmp_path / "clip")
    CLIPTokenizer.from_pretrained(TOKENIZER, model_max_length=12).save_pretrained(tmp_path / "clip")
    return tmp_path


def test_a_transformers_folder(folder):
    result = start(folder, "clip")
    assert result.returncode == 0, result.stderr
    feeds = sample()
    with torch.no_grad():
        answer = CLIPModel.from_pretrained(folder / "clip").eval()(**feeds)
    image, text = graph(folder / "out" / "reward", **feeds)
    for expected, actual in ((answer.image_embeds, image), (answer.text_embeds, text)):
        numpy.testing.assert_allclose(expected.numpy(), actual / numpy.linalg.norm(actual, axis=-1, keepdims=True), atol=1e-4)


def head(*sizes: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    layers = [torch.nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]
    return {f"layers.{2 * i}.{name}": value.data for i, layer in enumerate(layers) for name, value in layer.named_parameters()}


def test_an_aesthetic_head(tmp_path, openai):
    torch.save({**openai.state_dict(), **OPENAI}, tmp_path / "ViT.pt")
    state = head(16, 8, 4, 1)
    torch.save(state, tmp_path / "head.pth")
    result = start(tmp_path, "ViT.pt", "--aesthetic", tmp_path / "head.pth")
    assert result.returncode == 0, result.stderr
    reward = tmp_path / "out" / "reward"
    assert sorted(path.name for path in reward.iterdir()) == ["findery.json", "model.onnx", "preprocessor_config.json"]
    pixels = sample()["pixel_values"]
    with torch.no_grad():
        x = torch.nn.functional.normalize(openai.visual(pixels), dim=-1)
        for i in (0, 2, 4):
            x = torch.nn.functional.linear(x, state[f"layers.{i}.weight"], state[f"layers.{i}.bias"])
    numpy.testing.assert_allclose(graph(reward, pixel_values=pixels)[0], x.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("state", "parts"),
    [
        (head(20, 4, 1), ["layers.0.weight is [4, 20]", "CLIP's embedding has 16", "ViT-L/14"]),
        (head(16, 4, 2), ["ends in 2 numbers"]),
        ({**head(16, 4, 1), "layers.2.weight": torch.ones(1, 5)}, ["layers.2.weight is [1, 5]", "the layer before gives 4"]),
        ({**head(16, 4, 1), "norm.weight": torch.ones(4)}, ["no place for: norm.weight"]),
        ({key: value for key, value in head(16, 4, 1).items() if key != "layers.2.bias"}, ["lacks layers.2.bias"]),
        ({**head(16, 1), "layers.0.bias": torch.tensor([float("inf")])}, ["layers.0.bias", "not finite"]),
        ({"model.diffusion_model.a": torch.ones(1)}, ["not the head of an aesthetic predictor", "Stable Diffusion"]),
    ],
    ids=["width", "outputs", "chain", "unknown", "missing", "infinite", "kind"],
)
def test_heads_that_do_not_fit(tmp_path, openai, state, parts):
    torch.save({**openai.state_dict(), **OPENAI}, tmp_path / "ViT.pt")
    torch.save(state, tmp_path / "head.pth")
    refused(start(tmp_path, "ViT.pt", "--aesthetic", tmp_path / "head.pth"), tmp_path / "out" / "reward", "head.pth", *parts)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"visual.transformer.resblocks.1.attn.in_proj_weight": None}, ["lacks 1 of the", "visual.transformer.resblocks.1.attn.in_proj_weight"]),
        ({"visual.ln_pre.weight": None, "visual.ln_pre.bias": None}, ["lacks 2 of the", "visual.ln_pre.bias, visual.ln_pre.weight"]),
        ({"token_embedding.weight": None}, ["lacks token_embedding.weight"]),
        ({"visual.transformer.resblocks.0.ls_1.gamma": torch.ones(64)}, ["no place for: visual.transformer.resblocks.0.ls_1.gamma"]),
        ({"ln_final.weight": torch.ones(5)}, ["ln_final.weight is [5]", "[64] was expected"]),
        ({"visual.transformer.resblocks.0.attn.in_proj_weight": torch.ones(9, 64)}, ["in_proj_weight is [9, 64]"]),
        ({"visual.positional_embedding": torch.ones(13, 128)}, ["visual.positional_embedding has 13 positions"]),
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


class Call:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_pickles_with_code_are_not_run(folder, openai):
    was_run = folder / "was-run"
    torch.save({**openai.state_dict(), **OPENAI, "extra": Call(was_run)}, folder / "ViT.pt")
    refused(run_apart("export_clip_reward", folder / "ViT.pt", folder / "out" / "reward"), folder / "out" / "reward", "ViT.pt", "posix.system", "not run")
    torch.save({**openai.state_dict(), **OPENAI}, folder / "good.pt")
    torch.save({**head(16, 1), "extra": Call(was_run)}, folder / "head.pth")
    refused(start(folder, "good.pt", "--aesthetic", folder / "head.pth"), folder / "out" / "reward", "head.pth", "posix.system", "not run")
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
    refused(start(folder, "none"), out, "none is not there")
    shutil.copytree(folder / "clip", folder / "whole")

    edit_config(folder, model_type="siglip")
    refused(start(folder, "clip"), out, "type siglip")
    (folder / "clip" / "config.json").write_text("{")
    refused(start(folder, "clip"), out, "no readable config.json")
    (folder / "clip" / "config.json").rename(folder / "clip" / "open_clip_config.json")
    refused(start(folder, "clip"), out, "a folder of open_clip; give the checkpoint file")

    for name, parts in (("model.safetensors", ["no weights"]), ("preprocessor_config.json", ["no preprocessor_config.json"]), ("tokenizer.json", ["tokenizer of", "49408"])):
        shutil.rmtree(folder / "clip")
        shutil.copytree(folder / "whole", folder / "clip")
        (folder / "clip" / name).unlink()
        refused(start(folder, "clip"), out, "copy the whole folder", *parts)


def test_folders_with_other_weights(folder):
    path = folder / "clip" / "model.safetensors"
    state = CLIPModel.from_pretrained(folder / "clip").state_dict()
    save_file({key: tensor for key, tensor in state.items() if key != "text_projection.weight"}, path, {"format": "pt"})
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
    result = run_apart("export_clip_reward", tmp_path / "ViT.pt", tmp_path / "out" / "reward", largest_file=int(13_500_000 * share))
    refused(result, tmp_path / "out" / "reward", "is full", "was not made")
