"""What does an ensemble cost beside one model? Fit, prediction, memory and profile on the real MiniLM.

    python -m benchmarks.speed.model fit --scale 0.1       # 5 members against a plain fine-tune
    python -m benchmarks.speed.model fit --blocks 2        # the same with a third of the blocks
    python -m benchmarks.speed.model fit --blocks 3 --core 32   # the leading 32 x 32 core of the last three
    python -m benchmarks.speed.model predict               # 5 members on 2,000 reviews; one review, 8 members
    python -m benchmarks.speed.model memory                # peak of fit, each contender in its own process
    python -m benchmarks.speed.model profile               # where the time of a fit goes; achieved GFLOP/s

`--device cuda` runs fit, predict and memory on a GPU. Adds a row to results/speed.jsonl (the number of
rows in its name unless it is 2,000), with ratios to the baseline as quartiles over the rounds: both
contenders of a ratio ran one after the other.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings

import numpy as np
import torch
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from benchmarks.common.estimators import make_estimator
from benchmarks.common.results import write
from benchmarks.common.timing import (
    AfterStep,
    alternate,
    interleave,
    interleaved_ratios,
    machine,
    ratios,
)
from sksve.adapters import member_layers
from sksve.backbones import fetch_backbone
from sksve.datasets import fetch_movie_reviews

NAME = "all-MiniLM-L6-v2"
BATCH, MAX_LENGTH = 32, 128


def reviews(scale):
    data = fetch_movie_reviews()
    n = max(BATCH, int(2000 * scale))
    return data.data[:n], data.target[:n]


class Plain:
    """One model as a default Trainer would fine-tune it: AdamW (fused), dropout, padded batches."""

    def __init__(self, device="cpu", *, dropout=True):
        folder = str(fetch_backbone(NAME))
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).to(device)
        self.head = torch.nn.Linear(self.model.config.hidden_size, 2, device=device)
        self.device, self.dropout = device, dropout

    def logits(self, ids):
        batch = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.device)
        hidden = self.model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        return self.head((hidden * mask).sum(1) / mask.sum(1))

    def tokens(self, X):
        return self.tokenizer(list(X), truncation=True, max_length=MAX_LENGTH)["input_ids"]

    def fit(self, X, y, epochs, after_step=lambda: None):
        ids, y = self.tokens(X), torch.as_tensor(y, device=self.device)
        parameters = [*self.model.parameters(), *self.head.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=2e-5, fused=True)
        self.model.train(self.dropout)
        low = torch.autocast(self.device, torch.bfloat16, enabled=self.device != "cpu")
        for epoch in range(epochs):
            order = np.random.default_rng(epoch).permutation(len(ids))
            for start in range(0, len(ids), BATCH):
                rows = order[start : start + BATCH]
                with low:
                    loss = F.cross_entropy(self.logits([ids[r] for r in rows]).float(), y[rows])
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                after_step()
        return self

    @torch.no_grad()
    def predict_proba(self, X):
        self.model.eval()
        ids = self.tokens(X)
        parts = [
            self.logits(ids[i : i + BATCH]).double().softmax(-1).cpu()
            for i in range(0, len(ids), BATCH)
        ]
        return torch.cat(parts).numpy()


def ensemble(args, **kwargs):
    settings = {
        "n_members": args.members, "adapt_blocks": args.blocks, "max_epochs": args.epochs,
        "batch_size": BATCH, "max_length": MAX_LENGTH, "random_state": 0, "device": args.device,
    }  # fmt: skip
    if args.core is not None:
        settings |= {"rank": args.core, "off_diagonals": args.core - 1}
    return make_estimator("SVEClassifier", **settings | kwargs)


def described(args):
    return {
        "arguments": {k: v for k, v in vars(args).items() if k != "command"},
        **machine(args.device),
    }


def name_of(args, command):
    parts = [command]
    if args.blocks is not None:
        parts.append(f"{args.blocks}_blocks")
    if args.core is not None:
        parts.append(f"core_{args.core}")
    if args.scale != 1.0:
        parts.append(f"{reviews(args.scale)[1].shape[0]}_rows")
    if args.device != "cpu":
        parts.append(args.device)
    return "_".join(parts)


def fit(args):
    warnings.simplefilter("ignore")
    X, y = reviews(args.scale)
    ensemble(args, max_epochs=1).fit(X[:64], y[:64])  # the decomposition has a bench of its own
    Plain(args.device).fit(X[:64], y[:64], 1)

    def ours(after_step):
        ensemble(args, callbacks=[("turn", AfterStep(after_step))]).fit(X, y)

    def plain(after_step, *, dropout=True):
        Plain(args.device, dropout=dropout).fit(X, y, args.epochs, after_step)

    contenders = {"plain": plain, "ours": ours}
    if not args.two:
        contenders["plain without dropout"] = lambda turn: plain(turn, dropout=False)
    found = interleaved_ratios(interleave(contenders, args.device), "plain")
    bar = 1.5 if args.device != "cpu" else 2.5 if args.blocks is None else 0.9
    if args.core is not None:
        bar = args.members / 3  # a third of as many fine-tunes
    print(json.dumps(found, indent=1), "bar", bar)
    question = f"fit of {args.members} members against one plain fine-tune"
    content = {"question": question, **described(args), "rows": len(X), "bar": bar}
    write("speed", {**content, "contenders": found}, name_of(args, "fit"))


def predict(args):
    warnings.simplefilter("ignore")
    X, y = reviews(args.scale)
    plain = Plain(args.device)
    cases = {}
    n_blocks = plain.model.config.num_hidden_layers
    for label, members, blocks, rows, bar, rounds in (
        ("all rows, all blocks", args.members, None, X, 3.0, 5),
        ("all rows, a third of the blocks", args.members, n_blocks // 3, X, 1.4, 5),
        ("one review, 8 members", 8, None, X[:1], 4.0, 50),
    ):
        clf = ensemble(args, n_members=members, adapt_blocks=blocks, max_epochs=1)
        clf.fit(X[:64], y[:64])
        contenders = {
            "plain": lambda rows=rows: plain.predict_proba(rows),
            "ours": lambda rows=rows, clf=clf: clf.predict_proba(rows),
        }
        if args.device != "cpu" and len(rows) == 1:
            bar = 2.5
        if args.rounds and len(rows) > 1:
            rounds = args.rounds
        found = ratios(alternate(contenders, rounds, args.device, warm_up=1), "plain")
        cases[label] = {"members": members, "rows": len(rows), "bar": bar, **found}
        print(label, found["ours"], "bar", bar, flush=True)
    question = "predict_proba of an ensemble against one plain padded forward pass"
    write(
        "speed", {"question": question, **described(args), "cases": cases}, name_of(args, "predict")
    )


def peak(args):
    """Run by `memory` in a process of its own: print the peak in bytes."""
    warnings.simplefilter("ignore")
    X, y = reviews(args.scale)
    if args.contender == "plain":
        Plain(args.device).fit(X, y, args.epochs)
    else:
        ensemble(args).fit(X, y)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if args.device != "cpu":
        used = torch.cuda.max_memory_allocated()
    print(used)


def memory(args):
    command = [sys.executable, "-m", "benchmarks.speed.model", "peak"]
    options = ["--scale", str(args.scale), "--epochs", "1", "--device", args.device]
    options += ["--members", str(args.members)]
    if args.blocks is not None:
        options += ["--blocks", str(args.blocks)]
    peaks = {"plain": [], "ensemble": []}
    run = {"capture_output": True, "text": True, "check": True}
    first = [*command, *options, "--contender", "ensemble", "--scale", "0.02"]
    subprocess.run(first, **run)  # fills the SVD cache
    for _ in range(args.rounds or 2):
        for contender, found in peaks.items():
            out = subprocess.run([*command, *options, "--contender", contender], **run)
            found.append(int(out.stdout.split()[-1]))
    ratio = min(peaks["ensemble"]) / min(peaks["plain"])
    print(peaks, ratio)
    content = {"question": "peak memory of fit, a process each", **described(args), "bar": 1.5}
    write("speed", {**content, "bytes": peaks, "ratio": ratio}, name_of(args, "memory"))


def counted_flops(module, data, n_members, epochs):
    """Floating-point operations of the thin layers' products, forward and backward, without padding."""
    tokens = int(data.lengths.sum())
    per_token = sum(
        4 * layer.S.shape[0] * (layer.in_features + layer.out_features)
        for layer in member_layers(module)
    )
    return tokens * per_token * n_members * epochs


