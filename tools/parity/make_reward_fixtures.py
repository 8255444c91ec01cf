"""Makes tiny random CLIP models as rewards, exported by tools/export, with the scores of transformers.

    python tools/parity/make_reward_fixtures.py

Writes test/fixtures/rewards/{clip,aesthetic} (bundles), eight small PNGs of odd sizes, and scores.json: for
each bundle the scores of every picture and prompt.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "export"))
import export_clip_reward  # noqa: E402
from graph_variants import compact  # noqa: E402

OUT = ROOT / "test" / "fixtures" / "rewards"
PROMPTS = ["a green dog on the grass", "a red book and a yellow vase, " * 6]
# transformers and torchvision crop the pictures of 32x35 and 39x32 differently.
SIZES = [(64, 64), (39, 32), (48, 33), (90, 41), (37, 95), (224, 20), (32, 35), (100, 100)]


def build(folder: Path) -> None:
    torch.manual_seed(0)
    shape = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    text = dict(
        shape,
        vocab_size=717,
        max_position_embeddings=24,
        bos_token_id=715,
        eos_token_id=716,
        pad_token_id=716,
    )
    vision = dict(shape, image_size=32, patch_size=8)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval()
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data.mul_(8)
    model.save_pretrained(folder)
    size = {"shortest_edge": 32}
    CLIPImageProcessor(size=size, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    CLIPTokenizer.from_pretrained(ROOT / "models" / "stickers" / "tokenizer").save_pretrained(folder)


def crop_as_torchvision(picture: Image.Image, size: int) -> Image.Image:
    """Resize(size, BICUBIC) and CenterCrop(size) of torchvision, as OpenAI's CLIP uses them."""
    width, height = picture.size
    short = min(width, height)
    resized = picture.resize(
        (int(size * width / short), int(size * height / short)), Image.Resampling.BICUBIC
    )
    left, top = (round((side - size) / 2) for side in resized.size)
    return resized.crop((left, top, left + size, top + size))


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for bundle in ("clip", "aesthetic"):
        shutil.rmtree(OUT / bundle, ignore_errors=True)
    generator = numpy.random.default_rng(0)
    pictures = []
    for i, (width, height) in enumerate(SIZES):
        coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=numpy.uint8))
        picture = coarse.resize((width, height), Image.Resampling.BICUBIC)
        picture.save(OUT / f"{i}.png")
        pictures.append(picture)
    torch.manual_seed(1)
    layers = [torch.nn.Linear(8, 6), torch.nn.Linear(6, 1)]
    head = {
        f"layers.{2 * i}.{name}": value.data
        for i, layer in enumerate(layers)
        for name, value in layer.named_parameters()
    }
    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        build(source)
        torch.save(head, source / "head.pth")
        for bundle, given in (("clip", None), ("aesthetic", source / "head.pth")):
            print(
                bundle,
                export_clip_reward.export(
                    source, OUT / bundle, 100.0, given, title=f"A random {bundle} reward"
                ),
            )
            compact(OUT / bundle / "model.onnx")
        model = CLIPModel.from_pretrained(source).eval()
        processor = CLIPImageProcessor.from_pretrained(source)
        tokenizer = CLIPTokenizer.from_pretrained(source)
    pixels = processor(pictures, return_tensors="pt")
    words = tokenizer(PROMPTS, padding="max_length", truncation=True, return_tensors="pt")
    with torch.no_grad():
        answer = model(pixel_values=pixels.pixel_values, **words)
        image = answer.image_embeds / answer.image_embeds.norm(dim=-1, keepdim=True)
        text = answer.text_embeds / answer.text_embeds.norm(dim=-1, keepdim=True)
        cosine = 100 * image @ text.T
        squares = processor(
            [crop_as_torchvision(picture, 32) for picture in pictures], return_tensors="pt"
        ).pixel_values
        embeds = model.visual_projection(model.vision_model(squares).pooler_output)
        quality = layers[1](layers[0](embeds / embeds.norm(dim=-1, keepdim=True)))
    scores = {"prompts": PROMPTS, "clip": cosine.T.tolist(), "aesthetic": quality[:, 0].tolist()}
    (OUT / "scores.json").write_text(json.dumps(scores) + "\n")
    print("deviations", cosine.std().item(), quality.std().item())


if __name__ == "__main__":
    main()
