"""The rules of the house that no linter knows."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from nativelib.findings import Code
from tests.support.tools import require

_ROOT = Path(__file__).resolve().parent.parent
_TEXT = {"", ".c", ".cfg", ".cmake", ".h", ".in", ".j2", ".json", ".md", ".pc", ".py", ".sh", ".toml", ".txt", ".yml"}
_MAX_LINES = 400
# Names that files have in messages and tests, without being files of the project.
_FOREIGN_MARKDOWN = {"SKILL.md"}


def _listed() -> list[Path]:
    """Return the files that git tracks or would track; without git (an sdist), all files that are not caches."""
    argv = ["git", "-C", str(_ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (_ROOT / ".git").exists():
        names = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split("\0")
        return sorted(_ROOT / name for name in names if name and (_ROOT / name).is_file())
    hidden = re.compile(r"/(\.venv|\.git|__pycache__|build|dist|\.\w+_cache|\.hypothesis)/")
    return sorted(p for p in _ROOT.rglob("*") if p.is_file() and not hidden.search(f"/{p.relative_to(_ROOT)}/"))


_FILES = _listed()
_TEXTS = {
    str(p.relative_to(_ROOT)): p.read_text(encoding="utf-8", errors="replace")
    for p in _FILES
    if p.suffix in _TEXT and p != Path(__file__).resolve()
}


def test_the_listing_is_not_empty() -> None:
    assert {"pyproject.toml", "nativelib/errors.py", "docs/design.md", "Makefile"} <= set(_TEXTS)


def test_imports_go_in_one_direction() -> None:
    done = subprocess.run(
        [require("lint-imports"), "--no-cache"], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: \d+ kept, 0 broken", done.stdout), done.stdout


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a path of one machine", r"(?<![\w.$}])/(work|root|home/(?!user\b)\w+)/"),
        ("a number that only its tracker explains", r"(?i)\b(issue|pull request|ticket)s? +#?\d+|(?<=\s)\(?#\d{2,}\)"),
        ("an unfinished thought", r"\b(TODO|FIXME|XXX)\b"),
        ("a credential in an address", r"https?://[^/\s\"'<>{}]+:[^/\s\"'<>{}]+@"),
    ],
)
def test_the_project_can_be_read_by_itself(what: str, pattern: str) -> None:
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for name, text in _TEXTS.items()
        for match in re.finditer(pattern, text)
    ]
    assert not found, f"{what}: {found}"


def test_documents_that_are_named_exist() -> None:
    known = {p.name for p in _FILES} | _FOREIGN_MARKDOWN
    found = [
        f"{name}: {document}"
        for name, text in _TEXTS.items()
        for document in re.findall(r"\b[\w-]+\.md\b", text)
        if document not in known
    ]
    assert not found


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{name}: {target}"
        for name, text in _TEXTS.items()
        if name.endswith(".md")
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
        if not (_ROOT / name).parent.joinpath(target).exists()
    ]
    assert not broken


def test_no_module_is_too_long() -> None:
    lengths = {name: text.count("\n") for name, text in _TEXTS.items() if name.startswith("nativelib/")}
    assert not {name: n for name, n in lengths.items() if n > _MAX_LINES and name.endswith(".py")}


def test_codes_are_unique_and_well_formed() -> None:
    # An Enum makes an alias of a second name for the same value, so members have to be counted in __members__.
    values = Counter(code.value for code in Code.__members__.values())
    assert not [value for value, count in values.items() if count > 1]
    assert all(re.fullmatch(r"NL[1-9]\d\d", value) for value in values)


def test_every_package_has_a_docstring() -> None:
    packages = [p for p in (_ROOT / "nativelib").rglob("*.py") if p.name == "__init__.py"]
    assert packages
    assert not [str(p) for p in packages if not p.read_text().startswith('"""')]
