"""Which model and calibrator to pick, and why, in plain words that claim no more than the rows show."""

from sksve.comparison._record import ECE, METRICS, UNCALIBRATED, Record


def advise(comparison: Record) -> list[str]:
    """Return the advice, a paragraph each; the first says what to pick."""
    return [
        *_pick(comparison),
        _standing(comparison),
        _against_itself(comparison),
        *_against_others(comparison),
    ]


def _pick(c: Record) -> list[str]:
    metric, loss = c.choose_by, c.choice[c.pick]
    short = METRICS[metric].short.split(" (")[0]
    best = min(c.variants, key=c.choice.__getitem__)
    if best == c.pick:
        why = (
            f"Of {len(c.variants)} candidates, {named(c.pick)} has the lowest {short} on the "
            f"{c.n_calibration:,} calibration rows, {loss:.4f}. "
        )
    else:
        why = (
            f"On the {c.n_calibration:,} calibration rows the {short} of {named(c.pick)} is {loss:.4f}. "
            f"{_capital(named(best))} has {c.choice[best]:.4f}, the lowest of "
            f"{len(c.variants)} candidates, but less than one standard error away, and the simpler "
            "one is preferred. "
        )
    why += (
        "Each calibrator was judged there on rows it had not learned from (cross-fitting), so that "
        "flexible calibrators gain nothing by memorising. "
    )
    if c.n_folds:
        why += (
            f"With {c.n_folds}-fold cross-validation every row calibrates in one fold and is a test "
            "row in another, so the figures of the pick itself are slightly flattering."
        )
    else:
        why += "The test rows had no part in the choice, so its figures on them are honest."
    return [_headline(c), why]


def _headline(c: Record) -> str:
    """What to do, as far as the test rows support the pick of the calibration rows."""
    model, method = c.pick
    if method == UNCALIBRATED:
        return f"Pick {model} as it is, uncalibrated."
    if lost := _lost_classes(c):
        return (
            f"Take {model} as it is, uncalibrated: {method} leaves rows of {lost} no probability of "
            "their own class."
        )
    short = METRICS[c.choose_by].short.split(" (")[0]
    differences, at = c.paired(c.choose_by), c.variants.index((model, UNCALIBRATED))
    gain, sure = differences.value[at], differences.p_adjusted[at] < c.alpha
    if sure and gain > 0:
        return f"Pick {model} and calibrate it with {method}."
    if gain <= 0:
        worse = f"{method} makes its {short} worse there by {number(c.choose_by, -gain)}."
        return (
            f"Take {model} as it is, uncalibrated: on the test rows {worse}"
            if sure
            else f"Calibration is optional here, and the test rows do not speak for it: {worse} "
            f"Take {model} as it is."
        )
    return (
        f"Calibration is optional here: take {model} as it is, or calibrated with {method}. On the test "
        f"rows that lowers its {short} by {number(c.choose_by, gain)}, which chance can explain."
    )


def _lost_classes(c: Record) -> str:
    """Classes of which the pick says, in all their test rows, that they cannot be."""
    model, _ = c.pick
    after, before = c.probabilities[c.pick], c.probabilities[model, UNCALIBRATED]
    names = []
    for k, label in enumerate(c.labels.tolist()):
        rows = c.y_test == label
        if rows.any() and after[rows, k].max() < 1e-6 <= before[rows, k].max():
            names.append(str(label))
    return _listed(names)


