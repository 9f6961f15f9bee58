"""A fitted ensemble that goes on: with new rows, with more members, with fewer."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from sksve._validation import Scope, check_declared, offered_unless
from sksve.estimators._data import read_soft_labels, read_targets
from sksve.estimators._facts import Facts
from sksve.training import (
    MemberNet,
    Precision,
    Processes,
    Run,
    Settings,
    TrainedMembers,
    Training,
    choose_device,
    same_value,
    take_first,
    train_further,
)


class PartialFitMixin:
    """``partial_fit`` for classifiers whose members are trained on one backbone."""

    _why_no_partial_fit = ""  # what fit learns that needs all rows at once

    @offered_unless(lambda clf: clf._why_no_partial_fit)
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
            parameter has changed that shapes the members, `random_state` among them (learning rates and
            the like may change; `max_epochs`, `n_jobs` and `warm_start` do not matter here).
            ``settings_`` stays that of the first call, or of ``fit``.

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
        processes = Processes.join(training.data_parallel, device, self.n_jobs)
        device = processes.device or device
        with processes.expected():
            if classes is not None and not np.array_equal(
                known := _sorted_classes(classes), np.unique(self.classes_)
            ):
                raise ValueError(
                    f"classes={known.tolist()!r} is not the same as on the first call to "
                    f"partial_fit or in fit, {self.classes_.tolist()!r}."
                )
            settings = self._unchanged_settings()
            rows = self._reader.read(X, estimator=self)
            targets = read_targets(y, len(rows), sample_weight, self.class_weight, self.classes_)
            split = self.net_.module_.split
            rows = self._reader.write(rows)
            data = self._reader.dataset(rows, split.model, split.plan, targets)
        precision = Precision.choose(self.precision, device)
        run = replace(Run.on(device, precision, len(self.classes_)), part=self._notes["n_parts"])
        one_epoch = settings.for_training().with_values(max_epochs=1)
        one_epoch, run = processes.share(one_epoch, run, [data])
        members = train_further(self.net_, self.history_, data, one_epoch, run)
        self._novelty = self._novelty.extended(self._vectors_of(data))
        self.net_, self.history_ = members.net, members.history
        self.n_iter_ = len(members.history)
        self._notes = self._notes | {"n_parts": self._notes["n_parts"] + 1}
        return self

    def _unchanged_settings(self: Any) -> Settings:
        """Settings of this call; ValueError if they are of other members."""
        split = self.net_.module_.split
        facts = Facts(split.plan.n_blocks)
        settings = self._resolve_settings(facts, self.settings_.random_state, self.settings_)
        changed = self._changed(settings, "member")
        if len(self.net_.member_ids) != self.n_members:
            changed.append("n_members")
        if changed:
            raise ValueError(
                f"partial_fit continues training the existing members, so {', '.join(changed)} cannot "
                "change. Set the old value again, or call fit to train from scratch."
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


# -- more members ----------------------------------------------------------------------------------


def _check_unchanged(
    changed: Sequence[str],
    old_classes: np.ndarray,
    classes: np.ndarray,
    n_old: int,
    n_members: int,
) -> None:
    """Raise ValueError unless members trained before can stand beside those to be trained."""
    if changed:
        raise ValueError(
            f"warm_start=True keeps the members already trained, so {', '.join(changed)} cannot "
            "change. Set the old value again, or warm_start=False to train from scratch."
        )
    if not np.array_equal(classes, old_classes):
        raise ValueError(
            "warm_start=True keeps the members already trained, so y must hold the same "
            f"classes: {old_classes.tolist()}. Got {classes.tolist()}."
        )
    if n_members < n_old:
        raise ValueError(
            f"n_members={n_members} must be larger or equal to {n_old}, the number of "
            "members already trained, when warm_start=True."
        )


def _members_of(net: MemberNet, history: list[dict[str, np.ndarray]]) -> TrainedMembers:
    """Return the members of a fitted net with copies of what is theirs."""
    state = tuple(t.detach().cpu().clone() for t in net.module_.member_tensors())
    return TrainedMembers(net.member_ids, state, history, net.history)


class WarmStartMixin:
    """``warm_start``: members that stay while others are trained."""

    def _changed(self: Any, settings: Settings, *scopes: Scope) -> list[str]:
        """Parameters of these scopes whose value is not that of the former fit."""
        now = settings.of_scope(*scopes)
        before = self.settings_
        changed = [k for k, v in now.items() if not same_value(v, getattr(before, k))]
        seed = self.random_state  # None or a generator: that of the former fit
        if isinstance(seed, Integral) and seed != before.random_state:
            changed.append("random_state")
        return sorted(changed)

    def _members_to_keep(self: Any, settings: Settings, classes: np.ndarray) -> TrainedMembers:
        """Members of the former fit, if those to be trained now can stand beside them."""
        changed = self._changed(settings, "member", "training")
        _check_unchanged(changed, self.classes_, classes, len(self.net_.member_ids), self.n_members)
        return _members_of(self.net_, self.history_)


# -- fewer members ---------------------------------------------------------------------------------


def _has_no_number(estimator: Any) -> str:
    if "n_members" in estimator.get_params(deep=False):
        return ""
    return "it has no parameter n_members"


class FirstMembersMixin:
    """``first_members`` for classifiers whose members are independent."""

    @offered_unless(_has_no_number)
    def distill(self: Any, X: Any, *, n_members: int = 1) -> Any:
        """Train a small model to say what all members say together, on rows without labels.

        A student of the same class and settings learns the pooled probabilities of `X` as soft labels, at the
        price of a fit on `X`; it then predicts at that of `n_members`. Hinton, Vinyals and Dean (2015),
        "Distilling the knowledge in a neural network", https://arxiv.org/abs/1503.02531

        Parameters
        ----------
        X : as in fit
            Rows like those to be predicted, labelled or not: the more, the nearer the student comes.
        n_members : int, default=1
            Of the student. One member has no epistemic uncertainty; its ``total`` is the teacher's.

        Returns
        -------
        classifier
            Fitted, of the same class; its ``novelty`` is measured from `X`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.
        ValueError
            If `X` or `n_members` is at fault.

        See Also
        --------
        first_members : A smaller ensemble without training.

        Examples
        --------
        >>> from sksve import SVEClassifier
        >>> from sksve.backbones import make_tiny_backbone
        >>> clf = SVEClassifier(make_tiny_backbone(), n_members=3, max_epochs=1, random_state=0)
        >>> clf = clf.fit(["good film", "bad film"] * 4, ["pos", "neg"] * 4)
        >>> student = clf.distill(["good", "bad", "good film", "a film"] * 4)
        >>> student.predict_proba_members(["good"]).shape, student.classes_.tolist()
        ((1, 1, 2), ['neg', 'pos'])
        """
        check_is_fitted(self)
        student = clone(self).set_params(n_members=n_members, warm_start=False)
        return student._fit(X, self.predict_proba(X), None, classes=self.classes_)

    @offered_unless(_has_no_number)
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
                f"the number of trained members. Got {n_members!r} instead."
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
        run = Run.on(device, precision, len(self.classes_))
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
