"""SIGKILL at random moments of save_pretrained: the model before or the model after, whole."""

import numpy as np
import pytest

from sksve import SVEClassifier
from tests.survival.kills import age, few_or_many, kill_amid, needs_fork

pytestmark = needs_fork


@few_or_many
def test__a_save_over_a_model(n_kills, two_models, backbone, texts, tmp_path, tally):
    folder = tmp_path / "model"
    answers = [clf.predict_proba(texts) for clf in two_models]
    assert not np.array_equal(*answers)
    two_models[1].save_pretrained(folder)

    def save(k):
        two_models[k % 2].save_pretrained(folder)

    for seed in range(n_kills):
        two_models[1].save_pretrained(folder)
        done = kill_amid(save, seed=seed)
        found = SVEClassifier.from_pretrained(folder, backbone=backbone).predict_proba(texts)
        which = [np.array_equal(found, answer) for answer in answers]
        # The last save that returned, or the one that was killed.
        assert which[(done - 1) % 2] or which[done % 2]
        tally("SIGKILL during save_pretrained over a model")
    assert age(folder, "*") >= 3
    two_models[0].save_pretrained(folder)
    assert len(list(folder.iterdir())) == 3  # what the killed ones left is gone
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@few_or_many
def test__a_first_save(n_kills, two_models, backbone, texts, tmp_path, tally):
    clf = two_models[0]
    answer = clf.predict_proba(texts)

    for seed in range(n_kills):
        place = tmp_path / f"round{seed}"
        done = kill_amid(lambda k, place=place: clf.save_pretrained(place / f"m{k}"), seed=seed)
        there = {p.name for p in place.glob("m*")}
        assert {f"m{k}" for k in range(done)} <= there <= {f"m{k}" for k in range(done + 1)}
        last = place / f"m{done}"
        if last.exists():  # all of it
            again = SVEClassifier.from_pretrained(last, backbone=backbone)
            assert np.array_equal(again.predict_proba(texts), answer)
        else:
            with pytest.raises(FileNotFoundError):
                SVEClassifier.from_pretrained(last, backbone=backbone)
        clf.save_pretrained(last)  # what is left does not stand in the way
        age(place, ".*")
        clf.save_pretrained(last)
        assert {p.name for p in place.iterdir()} == {f"m{k}" for k in range(done + 1)}
        tally("SIGKILL during a first save_pretrained")
