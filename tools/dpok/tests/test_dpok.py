"""Tests with a tiny pipeline of random weights. Run: python -m pytest tools/dpok/tests"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from policy import Policy, log_prob
from trainer import Settings, Trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("pipeline")
    letters = [chr(code) for code in range(97, 123)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (out / "tokenizer").mkdir()
    (out / "tokenizer/vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (out / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(
        str(out / "tokenizer/vocab.json"), str(out / "tokenizer/merges.txt"), model_max_length=16
    ).save_pretrained(out / "tokenizer")
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=16,
        )
    ).save_pretrained(out / "text_encoder")
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 16),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).save_pretrained(out / "unet")
    AutoencoderKL(block_out_channels=(8,), norm_num_groups=4).save_pretrained(out / "vae")
    DDIMScheduler(
        beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
    ).save_pretrained(out / "scheduler")
    return out


@pytest.fixture
def policy(folder) -> Policy:
    policy = Policy(folder, steps=4, guidance_scale=2.0)
    policy.set_prompt("a dog")
    return policy


def brightness(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32).mean((1, 2, 3)) / 10


def test_log_prob_is_the_mean_of_a_normal_density():
    action, mean = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    density = torch.distributions.Normal(mean, 0.3).log_prob(action).mean((1, 2, 3))
    torch.testing.assert_close(log_prob(action, mean, 0.3), density)


def test_actions_are_those_of_ddim_with_eta_1(policy):
    latents, prediction = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    noise = torch.randn(2, 4, 8, 8)
    for timestep in policy.timesteps.tolist():
        mean, deviation = policy.action(prediction, latents, timestep)
        theirs = policy.scheduler.step(
            prediction, timestep, latents, eta=1.0, variance_noise=noise
        ).prev_sample
        torch.testing.assert_close(mean + deviation * noise, theirs)


def test_before_any_update_the_policy_is_the_frozen_one(policy):
    trainer = Trainer(policy, brightness, Settings(policy_steps=1, learning_rate=0.0), seed=3)
    report = trainer.iterate()
    assert report["ratio"] < 1e-5
    assert report["kl"] < 1e-10


def test_it_climbs_a_reward(policy):
    settings = Settings(
        samples=24,
        policy_steps=2,
        policy_batch=96,
        learning_rate=1e-2,
        value_learning_rate=1e-2,
        ratio_clip=0.2,
        kl_weight=0.0,
        buffer=96,
    )
    trainer = Trainer(policy, lambda pixels: (brightness(pixels) - 10.7) * 4, settings, seed=1)
    for _ in range(20):
        trainer.iterate()
    first, last = np.mean(trainer.rewards[:48]), np.mean(trainer.rewards[-48:])
    assert last - first > 2 * np.std(trainer.rewards[:48]) / np.sqrt(48)


def test_a_heavy_kl_term_holds_it_back(policy):
    def distance(kl_weight: float) -> float:
        settings = Settings(
            samples=4,
            policy_steps=4,
            policy_batch=16,
            learning_rate=2e-2,
            ratio_clip=0.2,
            kl_weight=kl_weight,
        )
        trainer = Trainer(policy, brightness, settings, seed=2)
        return [trainer.iterate()["kl"] for _ in range(8)][-1]

    assert distance(1e6) < distance(0.0)


def test_a_restored_trainer_goes_on_to_the_same_numbers(folder, tmp_path):
    def fresh() -> Trainer:
        policy = Policy(folder, steps=4, guidance_scale=2.0)
        policy.set_prompt("a dog")
        return Trainer(
            policy,
            brightness,
            Settings(samples=2, policy_steps=2, policy_batch=4, learning_rate=1e-3),
            seed=5,
        )

    whole = fresh()
    for _ in range(3):
        whole.iterate()
    torch.save(whole.state(), tmp_path / "state.pt")
    for _ in range(2):
        whole.iterate()
    parted = fresh()
    parted.restore(torch.load(tmp_path / "state.pt"))
    for _ in range(2):
        parted.iterate()
    assert parted.rewards == whole.rewards
    for name, values in whole.state()["lora"].items():
        torch.testing.assert_close(parted.state()["lora"][name], values)


def test_a_checkpoint_of_other_settings_is_refused(policy):
    trainer = Trainer(policy, brightness, Settings(samples=2, policy_batch=4), seed=1)
    state = trainer.state()
    with pytest.raises(ValueError, match="other settings"):
        Trainer(policy, brightness, Settings(samples=3, policy_batch=4), seed=1).restore(state)


def test_a_reward_that_is_not_finite_is_refused(policy):
    with pytest.raises(ValueError, match="not finite"):
        Trainer(policy, lambda pixels: np.full(len(pixels), np.nan), Settings(samples=2), seed=1).iterate()
