"""Metrics in words: short names, what they mean, how their numbers are written."""

from typing import NamedTuple

__all__ = ["GROUPS", "METRICS", "named", "number", "p_words", "spread"]


class Words(NamedTuple):
    """How to speak of a metric."""

    short: str
    meaning: str
    in_percent: bool = True
    larger_is_better: bool = False


METRICS = {
    "negative_log_likelihood": Words(
        "NLL (nats)",
        "Negative log-likelihood: the price of probability given to wrong answers. Judges "
        "calibration and sharpness together; confident errors cost most.",
        in_percent=False,
    ),
    "brier_score": Words(
        "Brier (0..2)",
        "Squared distance between probabilities and what happened, summed over classes. As the "
        "NLL, but no single row can cost more than 2.",
        in_percent=False,
    ),
    "accuracy": Words("Accuracy %", "Share of right answers.", larger_is_better=True),
    "expected_calibration_error": Words(
        "ECE %",
        "Expected calibration error: how far confidence and accuracy are apart, on average over "
        "15 bins of confidence.",
    ),
    "smooth_calibration_error": Words(
        "Smooth ECE %", "The same without bins: neighbouring confidences are averaged smoothly."
    ),
    "debiased_calibration_error": Words(
        "Debiased ECE %",
        "Root mean square gap in 15 bins of equally many rows, less what chance adds to it.",
    ),
    "classwise_calibration_error": Words(
        "Classwise ECE %", "ECE of each class's probability, averaged over the classes."
    ),
    "maximum_calibration_error": Words(
        "Worst bin %", "Largest gap of any bin; bins with few rows make it noisy."
    ),
    "aurc": Words(
        "AURC",
        "Area under the risk-coverage curve: the mean error rate when only the most confident rows "
        "are answered, over every share of rows.",
        in_percent=False,
    ),
    "eaurc": Words(
        "E-AURC",
        "AURC less that of a perfect ranking: what better ranking could still win.",
        in_percent=False,
    ),
    "selective_accuracy": Words(
        "Acc. at 80 %",
        "Accuracy on the most confident 80 % of the rows.",
        larger_is_better=True,
    ),
}
GROUPS = {
    "Overall quality of the probabilities": (
        "negative_log_likelihood",
        "brier_score",
        "accuracy",
    ),
    "Calibration: do they mean what they say?": (
        "expected_calibration_error",
        "smooth_calibration_error",
        "debiased_calibration_error",
        "classwise_calibration_error",
        "maximum_calibration_error",
    ),
    "Ranking: are the unsure rows the wrong ones?": (
        "aurc",
        "eaurc",
        "selective_accuracy",
    ),
}


def named(variant: tuple[str, str]) -> str:
    """A model and its calibrator, in words."""
    model, method = variant
    return f"{model}, uncalibrated" if method == "none" else f"{model} with {method}"


def number(metric: str, value: float, sign: bool = False) -> str:
    """A metric's value as a page shows it: in percent where that is its unit."""
    form = "+" if sign else ""
    if METRICS[metric].in_percent:
        return f"{100 * value:{form}.1f}"
    return f"{value:{form}.3f}"


def spread(metric: str, low: float, high: float, sign: bool = False) -> str:
    """An interval as a page shows it."""
    return f"{number(metric, low, sign)} to {number(metric, high, sign)}"


def p_words(p: float) -> str:
    """A p-value, neither 0.000 nor too exact."""
    return "p < 0.01" if p < 0.01 else f"p = {p:.2f}"
