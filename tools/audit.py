"""Audit the installed packages for known vulnerabilities: found ones fail, a service out of reach does not.

pip-audit ends with 1 both when it has found something and when it could not ask. Here the two are told
apart by its report: no report means that nobody was asked, which is said and is no failure, for a build
machine need not reach the advisory services. Packages the service does not know are counted.

    python tools/audit.py [seconds]
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

SERVICES = ("pypi", "osv")
SECONDS = 60.0


def report_of(service, seconds):
    """pip-audit's report as a dict, or the last line it said instead."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.json")
        command = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable"]
        quiet = ["--progress-spinner", "off", "--timeout", "10", "--format", "json"]
        try:
            done = subprocess.run(  # nosec B603 # the command is ours, there is no shell
                [*command, *quiet, "--vulnerability-service", service, "--output", str(report)],
                capture_output=True, text=True, timeout=seconds, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"no answer within {seconds:g} s"
        try:
            return json.loads(report.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return (done.stderr.strip().splitlines() or ["no report"])[-1][:200]


def judge(service, report):
    """What to print, and how many packages were audited and how many of them are vulnerable."""
    if isinstance(report, str):
        return [f"{service}: not asked ({report})"], 0, 0
    known = [p for p in report["dependencies"] if "skip_reason" not in p]
    bad = [p for p in known if p["vulns"]]
    lines = [
        f"{service}: {len(known)} packages audited, {len(report['dependencies']) - len(known)} unknown "
        f"to the service, {len(bad)} vulnerable"
    ]
    for p in bad:
        for v in p["vulns"]:
            cure = ", ".join(v["fix_versions"]) or "no version"
            lines.append(f"  {p['name']} {p['version']}: {v['id']}, mended in {cure}")
    return lines, len(known), len(bad)


def main(seconds=SECONDS):
    """Ask one service after the other until one knows something; 1 if it knows of a vulnerability."""
    for service in SERVICES:
        lines, n_known, n_bad = judge(service, report_of(service, seconds / len(SERVICES)))
        print("\n".join(lines))
        if n_known:
            return int(n_bad > 0)
    print("AUDIT NOT DONE: no advisory service knows these packages from here. This is no failure.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:2])))
