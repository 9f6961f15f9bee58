"""What every classifier with members shares: the order of events in fit."""

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from sksve._validation import check_declared, declared
from sksve.backbones import (
    AdaptationPlan,
    AdapterReport,
    LoadedBackbone,
    ResolvedBackbone,
    load_backbone,
    plan_adaptation,
    prove,
    resolve_backbone,
)
from sksve.estimators._auto import check_sizes, needs_information, resolve
from sksve.estimators._continued import FirstMembersMixin, PartialFitMixin, WarmStartMixin
from sksve.estimators._data import Targets, data_sizes, read_targets
from sksve.estimators._export import ExportMixin
from sksve.estimators._facts import Facts, facts_of, information_of
from sksve.estimators._parameters import CommonParameters, NestedOptions
from sksve.estimators._predict import MemberPredictor
from sksve.estimators._reader import RowReader
from sksve.estimators._saving import SavingMixin
from sksve.inputs import CheckedRows, check_max_length
from sksve.novelty import NEIGHBORS, ROWS, NoveltyReference
from sksve.training import (
    MemberDataset,
    MemberFactory,
    MemberNet,
    Precision,
    Processes,
    Run,
    Settings,
    TrainedMembers,
    Training,
    WholeBackbone,
    assemble,
    base_seed,
    check_callbacks,
    check_writable,
    choose_device,
    clear_checkpoints,
    is_auto,
    layer_vectors,
    stored_seed,
    train,
)

Parts = list[tuple[CheckedRows, Targets]]


