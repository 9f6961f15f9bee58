"""Input checks: every metric settles labels, probabilities and weights here, and nowhere else."""

import numpy as np

__all__ = ["ROW_SUM_TOLERANCE", "check_members", "check_sample_weight"]

# How far a row of probabilities may sum from 1 and still be renormalised (half precision passes).
ROW_SUM_TOLERANCE = 1e-3


def check_members(y_proba_members):
    """Return member probabilities as float64 ``(m, n, c)`` whose rows sum to 1, or raise."""
    members = np.asarray(y_proba_members)
    if members.ndim != 3:
        raise ValueError(
            "y_proba_members must have shape (n_members, n_samples, n_classes). "
            f"Got {members.ndim} dimension(s), shape {members.shape}."
            + (" For one model, pass y_proba[None]." if members.ndim == 2 else "")
        )
    if 0 in members.shape:
        raise ValueError(f"y_proba_members must not be empty. Got shape {members.shape}.")
    flat = members.reshape(-1, members.shape[2])
    return normalise_rows(flat, "y_proba_members").reshape(members.shape)


def normalise_rows(p, name):
    """Return ``(n, c)`` probabilities as float64 rows that sum to 1, or raise a ValueError."""
    p = as_float64(p, name)
    sums = p.sum(axis=1)
    check_row_sums(sums, p, name)
    if p.min() < 0:
        raise_negative(p, name)
    return p / sums[:, None]


def as_float64(values, name):
    """Return an array of numbers as float64, or say what it holds instead."""
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        try:
            if values.dtype.kind == "c":
                raise TypeError
            return values.astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{name} must hold real numbers. Got dtype {values.dtype}.") from None
    return values.astype(np.float64, copy=False)


def check_row_sums(sums, p, name):
    """Raise if a row's sum is not within the tolerance of 1; a NaN or infinity shows here too."""
    good = np.abs(sums - 1.0) <= ROW_SUM_TOLERANCE
    if good.all():
        return
    row = int(np.argmin(good))
    if not np.isfinite(p).all():
        row = int(np.argmin(np.isfinite(p).all(axis=1)))
        raise ValueError(
            f"{name} must be finite. Row {row} holds NaN or infinity: {_show(p[row])}. "
            "Remove such rows first."
        )
    if p.min() < 0:
        raise_negative(p, name)
    raise ValueError(
        f"Rows of {name} must sum to 1 within {ROW_SUM_TOLERANCE:g}. {int((~good).sum())} of "
        f"{len(good)} rows do not; row {row} sums to {sums[row]:.6g}: {_show(p[row])}. "
        "Logits go through a softmax first."
    )


def raise_negative(p, name):
    """Raise for the first row that holds a negative probability."""
    row = int(np.argmax((p < 0).any(axis=1)))
    raise ValueError(
        f"{name} must hold probabilities, not below 0. Row {row} is {_show(p[row])}. "
        "Logits go through a softmax first."
    )


def check_sample_weight(sample_weight, n_samples):
    """Return None or float64 weights of shape ``(n,)``: finite, none negative, not all zero."""
    if sample_weight is None:
        return None
    weight = as_float64(sample_weight, "sample_weight")
    if weight.shape != (n_samples,):
        raise ValueError(
            f"sample_weight must have shape ({n_samples},), one weight a row. Got {weight.shape}."
        )
    if not np.isfinite(weight).all():
        raise ValueError("sample_weight must be finite. It holds NaN or infinity.")
    if (weight < 0).any():
        raise ValueError(
            f"sample_weight must not be negative. Row {int(np.argmax(weight < 0))} has "
            f"{weight.min():g}."
        )
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


def _show(row):
    """Print a row of numbers, cut when it is long."""
    words = ", ".join(f"{value:.4g}" for value in row[:6])
    return f"[{words}{', ...' if len(row) > 6 else ''}]"
