"""The cases of make_scheduler_fixtures.py: one module per scheduler, and `published` with the configs of
well-known models.
"""

from dataclasses import dataclass, field

STEPS = (1, 2, 3, 4, 5, 8, 10, 20, 25, 30, 50)


@dataclass
class Case:
    """One config, with every number of steps."""

    name: str
    config: dict
    steps: tuple = STEPS
    eta: float = 0.0
    # Further options of findery's SchedulerOptions, such as {"imageSequenceLength": 4096}.
    options: dict = field(default_factory=dict)
    # Name in findery, if it is not that of the module.
    scheduler: str | None = None
