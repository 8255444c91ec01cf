"""Tiny random pipelines of every family, exported by tools/export, with the pictures that diffusers makes of them.

    python tools/parity/make_family_fixtures.py [FAMILY ...]

Writes test/fixtures/families/NAME (a bundle), NAME-fp16, and NAME.json:

    {"shape": [C, h, w], "latents": base64 of float32 [2, C, h, w] by size, "cases": [
        {"call": diffusers' parameters, "scheduler": class name or null (the pipeline's own), "size": [width, height],
         "stepNoises": base64 of float32 [steps, 2, C, h, w] or null, "picture": base64 of uint8 [2, height, width, 3]}]}

Latents are N(0, 1) noise, not yet scaled by the scheduler. Each case runs both draws in one batch.
"""

import base64
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import diffusers
import numpy
import onnx
import sentencepiece
import torch
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers import T5Config, T5EncoderModel

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "export"))
import bundle as bundles  # noqa: E402
import sources  # noqa: E402

OUT = ROOT / "test" / "fixtures" / "families"
PROMPT = "a green dog on the grass"
NEGATIVE = "a red book and a yellow vase"
SD15 = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
SIDE = 8  # latents
SCALE = 8  # pixels a latent


def clip(width: int, projects: bool = False, act: str = "quick_gelu", seed: int = 0):
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=717,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=4,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=715,
        eos_token_id=716,
        pad_token_id=716,
        hidden_act=act,
    )
    model = (CLIPTextModelWithProjection if projects else CLIPTextModel)(config).eval()
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            weight.data.mul_(4)
    if not hasattr(model, "text_model"):
        # diffusers 0.42 looks for the final norm where transformers 4 had it.
        object.__setattr__(model, "text_model", model)
    return model


def clip_tokenizer(pad: str | None = None):
    with tempfile.TemporaryDirectory() as folder:
        for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
            shutil.copy(ROOT / "models" / "stickers" / "tokenizer" / name, folder)
        return CLIPTokenizer.from_pretrained(folder, **({"pad_token": pad} if pad else {}))


def t5(width: int):
    torch.manual_seed(5)
    config = T5Config(
        vocab_size=120, d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu"
    )
    return T5EncoderModel(config).eval()


def t5_tokenizer():
    """A SentencePiece model of the kind that T5 has, trained on sentences of this file's own making."""
    colours = ["green", "red", "yellow", "blue", "brown", "white"]
    things = ["dog", "cat", "book", "vase", "bird", "boat"]
    sentences = [f"a {c} {t} on the grass and two {k} {t}s" for c in colours for t in things for k in colours]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "text").write_text("\n".join(sentences))
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "text"),
            model_prefix=str(folder / "spiece"),
            vocab_size=60,
            hard_vocab_limit=False,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            # T5's own rule (nmt_nfkc) is a table of 240 KB; the tokenizers' fixture has it.
            normalization_rule_name="identity",
            minloglevel=2,
        )
        config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": 512}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        return AutoTokenizer.from_pretrained(name)


def unet(width: int, **options):
    torch.manual_seed(2)
    model = diffusers.UNet2DConditionModel(
        sample_size=SIDE,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        norm_num_groups=4,
        attention_head_dim=4,
        **options,
    ).eval()
    # Random weights hardly listen to the prompt; a wrong one has to show in the picture.
    for name, weight in model.named_parameters():
        if "attn2.to_out" in name or "attn2.to_v" in name or "add_embedding" in name or "cond_proj" in name:
            weight.data.mul_(2.5)
    return model


def vae(channels: int = 4, **options):
    torch.manual_seed(1)
    return diffusers.AutoencoderKL(
        block_out_channels=[4, 4, 8, 8],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=channels,
        norm_num_groups=4,
        **options,
    ).eval()


def stable_diffusion(scheduler, cross: dict | None = None, cls=diffusers.StableDiffusionPipeline, pad=None, act="quick_gelu"):
    parts = dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    return cls(
        vae=vae(),
        text_encoder=clip(16, act=act),
        tokenizer=clip_tokenizer(pad),
        unet=unet(16, **(cross or {})),
        scheduler=scheduler,
        **parts,
    )