class MemberClassifier(
    NestedOptions,
    PartialFitMixin,
    WarmStartMixin,
    FirstMembersMixin,
    SavingMixin,
    ExportMixin,
    MemberPredictor,
    CommonParameters,
):
    """Base of the classifiers whose members are trained on one backbone.

    A subclass declares the parameters it has beyond the common ones and says which layers replace the
    backbone's linear ones.
    """

    #: What "auto" stands for, see ``_auto.py``.
    _rules: ClassVar[Mapping[str, Any]]
    #: Adapted where the backbone does not say which layers.
    _target_modules: ClassVar[str] = "all-linear"
    # Of classifiers without the parameter.
    n_members: Any = 1
    n_jobs: Any = None
    warm_start: Any = False
    lr: Any = None
    adapt_blocks: Any = None
    early_stopping: Any = False
    training: Any = None

    @abstractmethod
    def _layer_factory(self, settings: Settings) -> MemberFactory:
        """Make the factory of the members' layers, or of whole members."""

    def _plan(self, resolved: ResolvedBackbone, settings: Settings) -> AdaptationPlan:
        chosen = resolved.target_modules
        return plan_adaptation(
            resolved,
            target_modules=self._target_modules if is_auto(chosen) else chosen,
            adapt_blocks=settings.adapt_blocks,
        )

    def _plan_for(
        self, reader: RowReader, resolved: ResolvedBackbone, settings: Settings
    ) -> AdaptationPlan:
        """Plan of the fit; without anything to read, no block is adapted."""
        if not reader.reads:
            return plan_adaptation(resolved, adapt_blocks=0)
        return self._plan(resolved, settings)

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
            a table, see `side_features`, or, with ``serializer="pair"``, two columns of texts.
            With a vision backbone: a list of PIL images, of uint8 arrays or of file paths, or a uint8 array
            of shape (n_samples, h, w) or (n_samples, h, w, 3).
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
            If the folder of checkpoints cannot be written.

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
        check_declared(self, *([self.training] if isinstance(self.training, Training) else []))
        warm = self.warm_start and hasattr(self, "net_")
        training = self.training or Training()
        check_callbacks(training.callbacks)
        device = choose_device(self.device)
        processes = Processes.join(training.data_parallel, device, self.n_jobs)
        device = processes.device or device
        folder = _checkpoint_folder(training) if max_epochs is None else None
        seed = self.settings_.random_state if warm else _fit_seed(self.random_state, folder)
        seed = processes.gather(seed)[0]
        with processes.expected():
            reader = RowReader(type(self).__name__, self.serializer, self.side_features)
            parts = self._read_parts(reader, X, y, sample_weight, X_val, y_val, seed, classes)
            resolved = resolve_backbone(self.backbone)
            vision = resolved.is_vision  # where strings are paths
            parts = [(rows.for_backbone(resolved.name, vision=vision), t) for rows, t in parts]
            reader.take_kind(parts[0][0].kind, self.long_texts)
            resolved = replace(resolved, side=parts[0][0].longer_side)
            if warm and vision:  # as the old members have them
                resolved = replace(resolved, image_size=self._reader.image_size)
            if reader.advice:
                warnings.warn(reader.advice, UserWarning, stacklevel=3)
            classes = parts[0][1].classes
            earlier = self.settings_ if warm else None
            facts = facts_of(resolved, parts[0][1], reader, images=vision)
            settings = self._resolve_settings(facts, seed, earlier)
            if not warm:
                check_sizes(settings, facts)
            factory = self._layer_factory(settings)
            plan = self._plan_for(reader, resolved, settings)
            check_max_length(self.max_length, plan.max_positions, resolved.name)
            precision = Precision.choose(self.precision, device)
            old = None
            if warm:
                self._reader.read(
                    X, estimator=self
                )  # the old members know this kind and width only
                old = self._members_to_keep(settings, classes)
                if len(old.ids) == self.n_members:
                    warnings.warn(
                        "Warm-start fitting without increasing n_members does not fit new members.",
                        UserWarning,
                        stacklevel=3,
                    )
                    return self

            if folder is not None:
                check_writable(folder)
            backbone = load_backbone(resolved, dtype=precision.dtype)
            plan = prove(backbone, plan, members=not isinstance(factory, WholeBackbone))
            reader.take_backbone(backbone, self, precision.dtype)
            data = [reader.dataset(rows, backbone.model, plan, targets) for rows, targets in parts]
            run = reader.run(Run.on(device, precision, len(classes)))
            run = replace(run, checkpoint_dir=folder)
            if reader.reads and needs_information(self._user_values(), self._rules, facts, earlier):
                facts = replace(facts, information=information_of(backbone, plan, data[0], run))
                settings = self._resolve_settings(facts, seed, earlier)
        if max_epochs is not None:
            settings = settings.with_values(max_epochs=max_epochs)
        for_training = settings.for_training()
        for_training, run = processes.share(for_training, run, data)
        ids = range(0 if old is None else len(old.ids), self.n_members)
        valid = data[1] if len(data) > 1 else None
        members = self._train(
            backbone, plan, factory, ids, data[0], valid, parts[0][1].scale, for_training, run
        )
        if old is not None:
            members = assemble(backbone, plan, factory, old.joined(members), for_training, run)
        notes = {"n_parts": 1, "data_sizes": data_sizes(*(targets for _, targets in parts))}
        learned = dict(self._after_training(members.net, settings, data[0]))
        vectors = layer_vectors(
            members.net.module_.split, data[0], device=device, autocast=precision.prediction
        )
        learned["_novelty"] = (
            NoveltyReference.learn(
                vectors, cosine=reader.reads, n_neighbors=NEIGHBORS, max_rows=ROWS, seed=seed
            )
            if old is None
            else self._novelty.extended(vectors)
        )
        self._become(classes, settings, members, plan, backbone, reader, notes, learned)
        if folder is not None and not members.interrupted:  # complete: the next fit is a new one
            if run.processes.is_main:
                clear_checkpoints(folder)
            run.processes.gather(None)  # nobody begins the next fit with these still there
        return self

    # -- settings --------------------------------------------------------------------------------

    def _user_values(self) -> dict[str, Any]:
        """Every parameter and every option of `Training`, as the user has them."""
        training = self.training or Training()
        values = {name: getattr(self, name) for name in declared(self) if name != "training"}
        return values | {name: getattr(training, name) for name in declared(training)}

    def _resolve_settings(
        self, facts: Facts, seed: int, earlier: Settings | None = None
    ) -> Settings:
        """Replace every "auto"; with `earlier`, by what it stood for in a former fit."""
        user_values = self._user_values()
        settings = resolve(type(self).__name__, user_values, self._rules, facts, earlier)
        fixed = ("n_members", "n_jobs", "warm_start", "lr", "adapt_blocks")
        absent = {name: getattr(self, name) for name in fixed if name not in user_values}
        scopes = {
            name: option.metadata["scope"]
            for name, option in {**declared(self), **declared(Training)}.items()
        }
        settings = settings.with_values(random_state=seed)
        return replace(settings, idle={**settings.idle, **absent}, scopes=scopes)

    # -- data ------------------------------------------------------------------------------------

    def _read_parts(
        self,
        reader: RowReader,
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
            raise ValueError("X_val and y_val go together: pass both or neither.")
        rows = reader.read(X, reset=True)
        targets = read_targets(y, len(rows), sample_weight, self.class_weight, classes)
        if X_val is not None:
            rows_val = reader.read(X_val)
            judged = Targets.to_judge_by(y_val, targets.classes, len(rows_val))
            rows = reader.write(rows, reset=True, train=targets)
            return [(rows, targets), (reader.write(rows_val), judged)]
        parts = [targets]
        if self.early_stopping:
            parts = list(targets.split(self._held_out_share(), seed))
        rows = reader.write(rows, reset=True, train=parts[0])
        return [(rows, part) for part in parts]

    # -- training --------------------------------------------------------------------------------

    def _held_out_share(self) -> float:
        share = (self.training or Training()).validation_fraction
        return float(self._rules["validation_fraction"] if is_auto(share) else share)

    def _train(
        self,
        backbone: LoadedBackbone,
        plan: AdaptationPlan,
        factory: MemberFactory,
        ids: Sequence[int],
        data: MemberDataset,
        valid: MemberDataset | None,
        scale: float,
        settings: Settings,
        run: Run,
    ) -> TrainedMembers:
        """Make the members `ids`; `scale` times a row's weight is what the user gave."""
        return train(backbone, plan, factory, ids, data, valid, settings, run, n_jobs=self.n_jobs)

    def _after_training(
        self, net: MemberNet, settings: Settings, data: MemberDataset
    ) -> dict[str, Any]:
        """Return what a method learns beyond its members, from the training data."""
        return {}

    # -- what has been learned -------------------------------------------------------------------

    def _become(
        self,
        classes: np.ndarray,
        settings: Settings,
        members: TrainedMembers,
        plan: AdaptationPlan,
        backbone: LoadedBackbone,
        reader: RowReader,
        notes: Mapping[str, Any],
        learned: Mapping[str, Any],
    ) -> None:
        """Take on what a fit has learned, in place of what a former one had."""
        module = members.net.module_
        layers = {name: module.split.model.get_submodule(name) for name in plan.targets}
        report = AdapterReport.of(
            plan,
            dict(module.named_parameters()),
            n_members=len(members.ids),
            n_total=sum(p.numel() for p in backbone.model.parameters()),
            ranks={name: int(x.rank) for name, x in layers.items() if hasattr(x, "rank")},
        )
        for name in self._learned():
            delattr(self, name)
        columns = {n: v for n, v in vars(reader).items() if n.endswith("_")}
        for name, value in {**columns, **learned}.items():
            setattr(self, name, value)
        self.classes_ = classes
        self.settings_ = settings
        self.history_ = members.history
        self.n_iter_ = len(members.history)
        self.net_ = members.net
        self.input_kind_ = reader.kind
        self.adapter_report_ = report
        self._reader = reader
        self._notes = notes

    def _learned(self) -> dict[str, Any]:
        """Return what fit has learned: meta-estimators leave notes of their own on an estimator."""
        private = ("_reader", "_notes", "_novelty")
        return {n: v for n, v in vars(self).items() if n.endswith("_") or n in private}


def _checkpoint_folder(training: Training) -> Path | None:
    """Where checkpoints go: absolute, so that a worker elsewhere means the same folder."""
    folder = training.checkpoint_dir
    return None if folder is None else Path(folder).expanduser().resolve()


def _fit_seed(random_state: Any, checkpoints: Path | None) -> int:
    """Seed of a fit: where `random_state` leaves it open, that of the fit it continues."""
    known = None
    if random_state is None and checkpoints is not None:
        known = stored_seed(checkpoints)
    return base_seed(random_state) if known is None else known
