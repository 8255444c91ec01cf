"""Holds our ImageReward against the `image-reward` package: its architecture at full size with random weights, 50 pictures of odd sizes.

    python tools/parity/check_image_reward.py VOCAB.TXT WORK

Writes a bundle, pictures and the package's own scores to WORK (2 GB), then has tools/parity/check-image-reward.ts score them through our
preprocessing and ONNX Runtime. Ends with 1 when a score differs by 1e-3 or more. The package needs transformers 4.36.2, tokenizers 0.15.2, timm 0.6.13
and fairscale 0.4.13; of torchvision only its transforms are loaded, since its compiled part has to fit the build of torch.
"""

import importlib.machinery
import importlib.util
import json
import random
import subprocess
import sys
import types
from pathlib import Path

import numpy
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "export"))

MED_CONFIG = {
    "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "add_type_embeddings": False,
    "vocab_size": 30524,
    "encoder_width": 768,
    "add_cross_attention": True,
}
PROMPTS = [
    "a painting of an ocean with clouds and birds, day time, low depth field effect",
    "a green dog on the grass",
    "",
    "草地上的一只绿色的狗, café, ΠΡΆΣΙΝΟΣ ΣΚΎΛΟΣ 🐶",
    "one two three four five six seven eight nine ten " * 6,
    "a [ENC] dog, [DEC] (weighted:1.2) [MASK]",
]


def import_image_reward(vocabulary: Path):
    """The package's ImageReward class, without what its __init__ loads besides (CLIP, hubs)."""

    def package(name: str, folder: Path) -> None:
        module = types.ModuleType(name)
        module.__path__ = [str(folder)]
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        sys.modules[name] = module

    def folder_of(name: str) -> Path:
        return Path(importlib.util.find_spec(name).submodule_search_locations[0])

    torchvision, image_reward = folder_of("torchvision"), folder_of("ImageReward")
    package("torchvision", torchvision)
    extension = types.ModuleType("torchvision.extension")
    extension._has_ops = lambda: False
    extension._assert_has_ops = extension._load_library = lambda *_: None
    sys.modules["torchvision.extension"] = extension
    package("ImageReward", image_reward)
    package("ImageReward.models", image_reward / "models")

    from transformers import BertTokenizer

    original = BertTokenizer.from_pretrained
    BertTokenizer.from_pretrained = lambda *_, **__: BertTokenizer(str(vocabulary), do_lower_case=True)
    from ImageReward.ImageReward import ImageReward

    return ImageReward, lambda: setattr(BertTokenizer, "from_pretrained", original)


def random_pictures(count: int) -> list[Image.Image]:
    """Shapes and noise of odd sizes, landscape and portrait, smaller and larger than 224."""
    chance = random.Random(0)
    generator = numpy.random.default_rng(0)
    pictures = []
    for i in range(count):
        width, height = chance.randrange(65, 700), chance.randrange(65, 700)
        coarse = generator.integers(0, 256, (chance.randrange(2, 9), chance.randrange(2, 9), 3), dtype=numpy.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        noise = generator.integers(-40, 41, (height, width, 3)) if i % 2 else 0
        pictures.append(Image.fromarray(numpy.clip(numpy.asarray(smooth).astype(int) + noise, 0, 255).astype(numpy.uint8)))
    return pictures


def main() -> None:
    vocabulary, work = Path(sys.argv[1]), Path(sys.argv[2])
    work.mkdir(parents=True, exist_ok=True)
    (work / "med_config.json").write_text(json.dumps(MED_CONFIG))
    ImageReward, restore = import_image_reward(vocabulary)
    torch.manual_seed(0)
    model = ImageReward(str(work / "med_config.json")).eval()
    restore()
    with torch.no_grad():
        # Random weights hardly tell pictures apart; a score has to answer for picture and prompt.
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and ("visual_encoder" in name or "crossattention" in name):
                weight.mul_(1.6)
        for layer in model.mlp.layers:
            if isinstance(layer, torch.nn.Linear):
                torch.nn.init.xavier_normal_(layer.weight)
    print(f"{sum(weight.numel() for weight in model.parameters()) / 1e6:.0f} million parameters")
    pictures = random_pictures(50)
    cases = []
    with torch.no_grad():
        for i, picture in enumerate(pictures):
            path = work / f"{i}.png"
            picture.save(path)
            prompt = PROMPTS[i % len(PROMPTS)]
            cases.append({"picture": path.name, "prompt": prompt, "score": model.score(prompt, str(path))})
    scores = numpy.array([case["score"] for case in cases])
    print(f"scores from {scores.min():.3f} to {scores.max():.3f}, deviation {scores.std():.3f}")
    (work / "cases.json").write_text(json.dumps(cases))

    import export_image_reward

    tokens = vocabulary.read_text(encoding="utf8").splitlines()
    difference = export_image_reward.write_bundle(model, tokens, work / "image-reward")
    print(f"graph against PyTorch: largest relative difference {difference:.1e}")
    del model
    script = ROOT / "tools" / "parity" / "check-image-reward.ts"
    sys.exit(subprocess.run(["node", "--disable-warning=ExperimentalWarning", str(script), str(work)]).returncode)


if __name__ == "__main__":
    main()