def sdxl(scheduler, **options):
    cross = dict(
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 24,
        use_linear_projection=True,
        transformer_layers_per_block=(1, 2),
    )
    return diffusers.StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=clip(16),
        text_encoder_2=clip(24, projects=True, act="gelu", seed=7),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer("a</w>"),
        unet=unet(16 + 24, **cross),
        scheduler=scheduler,
        **options,
    )


def sd3():
    torch.manual_seed(3)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=SIDE,
        patch_size=2,
        in_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=64,
        caption_projection_dim=32,
        pooled_projection_dim=16 + 24,
        out_channels=16,
        pos_embed_max_size=16,
    ).eval()
    enlarge(transformer)
    return diffusers.StableDiffusion3Pipeline(
        vae=vae(16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip(16, projects=True),
        text_encoder_2=clip(24, projects=True, act="gelu", seed=7),
        text_encoder_3=t5(64),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        tokenizer_3=t5_tokenizer(),
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def flux(guidance: bool):
    torch.manual_seed(4)
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        guidance_embeds=guidance,
        axes_dims_rope=(4, 6, 6),
    ).eval()
    enlarge(transformer)
    dynamic = dict(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, shift=3.0) if guidance else dict(shift=1.0)
    return diffusers.FluxPipeline(
        vae=vae(16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip(16),
        text_encoder_2=t5(32),
        tokenizer=clip_tokenizer(),
        tokenizer_2=t5_tokenizer(),
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(base_image_seq_len=256, max_image_seq_len=4096, **dynamic),
    )


def enlarge(transformer) -> None:
    """As with the UNet: prompt, pooled vector and guidance have to show."""
    for name, weight in transformer.named_parameters():
        if "context_embedder" in name or "text_embedder" in name or "guidance_embedder" in name:
            weight.data.mul_(2.5)


EULER = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading")
TURBO = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="trailing")
V = dict(prompt=PROMPT, num_inference_steps=3)
GUIDED = dict(**V, negative_prompt=NEGATIVE, guidance_scale=5.0)

# name: (pipeline, cases of (call, scheduler's class or None, (width, height)), has a float16 twin)
FAMILIES = {
    "sd15": (
        lambda: stable_diffusion(
            diffusers.PNDMScheduler(**SD15, skip_prk_steps=True, set_alpha_to_one=False)
        ),
        [
            (GUIDED, None, (64, 64)),
            (dict(V, guidance_scale=5.0), None, (64, 64)),
            (dict(V, guidance_scale=1.0), None, (64, 64)),
            (dict(GUIDED, clip_skip=1), None, (64, 64)),
            (dict(GUIDED, clip_skip=2), "DDIMScheduler", (64, 64)),
            (dict(GUIDED, num_inference_steps=4, guidance_scale=2.0), "DDIMScheduler", (96, 48)),
            (GUIDED, "EulerDiscreteScheduler", (64, 64)),
            (dict(GUIDED, num_inference_steps=5), "UniPCMultistepScheduler", (64, 64)),
        ],
        True,
    ),
    "sd21-v": (
        lambda: stable_diffusion(
            diffusers.DDIMScheduler(**SD15, clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction"),
            pad="a</w>",
            act="gelu",
        ),
        [(GUIDED, None, (64, 64)), (GUIDED, "DPMSolverMultistepScheduler", (48, 64))],
        False,
    ),
    "lcm": (
        lambda: stable_diffusion(
            diffusers.LCMScheduler(**{**SD15, "steps_offset": 0}, clip_sample=False),
            dict(time_cond_proj_dim=16),
            cls=diffusers.LatentConsistencyModelPipeline,
        ),
        [(dict(V, num_inference_steps=4, guidance_scale=8.5), None, (64, 64)), (dict(V, num_inference_steps=1, guidance_scale=2.0), None, (64, 64))],
        True,
    ),
    "sd-turbo": (
        lambda: stable_diffusion(diffusers.EulerDiscreteScheduler(**TURBO), pad="a</w>", act="gelu"),
        [(dict(prompt=PROMPT, num_inference_steps=1, guidance_scale=0.0), None, (64, 64))],
        False,
    ),
    "sdxl": (
        lambda: sdxl(diffusers.EulerDiscreteScheduler(**EULER)),
        [
            (GUIDED, None, (64, 64)),
            (dict(V, guidance_scale=5.0), None, (64, 64)),
            (dict(GUIDED, clip_skip=1), None, (64, 64)),
            (GUIDED, "DPMSolverMultistepScheduler", (96, 48)),
        ],
        True,
    ),
    "sdxl-turbo": (
        lambda: sdxl(diffusers.EulerAncestralDiscreteScheduler(**TURBO)),
        [
            (dict(prompt=PROMPT, num_inference_steps=1, guidance_scale=0.0), None, (64, 64)),
            (dict(prompt=PROMPT, num_inference_steps=4, guidance_scale=0.0), None, (64, 64)),
        ],
        False,
    ),
    "sd3": (sd3, [(GUIDED, None, (64, 64)), (dict(GUIDED, clip_skip=1), None, (64, 64)), (GUIDED, None, (96, 48))], True),
    "flux": (
        lambda: flux(True),
        [(dict(V, guidance_scale=3.5), None, (64, 64)), (dict(V, guidance_scale=8.0), None, (96, 48))],
        True,
    ),
    "flux-schnell": (lambda: flux(False), [(dict(prompt=PROMPT, num_inference_steps=4, guidance_scale=0.0), None, (64, 64))], False),
}


def encode(array) -> str:
    return base64.b64encode(numpy.ascontiguousarray(array).tobytes()).decode()


def paint(pipeline, call: dict, scheduler: str | None, size: tuple[int, int], channels: int):
    """Both draws' pictures, and the noises that the scheduler drew."""
    width, height = size
    shape = (2, channels, height // SCALE, width // SCALE)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    steps = call["num_inference_steps"]
    noises = torch.randn((steps, *shape), generator=torch.Generator().manual_seed(8))
    own = pipeline.scheduler
    if scheduler:
        pipeline.scheduler = getattr(diffusers, scheduler).from_config(own.config)
    module = sys.modules[type(pipeline.scheduler).__module__]
    drawn = []

    def randn_tensor(_shape, **_):
        drawn.append(pipeline.scheduler.step_index)
        return noises[pipeline.scheduler.step_index]

    if hasattr(module, "randn_tensor"):
        original, module.randn_tensor = module.randn_tensor, randn_tensor
    given = {**call, "prompt": [call["prompt"]] * 2}
    if "negative_prompt" in call:
        given["negative_prompt"] = [call["negative_prompt"]] * 2
    packed = latents
    if isinstance(pipeline, diffusers.FluxPipeline):
        packed = pipeline._pack_latents(latents, 2, channels, shape[2], shape[3])
    images = pipeline(**given, latents=packed.clone(), width=width, height=height, output_type="np").images
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = original
    pipeline.scheduler = own
    pictures = (images * 255).round().astype(numpy.uint8)
    return pictures, latents, noises if drawn else None


def make(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_in(Path(folder) / "pipeline", name)


def make_in(source: Path, name: str) -> None:
    build, cases, has_half = FAMILIES[name]
    pipeline = build()
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(source)
    # As users have it: a config that was read says every key, and another scheduler made from it takes them all.
    pipeline.scheduler = type(pipeline.scheduler).from_pretrained(source / "scheduler")
    channels = pipeline.vae.config.latent_channels
    written = []
    first = None
    for call, scheduler, size in cases:
        pictures, latents, noises = paint(pipeline, call, scheduler, size, channels)
        unlike = "" if first is None or first.shape != pictures.shape else (
            f", differs from the first case by {numpy.abs(first.astype(int) - pictures).max()}"
        )
        first = pictures if first is None else first
        print(f"{name}: {scheduler or 'own scheduler'} {size}: deviation {pictures.std():.0f}{unlike}")
        written.append(
            dict(
                call=call,
                scheduler=scheduler,
                size=size,
                latents=encode(latents.numpy()),
                stepNoises=None if noises is None else encode(noises.numpy()),
                picture=encode(pictures),
            )
        )
    tokens = {
        key: getattr(pipeline, key)(PROMPT).input_ids
        for key in ("tokenizer", "tokenizer_2", "tokenizer_3")
        if getattr(pipeline, key, None)
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(dict(channels=channels, tokens=tokens, cases=written)) + "\n")
    for dtype, target in (("fp32", OUT / name), ("fp16", OUT / f"{name}-fp16")):
        shutil.rmtree(target, ignore_errors=True)
        if dtype == "fp32" or has_half:
            bundles.export(sources.open_source(source), target, bundles.Options(dtype))
            for path in target.glob("*/model.onnx"):
                compact(path)
            drop_twins(target)
    if name == "sd15":
        make_variants(OUT / name)


def compact(path: Path) -> None:
    """Short names inside: half of a tiny graph is what the tracer calls things."""
    model = onnx.load(str(path))
    graph = model.graph
    kept = {value.name for value in [*graph.input, *graph.output]} | {""}
    short = {}

    def rename(name: str) -> str:
        return name if name in kept else short.setdefault(name, f"v{len(short)}")

    for i, node in enumerate(graph.node):
        node.name = f"n{i}"
        node.ClearField("doc_string")
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = rename(tensor.name)
    del graph.value_info[:]
    onnx.save(model, str(path))


def drop_twins(target: Path) -> None:
    """Graphs that are an earlier bundle's, byte for byte, are left out; the test puts them back by `twins.json`."""
    twins = {}
    for path in sorted(target.glob("*/model.onnx")):
        for other in sorted(OUT.glob("*/*/model.onnx")):
            if other.parent.parent != target and other.read_bytes() == path.read_bytes():
                twins[str(path.relative_to(target))] = str(other.relative_to(OUT))
                path.unlink()
                break
    if twins:
        (target / "twins.json").write_text(json.dumps(twins, indent=2) + "\n")


def make_variants(source: Path) -> None:
    """Graphs as other exporters write them: a scalar integer timestep, a fixed batch, weights beside the graph; and a hungry one."""
    target = OUT / "sd15-variants"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    graph = onnx.load(str(source / "unet" / "model.onnx"))
    timestep = next(value for value in graph.graph.input if value.name == "timestep")
    scalar_timestep(graph.graph, timestep)
    onnx.save(graph, str(target / "unet-int64-timestep.onnx"))
    graph = onnx.load(str(source / "vae_decoder" / "model.onnx"))
    onnx.save(
        graph,
        str(target / "model.onnx"),
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=64,
    )
    (target / "model.onnx").rename(target / "vae_decoder-external.onnx")
    for name in ("vae_decoder", "unet"):
        graph = onnx.load(str(source / name / "model.onnx"))
        for value in [*graph.graph.input, *graph.graph.output]:
            dim = value.type.tensor_type.shape.dim[0]
            dim.ClearField("dim_param")
            dim.dim_value = 1
        onnx.save(graph, str(target / f"{name}-batch1.onnx"))
    graph = onnx.load(str(source / "vae_decoder" / "model.onnx"))
    large_map(graph.graph)
    onnx.save(graph, str(target / "vae_decoder-large.onnx"))


def large_map(graph) -> None:
    """
    An intermediate result of 128 MiB for each picture, in one piece: its maximum is each picture's own, and their difference, 0, is
    added to the picture. Large enough that what else a process needs beside it does not matter.
    """
    helper = onnx.helper
    [output] = [value.name for value in graph.output]
    for node in graph.node:
        node.output[:] = ["picture" if name == output else name for name in node.output]
    graph.initializer.append(helper.make_tensor("map_shape", onnx.TensorProto.INT64, [4], [1, 1, 8192, 4096]))
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["picture"], ["brightest"], axes=[1, 2, 3]),
            helper.make_node("Expand", ["brightest", "map_shape"], ["map"]),
            helper.make_node("ReduceMax", ["map"], ["of_map"], axes=[1, 2, 3]),
            helper.make_node("Sub", ["of_map", "brightest"], ["nothing"]),
            helper.make_node("Add", ["picture", "nothing"], [output]),
        ]
    )


def scalar_timestep(graph, value) -> None:
    """timestep: int64 [] as optimum makes it, cast and expanded to the [B] that the rest of the graph reads."""
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == "timestep":
                node.input[i] = "timestep_rows"
    value.type.tensor_type.elem_type = onnx.TensorProto.INT64
    value.type.tensor_type.shape.ClearField("dim")
    helper = onnx.helper
    nodes = [
        helper.make_node("Cast", ["timestep"], ["timestep_float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Shape", ["sample"], ["timestep_batch"], start=0, end=1),
        helper.make_node("Expand", ["timestep_float", "timestep_batch"], ["timestep_rows"]),
    ]
    for node in reversed(nodes):
        graph.node.insert(0, node)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for family in sys.argv[1:] or FAMILIES:
        make(family)
