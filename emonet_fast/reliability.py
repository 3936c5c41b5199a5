"""How far experts agree on each emotion: what a score can be worth at most, to be said beside every score.

The figures are in `reliability.json` with their source. Extra dimensions and heads outside the taxonomy have none.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

from . import taxonomy
from .errors import OptionError
from .text import shorten_end

# Explains `marked`. ASCII, for every terminal.
LEGEND = "(~ experts agree somewhat on this emotion, ? they do not agree)"
_MARKS = {"agree": "", "somewhat": "~", "not": "?"}
# Krippendorff's alpha from which experts count as agreeing, and as agreeing somewhat.
AGREE, SOMEWHAT = 0.30, 0.10


class Agreement(StrEnum):
    """How far experts agree on an emotion, by AGREE and SOMEWHAT."""

    AGREE = "agree"
    SOMEWHAT = "somewhat"
    NOT = "not"

    @property
    def text(self) -> str:
        """For people: "experts agree on this"."""
        return {"agree": "experts agree", "somewhat": "experts agree somewhat", "not": "experts do not agree"}[
            self
        ] + " on this"


@dataclass(frozen=True, slots=True)
class Reliability:
    """What the experts' ratings of EmoNet-Face HQ say of one emotion.

    Args:
        alpha: Krippendorff's alpha of the experts, interval level: 1 is agreement, 0 is chance.
        human_kappa: mean quadratic weighted kappa of two experts.
        large_spearman: Spearman correlation of the Large model with the experts' median.
        small_spearman: the same of the Small model; None where it is unknown.
    """

    alpha: float
    human_kappa: float
    large_spearman: float
    small_spearman: float | None

    @property
    def agreement(self) -> Agreement:
        """In one word."""
        if self.alpha >= AGREE:
            return Agreement.AGREE
        return Agreement.SOMEWHAT if self.alpha >= SOMEWHAT else Agreement.NOT

    @property
    def text(self) -> str:
        """For people, with the figures."""
        return (
            f"{self.agreement.text}: alpha {self.alpha:.2f}, kappa {self.human_kappa:.2f}, "
            f"Large model's Spearman {self.large_spearman:.2f}"
        )


@cache
def _facts() -> dict[str, Any]:
    text = resources.files("emonet_fast").joinpath("reliability.json").read_text("utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts


@cache
def reliability() -> dict[str, Reliability]:
    """The figures of the 40 emotions by slug, in the guide's order."""
    return {slug: Reliability(*values) for slug, values in _facts()["emotions"].items()}


def marked(slug: str) -> str:
    """An emotion's name, with a mark where experts do not agree on it; see LEGEND."""
    known = reliability().get(slug)
    return taxonomy.find(slug).name + ("" if known is None else _MARKS[known.agreement])


def shortened(name: str, width: int) -> str:
    """A name of `marked` in at most `width` columns of a terminal; the mark stays."""
    mark = name[-1] if name[-1] in "~?" else ""
    return shorten_end(name.removesuffix(mark), width - len(mark)) + mark


def record() -> str:
    """The figures and their source as one line of JSON, which every table carries in its metadata."""
    return json.dumps(_facts(), ensure_ascii=False)


def reliable(slugs: tuple[str, ...], least: float | None) -> tuple[str, ...]:
    """Those of the emotions whose alpha is at least `least`, in their order; None leaves none out.

    Raises OptionError where no emotion is left.
    """
    if least is None:
        return slugs
    known = reliability()
    kept = tuple(slug for slug in slugs if slug in known and known[slug].alpha >= least)
    if slugs and not kept:
        best = max((known[s].alpha for s in slugs if s in known), default=float("nan"))
        raise OptionError(f"min_reliability is {least:g}, and the experts' alpha is {best:.2f} at most; expected less")
    return kept
