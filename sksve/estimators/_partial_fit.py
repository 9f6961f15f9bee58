"""Training that goes on when new rows arrive."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if

from sksve._validation import check_declared
from sksve.estimators._auto import Facts
from sksve.estimators._labels import read_soft_labels, read_targets
from sksve.estimators._run import Precision, choose_device, run_of
from sksve.training import Settings, Training, join_processes, train_further

__all__ = ["PartialFitMixin"]


def _goes_on(estimator: Any) -> bool:
    return bool(estimator._can_go_on)


class PartialFitMixin:
    """``partial_fit`` for classifiers whose members are trained on one backbone."""

    _can_go_on = True  # False: what fit learns beyond the members needs all rows at once

    @available_if(_goes_on)
    def partial_fit(
        self: Any, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> Any:
        """Train the members for one epoch on the given rows, from where they are.

        The first call on an estimator that is not fitted is a fit of one epoch; after that, or after
        ``fit``, every call goes on. Each call is one pass over its rows with the learning rates'
        whole schedule and a fresh optimizer, and each member draws its own order of rows, a
        function of `random_state`, the member and the number of calls: the members stay
        independent. If a call fails, the estimator is what it was before.

        Parameters
        ----------
        X : as in fit
            Of the kind and columns of the first call.
        y : array-like of shape (n_samples,), or (n_samples, n_classes)
            Labels, or soft labels. A call need not hold every class.
        classes : array-like of shape (n_classes,), default=None
            Every label there will be. Needed in the first call unless `y` is soft.
        sample_weight : array-like of shape (n_samples,), default=None
            Rows of weight zero are left out; the others are scaled to mean 1 over the call's rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If classes are missing in the first call or others later, if a label is unknown, or if a
            parameter has changed that shapes the members (learning rates and the like may change;
            `max_epochs`, `n_jobs` and `warm_start` do not matter here).

        Examples
        --------
        >>> from sksve import SVEClassifier
        >>> from sksve.backbones import make_tiny_backbone
        >>> clf = SVEClassifier(make_tiny_backbone(), n_members=2, random_state=0)
        >>> clf = clf.partial_fit(["good film", "fun"] * 4, ["pos"] * 8, classes=["neg", "pos"])
        >>> clf = clf.partial_fit(["bad film", "dull"] * 4, ["neg"] * 8)
        >>> clf.n_iter_, clf.classes_
        (2, array(['neg', 'pos'], dtype='<U3'))
        """
        training = Training() if self.training is None else self.training
        check_declared(self, training)
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True: set it to False.")
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which sees part of the data. "
                "Compute the weights with sklearn.utils.compute_class_weight and pass the dict."
            )
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        if not hasattr(self, "net_"):
            return self._fit(X, y, sample_weight, classes=_first_classes(classes, y), max_epochs=1)
        device = choose_device(self.device)
        processes = join_processes(training.data_parallel, device, self.n_jobs)
        device = processes.device or device
        with processes.expected():
            if classes is not None and not np.array_equal(
                known := _sorted_classes(classes), np.unique(self.classes_)
            ):
                raise ValueError(
                    f"classes={known.tolist()!r} is not the same as on the first call to "
                    f"partial_fit or in fit, {self.classes_.tolist()!r}."
                )
            settings = self._settled_again()
            rows = self._reader.read(X, estimator=self)
            targets = read_targets(y, len(rows), sample_weight, self.class_weight, self.classes_)
            split = self.net_.module_.split
            rows = self._reader.write(rows)
            data = self._reader.dataset(rows, split.model, split.blocks, targets)
        precision = Precision.choose(self.precision, device)
        run = replace(run_of(len(self.classes_), device, precision), part=self._notes["n_parts"])
        told = settings.for_training().with_values(max_epochs=1)
        told, run = processes.share(told, run, [data])
        members = train_further(self.net_, self.history_, data, told, run)
        self.net_, self.history_ = members.net, members.history
        self.n_iter_ = len(members.history)
        self._notes = self._notes | {"n_parts": self._notes["n_parts"] + 1}
        self.settings_ = settings
        return self

    def _settled_again(self: Any) -> Settings:
        """Settings of this call; ValueError if they are of other members."""
        split = self.net_.module_.split
        facts = Facts(len(split.model.get_submodule(split.blocks)))
        settings = self._settle(facts, self.settings_.random_state, self.settings_)
        changed = self._changed(settings, "member")
        if len(self.net_.member_ids) != self.n_members:
            changed.append("n_members")
        if changed:
            raise ValueError(
                f"partial_fit goes on with the members there are, so {', '.join(changed)} cannot "
                "change. Set the old value again, or call fit to train anew."
            )
        return settings


def _first_classes(classes: Any, y: Any) -> np.ndarray | None:
    if classes is None:
        if read_soft_labels(y) is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return None
    known = _sorted_classes(classes)
    if len(known) < 2:
        raise ValueError(f"There must be at least two classes. Got classes={known.tolist()}.")
    return known


def _sorted_classes(classes: Any) -> np.ndarray:
    try:
        return np.unique(np.asarray(classes))
    except (TypeError, ValueError):
        raise ValueError(
            f"classes must be a list of labels of one kind. Got {classes!r:.200}."
        ) from None
