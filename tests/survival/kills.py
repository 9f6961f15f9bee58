"""Children that are killed at random moments of what they do, and how often."""

import os
import signal
import struct
import time

import numpy as np
import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")

#: Few kills in the default suite, at least 50 in the slow one. Use: ``@few_or_many``, ``n_kills``.
few_or_many = pytest.mark.parametrize(
    "n_kills", [4, pytest.param(60, marks=pytest.mark.slow)], ids=["few", "many"]
)


def kill_amid(work, *, seed, longest=0.02):
    """Fork a child that calls ``work(0), work(1), ...`` until it is killed at a random moment.

    Parameters
    ----------
    work : callable
    seed : int
        Of the moment.
    longest : float
        The kill comes up to so many seconds after the first call has begun.

    Returns
    -------
    int
        How many calls had returned; the next one was killed somewhere on its way.
    """
    seconds = np.random.default_rng(seed).uniform(0.0, longest)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            for k in range(1_000_000):
                os.write(writing, struct.pack("i", k))
                work(k)
        finally:
            os._exit(status)  # no clean-up of the parent's, and no test report of its own
    os.close(writing)
    told = os.read(reading, 4)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    while piece := os.read(reading, 4096):
        told += piece
    os.close(reading)
    assert os.WIFSIGNALED(status), f"the child failed by itself, status {status}"
    return len(told) // 4 - 1


def age(folder, pattern):
    """Make every file that matches two days old; how many there are."""
    old = time.time() - 2 * 86400
    found = list(folder.glob(pattern))
    for path in found:
        os.utime(path, (old, old))
    return len(found)


def files_in(folder):
    """Relative name -> bytes of every file below a folder."""
    found = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def in_child(work, *, seconds=60):
    """Run ``work()`` in a forked child and wait; fail if it raises, dies or hangs."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(seconds)
            work()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert not os.WIFSIGNALED(status), f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    assert os.WEXITSTATUS(status) == 0
