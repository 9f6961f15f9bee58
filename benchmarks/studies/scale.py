"""What would 7 billion parameters, 16 members and 10^8 rows take? Constants measured, the rest computed.

    python -m benchmarks.studies.scale            # measure (minutes), compute, write results/scale.jsonl
    python -m benchmarks.studies.scale --table    # only write the tables of docs/scale.md from results/

Measured here, on one core and in its own CPU time, so that other work on the machine counts little: matrix
products, memory bandwidth, decompositions. By the clock: an all-reduce over gloo between two processes
(as data_parallel=True makes it), reading from disk. Constants of an H100 are those of its data sheet.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import torch

from benchmarks.common.results import RESULTS, ROOT, read, write

# -- the cost model: formulas only -------------------------------------------------------------------

# Llama-2-7B: 32 blocks of four square matrices and three of d x f (arXiv 2307.09288). No biases.
D, F, BLOCKS, VOCABULARY = 4096, 11008, 32, 32000
LAYERS = [(D, D)] * 4 + [(F, D)] * 2 + [(D, F)]
MEMBERS, ROWS, TOKENS, CLASSES, EPOCHS, BATCH = 16, 10**8, 64, 2, 1, 1024

# NVIDIA, H100 Tensor Core GPU data sheet, SXM: bfloat16 without sparsity, memory, its bandwidth, NVLink;
# and one NDR InfiniBand port, 400 Gbit/s.
H100 = {"bf16_tflops": 989.4, "memory_gb": 80, "memory_gb_s": 3350, "nvlink_gb_s": 900,
        "network_gb_s": 50}  # fmt: skip
# Share of the peak that a training step reaches. Not measured by us on such a device.
UTILISATION = 0.4


def k(o, i):
    return min(o, i)


def frozen_numbers():
    """Numbers of the adapted weights, of their factors U and V, and of the embeddings."""
    weights = BLOCKS * sum(o * i for o, i in LAYERS)
    factors = BLOCKS * sum(k(o, i) * (o + i) for o, i in LAYERS)
    return {"weights": weights, "factors": factors, "embeddings": VOCABULARY * D}


def member_numbers(blocks=BLOCKS):
    """Trained numbers of one member: singular values and the head."""
    return blocks * sum(k(o, i) for o, i in LAYERS) + D * CLASSES + CLASSES


def kept_per_token(blocks=BLOCKS):
    """Numbers a token leaves for the backward pass: outputs, and x V, of each layer."""
    return blocks * sum(o + k(o, i) for o, i in LAYERS)


def attention(blocks=BLOCKS):
    """Multiply-adds of a token's scores and sums, forward: 2 t d a block."""
    return blocks * 2 * TOKENS * D


def step_work(tokens, members, blocks=BLOCKS):
    """Multiply-adds of `members` members for `tokens` tokens each, forward and backward."""
    per_block = sum(2 * tokens * k(o, i) * (o + i) for o, i in LAYERS)  # x V and its product with U
    return members * (blocks * per_block + 3 * attention(blocks) * tokens)


@dataclass(frozen=True)
class Plan:
    """Groups of devices: members are split over groups, rows over the devices of a group."""

    name: str
    groups: int
    per_group: int
    blocks: int = BLOCKS

    @property
    def devices(self):
        return self.groups * self.per_group

    def numbers(self):
        """What this plan costs; bytes, seconds, days."""
        members = MEMBERS // self.groups
        tokens = BATCH * TOKENS // self.per_group  # of a member, on a device, in a step
        work = step_work(tokens, members, self.blocks)
        frozen_blocks = BLOCKS - self.blocks
        forward = sum(o * i for o, i in LAYERS) + attention(1)
        work += frozen_blocks * forward * tokens  # once for all members of the device
        compute = 2 * work / (H100["bf16_tflops"] * 1e12 * UTILISATION)
        learned = members * member_numbers(self.blocks)
        n = self.per_group
        sent = 4 * learned * 2 * (n - 1) / n  # ring all-reduce, float32
        traffic = sent / (H100["network_gb_s"] * 1e9)
        steps = EPOCHS * ROWS / BATCH
        frozen = frozen_numbers()
        share = self.blocks / BLOCKS
        adapted, rest = frozen["factors"] * share, frozen["weights"] * (1 - share)
        rest += frozen["embeddings"]
        free = H100["memory_gb"] * 1e9 - 2 * (adapted + rest) - 16 * learned
        return {
            "plan": self.name,
            "devices": self.devices,
            "members_per_device": members,
            "tokens_per_member_step": tokens,
            "frozen_gb_float32": 4 * (adapted + rest) / 1e9,
            "frozen_gb_bfloat16": 2 * (adapted + rest) / 1e9,
            "frozen_gb_int8": (adapted + rest) / 1e9,
            "members_mb": 16 * learned / 1e6,
            "pass_mb_per_1000_tokens": 2 * 1000 * kept_per_token(self.blocks) / 1e6,
            "tokens_of_a_pass": int(free / (2 * kept_per_token(self.blocks))),
            "step_s": compute,
            "sent_mb_per_step": sent / 1e6,
            "all_reduce_s": traffic,
            "traffic_share": traffic / (traffic + compute),
            "days": steps * (compute + traffic) / 86400,
            "device_days": self.devices * steps * (compute + traffic) / 86400,
        }


