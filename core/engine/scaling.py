"""Dynamic loss scaling for float16: small gradients are lifted over the format's floor and let down again in fp32."""

from dataclasses import dataclass, field

GROWTH_INTERVAL = 1000
INITIAL = 2.0**16


@dataclass(slots=True)
class LossScale:
    """The factor in force. Off (always 1) for every format but float16.

    Source: Mixed Precision Training, arXiv 1710.03740, section 3.2.
    """

    enabled: bool
    factor: float = field(default=INITIAL)
    good_steps: int = 0

    def __post_init__(self) -> None:
        if not self.enabled:
            self.factor = 1.0

    def after_step(self, finite: bool) -> bool:
        """Moves the factor; returns whether a non-finite step is explained by it (an overflow, not a sick run)."""
        if not self.enabled:
            return False
        if finite:
            self.good_steps += 1
            if self.good_steps % GROWTH_INTERVAL == 0:
                self.factor *= 2
            return False
        self.good_steps = 0
        self.factor /= 2
        return self.factor >= 1.0

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"factor": self.factor, "good_steps": self.good_steps}

    def load(self, state: dict[str, float]) -> None:
        """Takes over a saved state."""
        if self.enabled:
            self.factor = float(state["factor"])
            self.good_steps = int(state["good_steps"])
