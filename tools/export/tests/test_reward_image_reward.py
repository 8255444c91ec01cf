"""import_image_reward.py on small models of ImageReward's architecture with the original keys."""

import json
import re
import shutil
import sys
import types

import numpy
import pytest
import torch
from image_reward_command import TOKENS, change, sample, score, start
from reward_command import refused, run
from reward_models import WORDS
from safetensors.torch import save_file


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
    assert sorted(path.name for path in reward.iterdir()) == [
        "findery.json",
        "model.onnx",
        "preprocessor_config.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    assert sorted(path.name for path in reward.parent.iterdir()) == ["reward"]
    card = {
        "kind": "reward",
        "title": "ImageReward",
        "licence": "Apache-2.0",
        "reads": ["image", "text"],
        "range": [-2.3, 2.3],
    }
    assert json.loads((reward / "findery.json").read_text()) == card
    tokenizer = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": 35,
        "bos_token": "[DEC]",
        "additional_special_tokens": ["[ENC]"],
    }
    assert json.loads((reward / "tokenizer_config.json").read_text()) == tokenizer
    assert json.loads((reward / "preprocessor_config.json").read_text())["crop_size"] == {
        "height": 32,
        "width": 32,
    }
    assert (reward / "vocab.txt").read_text().splitlines() == [*TOKENS, "[DEC]", "[ENC]"]
    assert re.search(r"Needs about [\d.]+ GB of disk .* and [\d.]+ GB of memory", result.stdout)
    assert re.search(r"is ready; largest difference from PyTorch \d\.\de-\d\d\.", result.stdout)
    assert "comparing with PyTorch" in result.stderr and "100%" in result.stderr


def test_float16_and_safetensors_checkpoints(place, original):
    save_file(
        {
            key: tensor.half() if tensor.is_floating_point() else tensor
            for key, tensor in original.state_dict().items()
        },
        place / "half.safetensors",
    )
    assert start(place, checkpoint="half.safetensors").returncode == 0
    inputs = sample()
    with torch.no_grad():
        wanted = original(*inputs).numpy()
    assert numpy.abs(score(place / "out" / "reward", *inputs) - wanted).max() < 5e-2


def test_without_what_no_score_reads(place):
    unread = [
        "blip.vision_proj.weight",
        "blip.vision_proj.bias",
        "blip.text_proj.weight",
        "blip.text_proj.bias",
        "blip.text_encoder.embeddings.position_ids",
    ]
    change(place, **dict.fromkeys(unread))
    assert start(place).returncode == 0


def test_lightning_objects_are_passed_over(place):
    state = torch.load(place / "ImageReward.pt", weights_only=True)
    callbacks = types.ModuleType("pytorch_lightning.callbacks")
    callbacks.Checkpoint = type("Checkpoint", (), {"__module__": callbacks.__name__})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
        patch.setitem(sys.modules, callbacks.__name__, callbacks)
        torch.save(
            {"state_dict": state, "callbacks": {callbacks.Checkpoint: callbacks.Checkpoint()}},
            place / "ImageReward.pt",
        )
    assert start(place).returncode == 0


def test_another_vocabulary(place):
    (place / "vocab.txt").write_text("[CLS]\nword\n")
    refused(start(place), place / "out" / "reward", "vocab.txt has 2 tokens", f"trained with {WORDS}")


def test_the_vocabulary_that_comes_with_it(place):
    result = run("import_image_reward", place / "ImageReward.pt", place / "out" / "reward")
    refused(result, place / "out" / "reward", "vocab.txt has 30522 tokens", f"trained with {WORDS}")


def test_med_config(place):
    path = place / "med_config.json"
    path.write_text(
        json.dumps(
            {"hidden_size": 64, "num_attention_heads": 1, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}
        )
    )
    assert start(place, "--med-config", path).returncode == 0
    shutil.rmtree(place / "out")
    path.write_text(json.dumps({"hidden_size": 768}))
    refused(
        start(place, "--med-config", path), place / "out" / "reward", "hidden_size 768, and the checkpoint 64"
    )
    path.write_text("{")
    refused(start(place, "--med-config", path), place / "out" / "reward", "can't be read as med_config.json")
