"""Euler for flow matching: every option of diffusers' class, one at a time, and the configs of well-known
models.

The pipeline chooses the levels: that of Flux passes linspace(1, 1 / steps, steps), that of Stable Diffusion 3
uses the default of the class. `flowSpacing` selects one; without it, findery's default applies.
"""

import diffusers
import numpy as np

from . import Case
from .published import FLUX_DEV, FLUX_SCHNELL, QWEN_IMAGE, STABLE_DIFFUSION_3, calculate_shift

NAME = "flow-match-euler"
SCHEDULER = diffusers.FlowMatchEulerDiscreteScheduler

FEW = (1, 2, 4, 5, 28)
# Numbers of tokens: of 1024 x 1024 pixels, of 512 x 512, and above the maximum.
LARGE, SMALL, LARGEST = ({"imageSequenceLength": length} for length in (4096, 1024, 6400))


def set_timesteps(scheduler, case, steps):
    is_dynamic = case.config.get("use_dynamic_shifting", False)
    default = "unit" if is_dynamic or case.config.get("shift", 1.0) == 1.0 else "trained"
    mu = calculate_shift(case) if is_dynamic and case.options else None
    if case.options.get("flowSpacing", default) == "unit":
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    else:
        scheduler.set_timesteps(steps, mu=mu)


def cases():
    yield Case("Stable Diffusion 3", STABLE_DIFFUSION_3)
    yield Case("FLUX.1-dev", FLUX_DEV, options=LARGE)
    yield Case("FLUX.1-dev, 512 x 512", FLUX_DEV, FEW, options=SMALL)
    yield Case("FLUX.1-dev, more than the longest", FLUX_DEV, FEW, options=LARGEST)
    yield Case("FLUX.1-schnell", FLUX_SCHNELL, options=LARGE)
    yield Case("Qwen-Image", QWEN_IMAGE, options=LARGE)
    yield Case("defaults", {}, FEW)
    yield Case("no shift, trained levels", {}, options={"flowSpacing": "trained"})
    yield Case(
        "a shift of its own, levels from 1 to 1 / steps", STABLE_DIFFUSION_3, options={"flowSpacing": "unit"}
    )
    yield Case(
        "shifted by the picture's size, trained levels",
        FLUX_DEV,
        FEW,
        options={**SMALL, "flowSpacing": "trained"},
    )
    yield Case("without the picture's size", FLUX_DEV, (4,))
    yield Case("linear shift", {**FLUX_DEV, "time_shift_type": "linear"}, options=SMALL)
    yield Case("shift below 1", {**STABLE_DIFFUSION_3, "shift": 0.7}, FEW)
    yield Case("to a terminal level", {**STABLE_DIFFUSION_3, "shift_terminal": 0.1}, FEW)
    yield Case("another number of timesteps", {**STABLE_DIFFUSION_3, "num_train_timesteps": 700}, FEW)
    for name, config, options in (
        ("Stable Diffusion 3", STABLE_DIFFUSION_3, {}),
        ("FLUX.1-dev", FLUX_DEV, SMALL),
    ):
        yield Case(f"{name}, Karras", {**config, "use_karras_sigmas": True}, FEW, options=options)
        yield Case(f"{name}, exponential", {**config, "use_exponential_sigmas": True}, FEW, options=options)
        yield Case(f"{name}, inverted", {**config, "invert_sigmas": True}, FEW, options=options)
        yield Case(f"{name}, stochastic", {**config, "stochastic_sampling": True}, options=options)
        yield Case(
            f"{name}, stochastic and inverted",
            {**config, "stochastic_sampling": True, "invert_sigmas": True},
            FEW,
            options=options,
        )
    own = {**STABLE_DIFFUSION_3, "sigma_max": 0.9, "sigma_min": 0.02}
    yield Case("Karras, its own range", {**own, "use_karras_sigmas": True}, FEW)
    yield Case("exponential, its own range", {**own, "use_exponential_sigmas": True}, FEW)
    yield Case(
        "two kinds of levels", {**own, "use_karras_sigmas": True, "use_exponential_sigmas": True}, (4,)
    )
