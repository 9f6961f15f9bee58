"""What "auto" stands for in the rivals: the tables that ``_auto.py`` resolves, one for each method.

====================== ================= ================= ============== ===========================
method                 lr                head_lr           weight_decay   epochs at 200 rows: 4, times
====================== ================= ================= ============== ===========================
whole models           3e-5 ... 1.2e-4   3e-3 ... 1e-2     0.01           (200 / n)^0.3 ... ^0.6
MC dropout             3e-5 ... 1e-4     3e-3 ... 1e-2     0.01           (200 / n)^0.4 ... ^0.7
LoRA-Ensemble          3e-4              2e-3 ... 1e-2     0              (200 / n)^0.3 ... ^0.4
BatchEnsemble          5e-3 ... 1e-2     2e-3 ... 1e-2     10 ... 0       (200 / n)^0.2 ... ^0.7
====================== ================= ================= ============== ===========================

From noisy to clear labels, as in ``_auto.py``; rates in geometric steps between. Whole models: fine-tuned,
deep ensemble and Laplace. Batches of 16; at least 2 epochs. Rates are for a width d of 384 and go with 1 / d
(but BatchEnsemble's, whose vectors are factors around 1), as does the reciprocal of a decay above 1; epochs
below that width with d^-0.5. Found in the trials of the evidence at 200 and 1,000 rows, and of
``benchmarks/studies/rivals.py`` at 50. Images, tried at 200 and 1,000 rows, have the rates of noisy labels.
"""

from collections.abc import Callable
from typing import Any

Rule = Callable[[Any], Any]

_WIDTH = 384
#: Rules that ask how clear the labels are.
RIVALS_BY_CLARITY: set[Rule] = set()


def _clear(fit: Any) -> float:
    return 0.0 if fit.facts.images else float(fit.clear)


def _rule(rule: Rule, words: str) -> Rule:
    rule.__doc__ = words
    RIVALS_BY_CLARITY.add(rule)
    return rule


def _rate(noisy: float, clear: float, *, by_width: bool = True) -> Rule:
    def rule(fit: Any) -> float:
        rate = noisy * (clear / noisy) ** _clear(fit)
        return float(f"{rate * (_WIDTH / fit.facts.width if by_width else 1):.3g}")

    times = ", times 384 / d" if by_width else ""
    return _rule(rule, f"{noisy:g} (noisy) to {clear:g} (clear){times}")


def _epochs(noisy: float, clear: float) -> Rule:
    def rule(fit: Any) -> int:
        power = noisy + (clear - noisy) * _clear(fit)
        passes = max(2.0, 4 * (200 / fit.facts.n_rows) ** power)
        return round(passes * max(1.0, (_WIDTH / fit.facts.width) ** 0.5))

    words = f"4 (200 / n)^{noisy:g} (noisy) to 4 (200 / n)^{clear:g} (clear), at least 2"
    return _rule(rule, f"{words}; more below d = 384")


def _decay(noisy: float) -> Rule:
    def rule(fit: Any) -> float:
        return float(f"{noisy * (1 - _clear(fit)) * fit.facts.width / _WIDTH:.3g}")

    return _rule(rule, f"{noisy:g} d / 384 (noisy) to 0 (clear)")


def side_lr(fit: Any) -> float | None:
    """0.001 / s^0.5, s side features; None without them"""
    # Adam moves every weight alike, whether its column knows something or not.
    return float(f"{1e-3 / fit.facts.n_side**0.5:.3g}") if fit.facts.n_side else None


_EVERY: dict[str, Any] = {
    "side_lr": side_lr,
    "optimizer": "adamw", "head_init_scale": 0.01, "validation_fraction": 0.1, "patience": 3,
    "batch_size": 16, "adapt_blocks": None,
}  # fmt: skip
_LAYERS = _EVERY | {
    "shared_batches": False, "weight_decay": 0.0, "decay_to": "pretrained", "freeze_out": None,
    "data_parallel": False,
}  # fmt: skip
_COPIES = _EVERY | {"weight_decay": 0.01, "decay_to": "zero"}

WHOLE = _COPIES | {
    "max_epochs": _epochs(0.3, 0.6), "lr": _rate(3e-5, 1.2e-4), "head_lr": _rate(3e-3, 1e-2)
}  # fmt: skip
WHOLE_MEMBERS = WHOLE | {"shared_batches": False}
DROPOUT = _COPIES | {
    "max_epochs": _epochs(0.4, 0.7), "lr": _rate(3e-5, 1e-4), "head_lr": _rate(3e-3, 1e-2)
}  # fmt: skip
LORA = _LAYERS | {
    "max_epochs": _epochs(0.3, 0.4), "lr": _rate(3e-4, 3e-4), "head_lr": _rate(2e-3, 1e-2)
}  # fmt: skip
BATCH_ENSEMBLE = _LAYERS | {
    "max_epochs": _epochs(0.2, 0.7), "lr": _rate(5e-3, 1e-2, by_width=False),
    "head_lr": _rate(2e-3, 1e-2), "weight_decay": _decay(10.0), "init_scale": 0.1, "train_bias": True,
}  # fmt: skip
