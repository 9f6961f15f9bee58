"""What every classifier with members shares: the order of events in fit."""

import warnings
from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np

from sksve._validation import check_parameters
from sksve.backbones import (
    AdaptationPlan,
    LoadedBackbone,
    ResolvedBackbone,
    adapter_report,
    count_parameters,
    is_vision,
    load_backbone,
    plan_from_config,
    positions_from_config,
    resolve_backbone,
)
from sksve.estimators._card import data_sizes
from sksve.estimators._export import ExportMixin
from sksve.estimators._first_members import FirstMembersMixin
from sksve.estimators._labels import Targets, read_targets
from sksve.estimators._partial_fit import PartialFitMixin
from sksve.estimators._predict import MemberPredictor
from sksve.estimators._saving import SavingMixin
from sksve.estimators._settings import CONSTRAINTS, Precision, choose_device
from sksve.estimators._survival import fit_seed, forget_checkpoints, writable_folder
from sksve.estimators._warm_start import STRUCTURE_FREE, check_unchanged, members_of
from sksve.inputs import CheckedRows, check_max_length
from sksve.training import (
    EnsembleModule,
    MemberDataset,
    MemberFactory,
    TrainedMembers,
    TrainingConfig,
    assemble,
    join,
    join_processes,
    train,
)

__all__ = ["MemberClassifier"]

Parts = list[tuple[CheckedRows, Targets]]

_LEARNED_PRIVATELY = {
    "_data_sizes", "_dtype", "_max_length", "_n_parts", "_prediction_autocast", "_seed",
    "_serializer",
    "_structure", "_tokenizer",
}  # fmt: skip


