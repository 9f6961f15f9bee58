"""Lint: hold each folder to its line budget. The budget only falls.

python tools/line_budget.py            check
python tools/line_budget.py --lower    lower the budget to what the folders have now
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE = Path(__file__).with_name("line_budget.json")
SLACK = 0.02  # lines that a budget may stand above its folder: what was saved is not spent again


def count(folder):
    files = (ROOT / folder).rglob("*.py")
    return sum(len(f.read_text(encoding="utf-8").splitlines()) for f in files)


def main(argv):
    budget = json.loads(FILE.read_text(encoding="utf-8"))
    lines = {folder: count(folder) for folder in budget}
    if "--lower" in argv:
        budget = {folder: min(most, lines[folder]) for folder, most in budget.items()}
        FILE.write_text(json.dumps(budget, indent=2) + "\n", encoding="utf-8")
        return 0
    faults = []
    for folder, most in budget.items():
        if lines[folder] > most:
            faults.append(
                f"{folder}/ has {lines[folder]:,} lines, {lines[folder] - most:,} more than its budget "
                f"of {most:,}: cut, or raise {FILE.name} in a commit that says which issue asks for it."
            )
        elif most > lines[folder] * (1 + SLACK):
            faults.append(
                f"{folder}/ has {lines[folder]:,} lines, its budget is {most:,}: lower it by "
                "`python tools/line_budget.py --lower`."
            )
    print("\n".join(faults) or f"lines: {lines}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
