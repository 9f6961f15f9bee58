"""What cases share: fitted once, never changed."""

import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sksve import TruncationWarning

__all__ = ["World"]

TEXTS = ["good film", "bad film", "loved it", "hated it", "a best movie", "dull", "fun", "boring"]


class World:
    name = ""

    @cache  # noqa: B019  (one object a session)
    def tiny(self, family: str = "bert") -> Any:
        from sksve.backbones import make_tiny_backbone

        return make_tiny_backbone(family)

    @cache  # noqa: B019
    def tokenizer(self) -> Any:
        from sksve.backbones import load_backbone, resolve_backbone

        return load_backbone(resolve_backbone(self.tiny())).processor

    def make(self, name: str, **changes: Any) -> Any:
        """A classifier that is fitted in a few hundredths of a second."""
        import sksve
        from sksve import Training, baselines

        kind = getattr(baselines, name, None) or getattr(sksve, name)
        settings = {"max_epochs": 1, "batch_size": 4, "random_state": 0, "max_length": 24}
        settings |= {"n_members": 2, "n_samples": 2, "lr": 1e-3} | changes
        settings.setdefault("training", Training(head_lr=1e-3))
        known = kind._get_param_names()
        return kind(self.tiny(), **{k: v for k, v in settings.items() if k in known})

    @cache  # noqa: B019
    def fitted(self, name: str, kind: str) -> Any:
        rng = np.random.default_rng(0)
        if kind == "image":
            X: Any = rng.integers(0, 256, (8, 28, 28, 3)).astype(np.uint8)
            return self.make(name).set_params(backbone=self.tiny("vit")).fit(X, [0, 1] * 4)
        X = TEXTS if kind == "text" else rng.integers(0, 9, size=(8, 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncationWarning)
            warnings.filterwarnings("ignore", "X has no column of free text")
            return self.make(name).fit(X, [0, 1] * 4)

    @cache  # noqa: B019
    def empty_folder(self) -> Path:
        self._scratch = tempfile.TemporaryDirectory()
        return Path(self._scratch.name)

    @cache  # noqa: B019
    def comparison(self) -> Any:
        from sksve import compare_calibration

        rng = np.random.default_rng(0)
        p = rng.dirichlet(np.ones(3), size=60)
        y = np.array([rng.choice(3, p=row) for row in p])
        square = p[:30] ** 2 / (p[:30] ** 2).sum(axis=1, keepdims=True)
        told: dict[str, Any] = {"methods": ("temperature",), "n_resamples": 20, "random_state": 0}
        models = {"a": (p[:30], p[30:]), "b": (square, p[30:])}
        return compare_calibration(models, None, y[:30], None, y[30:], **told)
