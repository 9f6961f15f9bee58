"""The model card: what the hub shows, and what a person who finds the folder needs to know."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

# input_kind_ -> task on the hub, what the rows are called, and what stands for them in the example.
_TASKS = {
    "table": ("tabular-classification", "table rows", "table"),
    "image": ("image-classification", "images", "images"),
    "text_pair": ("text-classification", "pairs of texts", "pairs"),
}
_TEXTS = ("text-classification", "texts", '["a text", "another one"]')


@dataclass(frozen=True)
class CardFacts:
    """What a model card tells."""

    class_name: str
    module: str  # where the class is imported from
    input_kind: str
    backbone: str  # its name; empty where it has none
    hub_backbone: str  # its name on the hub; empty where it is not known to be there
    n_members: int
    classes: Sequence[Any]
    sizes: Mapping[str, int]  # rows by purpose, such as {"training": 2000}
    class_counts: Sequence[int] = ()  # training rows of each class; empty if not known
    parameters: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)  # of parameters that a rule chose
    facts: str = ""  # what the rules looked at
    history: Mapping[str, float] = field(default_factory=dict)  # means in the last epoch
    metrics: Mapping[str, float] = field(default_factory=dict)  # measured by the user
    n_trained: int = 0  # parameters of all members
    n_total: int = 0  # parameters of the backbone
    versions: Mapping[str, str] = field(default_factory=dict)
    calibration: str = ""  # how the probabilities were calibrated; empty if they were not


def model_card(facts: CardFacts) -> str:
    """Markdown with the YAML header that the Hugging Face hub reads."""
    task, inputs, example = _TASKS.get(facts.input_kind, _TEXTS)
    return _template().render(vars(facts), task=task, inputs=inputs, example=example)


def check_metrics(metrics: Mapping[str, Any] | None) -> dict[str, float]:
    """The user's metrics, which must map names to finite numbers."""
    if metrics is not None and not isinstance(metrics, Mapping):
        raise ValueError(f"'metrics' must map names to numbers. Got {type(metrics).__name__}.")
    checked = {}
    for name, value in (metrics or {}).items():
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not isinstance(name, str) or not math.isfinite(number):
            raise ValueError(
                f"'metrics' must map names to finite numbers. Got {name!r}: {value!r}."
            )
        checked[name] = number
    return checked


@cache
def _template() -> Any:
    import jinja2  # only here: whoever saves nothing needs none

    # Markdown, so no HTML escapes: every word that a user chose goes through one of our filters.
    environment = jinja2.Environment(  # nosec B701
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    # A JSON string is a YAML string, whatever it holds: nothing can break out of its place.
    environment.filters |= {"yaml": json.dumps, "text": _text, "code": _code}
    return environment.from_string(
        Path(__file__).with_name("model_card.md.jinja").read_text(encoding="utf-8")
    )


def _text(value: Any) -> str:
    """Plain words in Markdown: on one line, with nothing that means something there."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", _one_line(value))


def _code(value: Any) -> str:
    """Markdown code on one line, also inside a table."""
    flat = _one_line(value).replace("`", "'").replace("|", "\\|")
    return f"`{flat}`" if flat.strip() else "`' '`"


def _one_line(value: Any) -> str:
    return re.sub(r"\s+", " ", str(value))[:200]
