"""Runs reward bundles of findery (CLIP's tokenizer, square pictures) with onnxruntime."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from transformers import CLIPTokenizer


class Scorer:
    def __init__(self, folder: Path):
        side = json.loads((folder / "preprocessor_config.json").read_text())
        self.mean, self.std = (
            np.array(side["image_mean"], np.float32),
            np.array(side["image_std"], np.float32),
        )
        self.size = (side["crop_size"]["height"], side["crop_size"]["width"])
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        options = onnxruntime.SessionOptions()
        # One thread: idle threads of ONNX Runtime spin and count as processor time.
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)

    def __call__(self, pixels: np.ndarray, prompt: str) -> np.ndarray:
        """Scores [B] float32 of pictures [B, H, W, 3] uint8. H and W must be those of the bundle; nothing is
        resized.
        """
        if pixels.shape[1:3] != self.size:
            raise ValueError(f"pictures of {pixels.shape[1:3]}, where the scorer takes {self.size}")
        tokens = self.tokenizer(
            [prompt] * len(pixels), padding="max_length", truncation=True, return_tensors="np"
        )
        images = ((pixels.astype(np.float32) / 255 - self.mean) / self.std).transpose(0, 3, 1, 2)
        names = {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}
        feed = {
            "pixel_values": np.ascontiguousarray(images),
            **{name: ids.astype(np.int64) for name, ids in names.items()},
        }
        return self.session.run(None, feed)[0]
