"""Records the results of diffusers' schedulers for model outputs given by a formula, for
test/numerics/schedulers/schedulers.test.ts.

    python tools/parity/make_scheduler_fixtures.py [NAME ...]

A module of tools/parity/scheduler_grids, NAME.py (default: all of them), defines
    NAME       name of the scheduler in findery
    SCHEDULER  its class in diffusers
    cases()    yields Case, see scheduler_grids/__init__.py
    set_timesteps(scheduler, case, steps)  optional: if a pipeline does more than
                                           scheduler.set_timesteps(steps)
and test/fixtures/schedulers/NAME.json becomes
    shape      shape of the latents: [noises, numbers of one noise]
    cases      name, scheduler, config (as in scheduler_config.json), eta, options (further ones of findery),
               runs:
        steps, stochastic (the scheduler used noise), initNoiseSigma, and in base64 of little-endian
        float32: timesteps, latents (after every step), inputScales (scaled model input / latents; missing if
        all are 1)
        or: steps, refused (the error of diffusers)

With x the scaled model input at step s, and number() below:
    first latents  number(0, 0, i) * initNoiseSigma
    model output   0.75 * number(1, s, i) + 0.25 * x[i], so that the scale of the input matters
    noise          number(2, s, i), whether or not earlier steps used noise
"""

import base64
import importlib
import inspect
import json
import pkgutil
import sys
from pathlib import Path
from unittest import mock

import diffusers
import numpy as np
import scheduler_grids
import torch

SHAPE = (2, 4)  # two noises: thresholding must treat them separately
FIXTURES = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "schedulers"


def number(stream, step, i):
    """A number in [-2, 2), exact in float32. Squares modulo a prime vary enough."""
    x = (stream * 20011 + step * 7129 + i * 911 + 1) % 65521
    return ((x * x % 65521) * 48271 % 65521 - 32760) / 16384


def row(stream, step):
    """Reshapes to [noises, channels, height, width] as diffusers needs, with one number for each latent."""
    draws, length = SHAPE
    values = [number(stream, step, i) for i in range(draws * length)]
    return torch.tensor(values, dtype=torch.float32).reshape(draws, 1, 1, length)


def pack(values):
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode()


class StepNoise:
    """Replaces randn_tensor and randn_like. Returns the noise of the current step."""

    def __init__(self):
        self.step = 0
        self.drawn = False

    def __call__(self, *_args, **_kwargs):
        self.drawn = True
        return row(2, self.step)


def run(grid, case, steps):
    scheduler = grid.SCHEDULER.from_config(case.config)
    if hasattr(grid, "set_timesteps"):
        grid.set_timesteps(scheduler, case, steps)
    else:
        scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        # Otherwise diffusers skips a step and exceeds the end if the first timestep occurs twice.
        scheduler.set_begin_index(0)
    extra = {"eta": case.eta} if "eta" in inspect.signature(scheduler.step).parameters else {}
    noise = StepNoise()
    sigma = float(getattr(scheduler, "init_noise_sigma", 1))
    latents = row(0, 0) * sigma
    trajectory, scales = [], []
    module = sys.modules[grid.SCHEDULER.__module__]
    with (
        mock.patch.object(module, "randn_tensor", noise, create=True),
        mock.patch.object(torch, "randn_like", noise),
    ):
        for step, timestep in enumerate(scheduler.timesteps):
            noise.step = step
            scaled = (
                scheduler.scale_model_input(latents, timestep)
                if hasattr(scheduler, "scale_model_input")
                else latents
            )
            largest = latents.abs().argmax()
            scale = float(scaled.flatten()[largest]) / float(latents.flatten()[largest])
            assert torch.allclose(scaled, latents * scale, rtol=1e-6), (
                "the scaled input is not a multiple of the latents"
            )
            output = 0.75 * row(1, step) + 0.25 * scaled
            latents = scheduler.step(output, timestep, latents, **extra).prev_sample
            if not latents.isfinite().all():
                raise ValueError("the latents are not finite")
            scales.append(scale)
            trajectory.append(latents.flatten().numpy())
    recorded = {
        "steps": steps,
        "stochastic": noise.drawn,
        "initNoiseSigma": float(f"{sigma:.9g}"),
        "timesteps": pack(scheduler.timesteps),
        "latents": pack(trajectory),
    }
    return recorded if all(scale == 1 for scale in scales) else {**recorded, "inputScales": pack(scales)}


def record(grid):
    for case in grid.cases():
        runs = []
        for steps in case.steps:
            try:
                runs.append(run(grid, case, steps))
            except (IndexError, NotImplementedError, RuntimeError, ValueError) as error:
                message = str(error).splitlines()[0]
                print(f"  {case.name}, {steps} steps: refused, {message}")
                runs.append({"steps": steps, "refused": message})
        yield {
            "name": case.name,
            "scheduler": case.scheduler or grid.NAME,
            "config": case.config,
            "eta": case.eta,
            "options": case.options,
            "runs": runs,
        }


def main():
    diffusers.utils.logging.set_verbosity_error()
    FIXTURES.mkdir(parents=True, exist_ok=True)
    names = [
        module.name for module in pkgutil.iter_modules(scheduler_grids.__path__) if module.name != "published"
    ]
    for name in sys.argv[1:] or names:
        grid = importlib.import_module(f"scheduler_grids.{name}")
        made_with = f"diffusers {diffusers.__version__}, torch {torch.__version__.split('+')[0]}"
        # One line for each case, so that diffs show the changed cases.
        cases = ",\n".join(json.dumps(case, separators=(",", ":")) for case in record(grid))
        path = FIXTURES / f"{name.replace('_', '-')}.json"
        path.write_text(f'{{"madeWith":"{made_with}","shape":{list(SHAPE)},"cases":[\n{cases}\n]}}\n')
        print(f"{path.relative_to(FIXTURES.parents[2])}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
