"""What a fit of each method costs whatever else the machine does: multiply-adds, counted.

    python -m benchmarks.evidence.multiply_adds                  # after the trials of the grid
    python -m benchmarks.evidence.multiply_adds --methods sve    # others stay as they are

On the grid's rows of one data set, under PyTorch's FlopCounterMode, one member is fitted for one epoch and
for two, and two members for one: what a fit costs once (the frozen blocks), what it costs once for each
member, and what each epoch of a member costs follow from the three. Products of matrices are counted, with
the padding they had; not those inside attention (about 1 % here), the decomposition of the weights, which is
cached, and the optimizer.
"""

import argparse
import warnings
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common.results import RESULTS, Table, write
from benchmarks.evidence.grid import read_config
from benchmarks.evidence.run import Evidence
from sksve import TruncationWarning


def _added(_: Any, a: Any, b: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Twice the multiply-adds of ``c += a b``, from shapes."""
    return int(2 * a[0] * a[1] * b[1])


#: Torch's counter passes over products that are written into their first operand; ours mostly are.
IN_PLACE = {torch.ops.aten.addmm_: _added}


def multiply_adds(function: Any) -> int:
    """Count those of a call."""
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        function()
    return counter.get_total_flops() // 2


def count(grid: Evidence, dataset: str, method: str, rows: int) -> dict[str, Any] | None:
    """Count a fit with the settings chosen; None as long as they are not."""
    chosen = grid.tuning.chosen(dataset, method)
    if chosen is None:
        return None
    spec = grid.config["methods"][method]
    members = grid.config["members"] if spec.get("members") else 1
    task = grid.task(dataset, rows, 0)
    fits, predicts = {}, {}
    counts = [(1, 1), (1, 2), (2, 1)] if members > 1 else [(1, 1), (1, 2)]
    for k, epochs in counts:
        clf = grid.classifier(dataset, method, chosen | {"max_epochs": epochs}, 0, k)
        fits[k, epochs] = multiply_adds(lambda clf=clf: clf.fit(task.train.X, task.train.y))
        predicts[k] = multiply_adds(lambda clf=clf: clf.predict_proba_members(task.validation.X))
    epoch = fits[1, 2] - fits[1, 1]
    member = fits[2, 1] - fits[1, 1] - epoch if members > 1 else fits[1, 1] - epoch
    shared = fits[1, 1] - epoch - member
    more = predicts[2] - predicts[1] if members > 1 else 0
    epochs = chosen.get("max_epochs", 4)
    return {
        "members": members,
        "epochs": epochs,
        "once": shared,
        "once_of_a_member": member,
        "an_epoch_of_a_member": epoch,
        "fit": shared + members * (member + epochs * epoch),
        "predict_a_row": (predicts[1] + (members - 1) * more) // len(task.validation.y),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="grid", help="name of a file in evidence/configs")
    parser.add_argument("--dataset", default="movie_reviews")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--methods", nargs="+", help="all, unless some are named")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", TruncationWarning)
    grid = Evidence(read_config(args.config), RESULTS)
    methods = {}
    if args.methods:
        before = Table(RESULTS / "multiply_adds.jsonl").get("multiply_adds")
        known = before["methods"] if before else {}
        methods = {name: known[name] for name in grid.config["methods"] if name in known}
    for method, spec in grid.config["methods"].items():
        if "first_member_of" in spec or method not in (args.methods or [method]):
            continue
        found = count(grid, args.dataset, method, args.rows)
        if found is not None:
            methods[method] = found
            print(f"{method:16s} fit {found['fit'] / 1e9:10.1f} G multiply-adds", flush=True)
    question = "How many multiply-adds does a fit take, and the prediction of a row?"
    content = {"dataset": args.dataset, "rows": args.rows, "methods": methods}
    write("multiply_adds", {"question": question, **content})


if __name__ == "__main__":
    main()
