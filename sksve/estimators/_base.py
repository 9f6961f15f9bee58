"""What every classifier with members shares: the order of events in fit, and all of predict."""

import warnings
from abc import abstractmethod
from typing import Any, Self

import numpy as np
from scipy.special import log_softmax, logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sksve._validation import check_parameters
from sksve.backbones import (
    AdaptationPlan,
    ResolvedBackbone,
    adapter_report,
    count_parameters,
    load_backbone,
    plan_from_config,
    resolve_backbone,
)
from sksve.estimators._labels import Targets, encode_labels, read_targets
from sksve.estimators._settings import CONSTRAINTS, Precision, base_seed, choose_device
from sksve.inputs import Samples, max_tokens, read_samples, tokenize
from sksve.metrics import Uncertainty
from sksve.preprocessing import TabularToText
from sksve.training import (
    EnsembleModule,
    LayerFactory,
    TokenDataset,
    TrainedMembers,
    TrainingConfig,
    assemble,
    join,
    predict_logits,
    softmax64,
    train,
)

__all__ = ["MemberClassifier"]

# Parameters that may change between warm starts: they do not shape a member.
_FREE_IN_WARM_START = {
    "n_members", "n_jobs", "verbose", "callbacks", "warm_start", "random_state", "device",
}  # fmt: skip

_LEARNED_PRIVATELY = {
    "_dtype", "_pad_token_id", "_prediction_autocast", "_seed", "_serializer", "_structure",
    "_tokenizer",
}  # fmt: skip


