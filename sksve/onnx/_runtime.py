"""An exported classifier: tokenizer and graph in one file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Of the uncertainty's parts, in the graph's names.
PARTS = ("total", "aleatoric", "epistemic", "disagreement", "variance", "confidence", "novelty")
KEY = "sksve"  # of the graph's metadata
TOKENS = 1024  # of a batch, padding included


@dataclass(frozen=True)
class OnnxUncertainty:
    """What ``sksve.metrics.Uncertainty`` says of each row, as plain arrays of shape (n_samples,)."""

    total: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray
    disagreement: np.ndarray
    variance: np.ndarray
    confidence: np.ndarray
    novelty: np.ndarray


def load(path: Any) -> "OnnxClassifier":
    """Load what ``export_onnx`` wrote.

    Needs onnxruntime, numpy and, for texts, tokenizers; neither torch nor transformers nor scikit-learn.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    OnnxClassifier
        Predicts as the classifier that was exported, to 1e-4.

    Raises
    ------
    ImportError
        If onnxruntime or tokenizers is missing.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file was not written by ``export_onnx``.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("Exported models run by: pip install onnxruntime tokenizers.") from error
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is no file. Give what export_onnx() wrote.")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        about = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    except Exception as error:  # onnxruntime raises kinds of its own
        raise ValueError(f"{path} was not written by sksve's export_onnx(): {error}") from error
    return OnnxClassifier(session, about)


def _renormalised(proba: np.ndarray) -> np.ndarray:
    wide = proba.astype(np.float64)
    return wide / wide.sum(axis=-1, keepdims=True)


class OnnxClassifier:
    """A classifier out of an ONNX file; made by :func:`load`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    n_members : int
        Members of the ensemble.
    """

    def __init__(self, session: Any, about: dict[str, Any]) -> None:
        self._session, self._about = session, about
        self.classes_ = np.array(about["classes"])
        self.n_members = int(about["n_members"])
        self._outputs = [output.name for output in session.get_outputs()]
        self._tokenizer: Any = None
        if about["tokenizer"] is not None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_str(about["tokenizer"])
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(about["max_length"])

    def _batches(self, X: Any) -> Any:
        """Rows of each batch, with ids and mask, or pixels."""
        if self._tokenizer is None:
            pixels = np.asarray(X, dtype=np.float32)
            if pixels.ndim != 4:
                raise ValueError(
                    "X must hold pixel values of shape (n, channels, height, width), as the image processor "
                    f"gives them. Got shape {pixels.shape}."
                )
            for start in range(0, len(pixels), 32):
                rows = np.arange(start, min(start + 32, len(pixels)))
                yield rows, {"pixel_values": pixels[rows]}
            return
        if isinstance(X, str) or not all(isinstance(text, str) for text in X):
            raise ValueError("X must be a sequence of texts, such as a list of str.")
        blank = [self._about["blank"]]
        ids = [e.ids or blank for e in self._tokenizer.encode_batch(list(X))]
        lengths = np.array([len(row) for row in ids])
        order = np.argsort(lengths, kind="stable")
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and (stop + 1 - start) * lengths[order[stop]] <= TOKENS:
                stop += 1
            rows = order[start:stop]
            mask = np.arange(lengths[rows].max()) < lengths[rows][:, None]
            padded = np.full(mask.shape, self._about["pad"], dtype=np.int64)
            padded[mask] = np.concatenate([ids[row] for row in rows])
            yield rows, {"input_ids": padded, "attention_mask": mask.astype(np.int64)}
            start = stop

    def _run(self, X: Any, side_features: Any, names: Sequence[str]) -> list[np.ndarray]:
        """Outputs of the graph for all rows; the rows' axis is the first, of members the second."""
        missing = [name for name in names if name not in self._outputs]
        if missing:
            raise AttributeError(f"The classifier that was exported has no {missing[0]!r}.")
        side = None
        if self._about["n_side"]:
            side = np.asarray(side_features, dtype=np.float32)
            if side.shape != (len(X), self._about["n_side"]):
                raise ValueError(
                    f"side_features must have shape ({len(X)}, {self._about['n_side']}): what the "
                    f"classifier's side_features_.transform(X) gives. Got {side.shape}."
                )
        if not len(X):
            raise ValueError("At least one row is needed. Got none.")
        found: list[Any] = [None] * len(names)
        for rows, inputs in self._batches(X):
            if side is not None:
                inputs["side_features"] = side[rows]
            for k, value in enumerate(self._session.run(list(names), inputs)):
                value = np.moveaxis(value, 1, 0) if names[k] == "member_probabilities" else value
                if found[k] is None:
                    found[k] = np.empty((len(X), *value.shape[1:]), dtype=value.dtype)
                found[k][rows] = value
        return found

    def predict_proba(self, X: Any, side_features: Any = None) -> np.ndarray:
        """Class probabilities, calibrated if the classifier was.

        Parameters
        ----------
        X : sequence of str, or ndarray of shape (n_samples, channels, height, width)
            Texts, or pixel values as the image processor gives them.
        side_features : array-like of shape (n_samples, n_side), default=None
            For a model of tables.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            float64, rows sum to 1, columns in the order of ``classes_``.
        """
        return _renormalised(self._run(X, side_features, ["probabilities"])[0])

    def predict_proba_members(self, X: Any, side_features: Any = None) -> np.ndarray:
        """Class probabilities of each member.

        Parameters
        ----------
        X, side_features
            As in :meth:`predict_proba`.

        Returns
        -------
        ndarray of shape (n_members, n_samples, n_classes)
            Of each member.
        """
        members = self._run(X, side_features, ["member_probabilities"])[0]
        return _renormalised(np.moveaxis(members, 1, 0))

    def predict(self, X: Any, side_features: Any = None) -> np.ndarray:
        """Most probable class.

        Parameters
        ----------
        X, side_features
            As in :meth:`predict_proba`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        return self.classes_[self.predict_proba(X, side_features).argmax(axis=1)]

    def predict_uncertainty(self, X: Any, side_features: Any = None) -> OnnxUncertainty:
        """Uncertainty of each row, split into its parts, and its novelty.

        Parameters
        ----------
        X, side_features
            As in :meth:`predict_proba`.

        Returns
        -------
        OnnxUncertainty
            Entropies in nats.
        """
        return OnnxUncertainty(*self._run(X, side_features, PARTS))

    def accepts(self, X: Any, side_features: Any = None) -> np.ndarray:
        """Which rows a selective classifier answers.

        Parameters
        ----------
        X, side_features
            As in :meth:`predict_proba`.

        Returns
        -------
        ndarray of shape (n_samples,) and dtype bool
            False where it abstains.
        """
        return self._run(X, side_features, ["accepts"])[0]

    def predict_set(self, X: Any, side_features: Any = None) -> np.ndarray:
        """Prediction sets of a conformal classifier.

        Parameters
        ----------
        X, side_features
            As in :meth:`predict_proba`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) and dtype bool
            Which classes each row's set holds.
        """
        return self._run(X, side_features, ["set"])[0]