def profile(args):
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    from sksve.inputs import tokenize
    from sksve.training import TokenDataset

    warnings.simplefilter("ignore")
    X, y = reviews(args.scale)
    clf = ensemble(args, max_epochs=1)
    clf.fit(X[:64], y[:64])
    start = time.perf_counter()
    clf.fit(X, y)
    seconds = time.perf_counter() - start
    with profiler(activities=[ProfilerActivity.CPU]) as p:
        clf.fit(X, y)
    events = p.key_averages()
    total = sum(e.self_cpu_time_total for e in events)
    rows = [
        {"operation": e.key, "share": e.self_cpu_time_total / total, "calls": e.count}
        for e in sorted(events, key=lambda e: -e.self_cpu_time_total)[:20]
    ]
    data = TokenDataset(tokenize(clf._tokenizer, list(X), MAX_LENGTH, warn=False))
    flops = counted_flops(clf.net_.module_, data, args.members, 1)
    speeds = []
    n = int(data.lengths.mean() * BATCH)
    for o, i in ((384, 384), (1536, 384), (384, 1536)):
        x, w = torch.randn(n, i), torch.randn(o, i)
        timed = alternate({"mm": lambda x=x, w=w: x @ w.T}, 50, warm_up=5)["mm"]
        speeds.append({"shape": [n, i, o], "gflops": 2 * n * i * o / np.median(timed) / 1e9})
    machine_speed = float(np.mean([s["gflops"] for s in speeds]))
    achieved = flops / seconds / 1e9
    for row in rows:
        print(f"{row['share']:7.1%} {row['calls']:7d} {row['operation']}")
    print("achieved", achieved, "machine", machine_speed, "ratio", achieved / machine_speed)
    question = "where does the time of a fit go, and how near is it to the machine's products?"
    content = {"question": question, **described(args), "rows": len(X), "seconds": seconds}
    content |= {"counted_gflop": flops / 1e9, "achieved_gflops": achieved, "products": speeds}
    content |= {"share_of_machine": achieved / machine_speed, "bar": 0.6, "operations": rows}
    write("speed", content, name_of(args, "profile"))


COMMANDS = {"fit": fit, "predict": predict, "memory": memory, "peak": peak, "profile": profile}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the 2,000 reviews")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=None, help="adapt_blocks; None: all")
    parser.add_argument("--core", type=int, default=None, help="rank, with all off-diagonals")
    parser.add_argument("--two", action="store_true", help="fit: no third contender")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--contender", choices=["plain", "ensemble"], help="of `peak`")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    COMMANDS[args.command](args)


if __name__ == "__main__":
    main()
