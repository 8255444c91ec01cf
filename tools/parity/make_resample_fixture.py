"""Records how Pillow resizes pictures and how transformers prepares them, which findery must reproduce.

    python tools/parity/make_resample_fixture.py [FILE]

FILE defaults to test/fixtures/resample.json. All pictures are base64 of uint8 RGB, row by row.
    pictures   name, width, height, pixels
    resized    picture (a name), filter, width, height, pixels: Image.resize
    prepared   picture (a name), config (a preprocessor_config.json), shape [3, height, width], values (base64
               of little-endian float32): CLIPImageProcessorPil, BlipImageProcessorPil; with longest_edge
               ResizeMaxSize of HPSv2
"""

import base64
import json
import sys
from pathlib import Path

import numpy as np
import PIL
import transformers
from PIL import Image
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
# Few sizes suffice for these filters, which share the code of the others.
MORE_FILTERS = {"nearest": Image.Resampling.NEAREST, "lanczos": Image.Resampling.LANCZOS}
PROCESSORS = {"CLIPImageProcessor": CLIPImageProcessorPil, "BlipImageProcessor": BlipImageProcessorPil}
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]


def encode(array, kind):
    return base64.b64encode(np.ascontiguousarray(array, dtype=kind).tobytes()).decode()


def paint():
    """Noise, extremes (whose cubic weights overshoot) and smooth colours, in several proportions."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:20, 0:31]
    return {
        "noise": random.integers(0, 256, (24, 24, 3)),
        "wide noise": random.integers(0, 256, (11, 37, 3)),
        "high noise": random.integers(0, 256, (41, 13, 3)),
        "extremes": random.integers(0, 2, (17, 23, 3)) * 255,
        "smooth": np.stack([x * 8, y * 12, 255 - x * 4 - y * 4], axis=-1),
        "one pixel": np.array([[[3, 128, 252]]]),
        "one row": random.integers(0, 256, (1, 29, 3)),
    }


# Width and height. The last two lie on both sides of the size at which Pillow changes the order of
# its passes for "noise".
SIZES = [(24, 24), (8, 8), (7, 30), (50, 9), (33, 47), (1, 1), (23, 17), (20, 16), (21, 17)]

CONFIGS = [
    {"size": {"shortest_edge": 16}, "crop_size": {"width": 16, "height": 16}, "resample": 3},
    {"size": {"shortest_edge": 15}, "crop_size": {"width": 12, "height": 9}, "resample": 2},
    {"size": {"shortest_edge": 30}, "do_center_crop": False, "resample": 3},
    {"size": {"width": 14, "height": 10}, "do_center_crop": False, "resample": 2},
    {"do_resize": False, "crop_size": {"width": 10, "height": 8}, "resample": 3},
    {"do_resize": False, "crop_size": {"width": 45, "height": 28}, "resample": 3},
    {"do_resize": False, "do_center_crop": False, "do_normalize": False, "resample": 3},
    {"size": {"shortest_edge": 16}, "do_center_crop": False, "do_rescale": False, "resample": 3},
    {"size": 9, "crop_size": 8, "resample": 1},
    {"size": [7, 12], "do_center_crop": False, "resample": 0},
    {"image_processor_type": "BlipImageProcessor", "size": 11, "do_center_crop": False, "resample": 3},
]
LONGEST = [
    {"size": {"longest_edge": side}, "crop_size": side, "crop_rounding": "nearest", "resample": 3}
    for side in (15, 16, 42)
]
DEFAULTS = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True,
    "do_center_crop": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": MEAN,
    "image_std": STD,
    "do_convert_rgb": True,
}


def fit_as_hpsv2(picture, size):
    """ResizeMaxSize, ToTensor and Normalize of hpsv2's open_clip/transform.py, with Pillow and NumPy."""
    scale = size / max(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    square = Image.new("RGB", (size, size))
    square.paste(
        picture.resize((width, height), Image.Resampling.BICUBIC), ((size - width) // 2, (size - height) // 2)
    )
    return ((np.asarray(square).astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)


def main():
    default = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "resample.json"
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    pictures = {name: np.asarray(pixels, dtype=np.uint8) for name, pixels in paint().items()}

    resized = []
    for name, pixels in pictures.items():
        for filter_name, number in {**FILTERS, **MORE_FILTERS}.items():
            for width, height in SIZES if filter_name in FILTERS else SIZES[1:4]:
                result = np.asarray(Image.fromarray(pixels).resize((width, height), number))
                resized.append(
                    {
                        "picture": name,
                        "filter": filter_name,
                        "width": width,
                        "height": height,
                        "pixels": encode(result, "u1"),
                    }
                )

    prepared = []
    for name in ("wide noise", "high noise", "smooth"):
        for changes in CONFIGS:
            config = {**DEFAULTS, **changes}
            processor = PROCESSORS[config["image_processor_type"]](
                **{key: value for key, value in config.items() if key != "image_processor_type"}
            )
            values = np.asarray(
                processor(Image.fromarray(pictures[name]), return_tensors="np").pixel_values[0]
            )
            prepared.append(
                {
                    "picture": name,
                    "config": config,
                    "shape": list(values.shape),
                    "values": encode(values, "<f4"),
                }
            )
        for changes in LONGEST:
            config = {**DEFAULTS, **changes}
            values = fit_as_hpsv2(Image.fromarray(pictures[name]), changes["crop_size"])
            prepared.append(
                {
                    "picture": name,
                    "config": config,
                    "shape": list(values.shape),
                    "values": encode(values, "<f4"),
                }
            )

    fixture = {
        "madeWith": f"Pillow {PIL.__version__}, transformers {transformers.__version__}",
        "pictures": [
            {
                "name": name,
                "width": pixels.shape[1],
                "height": pixels.shape[0],
                "pixels": encode(pixels, "u1"),
            }
            for name, pixels in pictures.items()
        ],
        "resized": resized,
        "prepared": prepared,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
