"""Uncertainty from an ensemble's members: entropies, disagreement, diversity.

All functions take member probabilities of shape ``(m, n, c)``, member axis first; entropies also
those of one model, ``(n, c)``. What compares members needs some.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.special import entr

from sksve._arrays import import_pandas
from sksve.metrics._inputs import as_float64, as_real, check_members, check_sample_weight


def predictive_entropy(y_proba_members):
    r"""Entropy of the ensemble's mean probability, per row: the total uncertainty.

    .. math:: H[\bar p] = -\sum_k \bar p_k \log \bar p_k, \qquad \bar p = \frac1m \sum_j p_j

    Parameters
    ----------
    y_proba_members : array-like of shape (n_members, n_samples, n_classes) or (n_samples, n_classes)
        Each member's class probabilities, or those of one model.

    Returns
    -------
    entropy : ndarray of shape (n_samples,)
        In nats, between 0 and ``log(n_classes)``.

    Raises
    ------
    ValueError
        If the input has not two or three dimensions, holds NaN or negative values, or if rows do not
        sum to 1 within 1e-3.

    See Also
    --------
    expected_entropy : The aleatoric part.
    mutual_information : The epistemic part.

    References
    ----------
    Depeweg et al., "Decomposition of Uncertainty in Bayesian Deep Learning for Efficient and
    Risk-sensitive Learning", ICML 2018, arXiv:1710.07283.

    Examples
    --------
    >>> from sksve.metrics import predictive_entropy
    >>> predictive_entropy([[[1.0, 0.0]], [[0.0, 1.0]]])
    array([0.69314718])
    >>> predictive_entropy([[0.5, 0.5], [1.0, 0.0]])
    array([0.69314718, 0.        ])
    """
    return _entropy(check_members(y_proba_members, one_model=True).mean(axis=0))


def expected_entropy(y_proba_members):
    r"""Mean of the members' entropies, per row: the aleatoric uncertainty.

    .. math:: \frac1m \sum_j H[p_j], \qquad H[p] = -\sum_k p_k \log p_k

    Parameters
    ----------
    y_proba_members : array-like of shape (n_members, n_samples, n_classes) or (n_samples, n_classes)
        Each member's class probabilities, or those of one model.

    Returns
    -------
    entropy : ndarray of shape (n_samples,)
        In nats, between 0 and ``log(n_classes)``.

    Raises
    ------
    ValueError
        If the input has not two or three dimensions, holds NaN or negative values, or if rows do not
        sum to 1 within 1e-3.

    See Also
    --------
    predictive_entropy : Entropy of the mean: the total.

    References
    ----------
    Depeweg et al., "Decomposition of Uncertainty in Bayesian Deep Learning for Efficient and
    Risk-sensitive Learning", ICML 2018, arXiv:1710.07283.

    Examples
    --------
    >>> from sksve.metrics import expected_entropy
    >>> expected_entropy([[[1.0, 0.0]], [[0.0, 1.0]]])
    array([0.])
    """
    return _entropy(check_members(y_proba_members, one_model=True)).mean(axis=0)


def mutual_information(y_proba_members):
    r"""Mutual information between label and member, per row: the epistemic uncertainty.

    .. math:: I = H[\bar p] - \frac1m \sum_j H[p_j] \ge 0

    What is left below zero by rounding is set to 0; one member gives exactly 0.

    Parameters
    ----------
    y_proba_members : array-like of shape (n_members, n_samples, n_classes)
        Each member's class probabilities.

    Returns
    -------
    information : ndarray of shape (n_samples,)
        In nats, between 0 and ``log(min(n_members, n_classes))``.

    Raises
    ------
    ValueError
        If the input is not three-dimensional, holds NaN or negative values, or if rows do not
        sum to 1 within 1e-3.

    See Also
    --------
    predictive_entropy : The total.
    expected_entropy : The aleatoric part.

    References
    ----------
    Houlsby et al., "Bayesian Active Learning for Classification and Preference Learning", 2011,
    arXiv:1112.5745.

    Examples
    --------
    >>> from sksve.metrics import mutual_information
    >>> mutual_information([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])
    array([0.69314718, 0.        ])
    """
    members = check_members(y_proba_members)
    return _epistemic(_entropy(members.mean(axis=0)), _entropy(members).mean(axis=0))


def member_disagreement(y_proba_members):
    r"""Share of the members whose class is not the ensemble's, per row.

    .. math:: \frac1m \sum_j 1[\arg\max_k p_{jk} \ne \arg\max_k \bar p_k]

    Parameters
    ----------
    y_proba_members : array-like of shape (n_members, n_samples, n_classes)
        Each member's class probabilities.

    Returns
    -------
    disagreement : ndarray of shape (n_samples,)
        Between 0 and 1. Equal probabilities count for the first class, as in ``predict``.

    Raises
    ------
    ValueError
        If the input is not three-dimensional, holds NaN or negative values, or if rows do not
        sum to 1 within 1e-3.

    See Also
    --------
    member_diversity : Looks at the probabilities, not only at the class.

    References
    ----------
    Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive Uncertainty Estimation
    using Deep Ensembles", NeurIPS 2017, arXiv:1612.01474.

    Examples
    --------
    >>> from sksve.metrics import member_disagreement
    >>> member_disagreement([[[0.9, 0.1]], [[0.8, 0.2]], [[0.7, 0.3]], [[0.2, 0.8]]])
    array([0.25])
    """
    members = check_members(y_proba_members)
    return _disagreement(members, members.mean(axis=0))


def member_diversity(y_proba_members, *, sample_weight=None):
    r"""Mean Kullback-Leibler divergence between two different members.

    .. math::
        D = \frac{1}{n\,m(m-1)} \sum_i \sum_{j \ne l} \mathrm{KL}(p_{ji} \,\|\, p_{li})

    over all ordered pairs of members and all rows. So that a zero keeps the number finite,
    probabilities are floored at float64's epsilon (2.2e-16) inside the logarithm.

    Parameters
    ----------
    y_proba_members : array-like of shape (n_members, n_samples, n_classes)
        Each member's class probabilities.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows; weight 2 equals the row twice.

    Returns
    -------
    diversity : float
        In nats, at least 0; 0.0 for a single member.

    Raises
    ------
    ValueError
        If the input is not three-dimensional, holds NaN or negative values, or if rows do not
        sum to 1 within 1e-3.

    See Also
    --------
    member_disagreement : Looks at the class only, per row.

    References
    ----------
    Fort, Hu and Lakshminarayanan, "Deep Ensembles: A Loss Landscape Perspective", 2019,
    arXiv:1912.02757.

    Examples
    --------
    >>> from sksve.metrics import member_diversity
    >>> round(member_diversity([[[0.5, 0.5]], [[0.25, 0.75]]]), 6)
    0.137327
    """
    members = check_members(y_proba_members)
    n_members, n_samples, _ = members.shape
    weight = check_sample_weight(sample_weight, n_samples)
    if n_members == 1:
        return 0.0
    logs = np.log(np.maximum(members, np.finfo(np.float64).eps))
    # Summed over ordered pairs, sum p_j (log p_j - log p_l) is m times the covariance of p and
    # log p over members: m passes in place of m^2, and no cancellation between near-equal members.
    spread = (members - members.mean(axis=0)) * (logs - logs.mean(axis=0))
    per_row = spread.sum(axis=(0, 2)) / (n_members - 1)
    return max(float(np.average(per_row, weights=weight)), 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class Uncertainty:
    """What a classifier does not know, row by row.

    Entropies are in nats; ``total = aleatoric + epistemic``.

    Parameters
    ----------
    total : ndarray of shape (n_samples,)
        Entropy of the mean probability, :func:`predictive_entropy`.
    aleatoric : ndarray of shape (n_samples,)
        Mean entropy of the members, :func:`expected_entropy`.
    epistemic : ndarray of shape (n_samples,)
        ``total - aleatoric``, at least 0, :func:`mutual_information`.
    disagreement : ndarray of shape (n_samples,)
        Share of members whose class differs from the ensemble's, :func:`member_disagreement`.
    variance : ndarray of shape (n_samples,)
        Variance of the probabilities over members (``ddof=0``), summed over classes.
    confidence : ndarray of shape (n_samples,)
        Largest mean probability.
    novelty : ndarray of shape (n_samples,), default=None
        Share of the training rows that are less far out than this row, in [0, 1]; None where only
        the members' probabilities are known.
    index : sequence of length n_samples, default=None
        The rows' names, used by :meth:`to_frame`. None: 0, 1, 2, ...

    Examples
    --------
    >>> from sksve.metrics import Uncertainty
    >>> uncertainty = Uncertainty.from_members([[[1.0, 0.0], [0.6, 0.4]], [[0.0, 1.0], [0.6, 0.4]]])
    >>> uncertainty
    Uncertainty of 2 rows (mean, min to max)
      total         0.6831   0.6730 to 0.6931
      aleatoric     0.3365   0.0000 to 0.6730
      epistemic     0.3466   0.0000 to 0.6931
      disagreement  0.2500   0.0000 to 0.5000
      variance      0.2500   0.0000 to 0.5000
      confidence    0.5500   0.5000 to 0.6000
    >>> uncertainty.epistemic
    array([0.69314718, 0.        ])
    """

    total: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray
    disagreement: np.ndarray
    variance: np.ndarray
    confidence: np.ndarray
    novelty: np.ndarray | None = None
    index: Any = None

    def __post_init__(self):
        for name in self._measures():
            values = as_float64(as_real(getattr(self, name), name))
            object.__setattr__(self, name, values)
        shapes = {name: getattr(self, name).shape for name in self._measures()}
        if any(len(shape) != 1 or shape != self.total.shape for shape in shapes.values()):
            raise ValueError(
                f"Every array of Uncertainty must have shape (n_samples,). Got {shapes}."
            )
        if self.index is not None:
            n_names = len(self.index) if hasattr(type(self.index), "__len__") else "no"
            if n_names != len(self.total):
                raise ValueError(
                    f"index must name every row: {len(self.total)} rows, but {n_names} names."
                )

    def _measures(self):
        """Names of the arrays that are known."""
        return [name for name in _MEASURES if name != "novelty" or self.novelty is not None]

    @classmethod
    def from_members(cls, y_proba_members, *, novelty=None, index=None):
        """Compute the record from member probabilities.

        Parameters
        ----------
        y_proba_members : array-like of shape (n_members, n_samples, n_classes)
            Each member's class probabilities; rows within 1e-3 of 1 are renormalised.
        novelty : array-like of shape (n_samples,), default=None
            Of the rows, if known: probabilities do not tell.
        index : sequence of length n_samples, default=None
            The rows' names.

        Returns
        -------
        uncertainty : Uncertainty
            The record.
        """
        members = check_members(y_proba_members)
        mean = members.mean(axis=0)
        total = _entropy(mean)
        aleatoric = _entropy(members).mean(axis=0)
        return cls(
            total=total,
            aleatoric=aleatoric,
            epistemic=_epistemic(total, aleatoric),
            disagreement=_disagreement(members, mean),
            variance=members.var(axis=0).sum(axis=1),
            confidence=mean.max(axis=1),
            novelty=novelty,
            index=index,
        )

    def to_frame(self):
        """Return the record as a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_samples, 6), or 7 with novelty
            One column per measure, under the rows' names.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return import_pandas("to_frame").DataFrame(
            {name: getattr(self, name) for name in self._measures()}, index=self.index
        )

    def __len__(self):
        return len(self.total)

    def __repr__(self):
        lines = [f"Uncertainty of {len(self)} rows (mean, min to max)"]
        for name in self._measures() if len(self) else ():
            of = getattr(self, name)
            lines.append(f"  {name:<12}  {of.mean():.4f}   {of.min():.4f} to {of.max():.4f}")
        return "\n".join(lines)


_MEASURES = tuple(field.name for field in fields(Uncertainty) if field.name != "index")


def _entropy(p):
    """Entropy over the last axis, in nats."""
    return entr(p).sum(axis=-1)


def _epistemic(total, aleatoric):
    return np.maximum(total - aleatoric, 0.0)


def _disagreement(members, mean):
    return (members.argmax(axis=2) != mean.argmax(axis=1)).mean(axis=0)
