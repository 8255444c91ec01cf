"""What make_scheduler_fixtures.py runs: one module per scheduler, and `published`, the configs of well-known models."""

from dataclasses import dataclass, field

STEPS = (1, 2, 3, 4, 5, 8, 10, 20, 25, 30, 50)


@dataclass
class Case:
    """One config, at every number of steps."""

    name: str
    config: dict
    steps: tuple = STEPS
    eta: float = 0.0
    # Of findery's SchedulerOptions, such as {"imageSequenceLength": 4096}.
    options: dict = field(default_factory=dict)
    # findery's name, where it is not the module's NAME.
    scheduler: str | None = None
