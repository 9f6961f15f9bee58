"""What would 7 billion parameters, 16 members and 10^8 rows take? Constants measured, the rest computed.

    python benchmarks/scale.py            # measure (minutes), compute, write results/scale.json
    python benchmarks/scale.py --table    # only write the tables of docs/scale.md from results/

Measured here, on one core and in its own CPU time, so that other work on the machine counts little: matrix
products, memory bandwidth, decompositions. By the clock: an all-reduce over gloo between two processes
(as data_parallel=True makes it), reading from disk. Constants of an H100 are those of its data sheet. The
formulas are in _scale_model.py.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _scale_model
import torch
from _record import RESULTS, write

DOCS = Path(__file__).parent.parent / "docs" / "scale.md"
SVD_SHAPES = [(512, 512), (1024, 1024), (1024, 2752), (2048, 2048)]
GLOO_MB = [1, 16, 59]


def seconds(function, rounds=5, clock=time.perf_counter):
    """Fastest of some rounds, after one that does not count: others use the machine, too."""
    function()
    times = []
    for _ in range(rounds):
        start = clock()
        function()
        times.append(clock() - start)
    return min(times)


def matmul(n=2048):
    a = torch.randn(n, n)
    took = seconds(lambda: torch.mm(a, a), clock=time.process_time)
    return 2e-9 * n**3 / took


def memory_gb_s():
    a = torch.ones(2**26)  # 256 MiB
    b = torch.empty_like(a)
    return 2e-9 * a.nbytes / seconds(lambda: b.copy_(a), clock=time.process_time)


def disk_read_gb_s(size=2**30):
    block = os.urandom(2**24)
    with tempfile.NamedTemporaryFile(dir=RESULTS) as file:
        for _ in range(size // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # not from memory
        start = time.perf_counter()
        with open(file.name, "rb", buffering=0) as source:
            while source.read(2**24):
                pass
        return 1e-9 * size / (time.perf_counter() - start)


def svd():
    found = []
    for shape in SVD_SHAPES:
        w = torch.randn(*shape, dtype=torch.float64)
        start = time.process_time()
        torch.linalg.svd(w, full_matrices=False)
        found.append({"shape": shape, "seconds": time.process_time() - start})
    return found


def gloo():
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", __file__]
    done = subprocess.run([*command, "--gloo"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def gloo_worker():
    from sksve.training import join_processes

    processes = join_processes(True, "cpu")
    found = []
    for mb in GLOO_MB:
        numbers = torch.ones(mb * 250_000)
        took = seconds(lambda numbers=numbers: processes.sum([numbers]))
        found.append({"mb": mb, "seconds": took, "gb_s": 1e-9 * numbers.nbytes / took})
    if processes.is_main:
        print(json.dumps(found), flush=True)


def compute(measured):
    return {
        "plans": [plan.numbers() for plan in _scale_model.PLANS],
        "whole": _scale_model.whole(measured),
    }


def number(x):
    """Three digits, as a reader wants them."""
    if isinstance(x, (list, tuple)):
        return ", ".join(map(str, x))
    return x if isinstance(x, str) else f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def tables(content):
    """Lines of Markdown: constants, what no plan changes, the plans."""
    measured, computed = content["measured"], content["computed"]
    yield from ("| constant | value | |", "|---|---|---|")
    yield f"| float32 product, one core | {number(measured['matmul_gflop_s'])} GFLOP/s | measured |"
    yield f"| memory, read and write, one core | {number(measured['memory_gb_s'])} GB/s | measured |"
    yield f"| disk, read | {number(measured['disk_read_gb_s'])} GB/s | measured |"
    for row in measured["gloo"]:
        yield (
            f"| sum over two processes (gloo), {row['mb']} MB | {number(row['seconds'])} s, "
            f"{number(row['gb_s'])} GB/s | measured |"
        )
    for row in measured["svd_float64"]:
        o, i = row["shape"]
        yield f"| decomposition {o} x {i}, float64, one core | {number(row['seconds'])} s | measured |"
    for name, value in content["data_sheet"].items():
        yield f"| H100 SXM {name} | {number(value)} | data sheet |"
    yield f"| share of its peak that a step reaches | {content['assumed']['utilisation']} | assumed |"
    yield ""
    yield from ("| no plan changes | computed |", "|---|---|")
    for name, value in computed["whole"].items():
        for key, one in value.items() if isinstance(value, dict) else [("", value)]:
            yield f"| {f'{name} {key}'.strip().replace('_', ' ')} | {number(one)} |"
    yield ""
    plans = computed["plans"]
    yield "| computed | " + " | ".join(p["plan"] for p in plans) + " |"
    yield "|---" * (len(plans) + 1) + "|"
    for name in list(plans[0])[1:]:
        yield f"| {name.replace('_', ' ')} | " + " | ".join(number(p[name]) for p in plans) + " |"


def stream_table(content):
    """Lines of Markdown: one row a size."""
    yield (
        "| rows | cached operations | peak memory | before the first row | heap in use after a tenth "
        "and after all | rows a second of one core's time | measured |"
    )
    yield "|---" * 7 + "|"
    for row in content["sizes"]:
        heap = row["heap_in_use_mb_after_each_tenth"]
        yield (
            f"| {row['rows']:,} | {row['primitives'] or 'up to 1,024'} | {row['peak_rss_mb']:.0f} MB | "
            f"{row['rss_before_mb']:.0f} MB | {heap[0]:.1f} and {heap[-1]:.1f} MB | "
            f"{row['rows_per_cpu_second']:,} | `benchmarks/stream.py` |"
        )


def fill(name, lines):
    """Put lines between the marks of docs/scale.md that bear this name."""
    text = DOCS.read_text("utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    DOCS.write_text(head + begin + "\n".join(lines) + "\n" + end + tail, "utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--gloo", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.gloo:
        gloo_worker()
        return
    if not args.table:
        RESULTS.mkdir(exist_ok=True)
        torch.set_num_threads(1)
        measured = {
            "matmul_gflop_s": matmul(),
            "memory_gb_s": memory_gb_s(),
            "disk_read_gb_s": disk_read_gb_s(),
            "svd_float64": svd(),
            "gloo": gloo(),
        }
        write(
            "scale",
            {
                "question": "What would 7 billion parameters, 16 members and 10^8 rows take?",
                "measured": measured,
                "data_sheet": _scale_model.H100,
                "assumed": {"utilisation": _scale_model.UTILISATION},
                "computed": compute(measured),
            },
        )
    lines = list(tables(json.loads((RESULTS / "scale.json").read_text())))
    print("\n".join(lines))
    fill("scale.py", lines)
    if (RESULTS / "stream.json").exists():
        fill("stream.py", stream_table(json.loads((RESULTS / "stream.json").read_text())))


if __name__ == "__main__":
    main()
