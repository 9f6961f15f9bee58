"""The plan of docs/scale.md: its counts are those of the real shapes, its tables those of the script."""

from pathlib import Path

import pytest
import torch

from benchmarks.common.results import read
from benchmarks.studies import scale

ROOT = Path(__file__).parent.parent


def test_counts__are_those_of_a_llama_of_7_billion():
    from transformers import LlamaConfig, LlamaModel

    with torch.device("meta"):
        model = LlamaModel(LlamaConfig())  # its defaults are Llama-7B
    layers = [m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    shapes = [(m.out_features, m.in_features) for m in layers]
    counts = scale.frozen_numbers()
    assert counts["weights"] == sum(o * i for o, i in shapes)
    assert counts["factors"] == sum(min(o, i) * (o + i) for o, i in shapes)
    assert counts["embeddings"] == model.embed_tokens.weight.numel()
    assert scale.member_numbers() == sum(min(shape) for shape in shapes) + 2 * 4096 + 2


def test_plans__one_device_does_what_many_do_together():
    alone = scale.Plan("alone", 1, 1).numbers()
    for plan in (scale.Plan("rows", 1, 64), scale.Plan("members", 16, 1), scale.Plan("both", 4, 4)):
        many = plan.numbers()
        # Routes differ with the tokens of a step, never by more than the thin route's price.
        assert 0.8 < many["step_s"] * plan.devices / alone["step_s"] < 1.25
    assert alone["all_reduce_s"] == 0.0
    # A ring of n passes on 2 (n - 1) / n of the bytes.
    rows = scale.Plan("rows", 1, 4).numbers()
    assert rows["sent_mb_per_step"] == pytest.approx(1.5 * 4e-6 * 16 * scale.member_numbers())


def test_docs__show_what_the_script_computes():
    content = read("scale")
    page = (ROOT / "docs" / "scale.md").read_text("utf-8").splitlines()
    assert [line for line in scale.tables(content) if line not in page] == []