class MemberClassifier(
    PartialFitMixin, FirstMembersMixin, SavingMixin, ExportMixin, MemberPredictor
):
    """Base of the classifiers whose members are trained on one backbone.

    A subclass has the parameters of ``SVEClassifier`` (those it needs) and says which layers replace
    the backbone's linear ones.
    """

    #: Constraints of parameters that only a subclass has, or means differently.
    _own_constraints: ClassVar[dict[str, list[Any]]] = {}
    data_parallel: bool = False  # of a subclass without the parameter

    @abstractmethod
    def _layer_factory(self) -> MemberFactory:
        """Make the factory of the members' layers, or of whole members."""

    def _plan(self, resolved: ResolvedBackbone) -> AdaptationPlan:
        return plan_from_config(
            resolved, target_modules=self.target_modules, adapt_blocks=self.adapt_blocks
        )

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
        X : sequence of str, table of shape (n_samples, n_features), or images
            1-D strings are texts, as is a table with one column of strings; any other 2-D input is
            a table whose rows are turned into text, or, with ``serializer="pair"``, two columns of
            texts. With a vision backbone: a list of PIL images, of uint8 arrays or of file paths, or a
            uint8 array of shape (n_samples, h, w) or (n_samples, h, w, 3).
        y : array-like of shape (n_samples,), or (n_samples, n_classes)
            Labels of any kind scikit-learn accepts. Two columns or more of floats are soft labels,
            rows of probabilities, such as the shares of people who chose each class: members
            minimise the cross-entropy to them. The classes are a frame's column names, else
            ``0, 1, ...``, in the order of the columns.
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
            If a loss or gradient becomes NaN or infinite; the message names member and epoch.
        OSError
            If `checkpoint_dir` cannot be written.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If training was interrupted.
        sklearn.exceptions.DataConversionWarning
            If `y` is a column; it is taken as its values.
        """
        return self._fit(X, y, sample_weight, X_val, y_val)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any = None,
        y_val: Any = None,
        *,
        classes: np.ndarray | None = None,
        max_epochs: int | None = None,
    ) -> Self:
        """Fit; with `classes` and `max_epochs`, as the first call of partial_fit does."""
        params = self.get_params(deep=False)
        check_parameters(CONSTRAINTS | self._own_constraints, params, owner=type(self).__name__)
        warm = self.warm_start and hasattr(self, "net_")
        device = choose_device(self.device)
        processes = join_processes(self.data_parallel, device, self.n_jobs)
        device = processes.device or device
        seed = processes.gather(self._seed if warm else fit_seed(self))[0]
        with processes.expected():
            factory = self._layer_factory()
            # Learns in place of self; what it has learned moves here when all has gone well.
            fresh = type(self)(**params)
            parts = fresh._read_parts(X, y, sample_weight, X_val, y_val, seed, classes)
            resolved = resolve_backbone(self.backbone)
            parts = fresh._for_backbone(parts, resolved)
            classes = parts[0][1].classes
            plan = self._plan(resolved)
            check_max_length(self.max_length, positions_from_config(resolved), resolved.name)
            precision = Precision.choose(self.precision, device)
            old = None
            if warm:
                self._read(X, reset=False)  # the old members know this kind and width only
                old = self._members_to_keep(classes)
                if len(old.ids) == self.n_members:
                    warnings.warn(
                        "Warm-start fitting without increasing n_members does not fit new members.",
                        UserWarning,
                        stacklevel=3,
                    )
                    return self

            checkpoints = writable_folder(self) if max_epochs is None else None
            backbone = load_backbone(resolved, pooling=self.pooling, dtype=precision.dtype)
            fresh._take_backbone(backbone, precision)
            fresh._data_sizes = data_sizes(*(targets for _, targets in parts))
            data = [
                fresh._dataset(rows, backbone.model, plan.blocks, targets)
                for rows, targets in parts
            ]
            config = self._training_config(len(classes), seed, device, precision)
            config = replace(
                config, max_epochs=max_epochs or self.max_epochs, checkpoint_dir=checkpoints
            )
        config = processes.configured(config, data)
        ids = range(self.n_members)
        if old is not None:
            ids = range(len(old.ids), self.n_members)
        valid = data[1] if len(data) > 1 else None
        members = train(backbone, plan, factory, ids, data[0], valid, config, n_jobs=self.n_jobs)
        if old is not None:
            members = assemble(backbone, plan, factory, join(old, members), config)
        fresh._record(classes, seed, members, plan, backbone)
        fresh._after_training(data[0])
        self._take_over(fresh)
        forget_checkpoints(config, members)
        return self

    # -- data ------------------------------------------------------------------------------------

    def _read_parts(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any,
        y_val: Any,
        seed: int,
        classes: np.ndarray | None = None,
    ) -> Parts:
        """Check the data: rows and targets to train on and, if any, to judge by after each epoch."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together: give both or neither.")
        rows = self._read(X, reset=True)
        targets = read_targets(y, len(rows), sample_weight, self.class_weight, classes)
        if X_val is not None:
            rows_val = self._read(X_val, reset=False)
            judged = Targets.to_judge_by(y_val, targets.classes, len(rows_val))
            rows = self._written(rows, reset=True)
            return [(rows, targets), (self._written(rows_val, reset=False), judged)]
        parts = [targets]
        if self.early_stopping:
            parts = list(targets.split(self.validation_fraction, seed))
        rows = self._written(rows, reset=True)
        return [(rows, part) for part in parts]

    def _for_backbone(self, parts: Parts, resolved: ResolvedBackbone) -> Parts:
        """Check that the backbone can read the rows; strings are paths for one of vision."""
        vision = is_vision(resolved.config)
        parts = [(rows.for_backbone(resolved.name, vision=vision), t) for rows, t in parts]
        self.input_kind_ = parts[0][0].kind
        return parts

    def _take_backbone(self, backbone: LoadedBackbone, precision: Precision) -> None:
        """Remember what reading X and predicting need of the backbone."""
        self._tokenizer = backbone.processor
        self._max_length = self.max_length
        self._dtype = precision.dtype
        self._prediction_autocast = precision.prediction

    # -- training --------------------------------------------------------------------------------

    def _training_config(
        self, n_classes: int, seed: int, device: str, precision: Precision
    ) -> TrainingConfig:
        return TrainingConfig(
            n_classes=n_classes,
            seed=seed,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            lr=float(getattr(self, "lr", 0.0)),  # nothing adapted, no rate
            head_lr=self.head_lr,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            max_grad_norm=self.max_grad_norm,
            head_init_std=self.head_init_scale,
            anchored=getattr(self, "anchored", False),
            freeze_out=getattr(self, "freeze_out", None),
            core_optimizer=getattr(self, "core_optimizer", "adamw"),
            shared_batches=self.member_batches == "shared",
            patience=self.n_iter_no_change if self.early_stopping else None,
            device=device,
            dtype=precision.dtype,
            autocast=precision.training,
            callbacks=self.callbacks,
            verbose=self.verbose,
            max_length=self.max_length,
        )

    def _after_training(self, data: MemberDataset) -> None:
        """Learn what a method learns beyond its members, from the training data."""

    def _structural_parameters(self) -> dict[str, Any]:
        params = self.get_params(deep=False)
        return {k: v for k, v in params.items() if k not in STRUCTURE_FREE}

    def _members_to_keep(self, classes: np.ndarray) -> TrainedMembers:
        """Members of the former fit, if those to be trained now can stand beside them."""
        check_unchanged(
            self._structure,
            self._structural_parameters(),
            self.classes_,
            classes,
            len(self.net_.member_ids),
            self.n_members,
        )
        return members_of(self.net_, self.history_)

    # -- what has been learned -------------------------------------------------------------------

    def _record(
        self,
        classes: np.ndarray,
        seed: int,
        members: TrainedMembers,
        plan: AdaptationPlan,
        backbone: LoadedBackbone,
    ) -> None:
        module = members.net.module_
        self.classes_ = classes
        self.history_ = members.history
        self.n_iter_ = len(members.history)
        self.net_ = members.net
        self.adapter_report_ = adapter_report(
            plan,
            dict(module.named_parameters()),
            n_members=len(members.ids),
            n_total=count_parameters(backbone.model),
            ranks=_ranks(module, plan),
        )
        self._seed = seed
        self._n_parts = 1
        self._structure = self._structural_parameters()

    def _take_over(self, fresh: "MemberClassifier") -> None:
        """Replace what a former fit learned by what `fresh` has learned."""
        params = self.get_params(deep=False)
        for name in self._learned():
            delattr(self, name)
        for name, value in vars(fresh).items():
            if name not in params:
                setattr(self, name, value)

    def _learned(self) -> dict[str, Any]:
        """Return what fit has learned: meta-estimators leave notes of their own on an estimator."""
        learned = {n: v for n, v in vars(self).items() if n in _LEARNED_PRIVATELY}
        return learned | {n: v for n, v in vars(self).items() if n.endswith("_")}


def _ranks(module: EnsembleModule, plan: AdaptationPlan) -> dict[str, int]:
    """Adapted module -> its rank, where it has one."""
    layers = {name: module.split.model.get_submodule(name) for name in plan.targets}
    return {name: int(layer.rank) for name, layer in layers.items() if hasattr(layer, "rank")}
