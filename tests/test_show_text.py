"""What people read: one screen for a large wheel, columns that fit the terminal, colour on terminals only."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nativelib.cli.table import layout
from nativelib.plan.audit import reasons
from nativelib.policy.judge import Obstacle, ObstacleKind
from tests.support.cc import extension, shared_library, simple_module
from tests.support.downloads import pypi_wheel
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

_SCIPY = "43af8d1f3bea642559019edfe64e9b11192a8978efbd1539d7bc2aaa23d92de4"


def printed(*arguments: str | Path) -> str:
    argv = [sys.executable, "-m", "nativelib", "show", *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout


def on_terminal(*arguments: str | Path, columns: int, **variables: str) -> tuple[str, str]:
    """Return what ``show`` writes to a terminal of *columns* columns, and what to standard error, which is none."""
    argv = [sys.executable, "-m", "nativelib", "show", *map(str, arguments)]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "50", **variables}
    master, slave = pty.openpty()
    with subprocess.Popen(argv, stdout=slave, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        os.close(slave)
        out = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # how a terminal says that nobody writes any more
                piece = b""
            if not piece:
                break
            out += piece
        errors = process.stderr.read()
    os.close(master)
    assert process.returncode == 0
    return out.decode(), errors


def plain(text: str) -> str:
    """Return *text* without what steers a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    library = shared_library(tmp_path, "libown.so.1", "int own(void) { return 1; }", soname="libown.so.1")
    gone = shared_library(tmp_path, "libgone.so.1", "int gone(void) { return 1; }", soname="libgone.so.1")
    files: dict[str, bytes | str | Path] = {"pkg.libs/libown.so.1": library}
    for name in ("a", "b", "c", "d"):
        source = simple_module(name, "own()", "int own(void);")
        needed = [library, gone] if name == "d" else [library]
        files[f"pkg/{name}.so"] = extension(tmp_path / name, name, source, needed=needed)
    gone.unlink()
    return make_wheel(tmp_path, "pkg-1.0-cp311-cp311-manylinux2014_x86_64.whl", files)


def test_tags_first_then_libraries(wheel: Path) -> None:
    lines = printed(wheel, "--ldpaths", "/nonexistent").splitlines()
    assert lines[:3] == [wheel.name, "  has       manylinux2014_x86_64", "  deserves  linux_x86_64"]
    assert lines[3].startswith("  why not   manylinux_2_5 to manylinux_2_")
    assert lines[3].endswith(": pkg/d.so needs libgone.so.1, which not every system of this policy has")
    assert lines[4:7] == ["  holds     5 ELF files for x86_64 and glibc", "  libraries", lines[6]]
    assert lines[6:8] == [
        "    missing  libgone.so.1  not found; for pkg/d.so",
        "    wheel    libown.so.1   in pkg.libs; for 4 files: pkg/a.so, pkg/b.so and 2 more",
    ]


def test_verbose_lists_every_file(wheel: Path) -> None:
    lines = printed(wheel, "--ldpaths", "/nonexistent", "-v").splitlines()
    assert {"  pkg/a.so", "  pkg/b.so", "  pkg/c.so", "  pkg/d.so", "  pkg.libs/libown.so.1"} <= set(lines)
    assert "    missing  libgone.so.1" in [line.rstrip() for line in lines]


def test_the_tree_is_drawn(wheel: Path) -> None:
    lines = printed(wheel, "--ldpaths", "/nonexistent", "--tree").splitlines()
    at = lines.index("    pkg/a.so and 2 more that need the same")
    assert lines[at + 1].startswith(("    ├─ wheel libown.so.1", "    └─ wheel libown.so.1"))
    assert "    └─ missing libgone.so.1" in lines or "    ├─ missing libgone.so.1" in lines


def test_colour_on_terminals_only(wheel: Path) -> None:
    assert "\x1b[" not in printed(wheel)
    assert "\x1b[1;31m" in on_terminal(wheel, columns=120)[0]
    assert "\x1b[1;31m" not in on_terminal(wheel, columns=120, NO_COLOR="1")[0]


@pytest.mark.parametrize("columns", [120, 60])
def test_lines_fit_the_terminal(wheel: Path, columns: int) -> None:
    text = plain(on_terminal(wheel, "--ldpaths", "/nonexistent", columns=columns)[0])
    table = [line.rstrip() for line in text.splitlines() if line.startswith("  ")]
    assert table
    assert max(map(len, table)) <= columns


def test_a_column_without_room_goes_below() -> None:
    rows = [[("wheel", ""), ("libquite-a-long-name.so.1", ""), ("in pkg.libs; for pkg/a.so, pkg/b.so and more", "")]]
    wide = ["".join(text for text, _ in line) for line in layout(rows, indent=2, width=None)]
    assert wide == ["  wheel  libquite-a-long-name.so.1  in pkg.libs; for pkg/a.so, pkg/b.so and more"]
    narrow = ["".join(text for text, _ in line).rstrip() for line in layout(rows, indent=2, width=50)]
    assert narrow == [
        "  wheel  libquite-a-long-name.so.1",
        "      in pkg.libs; for pkg/a.so, pkg/b.so and more",
    ]


def _obstacle(policy: str, member: str, detail: str, kind: ObstacleKind = ObstacleKind.VERSION) -> Obstacle:
    return Obstacle(policy=policy, member=member, kind=kind, detail=detail)


def test_policies_with_nothing_new_share_a_line() -> None:
    new, old = "needs GLIBC_2.27 of libc.so.6", "needs GLIBC_2.14 of libc.so.6"
    found = reasons(
        [
            _obstacle("manylinux_2_26", "x.libs/a.so", new),
            _obstacle("manylinux_2_26", "x/b.so", new),
            _obstacle("manylinux_2_24", "x.libs/a.so", new),
            _obstacle("manylinux_2_24", "x/b.so", new),
            _obstacle("manylinux_2_12", "x.libs/a.so", new),
            _obstacle("manylinux_2_12", "x/b.so", new),
            _obstacle("manylinux_2_12", "x/c.so", old),
            _obstacle("manylinux_2_12", "x/d.so", "needs libz.so.9", ObstacleKind.LIBRARY),
        ]
    )
    assert [(why.policies, str(why)) for why in found] == [
        (("manylinux_2_26", "manylinux_2_24"), f"x/b.so {new}, and 1 more file"),
        (("manylinux_2_12",), "x/d.so needs libz.so.9, and 3 more files"),
    ]


@pytest.mark.network
def test_scipy_fits_one_screen() -> None:
    wheel = pypi_wheel("scipy", "1.17.1", platform="manylinux_2_28_x86_64", python="311", sha256=_SCIPY)
    text, errors = on_terminal(wheel, columns=120)
    lines = plain(text).splitlines()
    assert len(lines) + errors.count("\n") <= 45
    assert "  deserves  manylinux_2_27_x86_64" in [line.rstrip() for line in lines]
    assert any("114 ELF files for x86_64 and glibc" in line for line in lines)
    assert any("libscipy_openblas-6cdc3b4a.so" in line and "in scipy.libs; for 19 files" in line for line in lines)
