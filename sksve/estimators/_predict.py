"""The half of a classifier with members that predicts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from numbers import Integral
from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sksve._validation import brief
from sksve.estimators._data import expected_accuracy, read_soft_labels
from sksve.estimators._reader import RowReader
from sksve.inputs import CheckedRows, read_rows
from sksve.metrics import Uncertainty
from sksve.novelty import NoveltyReference
from sksve.preprocessing._table import from_arrow, plain_container
from sksve.training import (
    LayerVectors,
    MemberDataset,
    Precision,
    Progress,
    layer_vectors,
    predict_logits,
    softmax64,
)


class MemberPredictor(ClassifierMixin, BaseEstimator):
    """Predictions of a classifier whose members share one backbone.

    What ``fit`` of a subclass must leave: ``classes_``, ``net_``, ``settings_``, ``input_kind_`` and
    ``_reader`` and ``_novelty``.
    """

    _reader: RowReader
    _novelty: NoveltyReference
    _pools_by_mean = True  # sksve.metrics reads it: wrappers need one sweep for members and mean

    @property
    def _tokenizer(self) -> Any:
        return self._reader.processor

    @property
    def _prediction_autocast(self) -> Any:
        return Precision.choose(self.settings_.precision, str(self.net_.device)).prediction

    def _read(self, X: Any) -> tuple[MemberDataset, CheckedRows]:
        """Read X as in fit."""
        rows = self._reader.write(self._reader.read(X, estimator=self))
        split = self.net_.module_.split
        return self._reader.dataset(rows, split.model, split.plan), rows

    def _member_logits(
        self, X: Any, *, novelty: bool = False
    ) -> tuple[np.ndarray, CheckedRows, np.ndarray | None]:
        """Logits (m, n, c), the rows, and their novelty (n,) from the same pass, if it is wanted."""
        check_is_fitted(self)
        data, rows = self._read(X)
        vectors = LayerVectors(self.net_.module_.split, len(data)) if novelty else None
        logits = self._logits(data, vectors)
        if not np.isfinite(logits).all():  # the last step diverged, which no loss has seen
            member, row = np.argwhere(~np.isfinite(logits))[0][:2]
            raise FloatingPointError(
                f"Member {member} has no finite answer for row {row} of X: training diverged. "
                "Fit again with a lower lr, head_lr or init_scale, or with precision='float32'."
            )
        return logits, rows, None if vectors is None else self._novelty.novelty(vectors.layers)

    def _predict_novelty(self, X: Any) -> np.ndarray:
        """Novelty (n,) of rows, without a pass of the members."""
        check_is_fitted(self)
        return self._novelty.novelty(self._vectors_of(self._read(X)[0]))

    def _vectors_of(self, data: MemberDataset) -> list[np.ndarray]:
        net = self.net_
        how: dict[str, Any] = {"device": net.device, "autocast": self._prediction_autocast}
        return layer_vectors(net.module_.split, data, **how)

    def _predict_members_and_novelty(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        logits, _, novelty = self._member_logits(X, novelty=True)
        assert novelty is not None
        return softmax64(logits), novelty

    def _logits(self, data: MemberDataset, vectors: LayerVectors | None = None) -> np.ndarray:
        """Logits (m, n, c) of the members; `vectors` collects those of the frozen backbone."""
        return predict_logits(
            self.net_.module_, data, device=self.net_.device, autocast=self._prediction_autocast,
            progress=self.verbose >= 1, vectors=vectors,
        )  # fmt: skip

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

    def predict_proba_iter(self, X: Any, *, chunk_size: int = 1024) -> Iterator[np.ndarray]:
        """Class probabilities of any number of rows, piece by piece, in bounded memory.

        Parameters
        ----------
        X : iterable of rows or of chunks, or as in fit
            A generator of texts (images, rows of a table) is read as far as it is needed; of an array,
            memory-mapped or not, a frame or a list, `chunk_size` rows are looked at at a time. Chunks
            are lists of texts or of images, arrays (2-D of a table), pyarrow record batches, tables or
            arrays, such as ``ParquetFile(...).iter_batches()`` gives, or frames and series of pandas or
            polars; no piece holds rows of two chunks. Rows must be of the kind seen in fit.
        chunk_size : int, default=1024
            Rows of a piece. Lengths are sorted, and members merged, within a piece, so small pieces
            are slower.

        Yields
        ------
        ndarray of shape (n_rows, n_classes)
            As :meth:`predict_proba`, for the next `chunk_size` rows; fewer in the last piece of X, or
            of a chunk.

        Raises
        ------
        ValueError
            If `chunk_size` is not an int of at least 1, X is one bare str, or rows are bad.
        TypeError
            If X cannot be iterated.

        Examples
        --------
        >>> from sksve import SVEClassifier
        >>> from sksve.backbones import make_tiny_backbone
        >>> clf = SVEClassifier(make_tiny_backbone(), n_members=2, max_epochs=1, random_state=0)
        >>> clf = clf.fit(["good", "bad"] * 4, ["pos", "neg"] * 4)
        >>> lines = (line for line in ["good film", "bad film", "good"])  # a file, a queue, ...
        >>> [proba.shape for proba in clf.predict_proba_iter(lines, chunk_size=2)]
        [(2, 2), (1, 2)]
        """
        return self._in_pieces(self.predict_proba, X, chunk_size)

    def _in_pieces(self, answer: Callable[[Any], Any], X: Any, chunk_size: Any) -> Iterator[Any]:
        """What `answer` says of the pieces of X: the prediction of this classifier or of one around it."""
        check_is_fitted(self)
        if not isinstance(chunk_size, Integral) or isinstance(chunk_size, bool) or chunk_size < 1:
            raise ValueError(
                f"'chunk_size' must be an int in the range [1, inf). Got {chunk_size!r}."
            )
        if isinstance(X, str):
            read_rows(X)  # raises: the letters of a text are not rows
        if isinstance(X, Mapping):
            plain_container(X)  # raises
        try:
            iter(X)
        except TypeError:
            raise TypeError(
                "X must hold rows, or be an iterable of rows or of chunks. Got "
                f"{type(X).__name__} instead."
            ) from None
        # A generator in another function: what is wrong so far is raised now, not at the first piece.
        return self._stream(answer, X, int(chunk_size))

    def _stream(self, answer: Callable[[Any], Any], X: Any, chunk_size: int) -> Iterator[Any]:
        total = len(X) if hasattr(X, "__len__") else None
        with Progress(total, "row", show=self.verbose >= 1) as bar:
            for piece in _pieces(X, chunk_size, self.input_kind_):
                with bar.alone():
                    answered = answer(piece)
                bar.advance(len(answered))
                yield answered

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
            Labels, of the kind seen in fit.
        """
        log_proba = _pooled_log_proba(self._member_logits(X)[0])
        return self.classes_[log_proba.argmax(axis=1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy; of soft labels, the accuracy to be expected of labels drawn from them.

        Parameters
        ----------
        X : as in fit
        y : array-like of shape (n_samples,), or soft labels of shape (n_samples, n_classes)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
            In [0, 1].
        """
        predicted, y = self.predict(X), from_arrow(y)
        soft = read_soft_labels(y, classes=self.classes_)
        if soft is None:
            return float(accuracy_score(y, predicted, sample_weight=sample_weight))
        check_consistent_length(predicted, soft[1])
        return expected_accuracy(predicted, soft[1], self.classes_, sample_weight)

    def predict_uncertainty(self, X: Any) -> Uncertainty:
        """Uncertainty of each prediction, split into its parts.

        Parameters
        ----------
        X : as in fit

        Returns
        -------
        Uncertainty
            Arrays of shape (n_samples,): ``total``, ``aleatoric`` and ``epistemic`` in nats,
            ``disagreement``, ``variance``, ``confidence``, and ``novelty`` in [0, 1]: the share of the
            training rows that are less far from the other training rows than this row is from them, in the
            frozen backbone's vectors (of a table without text: in its standardised side features). It is
            nearly uniform on rows like the training rows, near 1 on foreign ones.
            ``.to_frame()`` has the input's index.

        See Also
        --------
        sksve.NoveltyDetector : The same number without a classifier.
        """
        logits, rows, novelty = self._member_logits(X, novelty=True)
        return Uncertainty.from_members(softmax64(logits), novelty=novelty, index=rows.index)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        shown = {name: brief(value) for name, value in self.get_params(deep=False).items()}
        return str(BaseEstimator.__repr__(type(self)(**shown), N_CHAR_MAX))

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


# -- rows that do not fit in memory together -----------------------------------------------------


def _pieces(X: Any, size: int, kind: str) -> Iterator[Any]:
    """Cut rows into pieces of at most `size`, one at a time.

    What can be sliced is sliced, so that a memory-mapped array is read piece by piece; anything else is
    iterated once. Chunks are cut each by itself. `kind` is that of the rows seen in fit.
    """
    if _is_sliced(X):
        if not isinstance(X, (list, tuple)) or not X or not _is_chunk(X[0], kind):
            yield from _slices(X, size, kind)
            return
    rows = iter(X)
    for first in rows:
        rows = chain([first], rows)
        if not _is_chunk(first, kind):
            yield from _batched(rows, size)
            return
        for chunk in rows:
            yield from _slices(chunk, size, kind)


def _is_sliced(X: Any) -> bool:
    if isinstance(X, Sequence):  # a deque, for one, has no slices
        return isinstance(X, (list, tuple, range))
    return hasattr(X, "__getitem__") and hasattr(X, "__len__")


def _slices(X: Any, size: int, kind: str) -> Iterator[Any]:
    rows = getattr(X, "iloc", X)  # of a frame or a series: by position
    for start in range(0, len(X), size):
        piece = rows[start : start + size]
        if kind == "text" and getattr(piece, "num_columns", 0) == 1:  # pyarrow's
            piece = piece.column(0)
        yield from_arrow(piece)


_AXES_OF_CHUNKS = {"text": 1, "image": 4}  # of arrays; of tables two


def _is_chunk(x: Any, kind: str) -> bool:
    """Whether an item of a stream holds several rows."""
    if isinstance(x, np.ndarray):
        return x.ndim == _AXES_OF_CHUNKS.get(kind, 2)
    if isinstance(x, (list, tuple)):  # of a table: a row
        return kind in _AXES_OF_CHUNKS
    return hasattr(x, "__len__") and type(x).__module__.partition(".")[0] in _CHUNKS


_CHUNKS = ("pandas", "polars", "pyarrow")


def _batched(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rows = iter(rows)
    while piece := list(islice(rows, size)):
        yield piece
