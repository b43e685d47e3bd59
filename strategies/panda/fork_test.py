"""Two arms of a fork compared: is the nudge better by more than noise?

With the same examples in the same order in both arms, the losses over fixed parts of the validation
set differ in pairs, and the standard error of the mean difference is small. Without parts the noise is
estimated from the line's own losses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raysearch.strategies.panda import perturb
from raysearch.strategies.rounds import End

if TYPE_CHECKING:
    from raysearch.strategies.panda.settings import Panda

LEAST_REPORTS = 6
CALMING_WITHIN = 10  # moments in which each calming nudge that was accepted makes the next one dearer
CALMING_COST = 1.0


@dataclass(frozen=True, slots=True)
class Gain:
    """By how much the nudge's loss is below the other arm's.

    Attributes:
        mean: positive is better; +-inf where only one arm ended well, NaN where neither did.
        error: its standard error.
    """

    mean: float
    error: float

    def __str__(self) -> str:
        return f"{self.mean:+.3g} +- {self.error:.2g}"


def gain(hold: End, nudge: End, noise: float) -> Gain:
    """What the nudge gained; `noise`: standard deviation of one evaluation, used without parts."""
    if not (hold.is_sound and nudge.is_sound):
        both_bad = not hold.is_sound and not nudge.is_sound
        return Gain(math.nan if both_bad else math.inf if nudge.is_sound else -math.inf, 0.0)
    pairs = list(zip(hold.parts, nudge.parts, strict=False))
    if len(pairs) < 2 or len(hold.parts) != len(nudge.parts):
        return Gain(hold.loss - nudge.loss, math.sqrt(2.0) * noise)
    differences = [a - b for a, b in pairs]
    mean = sum(differences) / len(differences)
    variance = sum((d - mean) ** 2 for d in differences) / (len(differences) - 1)
    return Gain(hold.loss - nudge.loss, math.sqrt(variance / len(differences)))


def breaks(hold: End, nudge: End) -> str:
    """Why a nudge is rejected whatever it gains: it is further beyond limits than the other arm."""
    return f"breaks {nudge.beyond}" if nudge.violation > hold.violation else ""


def standing(end: End | None) -> tuple[float, float]:
    """What members are compared by: how far they are beyond limits, then their loss; the lower the better."""
    if end is None or not end.is_sound:
        return math.inf, math.inf
    return end.violation, end.loss


def needed(found: Gain, progress: float, is_calming: bool, z: float, rho: float) -> float:
    """What a gain must exceed: z SE, and rho times the progress more if the nudge reduces gradient noise.

    Lowering the learning rate nearly always looks good for a while (Wu et al. 2018), so it has to gain
    more than `progress`, what the other arm gained on the fork.
    """
    return z * found.error + (rho * max(0.0, progress) if is_calming else 0.0)


def progress_of(tip: End | None, hold: End, previous: End | None) -> float:
    """What an arm gained since the fork, or would have at the pace of the last two cycles: the greater.

    The gain of one probe is noisy, and where it happens to be small nothing could be raised.

    Args:
        tip: where the fork began; None is a fresh model.
        previous: where the line stood a cycle before.
    """
    if tip is None or not tip.is_sound:
        first = next((loss for loss in hold.losses if math.isfinite(loss)), hold.loss)
        return first - hold.loss if hold.is_sound else 0.0
    mean = 0.0
    if previous is not None and previous.is_sound:
        mean = (previous.loss - hold.loss) / (hold.at - previous.at) * (hold.at - tip.at)
    return max(tip.loss - hold.loss, mean)


class Threshold:
    """What a nudge must gain; accepted nudges that make steps less noisy make the next one dearer."""

    def __init__(self, recipe: Panda, rate: str | None) -> None:
        self._recipe, self._rate = recipe, rate
        self._calmings: list[int] = []  # moments at which a calming nudge was accepted

    def need(self, name: str, direction: int, found: Gain, progress: float, moment: int) -> float:
        """What the gain of such a nudge must exceed; progress is the other arm's since the fork.

        Raising the learning rate may even cost a part of the progress: it pays later.
        """
        if name == self._rate and direction > 0:
            return -self._recipe.lenience * max(0.0, progress)
        is_calming = perturb.lowers_noise(name, direction)
        dearer = 1.0 + CALMING_COST * len(self._recent(moment))
        return needed(found, progress, is_calming, dearer * self._recipe.z, dearer * self._recipe.rho)

    def accepted(self, name: str, direction: int, moment: int) -> None:
        """Notes that such a nudge was accepted."""
        if perturb.lowers_noise(name, direction):
            self._calmings = [*self._recent(moment), moment]

    def _recent(self, moment: int) -> list[int]:
        return [m for m in self._calmings if m > moment - CALMING_WITHIN]


def noise_of(losses: Sequence[float]) -> float:
    """Standard deviation of an evaluation about its neighbours' trend (von Neumann 1941); 0 if unknown."""
    finite = [v for v in losses if math.isfinite(v)]
    if len(finite) < LEAST_REPORTS:
        return 0.0
    bends = [a - 2 * b + c for a, b, c in zip(finite, finite[1:], finite[2:], strict=False)]
    return math.sqrt(sum(b * b for b in bends) / len(bends) / 6.0)
