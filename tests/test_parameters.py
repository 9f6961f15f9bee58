"""The table of docs/parameters.md is what the code says.

``PYTHONPATH=. python tests/test_parameters.py`` writes it.
"""

import inspect
from pathlib import Path

from sksve import SVEClassifier, Training

PAGE = Path(__file__).parent.parent / "docs" / "parameters.md"
BEGIN, END = "<!-- tests/test_parameters.py -->\n", "<!-- end of the table -->\n"
ELSEWHERE = {
    "device": "CUDA where there is one, else the CPU",
    "side_features": "free text is read; other columns join at the heads",
    "precision": "float32; on CUDA, training runs under bfloat16 autocast",
}


def explained():
    """What "auto" stands for: the line of each rule, or the value that it always is."""
    rules = SVEClassifier._rules
    always = {name: f"`{rule!r}`" for name, rule in rules.items() if not callable(rule)}
    lines = {name: inspect.getdoc(rule) for name, rule in rules.items() if callable(rule)}
    return ELSEWHERE | always | lines


def lines_of_table():
    """Every parameter, its default, and what "auto" stands for."""
    found = explained()
    yield '| parameter | default | what "auto" stands for |'
    yield "|---|---|---|"
    of_training = Training().get_params(deep=False)
    for prefix, values in ("", SVEClassifier().get_params(deep=False)), ("training__", of_training):
        for name, value in values.items():
            meaning = found.get(name, "") if value == "auto" else ""
            shown = repr(value).replace("'", '"')
            yield f"| `{prefix}{name}` | `{shown}` | {meaning} |"


def test_parameters__table_is_what_the_code_says():
    """Stale otherwise: run this file."""
    lines = list(lines_of_table())
    assert BEGIN + "\n".join(lines) + "\n" + END in PAGE.read_text("utf-8")
    assert [line for line in lines if '`"auto"` |  |' in line] == []


if __name__ == "__main__":
    before, rest = PAGE.read_text("utf-8").split(BEGIN)
    lines = "\n".join(lines_of_table())
    PAGE.write_text(before + BEGIN + lines + "\n" + END + rest.split(END)[1], "utf-8")