class MemberClassifier(ClassifierMixin, BaseEstimator):
    """Base of the classifiers whose members are trained on one backbone.

    A subclass has the parameters of ``SVEClassifier`` (those it needs) and says which layers replace
    the backbone's linear ones.
    """

    @abstractmethod
    def _layer_factory(self) -> LayerFactory:
        """Make the factory of the layers that replace linear ones."""

    def _plan(self, resolved: ResolvedBackbone) -> AdaptationPlan:
        return plan_from_config(
            resolved, target_modules=self.target_modules, adapt_blocks=self.adapt_blocks
        )

    # -- fit -------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Train all members jointly.

        Everything is checked before the backbone is loaded, and the estimator changes only when
        training has succeeded.

        Parameters
        ----------
        X : sequence of str, or table of shape (n_samples, n_features)
            1-D strings are texts, as is a table with one column of strings; any other 2-D input is
            a table whose rows are turned into text.
        y : array-like of shape (n_samples,)
            Labels of any kind scikit-learn accepts.
        sample_weight : array-like of shape (n_samples,), default=None
            Rows of weight zero are left out; the others are scaled to mean 1.
        X_val, y_val : as X and y, default=None
            Judged after every epoch (``history_``), and the basis of early stopping in place of a
            share of the training data.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter or the data are at fault; the message names the cure.
        sksve.BackboneNotFoundError
            If the backbone cannot be resolved.
        FloatingPointError
            If a loss becomes NaN or infinite.
        """
        params = self.get_params(deep=False)
        check_parameters(CONSTRAINTS, params, owner=type(self).__name__)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together: give both or neither.")
        # Learns in place of self; what it has learned moves here when all has gone well.
        fresh = type(self)(**params)
        samples = fresh._read(X, reset=True)
        targets = read_targets(y, samples.n_samples, sample_weight, self.class_weight)
        seed = base_seed(self.random_state)
        validation = None
        if X_val is not None:
            held_out = fresh._read(X_val, reset=False)
            codes = encode_labels(y_val, targets.classes, held_out.n_samples, "y_val")
            validation = held_out, codes
        resolved = resolve_backbone(self.backbone)
        plan = self._plan(resolved)
        device = choose_device(self.device)
        precision = Precision.choose(self.precision, device)

        old = self._members_to_keep(targets.classes)
        if old is not None:
            seed = self._seed
            if len(old.ids) == self.n_members:
                warnings.warn(
                    "Warm-start fitting without increasing n_members does not fit new members.",
                    UserWarning,
                    stacklevel=2,
                )
                return self

        backbone = load_backbone(resolved, pooling=self.pooling, dtype=precision.dtype)
        max_tokens(self.max_length, backbone.max_positions, backbone.name)
        texts = fresh._texts(X, samples, reset=True)
        pad = getattr(backbone.processor, "pad_token_id", None) or 0
        fresh._tokenizer, fresh._pad_token_id = backbone.processor, pad
        fresh.classes_ = targets.classes

        def dataset(texts: list[str], y: np.ndarray, weight: np.ndarray) -> TokenDataset:
            return TokenDataset(
                tokenize(backbone.processor, texts, self.max_length),
                y,
                weight,
                pad_token_id=pad,
                dtype=precision.dtype,
            )

        train_rows, valid_rows = fresh._split(targets, seed, validation is None)
        kept = [texts[row] for row in targets.rows]
        train_data = dataset(
            [kept[i] for i in train_rows], targets.y[train_rows], targets.weight[train_rows]
        )
        valid_data = None
        if validation is not None:
            held_out, codes = validation
            held_texts = fresh._texts(X_val, held_out, reset=False)
            valid_data = dataset(held_texts, codes, np.ones(len(codes)))
        elif len(valid_rows):
            valid_data = dataset(
                [kept[i] for i in valid_rows], targets.y[valid_rows], targets.weight[valid_rows]
            )

        config = TrainingConfig(
            n_classes=len(targets.classes),
            seed=seed,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            lr=float(getattr(self, "lr", 0.0)),  # nothing adapted, no rate
            head_lr=self.head_lr,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            max_grad_norm=self.max_grad_norm,
            head_init_std=self.head_init_scale,
            shared_batches=self.member_batches == "shared",
            patience=self.n_iter_no_change if self.early_stopping else None,
            device=device,
            dtype=precision.dtype,
            autocast=precision.training,
            callbacks=self.callbacks,
            verbose=self.verbose,
        )
        factory = self._layer_factory()
        ids = range(0 if old is None else len(old.ids), self.n_members)
        members = train(
            backbone, plan, factory, ids, train_data, valid_data, config, n_jobs=self.n_jobs
        )
        if old is not None:
            members = assemble(backbone, plan, factory, join(old, members), config)

        fresh._seed = seed
        fresh._prediction_autocast = precision.prediction
        fresh._dtype = precision.dtype
        fresh._structure = self._structural_parameters()
        fresh.history_ = members.history
        fresh.n_iter_ = len(members.history)
        fresh.net_ = members.net
        module = members.net.module_
        fresh.adapter_report_ = adapter_report(
            plan,
            dict(module.named_parameters()),
            n_members=self.n_members,
            n_total=count_parameters(backbone.model),
            ranks={name: _rank_of(module, name) for name in plan.targets},
        )
        self._take_over(fresh)
        return self

    def _take_over(self, fresh: "MemberClassifier") -> None:
        """Replace what a former fit learned by what `fresh` has learned."""
        params = self.get_params(deep=False)
        # Only what fit learns goes: meta-estimators leave notes of their own on an estimator.
        for name in [n for n in vars(self) if n.endswith("_") or n in _LEARNED_PRIVATELY]:
            delattr(self, name)
        for name, value in vars(fresh).items():
            if name not in params:
                setattr(self, name, value)

    def _split(self, targets: Targets, seed: int, needed: bool) -> tuple[np.ndarray, np.ndarray]:
        """Rows (of the kept ones) for training and for early stopping."""
        rows = np.arange(len(targets.y))
        if not self.early_stopping or not needed:
            return rows, rows[:0]
        counts = np.bincount(targets.y)
        n_valid = int(np.ceil(self.validation_fraction * len(rows)))
        n_classes = int((counts > 0).sum())
        if n_valid < n_classes or len(rows) - n_valid < n_classes or counts[counts > 0].min() < 2:
            raise ValueError(
                f"early_stopping=True holds out {n_valid} of {len(rows)} rows, which cannot hold "
                f"every one of the {n_classes} classes on both sides. Use more rows, another "
                "validation_fraction, or pass X_val and y_val."
            )
        train_rows, valid_rows = train_test_split(
            rows, test_size=n_valid, stratify=targets.y, random_state=seed % 2**32
        )
        return np.sort(train_rows), np.sort(valid_rows)

    # -- warm start ------------------------------------------------------------------------------

    def _structural_parameters(self) -> dict[str, Any]:
        params = self.get_params(deep=False)
        return {k: v for k, v in params.items() if k not in _FREE_IN_WARM_START}

    def _members_to_keep(self, classes: np.ndarray) -> TrainedMembers | None:
        if not self.warm_start or not hasattr(self, "net_"):
            return None
        now = self._structural_parameters()
        changed = [k for k, v in now.items() if not _same(v, self._structure[k])]
        if changed:
            raise ValueError(
                f"warm_start=True keeps the members already trained, so {', '.join(changed)} cannot "
                "change. Set the old value again, or warm_start=False to train anew."
            )
        if not np.array_equal(classes, self.classes_):
            raise ValueError(
                "warm_start=True keeps the members already trained, so y must hold the same "
                f"classes: {self.classes_.tolist()}. Got {classes.tolist()}."
            )
        ids = self.net_.member_ids
        if self.n_members < len(ids):
            raise ValueError(
                f"n_members={self.n_members} must be larger or equal to {len(ids)}, the number of "
                "members already trained, when warm_start=True."
            )
        state = tuple(p.detach().cpu().clone() for p in self.net_.module_.member_parameters())
        return TrainedMembers(ids, state, self.history_, self.net_)

    # -- input -----------------------------------------------------------------------------------

    def _read(self, X: Any, *, reset: bool) -> Samples:
        """Check X and that its kind is the one seen in fit."""
        samples = read_samples(X)
        if reset:
            self.input_kind_ = samples.kind
        elif samples.kind != self.input_kind_:
            raise ValueError(
                f"{type(self).__name__} was fitted on X of kind {self.input_kind_!r}. Got "
                f"{samples.kind!r} instead."
            )
        if samples.kind == "table":
            validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan")
        elif samples.kind == "text_column":
            validate_data(self, X, reset=reset, skip_check_array=True)
        return samples

    def _texts(self, X: Any, samples: Samples, *, reset: bool) -> list[str]:
        if samples.texts is not None:
            return samples.texts
        if reset:
            serializer = TabularToText() if self.serializer is None else clone(self.serializer)
            self._serializer = serializer.fit(X)
        return [str(text) for text in self._serializer.transform(X)]

    # -- predict ---------------------------------------------------------------------------------

    def _member_logits(self, X: Any) -> tuple[np.ndarray, Samples]:
        check_is_fitted(self)
        samples = self._read(X, reset=False)
        texts = self._texts(X, samples, reset=False)
        data = TokenDataset(
            tokenize(self._tokenizer, texts, self.max_length),
            pad_token_id=self._pad_token_id,
            dtype=self._dtype,
        )
        logits = predict_logits(
            self.net_.module_, data, device=self.net_.device, autocast=self._prediction_autocast
        )
        return logits, samples

    def predict_proba_members(self, X: Any) -> np.ndarray:
        """Class probabilities of each member.

        Parameters
        ----------
        X : as in fit

        Returns
        -------
        ndarray of shape (n_members, n_samples, n_classes)
            float64, rows sum to 1.
        """
        return softmax64(self._member_logits(X)[0])

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities: the mean of the members' probabilities.

        Parameters
        ----------
        X : as in fit

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            float64, rows sum to 1, columns in the order of ``classes_``.
        """
        return _pool(self.predict_proba_members(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithm of :meth:`predict_proba`, finite where the probability underflows.

        Parameters
        ----------
        X : as in fit

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In nats.
        """
        return _pooled_log_proba(self._member_logits(X)[0])

    def decision_function(self, X: Any) -> np.ndarray:
        """Log-probabilities of the classes, or log-odds of the second of two.

        Parameters
        ----------
        X : as in fit

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or (n_samples,) for two classes
            Finite.
        """
        log_proba = _pooled_log_proba(self._member_logits(X)[0])
        return log_proba[:, 1] - log_proba[:, 0] if log_proba.shape[1] == 2 else log_proba

    def predict(self, X: Any) -> np.ndarray:
        """Most probable class.

        Parameters
        ----------
        X : as in fit

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels, of the kind given to fit.
        """
        log_proba = _pooled_log_proba(self._member_logits(X)[0])
        return self.classes_[log_proba.argmax(axis=1)]

    def predict_uncertainty(self, X: Any) -> Uncertainty:
        """Uncertainty of each prediction, split into its parts.

        Parameters
        ----------
        X : as in fit

        Returns
        -------
        Uncertainty
            Arrays of shape (n_samples,): ``total``, ``aleatoric`` and ``epistemic`` in nats,
            ``disagreement``, ``variance``, ``confidence``; ``.to_frame()`` has the input's index.
        """
        logits, samples = self._member_logits(X)
        return Uncertainty.from_members(softmax64(logits), index=samples.index)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        return tags


def _pool(members: np.ndarray) -> np.ndarray:
    mean = members.mean(axis=0)
    return mean / mean.sum(axis=1, keepdims=True)


def _pooled_log_proba(logits: np.ndarray) -> np.ndarray:
    """Log of the mean of the members' probabilities, without underflow."""
    return logsumexp(log_softmax(logits, axis=-1), axis=0) - np.log(len(logits))


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b))
    try:
        return bool(a == b)
    except (TypeError, ValueError):
        return False


def _rank_of(module: EnsembleModule, name: str) -> int:
    return int(module.split.model.get_submodule(name).rank)
