"""One ensemble, its rows apart: several processes, or several GPUs, train the same members.

    pip install "sksve[accelerate]"
    accelerate launch --multi_gpu --num_processes 2 examples/7_data_parallel.py   # or:
    torchrun --nproc_per_node 2 examples/7_data_parallel.py
    python examples/7_data_parallel.py                                      # the same, in one process

Every process runs this whole script. Each takes its share of every batch, the members' gradients are
summed, and all end with the same members.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from accelerate import PartialState

from sksve import SVEClassifier, Training
from sksve.backbones import fetch_backbone
from sksve.datasets import fetch_movie_reviews

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--backbone", default="all-MiniLM-L6-v2", help="name or folder")
parser.add_argument("--synthetic", action="store_true", help="made-up texts: no download")
parser.add_argument("--rows", type=int, default=200, help="rows to train on")
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--members", type=int, default=4)
parser.add_argument("--device", default="cpu", help="cpu, or cuda: each process its own GPU")
parser.add_argument("--output", type=Path, default=Path("outputs"), help="folder of the model")
args = parser.parse_args()
state = PartialState(cpu=args.device == "cpu")  # who am I? One of one, if started plainly

# %%
# All processes read the same rows. Downloads are for the first of them; the others find its files.
with state.main_process_first():
    if args.backbone == "all-MiniLM-L6-v2":
        fetch_backbone(args.backbone)
    if args.synthetic:
        texts = ["good film", "bad film", "a great story, very fun", "the worst plot: dull"]
        X, y = np.resize(np.array(texts, dtype=object), args.rows), np.resize([1, 0], args.rows)
    else:
        reviews = fetch_movie_reviews()
        X, y = reviews.data[: args.rows], reviews.target[: args.rows]

# %%
# fit as always. Process 0 speaks, if `verbose` says so.
clf = SVEClassifier(
    args.backbone,
    n_members=args.members,
    max_epochs=args.epochs,
    device=args.device,
    training=Training(data_parallel=True),
    random_state=0,
)
begin = time.perf_counter()
clf.fit(X, y)
seconds = time.perf_counter() - begin

# %%
# Every process has a whole classifier now. One of them saves it; each could predict other rows.
proba = clf.predict_proba(X[:4])
if state.is_main_process:
    clf.save_pretrained(args.output / "data_parallel")
    print(f"{state.num_processes} processes, {args.members} members, {seconds:.1f} s")
    print(f"losses: {clf.history_[-1]['train_loss'].round(4)}")
    print(f"first rows: {proba[:, 1].round(4)}")
    print(f"Model: {args.output / 'data_parallel'}")