PLANS = [
    Plan("data parallel, 64 devices", 1, 64),
    Plan("member parallel, 16 devices", 16, 1),
    Plan("both, 16 groups of 4", 16, 4),
    Plan("both, 4 groups of 16", 4, 16),
    Plan("data parallel, last 8 blocks", 1, 64, 8),
]


def whole(measured):
    """What does not depend on the plan; the constants that are ours are measured here."""
    frozen = frozen_numbers()
    svd = measured["svd_float64"]
    largest = max(svd, key=lambda row: row["shape"][0] * row["shape"][1] ** 2)
    o, i = largest["shape"]
    rate = largest["seconds"] / (o * i * k(o, i))  # seconds per o i k
    svd_seconds = {f"{o} x {i}": rate * o * i * k(o, i) for o, i in sorted(set(LAYERS))}
    all_svd = BLOCKS * sum(rate * o * i * k(o, i) for o, i in LAYERS)
    forward = MEMBERS * (frozen["weights"] + attention())
    predict = 2 * forward * ROWS * TOKENS / (H100["bf16_tflops"] * 1e12 * UTILISATION)
    train = step_work(BATCH * TOKENS, MEMBERS) * EPOCHS * ROWS / BATCH
    core = measured["matmul_gflop_s"] * 1e9
    return {
        "adapted_weights_billion": frozen["weights"] / 1e9,
        "factors_billion": frozen["factors"] / 1e9,
        "numbers_per_member": member_numbers(),
        "gradients_gb_of_full_fine_tuning_bfloat16": 2 * frozen["weights"] / 1e9,
        "saved_members_mb": 4 * MEMBERS * member_numbers() / 1e6,
        "svd_cache_gb_float64": 8 * (frozen["factors"] + BLOCKS * len(LAYERS) * D) / 1e9,
        "svd_seconds": svd_seconds,
        "svd_hours_all": all_svd / 3600,
        "token_ids_gb": 4 * ROWS * TOKENS / 1e9,
        "row_books_gb": ROWS * (8 + 8 + 8 + 4) / 1e9,  # start, length, target, weight
        "features_tb_bfloat16": 2 * ROWS * TOKENS * D / 1e12,
        "probabilities_gb": 8 * ROWS * CLASSES / 1e9,
        "read_frozen_s": 2 * frozen["weights"] / (measured["disk_read_gb_s"] * 1e9),
        "fsdp_gather_s_per_step": 2 * 2 * frozen["factors"] / (H100["network_gb_s"] * 1e9),
        "predict_device_days": predict / 86400,
        "train_years_on_one_core": 2 * train / core / 86400 / 365.25,
        "gloo_s_per_step": 4 * MEMBERS * member_numbers() / (measured["gloo"][-1]["gb_s"] * 1e9),
    }


# -- measured ----------------------------------------------------------------------------------------

DOCS = ROOT / "docs" / "scale.md"
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


def decompositions():
    found = []
    for shape in SVD_SHAPES:
        w = torch.randn(*shape, dtype=torch.float64)
        start = time.process_time()
        torch.linalg.svd(w, full_matrices=False)
        found.append({"shape": shape, "seconds": time.process_time() - start})
    return found


def gloo():
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["-m", "benchmarks.studies.scale", "--gloo"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def gloo_worker():
    from sksve.training import Processes

    processes = Processes.join(True, "cpu")
    found = []
    for mb in GLOO_MB:
        numbers = torch.ones(mb * 250_000)
        took = seconds(lambda numbers=numbers: processes.sum([numbers]))
        found.append({"mb": mb, "seconds": took, "gb_s": 1e-9 * numbers.nbytes / took})
    if processes.is_main:
        print(json.dumps(found), flush=True)


def compute(measured):
    return {
        "plans": [plan.numbers() for plan in PLANS],
        "whole": whole(measured),
    }


def number(x):
    """Three digits, as a reader wants them."""
    if isinstance(x, (list, tuple)):
        return ", ".join(map(str, x))
    return x if isinstance(x, str) else f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def tables(content):
    """Lines of Markdown: constants, what no plan changes, the plans; computed anew from what was measured."""
    measured = content["measured"]
    computed = compute(measured)
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
            f"{row['rows_per_cpu_second']:,} | `benchmarks.studies.stream` |"
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
            "svd_float64": decompositions(),
            "gloo": gloo(),
        }
        write(
            "scale",
            {
                "question": "What would 7 billion parameters, 16 members and 10^8 rows take?",
                "measured": measured,
                "data_sheet": H100,
                "assumed": {"utilisation": UTILISATION},
            },
        )
    lines = list(tables(read("scale")))
    print("\n".join(lines))
    fill("scale.py", lines)
    fill("stream.py", stream_table(read("stream")))


if __name__ == "__main__":
    main()
