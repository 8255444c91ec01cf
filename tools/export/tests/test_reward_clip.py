"""export_clip_reward.py on small CLIPs: transformers folders, and files of OpenAI and open_clip."""

import json
import math
import shutil

import numpy
import pytest
import torch
from clip_reward import END, OPENAI, embeddings_agree, graph, head, sample, start
from reward_command import refused
from reward_models import OriginalClip, QuickGelu
from safetensors.torch import save_file
from transformers import CLIPModel, CLIPTokenizer


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
    torch.jit.save(
        torch.jit.trace(model.float(), (feeds["pixel_values"], feeds["input_ids"])).half(),
        tmp_path / "ViT-L-14.pt",
    )
    result = start(tmp_path, "ViT-L-14.pt")
    assert result.returncode == 0, result.stderr
    embeddings_agree(tmp_path / "out" / "reward", model.float(), 1e-3)

    path = tmp_path / "ViT-L-14.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    shutil.rmtree(tmp_path / "out")
    refused(
        start(tmp_path, "ViT-L-14.pt"),
        tmp_path / "out" / "reward",
        "ViT-L-14.pt is cut off",
        "Download it again",
    )


def test_a_checkpoint_of_training_as_hpsv2s(tmp_path, laion):
    state = {f"module.{key}": tensor for key, tensor in laion.state_dict().items()}
    torch.save(
        {
            "epoch": 1,
            "name": "HPS",
            "state_dict": state,
            "optimizer": {"state": {0: {"step": torch.ones(())}}},
        },
        tmp_path / "HPS.pt",
    )
    result = start(tmp_path, "HPS.pt", "--scale", "1", "--fit", "pad")
    assert result.returncode == 0, result.stderr
    assert "activation gelu (--activation takes another)" in result.stdout
    embeddings_agree(tmp_path / "out" / "reward", laion, 1e-4)
    assert json.loads((tmp_path / "out" / "reward" / "findery.json").read_text())["score"] == {
        "type": "cosine",
        "scale": 1.0,
    }
    processor = json.loads((tmp_path / "out" / "reward" / "preprocessor_config.json").read_text())
    assert (processor["size"], processor["crop_size"], processor["crop_rounding"]) == (
        {"longest_edge": 32},
        {"height": 32, "width": 32},
        "nearest",
    )


def test_custom_text_towers_and_safetensors(tmp_path, openai):
    visual = ("visual.", "logit_scale")
    state = {
        key if key.startswith(visual) else f"text.{key}": tensor
        for key, tensor in openai.state_dict().items()
    }
    save_file(state, tmp_path / "open_clip.safetensors")
    refused(
        start(tmp_path, "open_clip.safetensors"),
        tmp_path / "out" / "reward",
        "does not determine its activation",
        "--activation quick_gelu",
        "LAION",
    )
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
    assert sorted(path.name for path in reward.iterdir()) == [
        "findery.json",
        "merges.txt",
        "model.onnx",
        "preprocessor_config.json",
        "tokenizer_config.json",
        "vocab.json",
    ]
    assert [path.name for path in reward.parent.iterdir()] == ["reward"]
    card = json.loads((reward / "findery.json").read_text())
    assert card["score"]["scale"] == pytest.approx(math.exp(float(openai.logit_scale)))
    assert (card["kind"], card["reads"]) == ("reward", ["image", "text"])
    tokenizer = CLIPTokenizer.from_pretrained(reward)
    ids = tokenizer("A photo of a cat", padding="max_length", truncation=True).input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368, *[END] * 6]
    processor = json.loads((reward / "preprocessor_config.json").read_text())
    assert (processor["size"], processor["crop_rounding"]) == ({"shortest_edge": 32}, "nearest")
    assert (
        "Needs about" in result.stdout
        and "largest difference from PyTorch" in result.stdout
        and "100%" in result.stderr
    )


def test_a_transformers_folder(folder):
    result = start(folder, "clip")
    assert result.returncode == 0, result.stderr
    feeds = sample()
    with torch.no_grad():
        answer = CLIPModel.from_pretrained(folder / "clip").eval()(**feeds)
    image, text = graph(folder / "out" / "reward", **feeds)
    for expected, actual in ((answer.image_embeds, image), (answer.text_embeds, text)):
        numpy.testing.assert_allclose(
            expected.numpy(), actual / numpy.linalg.norm(actual, axis=-1, keepdims=True), atol=1e-4
        )


def test_an_aesthetic_head(tmp_path, openai):
    torch.save({**openai.state_dict(), **OPENAI}, tmp_path / "ViT.pt")
    state = head(16, 8, 4, 1)
    torch.save(state, tmp_path / "head.pth")
    result = start(tmp_path, "ViT.pt", "--aesthetic", tmp_path / "head.pth")
    assert result.returncode == 0, result.stderr
    reward = tmp_path / "out" / "reward"
    assert sorted(path.name for path in reward.iterdir()) == [
        "findery.json",
        "model.onnx",
        "preprocessor_config.json",
    ]
    pixels = sample()["pixel_values"]
    with torch.no_grad():
        x = torch.nn.functional.normalize(openai.visual(pixels), dim=-1)
        for i in (0, 2, 4):
            x = torch.nn.functional.linear(x, state[f"layers.{i}.weight"], state[f"layers.{i}.bias"])
    numpy.testing.assert_allclose(graph(reward, pixel_values=pixels)[0], x.numpy(), atol=1e-5)
