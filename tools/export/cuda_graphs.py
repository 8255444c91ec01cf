"""Graphs for NVIDIA GPUs alone: `model_cuda.onnx` beside a component's `model.onnx`, with the nodes that ONNX Runtime's own optimizer fuses."""

import logging
from pathlib import Path

import onnx
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

NAME = "model_cuda.onnx"
KINDS = {"text_encoder": "clip", "text_encoder_2": "clip", "unet": "unet", "vae_decoder": "vae"}


def write(path: Path, part: str, dtype: str, external: bool) -> Path | None:
    """Writes it beside `path`; None for parts that the optimizer knows nothing of.

    Its nodes (NHWC convolutions, skip and bias fusions) have kernels on CUDA only, so nothing runs it here.
    """
    kind = KINDS.get(part)
    if kind is None:
        return None
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    options = FusionOptions(kind)
    # float16 is what these kernels are for; in float32 cuDNN chooses layouts better itself.
    options.enable_nhwc_conv = dtype == "fp16"
    fused = optimize_model(str(path), model_type=kind, num_heads=0, hidden_size=0, opt_level=0, optimization_options=options, use_gpu=True)
    target = path.with_name(NAME)
    is_beside = external or (path.parent / "model.onnx_data").exists()
    onnx.save(fused.model, str(target), save_as_external_data=is_beside, location=NAME + "_data", size_threshold=1024)
    return target
