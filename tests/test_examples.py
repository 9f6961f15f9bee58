"""The examples run from top to bottom on tiny backbones and made-up data, in seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sksve.backbones import make_tiny_backbone

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_out_of_distribution__runs_top_to_bottom(tmp_path):
    folders = {}
    for family in ("vit", "bert"):
        folders[family] = tmp_path / family
        for part in make_tiny_backbone(family):
            part.save_pretrained(folders[family])
    command = [
        sys.executable,
        *("-W", "ignore", str(ROOT / "examples" / "4_out_of_distribution.py"), "--synthetic"),
        *("--vision-backbone", str(folders["vit"]), "--text-backbone", str(folders["bert"])),
        *("--image-size", "14", "--train-rows", "32", "--test-rows", "12"),
        *("--output", str(tmp_path)),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for words in (
        "mutual information",
        "novelty above 0.95",
        "reviews, then newsgroups",
    ):
        assert words in done.stdout
    assert (tmp_path / "out_of_distribution.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
