"""Graphs for NVIDIA GPUs: `model_cuda.onnx` beside `model.onnx`, with nodes that ONNX Runtime's optimizer
fuses.
"""

import logging
from pathlib import Path

import onnx
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

NAME = "model_cuda.onnx"
KINDS = {"text_encoder": "clip", "text_encoder_2": "clip", "unet": "unet", "vae_decoder": "vae"}


def write(path: Path, part: str, dtype: str, external: bool) -> Path | None:
    """Writes the graph beside `path`. Writes nothing for parts that the optimizer does not know.

    Its nodes (NHWC convolutions, skip and bias fusions) have kernels only on CUDA, so nothing runs the graph
    here.
    """
    kind = KINDS.get(part)
    if kind is None:
        return None
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    options = FusionOptions(kind)
    # These kernels are made for float16. In float32, cuDNN chooses better layouts.
    options.enable_nhwc_conv = dtype == "fp16"
    fused = optimize_model(
        str(path),
        model_type=kind,
        num_heads=0,
        hidden_size=0,
        opt_level=0,
        optimization_options=options,
        use_gpu=True,
    )
    target = path.with_name(NAME)
    is_beside = external or (path.parent / "model.onnx_data").exists()
    onnx.save(
        fused.model,
        str(target),
        save_as_external_data=is_beside,
        location=NAME + "_data",
        size_threshold=1024,
    )
    return target
