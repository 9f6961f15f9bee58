"""A scikit-learn scorer that hands the estimator's classes to the metric."""

from inspect import signature

from sklearn.metrics._scorer import _BaseScorer

__all__ = ["ProbaScorer"]


class ProbaScorer(_BaseScorer):
    """Scorer of ``metric(y_true, y_proba, labels=estimator.classes_)``.

    ``make_scorer`` cannot do this: its keyword arguments are fixed before there is an estimator.
    Deriving from scikit-learn's own base brings its cache of predictions (one ``predict_proba`` for
    all scorers of ``cross_validate``) and its metadata routing (``set_score_request``).

    Parameters
    ----------
    metric : callable
        Takes ``y_true``, ``y_proba`` and, by keyword, ``labels`` and ``sample_weight``.
    sign : {1, -1}
        -1 for a loss.
    name : str
        For the repr.
    """

    def __init__(self, metric, sign, name):
        super().__init__(metric, sign, {}, "predict_proba")
        self._name = name

    def __repr__(self):
        return f"ProbaScorer({self._name!r})"

    def _accept_sample_weight(self):
        return "sample_weight" in signature(self._score_func).parameters

    def _score(self, method_caller, estimator, X, y_true, **kwargs):
        # For two classes scikit-learn hands out the column of classes_[1] alone, which is what a
        # one-dimensional y_proba means here.
        y_proba = method_caller(estimator, "predict_proba", X, pos_label=None)
        value = self._score_func(y_true, y_proba, labels=estimator.classes_, **kwargs)
        return self._sign * value
