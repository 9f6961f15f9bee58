"""The model card: what the hub shows, and what a person who finds the folder needs to know."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CardFacts", "model_card"]

_PIPELINE = {
    "text": "text-classification",
    "text_column": "text-classification",
    "text_pair": "text-classification",
    "table": "tabular-classification",
    "image": "image-classification",
}
_MOST_CLASSES = 20


@dataclass(frozen=True)
class CardFacts:
    """What a model card tells.

    Attributes
    ----------
    class_name, module : str
        Class that loads the folder, and where it is imported from.
    input_kind : str
        As ``input_kind_``.
    backbone : str
        Name of the backbone; empty where it has none.
    hub_backbone : str
        Its name on the hub; empty where it is not known to be there.
    n_members : int
    classes : sequence
        Labels, in the order of the columns of ``predict_proba``.
    sizes : mapping of str to int
        Rows by purpose, such as ``{"training": 2000}``.
    class_counts : sequence of int
        Training rows of each class, in the order of `classes`; empty if not known.
    parameters : mapping of str to str
        What was set, as text.
    history : mapping of str to float
        Means over the members in the last epoch.
    metrics : mapping of str to float
        Measured by the user.
    n_trained, n_total : int
        Trained parameters of all members, and parameters of the backbone.
    versions : mapping of str to str
    calibration : str
        How the probabilities were calibrated; empty if they were not.
    """

    class_name: str
    module: str
    input_kind: str
    backbone: str
    hub_backbone: str
    n_members: int
    classes: Sequence[Any]
    sizes: Mapping[str, int]
    class_counts: Sequence[int] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    history: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    n_trained: int = 0
    n_total: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    calibration: str = ""


def model_card(facts: CardFacts) -> str:
    r"""Write the model card.

    Parameters
    ----------
    facts : CardFacts

    Returns
    -------
    str
        Markdown with the YAML header that the Hugging Face hub reads.

    Examples
    --------
    >>> from sksve.persistence import CardFacts, model_card
    >>> facts = CardFacts("SVEClassifier", "sksve", "text", "all-MiniLM-L6-v2",
    ...     "sentence-transformers/all-MiniLM-L6-v2", 5, ["neg", "pos"], {"training": 2000})
    >>> print("\n".join(model_card(facts).splitlines()[:5]))
    ---
    library_name: "sksve"
    tags:
    - "sksve"
    - "scikit-learn"
    """
    sections = [_header(facts), _summary(facts), _use(facts), _data(facts), _measured(facts)]
    sections += [_uncertainty(facts), _limits(facts), _settings(facts)]
    return "\n\n".join(section for section in sections if section) + "\n"


def check_metrics(metrics: Mapping[str, Any] | None) -> dict[str, float]:
    """Check the user's metrics: names to finite numbers.

    Raises
    ------
    ValueError
        If a name is no str or a value no finite number.
    """
    if metrics is not None and not isinstance(metrics, Mapping):
        raise ValueError(f"'metrics' must map names to numbers. Got {type(metrics).__name__}.")
    found = {}
    for name, value in (metrics or {}).items():
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not isinstance(name, str) or not math.isfinite(number):
            raise ValueError(
                f"'metrics' must map names to finite numbers. Got {name!r}: {value!r}."
            )
        found[name] = number
    return found


def _header(facts: CardFacts) -> str:
    task = _PIPELINE.get(facts.input_kind, "text-classification")
    # A JSON string is a YAML string, whatever it holds: nothing here can break out of its place.
    lines = ["---", f"library_name: {_yaml('sksve')}", "tags:"]
    tags = ["sksve", "scikit-learn", "ensemble", "uncertainty", "calibration"]
    lines += [f"- {_yaml(tag)}" for tag in tags]
    lines.append(f"pipeline_tag: {_yaml(task)}")
    if facts.hub_backbone:
        lines.append(f"base_model: {_yaml(facts.hub_backbone)}")
    if facts.metrics:
        lines += ["model-index:", f"- name: {_yaml(facts.class_name)}", "  results:", "  - task:"]
        lines.append(f"      type: {_yaml(task)}")
        lines += [
            "    dataset:",
            f"      type: {_yaml('user')}",
            f"      name: {_yaml('user data')}",
        ]
        lines.append("    metrics:")
        for name, value in facts.metrics.items():
            lines += [f"    - type: {_yaml(name)}", f"      value: {value!r}"]
    return "\n".join([*lines, "---"])


def _summary(facts: CardFacts) -> str:
    shown = ", ".join(_code(c) for c in facts.classes[:_MOST_CLASSES])
    more = len(facts.classes) - _MOST_CLASSES
    share = ""
    if facts.n_total:
        share = (
            f" {facts.n_trained:,} numbers were trained, "
            f"{100 * facts.n_trained / facts.n_total:.3g} % of the backbone's {facts.n_total:,}."
        )
    return (
        f"# {facts.class_name} on {_code(facts.backbone or 'its own backbone')}\n\n"
        f"A classifier of {_inputs(facts)} into {len(facts.classes)} classes: {shown}"
        f"{f' and {more} more' if more > 0 else ''}. It is an ensemble of {facts.n_members} "
        f"member{'s' if facts.n_members > 1 else ''} on one frozen pretrained model, whose weights are "
        f"not in this folder.{share}"
    )


def _inputs(facts: CardFacts) -> str:
    named = {"table": "table rows", "image": "images", "text_pair": "pairs of texts"}
    return named.get(facts.input_kind, "texts")


def _use(facts: CardFacts) -> str:
    example = {"table": "table", "image": "images", "text_pair": "pairs"}
    x = example.get(facts.input_kind, '["a text", "another one"]')
    backbone = "" if facts.backbone else ", backbone=(model, processor)"
    note = "" if facts.backbone else " It was fitted on a model given as an object: give it again."
    return (
        "## How to load\n\n```python\n"
        f"from {facts.module} import {facts.class_name}\n\n"
        f'clf = {facts.class_name}.from_pretrained("this folder"{backbone})\n'
        f"clf.predict_proba({x})\n"
        f"clf.predict_uncertainty({x}).to_frame()\n```\n\n"
        "The backbone is found by its name, or given with `backbone=`; it must have the weights the "
        f"model was fitted on, which is checked.{note} Loading runs no code from this folder and reads "
        "no pickle."
    )


def _data(facts: CardFacts) -> str:
    if not facts.sizes:
        return ""
    rows = [f"- {_text(name)}: {count:,} rows" for name, count in facts.sizes.items()]
    counts = list(zip(facts.classes, facts.class_counts))[:_MOST_CLASSES]
    if counts:
        per_class = ", ".join(f"{_code(label)} {int(count):,}" for label, count in counts)
        rows.append(f"- training rows of each class: {per_class}")
    return "## Data\n\n" + "\n".join(rows)


def _measured(facts: CardFacts) -> str:
    parts = []
    if facts.history:
        rows = [f"| {_text(k.replace('_', ' '))} | {v:.4g} |" for k, v in facts.history.items()]
        parts.append(
            "Means over the members in the last epoch they ran; losses in nats.\n\n"
            "| training history | |\n|---|---|\n" + "\n".join(rows)
        )
    if facts.metrics:
        rows = [f"| {_text(name)} | {value:.4g} |" for name, value in facts.metrics.items()]
        parts.append(
            "Given by the person who saved the model; on which data, they know.\n\n"
            "| metric | value |\n|---|---|\n" + "\n".join(rows)
        )
    return "## Metrics\n\n" + "\n\n".join(parts) if parts else ""


def _uncertainty(facts: CardFacts) -> str:
    if facts.n_members > 1:
        text = (
            "`predict_proba` is the mean of the members' probabilities. `predict_uncertainty` splits "
            "the entropy of that mean (`total`, in nats) into `aleatoric`, the mean of the members' own "
            "entropies, and `epistemic`, the rest, which says how far the members differ."
        )
    else:
        text = "With one member there is no disagreement, and `epistemic` is 0 everywhere."
    if facts.calibration:
        text += f" The probabilities were calibrated: {_text(facts.calibration)}."
    else:
        text += (
            " The probabilities were not calibrated after training: before you act on them, measure "
            "`sksve.metrics.expected_calibration_error` on data of your own, and if need be fit a "
            "calibrator of `sksve.calibration`."
        )
    return "## Uncertainty\n\n" + text


def _limits(facts: CardFacts) -> str:
    return (
        "## Limits\n\n"
        "- It knows the classes above and no other; a row of another kind still gets one of them. "
        "Uncertainty is higher there on average, not on every row.\n"
        "- Probabilities hold for data like the training data. Where class frequencies or the wording "
        "differ, check them again.\n"
        "- The backbone's licence and its biases hold for this model, too."
    )


def _settings(facts: CardFacts) -> str:
    rows = [f"| {_code(k)} | {_code(v)} |" for k, v in facts.parameters.items()]
    table = "| parameter | value |\n|---|---|\n" + "\n".join(rows)
    made = ", ".join(f"{_text(k)} {_text(v)}" for k, v in facts.versions.items())
    return f"## Settings\n\n{table}\n\nMade with {made}." if rows else ""


def _yaml(text: str) -> str:
    return json.dumps(text)


def _text(value: Any) -> str:
    """Plain words in Markdown: on one line, with nothing that means something there."""
    flat = re.sub(r"\s+", " ", str(value))[:200]
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", flat)


def _code(value: Any) -> str:
    """Markdown code on one line, also inside a table."""
    flat = re.sub(r"\s+", " ", str(value))[:200].replace("`", "'").replace("|", "\\|")
    return f"`{flat}`" if flat.strip() else "`' '`"
