"""Tiny pipelines of every family with random weights, which depend only on the seeds below."""

import json
import shutil
import tempfile
from pathlib import Path

import diffusers
import sentencepiece
import torch
from transformers import (
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
)

ROOT = Path(__file__).resolve().parents[2]
SIDE = 8  # width and height of the latents


def clip(width: int, projects: bool = False, act: str = "quick_gelu", seed: int = 0):
    """A CLIP text encoder of the given width."""
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
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data.mul_(4)
    if not hasattr(model, "text_model"):
        # diffusers 0.42 expects the final norm where transformers 4 had it.
        object.__setattr__(model, "text_model", model)
    return model


def clip_tokenizer(pad: str | None = None):
    """The embedded model's tokenizer, with another padding token if given."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
            shutil.copy(ROOT / "models" / "stickers" / "tokenizer" / name, folder)
        return CLIPTokenizer.from_pretrained(folder, **({"pad_token": pad} if pad else {}))


def t5(width: int):
    """A T5 encoder of the given width."""
    torch.manual_seed(5)
    config = T5Config(
        vocab_size=120,
        d_model=width,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config).eval()


def t5_tokenizer():
    """A SentencePiece tokenizer as T5 has, trained on generated sentences."""
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
            # T5's rule (nmt_nfkc) is a table of 240 KB; the fixture of the tokenizers covers it.
            normalization_rule_name="identity",
            minloglevel=2,
        )
        config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": 512}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        return AutoTokenizer.from_pretrained(name)


def unet(width: int, **options):
    """A UNet whose cross-attention reads embeddings of the given width."""
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
    # With random weights the prompt has little effect. Enlarged ones make a wrong prompt visible.
    for name, weight in model.named_parameters():
        if "attn2.to_out" in name or "attn2.to_v" in name or "add_embedding" in name or "cond_proj" in name:
            weight.data.mul_(2.5)
    return model


def vae(channels: int = 4, **options):
    """An autoencoder with latents of `channels` channels and 8 pixels a latent."""
    torch.manual_seed(1)
    return diffusers.AutoencoderKL(
        block_out_channels=[4, 4, 8, 8],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=channels,
        norm_num_groups=4,
        **options,
    ).eval()


def stable_diffusion(
    scheduler, cross: dict | None = None, cls=diffusers.StableDiffusionPipeline, pad=None, act="quick_gelu"
):
    """A Stable Diffusion 1.x or 2.x pipeline, or another class with the same components."""
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
    """A Stable Diffusion XL pipeline."""
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
    """A Stable Diffusion 3 pipeline."""
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
        vae=vae(
            16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False
        ),
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
    """A FLUX.1 pipeline: dev with guidance, schnell without."""
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
    dynamic = (
        dict(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, shift=3.0)
        if guidance
        else dict(shift=1.0)
    )
    return diffusers.FluxPipeline(
        vae=vae(
            16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False
        ),
        text_encoder=clip(16),
        text_encoder_2=t5(32),
        tokenizer=clip_tokenizer(),
        tokenizer_2=t5_tokenizer(),
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(
            base_image_seq_len=256, max_image_seq_len=4096, **dynamic
        ),
    )


def enlarge(transformer) -> None:
    """Enlarges weights as in the UNet, so that prompt, pooled vector and guidance are visible."""
    for name, weight in transformer.named_parameters():
        if "context_embedder" in name or "text_embedder" in name or "guidance_embedder" in name:
            weight.data.mul_(2.5)
