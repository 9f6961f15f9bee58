"""Is memory flat however many rows are scored? A Parquet file in, a Parquet file out, a tiny backbone.

    python -m benchmarks.studies.stream                      # 10^4 and 10^5 rows
    python -m benchmarks.studies.stream 10000 100000 1000000

Each size runs in a process of its own, after a warm-up on rows that are not counted. Writes
results/stream.jsonl: peak of the resident memory, what it was after each tenth of the rows, what the C heap
had handed out by then (glibc), and rows per second, reading and writing included.

Each size runs twice: as it is, and with oneDNN's cache of compiled operations (1,024 of them, unless
ONEDNN_PRIMITIVE_CACHE_CAPACITY says otherwise) held to FEW_PRIMITIVES. New lengths fill it, slowly.
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common.results import write

CHUNK, ROW_GROUP = 4096, 16384
CACHE, FEW_PRIMITIVES = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", 64
WORDS = (
    "the story was great and very fun worst movie of all dull boring loved it hated plot".split()
)


def texts(n, rng):
    """Short reviews: 2 to 8 words."""
    words, lengths = rng.choice(WORDS, (n, 8)).tolist(), rng.integers(2, 9, n).tolist()
    return [" ".join(row[:k]) for row, k in zip(words, lengths)]


def make_file(path, n):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(path, schema) as out:
        for start in range(0, n, ROW_GROUP):
            rows = texts(min(ROW_GROUP, n - start), rng)
            out.write_table(pa.table({"text": rows}, schema=schema))


def score_file(clf, source, target):
    """The recipe of docs/scale.md."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    batches = pq.ParquetFile(source).iter_batches(CHUNK, columns=["text"])
    schema = pa.schema([(str(c), pa.float64()) for c in clf.classes_])
    with pq.ParquetWriter(target, schema) as out:
        for proba in clf.predict_proba_iter(batches, chunk_size=CHUNK):
            out.write_batch(pa.RecordBatch.from_arrays([*proba.T.copy()], schema=schema))


class MallInfo(ctypes.Structure):
    """glibc's mallinfo2."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks".split()
    ] + [("keepcost", ctypes.c_size_t)]


def heap_in_use():
    """Megabytes that malloc has handed out and not got back; None without glibc 2.33 or later."""
    try:
        mallinfo2 = ctypes.CDLL("libc.so.6").mallinfo2
    except (OSError, AttributeError):
        return None
    mallinfo2.restype = MallInfo
    info = mallinfo2()
    return round((info.uordblks + info.hblkhd) / 1e6, 2)


def one_size(n, folder):
    import psutil
    import pyarrow.parquet as pq

    from sksve import SVEClassifier
    from sksve.backbones import make_tiny_backbone

    clf = SVEClassifier(make_tiny_backbone(), n_members=2, max_epochs=1, random_state=0)
    clf.fit(["good film", "bad film"] * 8, ["pos", "neg"] * 8)
    warm, source, target = (Path(folder) / f"{name}.parquet" for name in ("warm", "rows", "proba"))
    make_file(warm, 2 * CHUNK)
    make_file(source, n)
    score_file(clf, warm, target)
    process = psutil.Process()
    before = process.memory_info().rss
    peak, seen, tenths, in_use = before, 0, [], []

    class Watched:
        """The classifier, with a look at the memory after every piece."""

        classes_ = clf.classes_

        @staticmethod
        def predict_proba_iter(*args, **kwargs):
            nonlocal peak, seen
            for proba in clf.predict_proba_iter(*args, **kwargs):
                now = process.memory_info().rss
                peak, seen = max(peak, now), seen + len(proba)
                while len(tenths) < 10 * seen // n:
                    tenths.append(round(now / 1e6, 1))
                    in_use.append(heap_in_use())
                yield proba

    start = time.perf_counter()
    cpu = time.process_time()
    score_file(Watched, source, target)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert pq.ParquetFile(target).metadata.num_rows == n
    found = {
        "rows": n,
        "rss_before_mb": round(before / 1e6, 1),
        "peak_rss_mb": round(peak / 1e6, 1),
        "rss_mb_after_each_tenth": tenths,
        "heap_in_use_mb_after_each_tenth": in_use,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "rows_per_second": round(n / seconds),
        "rows_per_cpu_second": round(n / cpu),
        "input_file_mb": round(source.stat().st_size / 1e6, 1),
    }
    print(json.dumps(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=int, nargs="*", default=[10**4, 10**5])
    parser.add_argument("--one", metavar="FOLDER", help="run one size, in this process")
    args = parser.parse_args()
    if args.one:
        one_size(args.rows[0], args.one)
        return
    found = []
    for n in args.rows:
        for primitives in (None, FEW_PRIMITIVES):
            env = {k: v for k, v in os.environ.items() if k != CACHE}
            if primitives:
                env[CACHE] = str(primitives)
            with tempfile.TemporaryDirectory() as folder:
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.studies.stream",
                    str(n),
                    "--one",
                    folder,
                ]
                done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
            found.append({"primitives": primitives, **json.loads(done.stdout.splitlines()[-1])})
            print(found[-1], flush=True)
    write(
        "stream",
        {
            "question": "Is memory flat however many rows are scored?",
            "backbone": "make_tiny_backbone(), 2 members",
            "chunk_size": CHUNK,
            "sizes": found,
        },
    )


if __name__ == "__main__":
    main()
