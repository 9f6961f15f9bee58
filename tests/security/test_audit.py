"""The audit fails on a vulnerability it has found, and on nothing else."""

import importlib.util
from pathlib import Path

import pytest

import sksve

TOOL = Path(sksve.__file__).parent.parent / "tools" / "audit.py"


@pytest.fixture
def audit():
    if not TOOL.is_file():
        pytest.skip("the tools are not part of an installed package")
    spec = importlib.util.spec_from_file_location("audit", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(*ids):
    vulns = [{"id": i, "fix_versions": ["2.0"], "aliases": [], "description": ""} for i in ids]
    return {"name": "some", "version": "1.0", "vulns": vulns}


SKIPPED = {"name": "other", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("first", "second", "code", "words"),
    [
        (
            [package()],
            "unreachable",
            0,
            "pypi: 1 packages audited, 0 unknown to the service, 0 vulnerable",
        ),
        ([package("CVE-1"), SKIPPED], "unreachable", 1, "some 1.0: CVE-1, mended in 2.0"),
        ("unreachable", [package("CVE-2")], 1, "CVE-2"),
        ([SKIPPED], [package()], 0, "osv: 1 packages audited"),
        ("no route", "no route", 0, "AUDIT NOT DONE"),
        ([SKIPPED], [SKIPPED], 0, "AUDIT NOT DONE"),
    ],
    ids=["clean", "found", "found-second", "unknown-first", "unreachable", "unknown"],
)
def test_audit(first, second, code, words, audit, monkeypatch, capsys):
    told = {"pypi": first, "osv": second}

    def report_of(service, seconds):
        answer = told[service]
        return answer if isinstance(answer, str) else {"dependencies": answer}

    monkeypatch.setattr(audit, "report_of", report_of)
    assert audit.main() == code
    assert words in capsys.readouterr().out


def test_audit__of_a_tool_that_crashes(audit, monkeypatch):
    """Ends with 1 as if it had found something, but leaves no report."""
    monkeypatch.setattr(audit.sys, "executable", "false")
    assert isinstance(audit.report_of("pypi", 20.0), str)
