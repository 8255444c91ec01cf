"""Policy optimization with KL regularization of a LoRA for one prompt (DPOK, Fan et al. 2023, arXiv
2305.16381, algorithm 1 and section 4.2).

What the paper leaves open follows the authors' code: a value function as baseline, importance ratios clipped
to 1 +- 1e-4, a replay buffer of the latest transitions, log-probabilities averaged over the numbers of a
latent, and as KL term the squared difference of the guided predictions of both networks, to which the KL
divergence of their Gaussians is proportional.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn as nn
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from policy import Policy, Trajectories, log_prob

Reward = Callable[[np.ndarray], np.ndarray]
"""Pixels [B, H, W, 3] uint8 to scores [B]."""


@dataclass(frozen=True)
class Settings:
    samples: int = 6
    """New trajectories an iteration."""
    policy_steps: int = 5
    policy_batch: int = 24
    """Transitions of each policy step: the authors' 12 accumulated batches of 2."""
    value_steps: int = 5
    value_batch: int = 256
    learning_rate: float = 1e-5
    value_learning_rate: float = 1e-4
    reward_weight: float = 100.0
    kl_weight: float = 0.01
    ratio_clip: float = 1e-4
    clip_norm: float = 0.1
    buffer: int = 1000
    """Transitions that are kept."""
    rank: int = 4


class Value(nn.Module):
    """Expected final reward [B] of states [B, 4, h, w] at step numbers [B]."""

    def __init__(self, shape: tuple[int, int, int], steps: int, width: int = 256):
        super().__init__()
        self.step = nn.Embedding(steps, width)
        self.first = nn.Linear(int(np.prod(shape)), width)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, states, steps):
        return self.rest(self.first(states.flatten(1)) + self.step(steps))[:, 0]


class Trainer:
    """Trains a LoRA of `policy.unet` for the prompt of the policy. Its state can be saved and continued with
    identical results.
    """

    def __init__(self, policy: Policy, reward: Reward, settings: Settings, seed: int):
        self.policy, self.reward, self.settings = policy, reward, settings
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        if getattr(policy.unet, "peft_config", None):
            policy.unet.delete_adapters("default")
        policy.unet.add_adapter(
            LoraConfig(
                r=settings.rank, lora_alpha=settings.rank, target_modules=["to_q", "to_k", "to_v", "to_out.0"]
            )
        )
        self.parameters = [parameter for parameter in policy.unet.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, settings.learning_rate, weight_decay=0)
        self.value = Value(policy.shape, len(policy.timesteps))
        self.value_optimizer = torch.optim.AdamW(self.value.parameters(), settings.value_learning_rate)
        self.buffer: dict[str, torch.Tensor] = {}
        self.rewards: list[float] = []
        """Of every image so far."""

    def iterate(self) -> dict[str, float]:
        """Samples trajectories, then improves value function and policy. Returns the means of reward, |ratio
        - 1| and KL term.
        """
        trajectories = self.policy.sample(self.settings.samples, self.generator)
        rewards = self.reward(trajectories.pixels)
        if not np.isfinite(rewards).all():
            raise ValueError(f"the reward is not finite: {rewards}")
        self.rewards += [float(reward) for reward in rewards]
        self._remember(trajectories, torch.from_numpy(rewards).float())
        self._improve_value()
        ratio, kl = np.mean([self._improve_policy() for _ in range(self.settings.policy_steps)], 0)
        return {"reward": float(rewards.mean()), "ratio": float(ratio), "kl": float(kl)}

    def state(self) -> dict:
        return {
            "settings": asdict(self.settings),
            "lora": get_peft_model_state_dict(self.policy.unet),
            "value": self.value.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "value_optimizer": self.value_optimizer.state_dict(),
            "buffer": self.buffer,
            "rewards": self.rewards,
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict) -> None:
        if state["settings"] != asdict(self.settings):
            raise ValueError(
                f"the checkpoint is of other settings: {state['settings']} and not {asdict(self.settings)}"
            )
        set_peft_model_state_dict(self.policy.unet, state["lora"])
        self.value.load_state_dict(state["value"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.value_optimizer.load_state_dict(state["value_optimizer"])
        self.buffer, self.rewards = state["buffer"], list(state["rewards"])
        self.generator.set_state(state["generator"])

    def _remember(self, trajectories: Trajectories, rewards: torch.Tensor) -> None:
        steps, count = trajectories.log_probs.shape
        new = {
            "state": trajectories.states.flatten(0, 1),
            "action": trajectories.actions.flatten(0, 1),
            "log_prob": trajectories.log_probs.flatten(),
            "step": torch.arange(steps).repeat_interleave(count),
            "reward": rewards.repeat(steps),
        }
        kept = {
            name: torch.cat([self.buffer[name], values]) if self.buffer else values
            for name, values in new.items()
        }
        self.buffer = {name: values[-self.settings.buffer :] for name, values in kept.items()}

    def _draw(self, count: int) -> dict[str, torch.Tensor]:
        total = len(self.buffer["reward"])
        rows = torch.randperm(total, generator=self.generator)[: min(count, total)]
        return {name: values[rows] for name, values in self.buffer.items()}

    def _improve_value(self) -> None:
        self.value_optimizer.zero_grad()
        for _ in range(self.settings.value_steps):
            batch = self._draw(self.settings.value_batch)
            loss = nn.functional.mse_loss(self.value(batch["state"], batch["step"]), batch["reward"])
            (loss / self.settings.value_steps).backward()
        self.value_optimizer.step()

    def _improve_policy(self) -> tuple[float, float]:
        """One gradient step. Returns the means of |ratio - 1| and of the KL term."""
        settings, policy = self.settings, self.policy
        batch = self._draw(settings.policy_batch)
        timesteps = policy.timesteps[batch["step"]]
        with torch.no_grad():
            advantage = batch["reward"] - self.value(batch["state"], batch["step"])
            policy.unet.disable_adapters()
            before = policy.predict(batch["state"], timesteps)
            policy.unet.enable_adapters()
        prediction = policy.predict(batch["state"], timesteps)
        now = []
        for row, timestep in enumerate(timesteps.tolist()):
            mean, deviation = policy.action(
                prediction[row : row + 1], batch["state"][row : row + 1], timestep
            )
            now.append(log_prob(batch["action"][row : row + 1], mean, deviation))
        ratio = torch.exp(torch.cat(now) - batch["log_prob"])
        clipped = ratio.clamp(1 - settings.ratio_clip, 1 + settings.ratio_clip)
        kl = ((prediction - before) ** 2).mean()
        loss = -settings.reward_weight * (advantage * clipped).mean() + settings.kl_weight * kl
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, settings.clip_norm)
        self.optimizer.step()
        return float((ratio.detach() - 1).abs().mean()), float(kl.detach())
