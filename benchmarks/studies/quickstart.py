"""What does `make demo` show, and what does it cost? Runs the example and records its table.

    python -m benchmarks.studies.quickstart

docs/examples.md quotes results/quickstart.jsonl.
"""

import runpy
import sys
import time

from benchmarks.common.results import ROOT, write
from sksve.metrics import member_disagreement, member_diversity

EXAMPLE = ROOT / "examples" / "1_quickstart.py"


def main():
    sys.argv = [str(EXAMPLE), *sys.argv[1:]]
    start = time.perf_counter()
    shown = runpy.run_path(str(EXAMPLE), run_name="__main__")
    report = shown["report"]
    members = shown["ensemble"].predict_proba_members(shown["test_sets"]["movie reviews"][0])
    write(
        "quickstart",
        {
            "question": "What does the quick start show, and what does it cost?",
            "train_rows": len(shown["X_train"]),
            "test_rows": {k: len(X) for k, (X, _) in shown["test_sets"].items()},
            "table": shown["table"].reset_index().to_dict(orient="records"),
            "member_diversity": member_diversity(members),
            "member_disagreement": float(member_disagreement(members).mean()),
            "trained_parameters": report.n_trainable,
            "backbone_parameters": report.n_total,
            "share_percent": report.share_percent,
            "seconds": time.perf_counter() - start,
            "peak_gigabytes": shown["peak"],
        },
    )


if __name__ == "__main__":
    main()
