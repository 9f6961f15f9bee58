"""Full fine-tuning, written a second time as a plain torch loop, must give the same models.

One text at a time (so nothing is padded), ``torch.optim.AdamW`` on ``model.parameters()``, one clip of
the whole gradient. Only the random streams and the rows of the batches are taken from sksve.
"""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sksve import SVEClassifier
from sksve.backbones import make_tiny_backbone
from tests.estimators.test_reference import rows_of_steps
from tests.making import new
from tests.private import member_streams


def pooled(model, tokenizer, texts):
    rows = []
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        tokens = model(ids).last_hidden_state[0]
        rows.append(tokens[-1] if model.config.model_type == "gpt2" else tokens.mean(0))
    return torch.stack(rows)


def plain_fine_tuning(clf, k, texts, y, trained):
    """Fine-tune the parameters of the model whose names `trained` accepts; return model and head."""
    (given, tokenizer), how = clf.backbone, clf.settings_
    model = copy.deepcopy(given).double().eval()
    for name, p in model.named_parameters():
        p.requires_grad_(trained(name))
    streams = member_streams(how.random_state, k)
    head = nn.Linear(model.config.hidden_size, 2).double()
    with torch.no_grad():
        noise = torch.randn(head.weight.shape, generator=streams.head, dtype=torch.float64)
        head.weight.copy_(how.head_init_scale * noise)
        head.bias.zero_()
    body = [p for p in model.parameters() if p.requires_grad]
    decay = {"weight_decay": how.weight_decay}
    optimizer = torch.optim.AdamW(
        [
            {"params": body, "lr": how.lr, **decay},
            {"params": [head.weight], "lr": how.head_lr, **decay},
            {"params": [head.bias], "lr": how.head_lr, "weight_decay": 0.0},
        ]
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    lengths = np.array([len(tokenizer(text)["input_ids"]) for text in texts])
    n_steps = how.max_epochs * -(-len(texts) // how.batch_size)
    n_warmup = round(how.warmup * n_steps)
    for t, rows in enumerate(rows_of_steps(how, lengths, streams.batches)):
        factor = (t + 1) / n_warmup if t < n_warmup else (n_steps - t) / (n_steps - n_warmup)
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate * factor
        logits = head(pooled(model, tokenizer, [texts[i] for i in rows]))
        optimizer.zero_grad()
        F.cross_entropy(logits, torch.tensor(y[rows])).backward()
        # Not clip_grad_norm_, which adds 1e-6 to the norm: after Adam that is a difference of 1e-8.
        grads = [p.grad for p in (*body, *head.parameters()) if p.grad is not None]
        norm = float(torch.stack([g.square().sum() for g in grads]).sum().sqrt())
        for g in grads:
            g.mul_(min(1.0, how.max_grad_norm / norm))
        optimizer.step()
    return model, head


CASES = {
    "bert": ("bert", "fine_tuned", {}),
    "bert-decay-tight-clip": (
        "bert",
        "fine_tuned",
        {"weight_decay": 0.5, "max_grad_norm": 0.1, "warmup": 0.5},
    ),
    "bert-last-block": ("bert", "fine_tuned", {"adapt_blocks": 1}),
    "gpt2-deep": ("gpt2", "deep_ensemble", {"n_members": 2}),
}


@pytest.mark.parametrize("case", CASES)
def test_full_fine_tuning__equals_a_plain_loop(case, make, texts, labels):
    family, name, changes = CASES[case]
    clf = make(name, make_tiny_backbone(family), batch_size=5, lr=0.003, **changes)
    clf.fit(texts, labels)
    y = np.searchsorted(clf.classes_, labels)
    first = "encoder.layer.1." if "adapt_blocks" in changes else ""
    module = clf.net_.module_
    for k in range(module.n_members):
        model, head = plain_fine_tuning(
            clf, k, texts, y, lambda n: n.startswith(first) and not n.startswith("pooler.")
        )
        copies = module.split.member_values(k)
        tuned = {n: p for n, p in model.named_parameters() if p.requires_grad}
        assert copies.keys() == tuned.keys()
        for n, p in tuned.items():
            # Adam divides by the root of what may be a rounding error: softmax ignores key biases.
            atol = 1e-4 if "key.bias" in n or "c_attn.bias" in n else 1e-8
            torch.testing.assert_close(copies[n], p, rtol=0, atol=atol)
        torch.testing.assert_close(module.heads.weight[k], head.weight, rtol=0, atol=1e-8)
        torch.testing.assert_close(module.heads.bias[k], head.bias, rtol=0, atol=1e-8)
        with torch.no_grad():
            expected = head(pooled(model, clf.backbone[1], texts)).softmax(-1).numpy()
        np.testing.assert_allclose(clf.predict_proba_members(texts)[k], expected, rtol=0, atol=1e-8)


def test_deep_ensemble__has_the_fine_tuned_model_as_its_first(fitted, texts):
    alone = fitted("fine_tuned").predict_proba_members(texts)
    several = fitted("deep_ensemble").predict_proba_members(texts)
    np.testing.assert_allclose(several[:1], alone, rtol=0, atol=1e-9)


def test_report__names_everything_that_is_trained(fitted, tiny):
    clf = fitted("fine_tuned")
    model = tiny[0]
    n_pooler = sum(p.numel() for p in model.pooler.parameters())
    n_model = sum(p.numel() for p in model.parameters())
    report = clf.adapter_report_
    assert report.n_trainable == n_model - n_pooler + 2 * 16 + 2
    assert list(report.skipped) == ["pooler.dense"]
    assert report.ranks == {}
    deep = fitted("deep_ensemble").adapter_report_
    assert deep.n_trainable == 3 * report.n_trainable
    assert deep.n_trainable_per_member == report.n_trainable


def test_lora_and_batch_ensemble__count_their_parameters(fitted):
    # Two blocks, width 16, 32 in the MLP. LoRA of rank 2 on four 16 x 16 projections a block.
    heads = 2 * 16 + 2
    lora = fitted("lora_ensemble").adapter_report_
    assert lora.n_trainable_per_member == 2 * 4 * 2 * (16 + 16) + heads
    assert set(lora.ranks.values()) == {2}
    fast = fitted("batch_ensemble").adapter_report_
    # Inputs, outputs and biases of four 16 x 16, one 16 x 32 and one 32 x 16 layer a block.
    assert fast.n_trainable_per_member == 2 * (4 * 48 + (16 + 64) + (32 + 32)) + heads


def test_members__start_as_heads_on_the_pretrained_model(make, tiny, texts, labels):
    """Before their layers have moved, members are those of any other method with layers that stand still."""
    still = {"lr": 1e-300, "max_grad_norm": None}
    own = {"lora_ensemble": {}, "batch_ensemble": {"init_scale": 0.0}, "deep_ensemble": {}}
    for name, changes in own.items():
        clf = make(name, **still, **changes).fit(texts, labels)
        heads = new(
            SVEClassifier, tiny, n_members=3, rank=4, core="diagonal", init_scale=0.0, max_epochs=2,
            batch_size=4, head_lr=0.02, head_init_scale=0.01, weight_decay=clf.settings_.weight_decay,
            precision="float64", random_state=0, **still,
        ).fit(texts, labels)  # fmt: skip
        np.testing.assert_allclose(
            clf.predict_proba_members(texts), heads.predict_proba_members(texts), rtol=0, atol=1e-9
        )
