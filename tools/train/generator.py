"""The parts of the image model, small: CLIP tokenizer and text encoder, UNet, autoencoder, noise schedule, in
Stable Diffusion 1's layout.
"""

import json
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from scenes import caption, draw_scene
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

LENGTH, WIDTH = 24, 192
"""Tokens of a caption, and numbers of each."""
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def make_tokenizer(folder: Path, captions: int = 20_000, seed: int = 5) -> CLIPTokenizer:
    """Byte-level BPE with `</w>`, learned from captions and stored in vocab.json and merges.txt as for CLIP.
    An existing one is used.
    """
    if not (folder / "merges.txt").exists():
        tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        split = pre_tokenizers.Split(Regex(WORDS), "removed", invert=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [split, pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        rng = np.random.default_rng(seed)
        trainer = trainers.BpeTrainer(
            vocab_size=1100, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
        )
        tokenizer.train_from_iterator((caption(draw_scene(rng)) for _ in range(captions)), trainer)
        merges = [
            merge if isinstance(merge, str) else " ".join(merge)
            for merge in json.loads(tokenizer.to_str())["model"]["merges"]
        ]
        tokens = [
            *letters,
            *(letter + "</w>" for letter in letters),
            *(merge.replace(" ", "") for merge in merges),
            "<|startoftext|>",
            "<|endoftext|>",
        ]
        folder.mkdir(parents=True, exist_ok=True)
        numbered = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
        (folder / "vocab.json").write_text(json.dumps(numbered, ensure_ascii=False))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
        special = {
            "bos_token": "<|startoftext|>",
            **{f"{kind}_token": "<|endoftext|>" for kind in ("eos", "unk", "pad")},
        }
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, **special})
        )
    return CLIPTokenizer.from_pretrained(folder)


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )


def make_autoencoder() -> AutoencoderKL:
    """64x64 RGB to latents [4, 16, 16]."""
    return AutoencoderKL(
        latent_channels=4,
        sample_size=64,
        block_out_channels=(16, 32, 96),
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )


def make_unet() -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    )
    # On a CPU, plain matrix products train much faster than the backward pass of the fused kernel.
    unet.set_attn_processor(AttnProcessor())
    return unet


def make_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )
