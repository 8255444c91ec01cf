"""Compares the import of ImageReward's checkpoint with the package `image-reward`: full size, random weights,
50 pictures of odd sizes.

    OLD/bin/python tools/parity/check_image_reward.py WORK --importer .venv/bin/python
        [--vocabulary vocab.txt] [--dtype fp32]

Runs in an environment with the package and libraries of its time (transformers 4.36.2, tokenizers 0.15.2,
timm 0.6.13, fairscale 0.4.13). The package writes its checkpoint in its key layout and scores the pictures.
Then tools/export/import_image_reward.py imports that file with the Python of --importer, and
tools/parity/check-image-reward.ts scores the pictures with findery's preprocessing and ONNX Runtime. Writes 4
GB to WORK. Exits with 1 when a score differs by 1e-3 or more (fp16: 5e-2). Only the transforms of torchvision
are imported, because its compiled part depends on the build of torch.
"""

import argparse
import importlib.machinery
import importlib.util
import json
import random
import resource
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
EXPORT = ROOT / "tools" / "export"
TOLERANCE = {"fp32": "1e-3", "fp16": "5e-2"}

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
    """The ImageReward class of the package, without the modules that its __init__ imports besides (CLIP,
    hubs).
    """

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
        coarse = generator.integers(
            0, 256, (chance.randrange(2, 9), chance.randrange(2, 9), 3), dtype=numpy.uint8
        )
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        noise = generator.integers(-40, 41, (height, width, 3)) if i % 2 else 0
        pictures.append(
            Image.fromarray(numpy.clip(numpy.asarray(smooth).astype(int) + noise, 0, 255).astype(numpy.uint8))
        )
    return pictures


def random_model(ImageReward, med_config: Path):
    """The model of the package with random weights, scaled so that scores depend on picture and prompt."""
    torch.manual_seed(0)
    model = ImageReward(str(med_config)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and ("visual_encoder" in name or "crossattention" in name):
                weight.mul_(1.6)
            elif weight.dim() == 1:
                # Biases and norms are 0 and 1 initially, which would hide a mix-up of two of them.
                weight.add_(0.1 * torch.randn_like(weight))
        for layer in model.mlp.layers:
            if isinstance(layer, torch.nn.Linear):
                torch.nn.init.xavier_normal_(layer.weight)
    return model


def score_by_package(work: Path, vocabulary: Path) -> None:
    """Writes ImageReward.pt, the pictures, and cases.json with the scores of the package."""
    (work / "med_config.json").write_text(json.dumps(MED_CONFIG))
    ImageReward, restore = import_image_reward(vocabulary)
    model = random_model(ImageReward, work / "med_config.json")
    restore()
    print(f"{sum(weight.numel() for weight in model.parameters()) / 1e6:.0f} million parameters")
    torch.save(model.state_dict(), work / "ImageReward.pt")
    cases = []
    with torch.no_grad():
        for i, picture in enumerate(random_pictures(50)):
            path = work / f"{i}.png"
            picture.save(path)
            prompt = PROMPTS[i % len(PROMPTS)]
            cases.append({"picture": path.name, "prompt": prompt, "score": model.score(prompt, str(path))})
    scores = numpy.array([case["score"] for case in cases])
    print(f"scores from {scores.min():.3f} to {scores.max():.3f}, deviation {scores.std():.3f}")
    (work / "cases.json").write_text(json.dumps(cases))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument(
        "--importer", type=Path, required=True, help="a Python with tools/export/requirements.txt"
    )
    parser.add_argument(
        "--vocabulary", type=Path, default=EXPORT / "configs" / "bert-base-uncased" / "vocab.txt"
    )
    parser.add_argument("--dtype", choices=["fp32", "fp16"], default="fp32")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    score_by_package(args.work, args.vocabulary)

    bundle = args.work / "image-reward"
    shutil.rmtree(bundle, ignore_errors=True)
    command = [
        args.importer,
        EXPORT / "import_image_reward.py",
        args.work / "ImageReward.pt",
        bundle,
        "--dtype",
        args.dtype,
    ]
    subprocess.run([str(part) for part in command], check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"the import had at most {peak:.2f} GiB resident")
    script = ROOT / "tools" / "parity" / "check-image-reward.ts"
    node = [
        "node",
        "--disable-warning=ExperimentalWarning",
        str(script),
        str(args.work),
        TOLERANCE[args.dtype],
    ]
    sys.exit(subprocess.run(node).returncode)


if __name__ == "__main__":
    main()
