"""scikit-learn's own checks on every rival: long, so marked slow."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from sksve import Training
from sksve.backbones import Backbone
from sksve.baselines import (
    BatchEnsembleClassifier,
    DeepEnsembleClassifier,
    FineTunedClassifier,
    LaplaceClassifier,
    LoRAEnsembleClassifier,
    MCDropoutClassifier,
)
from tests.making import name_of as name
from tests.making import temporary_tiny

# A folder, not a pair: the checks compare joblib.hash of the parameters with that of a deep copy, and
# joblib hashes no torch tensor like its own deep copy.
FOLDER = temporary_tiny(n_blocks=1, max_positions=512)

# Many epochs at a high rate: the checks fit some twenty rows of two numbers. float64 and one full batch
# make weights equal repetition to 1e-7.
COMMON = {
    "max_length": 512, "precision": "float64", "random_state": 0, "weight_decay": 0.0, "batch_size": 64,
    "training": Training(head_lr=5e-2),
}  # fmt: skip
RIVALS = {
    "fine_tuned": FineTunedClassifier(FOLDER, max_epochs=30, lr=5e-3, **COMMON),
    "deep_ensemble": DeepEnsembleClassifier(
        FOLDER, n_members=2, max_epochs=30, lr=5e-3, **COMMON
    ),
    "lora_ensemble": LoRAEnsembleClassifier(
        Backbone(FOLDER, target_modules="all-linear"), n_members=2, max_epochs=30, lr=5e-3,
        **COMMON,
    ),
    "batch_ensemble": BatchEnsembleClassifier(
        FOLDER, n_members=2, max_epochs=30, lr=3e-2, **COMMON
    ),
    "mc_dropout": MCDropoutClassifier(
        FOLDER, n_samples=3, max_epochs=30, lr=5e-3, dropout=0.02, **COMMON
    ),
    "laplace": LaplaceClassifier(
        FOLDER, n_samples=5, max_epochs=30, lr=5e-3, prior_precision=100.0, **COMMON
    ),
}  # fmt: skip

WEIGHTS = "check_sample_weight_equivalence_on_dense_data"
#: Checks that must fail, and why.
EXPECTED_FAILURES = {
    "mc_dropout": {
        WEIGHTS: "each row of a batch draws masks of its own: a row twice is two draws, weight 2 one"
    },
    "laplace": {WEIGHTS: "laplace-torch has no weights: a row of weight 2 adds its curvature once"},
}


def each_check():
    """Every rival and check. Not parametrize_with_checks: its ids hold the folder, which differs
    between the workers of pytest-xdist, and they must agree on the names of all tests.
    """
    for rival, estimator in RIVALS.items():
        known = EXPECTED_FAILURES.get(rival, {})
        for one, check in estimator_checks_generator(estimator):
            reason = known.get(getattr(check, "func", check).__name__)
            marks = [pytest.mark.slow]
            if reason is not None:
                marks.append(pytest.mark.xfail(reason=reason, strict=True))
            yield pytest.param(one, check, marks=marks, id=f"{rival}-{name(check)}")


@pytest.mark.parametrize(("estimator", "check"), list(each_check()))
def test_check(estimator, check):
    if isinstance(estimator, LaplaceClassifier):
        pytest.importorskip("laplace", reason="the extra sksve[laplace] is not installed")
    check(estimator)


@pytest.mark.parametrize("rival", RIVALS)
def test_the_checks_are_many(rival):
    # An estimator whose tags accept text only is given a single check, and passes.
    names = [getattr(c, "func", c).__name__ for _, c in estimator_checks_generator(RIVALS[rival])]
    assert len(names) > 55
    assert EXPECTED_FAILURES.get(rival, {}).keys() <= set(names)
