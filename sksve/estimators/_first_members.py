"""A smaller ensemble out of a larger one, without training."""

from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sksve.estimators._run import Precision, run_of
from sksve.training import take_first

__all__ = ["FirstMembersMixin"]


def _has_number(estimator: Any) -> bool:
    return "n_members" in estimator.get_params(deep=False)


class FirstMembersMixin:
    """``first_members`` for classifiers whose members are independent."""

    @available_if(_has_number)
    def first_members(self: Any, n_members: int) -> Any:
        """Return a fitted copy that has the first members only.

        Members are independent, so this is what a fit with so few members gives, without the fit.
        The copy has its own member parameters and shares the frozen backbone.

        Parameters
        ----------
        n_members : int
            From 1 to the number of members.

        Returns
        -------
        classifier
            Fitted, of the same class, its `n_members` parameter set.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.
        ValueError
            If there are not so many members.

        See Also
        --------
        sksve.MemberSearchCV : Search over the number of members at the price of the largest.

        Examples
        --------
        >>> from sksve import SVEClassifier
        >>> from sksve.backbones import make_tiny_backbone
        >>> clf = SVEClassifier(make_tiny_backbone(), n_members=3, max_epochs=1, random_state=0)
        >>> clf = clf.fit(["good film", "bad film"] * 4, [1, 0] * 4)
        >>> clf.first_members(2).predict_proba_members(["good"]).shape
        (2, 1, 2)
        """
        check_is_fitted(self)
        most = len(self.net_.member_ids)
        allowed = isinstance(n_members, Integral) and not isinstance(n_members, bool)
        if not allowed or not 1 <= n_members <= most:
            raise ValueError(
                f"The 'n_members' parameter of first_members must be an int in the range [1, {most}], "
                f"the number of members there are. Got {n_members!r} instead."
            )
        k = int(n_members)
        params = self.get_params(deep=False)
        first = type(self)(**params | {"n_members": k})
        for name, value in vars(self).items():
            if name not in params:
                setattr(first, name, value)
        device = str(self.net_.device)
        precision = Precision.choose(self.precision, device)
        first.settings_ = self.settings_.with_values(n_members=k)
        run = run_of(len(self.classes_), device, precision)
        first.net_ = take_first(self.net_, k, first.settings_.for_training(), run)
        history = [{name: row[name][:k] for name in row} for row in self.history_]
        while history and np.isnan(history[-1]["train_loss"]).all():  # these had all stopped
            history.pop()
        first.history_, first.n_iter_ = history, len(history)
        report = self.adapter_report_
        n_trainable = report.n_trainable_per_member * k
        first.adapter_report_ = replace(
            report,
            n_trainable=n_trainable,
            share_percent=100 * n_trainable / report.n_total,
            n_bytes=report.n_bytes * k // most,
        )
        return first