def _standing(c: Record) -> str:
    metrics = c.metrics[c.pick]
    level = f"{100 * c.confidence_level:g} % interval"
    accuracy, nll, ece = (metrics[name] for name in ("accuracy", "negative_log_likelihood", ECE))
    words = (
        f"On the {len(c.y_test):,} test rows {named(c.pick)} answers {number('accuracy', accuracy.value)} % "
        f"correctly ({level} {spread('accuracy', accuracy.low, accuracy.high)}), with an NLL of "
        f"{number('negative_log_likelihood', nll.value)} nats "
        f"({spread('negative_log_likelihood', nll.low, nll.high)}) and an ECE of "
        f"{number(ECE, ece.value)} % ({spread(ECE, ece.low, ece.high)}). "
    )
    if ece.low == 0:
        return words + "An ECE of that size is what chance alone can produce on so many rows."
    confidence = float(c.probabilities[c.pick].max(axis=1).mean())
    gap = confidence - accuracy.value
    side = "over" if gap > 0 else "under"
    return words + (
        "That is more than chance explains: the probabilities are still off. On average they are "
        f"{side}confident by {100 * abs(gap):.1f} percentage points."
    )


def _against_itself(c: Record) -> str:
    model, method = c.pick
    metric = c.choose_by
    short = METRICS[metric].short.split(" (")[0]
    if method == UNCALIBRATED:
        if len(c.methods) == 1:
            return "No calibrator was tried."
        return f"None of the calibrators tried promised to improve {model}."
    at = c.variants.index((model, UNCALIBRATED))
    differences = c.paired(metric)
    gain, low, high = differences.value[at], differences.low[at], differences.high[at]
    p = differences.p_adjusted[at]
    before, after = (c.metrics[model, m][ECE].value for m in (UNCALIBRATED, method))
    ece = f"Its ECE goes from {number(ECE, before)} % to {number(ECE, after)} %."
    if p < c.alpha and gain > 0:
        return (
            f"Calibration pays: on the same test rows it lowers {model}'s {short} by "
            f"{number(metric, gain)} (interval {spread(metric, low, high)}), more than chance "
            f"explains ({p_words(p)}, adjusted for all comparisons). {ece}"
        )
    if p < c.alpha:
        return (
            f"Beware: on the test rows calibration makes {model}'s {short} worse by "
            f"{number(metric, -gain)} ({p_words(p)}). Calibration rows and test rows may differ in "
            f"kind. {ece}"
        )
    return (
        f"Whether calibration helps {model} is not settled: on the test rows its {short} changes "
        f"by {number(metric, -gain, sign=True)}, a difference that chance can explain "
        f"({p_words(p)}). Using it uncalibrated is as well supported by these rows. {ece}"
    )


def _against_others(c: Record) -> list[str]:
    metric = c.choose_by
    short = METRICS[metric].short.split(" (")[0]
    differences = c.paired(metric)
    model, _ = c.pick
    others = [i for i, v in enumerate(c.variants) if v != c.pick and v != (model, UNCALIBRATED)]
    if not others:
        return []
    sure = differences.p_adjusted < c.alpha
    worse = [i for i in others if sure[i] and differences.value[i] > 0]
    better = [i for i in others if sure[i] and differences.value[i] < 0]
    equal = [i for i in others if not sure[i]]
    words = []
    if equal:
        names = _listed([named(c.variants[i]) for i in equal])
        words.append(
            f"Not told apart from the pick by {short} on these test rows: {names}. If one of them "
            "is simpler or cheaper to run, taking it is no mistake that these rows could show."
        )
    if worse:
        which = f"{len(worse)} others are" if len(worse) > 1 else "One other is"
        if len(worse) == len(others) > 1:
            which = "All others are"
        words.append(
            f"{which} worse in {short} by more than chance explains (p < {c.alpha:.2g}, adjusted for "
            f"{len(c.variants) - 1} comparisons with the pick)."
        )
    if better:
        best = min(better, key=lambda i: differences.value[i])
        names = _listed([named(c.variants[i]) for i in better])
        words.append(
            f"On the test rows, {names} did better in {short} than the pick, by up to "
            f"{number(metric, -differences.value[best])}, more than chance explains. This is reported, not "
            "acted upon: a choice made by the test rows would flatter itself. Calibration rows and "
            "test rows may differ in kind; with new rows, compare again."
        )
    return words


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _listed(names: list[str], most: int = 6) -> str:
    shown = names[:most]
    more = len(names) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


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
