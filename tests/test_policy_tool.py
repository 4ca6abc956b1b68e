"""The maintainers' command that compares the policy data with auditwheel's."""

from __future__ import annotations

import importlib.resources
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nativelib.facts.elf import Libc
from nativelib.policy.load import data_source
from tests.support.tools import lacking
from tests.support.wheels import make_wheel

ROOT = Path(__file__).resolve().parent.parent
DATA = Path("nativelib", "policy", "data")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the command and of the data, free to be changed."""
    from importlib import metadata

    if f"auditwheel {metadata.version('auditwheel')}" != data_source(Libc.GLIBC):
        pytest.skip("another auditwheel is installed than the one that the data is of")
    shutil.copytree(ROOT / DATA, tmp_path / DATA)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    return tmp_path


def run(root: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(root / "tools" / "policy_data.py"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, **env})


def changed(root: Path, family: str, old: str, new: str) -> None:
    path = root / DATA / f"{family}.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def offline(directory: Path) -> dict[str, str]:
    """Return an environment in which pip finds what lies in *directory*, and nothing else."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(directory), "PIP_CONFIG_FILE": os.devnull}


def auditwheel(directory: Path, version: str, **changes: Any) -> Path:
    """Make a wheel of another auditwheel: *changes* are functions that change the policies of a family in place."""
    members: dict[str, bytes | str | Path] = {"auditwheel/__init__.py": ""}
    for family in ("manylinux", "musllinux", "android"):
        source = importlib.resources.files("auditwheel") / "policy" / f"{family}-policy.json"
        policies = json.loads(source.read_text("utf-8"))
        changes.get(family, lambda policies: None)(policies)
        members[f"auditwheel/policy/{family}-policy.json"] = json.dumps(policies)
    return make_wheel(directory, f"auditwheel-{version}-py3-none-any.whl", members)


def test_the_data_is_up_to_date_with_the_installed_release(copy: Path) -> None:
    done = run(copy, "--check")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"compared with {data_source(Libc.GLIBC)}: the same\n"


@pytest.mark.parametrize(
    ("family", "old", "new"),
    [
        ("manylinux", "libexpat.so.1", "libexpat.so.2"),
        ("manylinux", '"2.6 2.7', '"2.7'),
        ("musllinux", "_tr_align ", ""),
        ("android", "libvulkan.so", "libvulkan.so libnew.so"),
        ("android", "PEP 738", "PEP 739"),
    ],
)
def test_a_changed_figure_is_seen_and_written_back(family: str, old: str, new: str, copy: Path) -> None:
    changed(copy, family, old, new)
    done = run(copy, "--check")
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line.startswith("-") and (new or "_tr_flush_block") in line]
    assert [line for line in done.stdout.splitlines() if line.startswith("+") and old in line]
    assert run(copy, "--write").returncode == 0
    assert run(copy, "--check").returncode == 0
    assert all((copy / DATA / path.name).read_bytes() == path.read_bytes() for path in (ROOT / DATA).iterdir())


def test_a_missing_file_is_stale(copy: Path) -> None:
    (copy / DATA / "android.json").unlink()
    assert run(copy, "--check").returncode == 1


def test_a_newer_release_is_looked_at_without_being_installed(copy: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    auditwheel(index, "99.0")
    same = run(copy, "--check", "--newest", **offline(index))
    assert (same.returncode, same.stdout, same.stderr) == (0, "", "compared with auditwheel 99.0: the same\n")

    def more(policies: list[dict[str, Any]]) -> None:
        policies[-1]["lib_whitelist"].append("libfuture.so")

    auditwheel(index, "99.1", android=more)
    stale = run(copy, "--check", "--newest", **offline(index))
    assert stale.returncode == 1
    assert "+++ auditwheel 99.1" in stale.stdout
    assert "libfuture.so" in stale.stdout
    assert run(copy, "--write", "--newest", **offline(index)).returncode == 0
    document = json.loads((copy / DATA / "android.json").read_text())
    assert document["source"] == "auditwheel 99.1"
    assert "libfuture.so" in document["policies"][-1]["libraries"]


def test_a_release_that_takes_something_back_is_refused(copy: Path, tmp_path: Path) -> None:
    def less(policies: list[dict[str, Any]]) -> None:
        policies[-1]["lib_whitelist"].remove("libc.so")

    auditwheel(tmp_path / "index", "99.0", android=less)
    done = run(copy, "--write", "--newest", **offline(tmp_path / "index"))
    assert done.returncode == 1
    assert "android_27 does not allow ['libc.so'], which an older policy does" in done.stderr
    assert run(copy, "--check").returncode == 0


def test_without_an_index_it_says_so(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    done = run(copy, "--check", "--newest", **offline(tmp_path / "index"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("the newest auditwheel cannot be had from the package index: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.network
def test_the_newest_release_of_the_index(copy: Path) -> None:
    done = run(copy, "--check", "--newest")
    if done.returncode == 2:
        lacking(done.stderr.strip())
    assert "compared with auditwheel" in done.stderr
    assert bool(done.stdout) == bool(done.returncode)


@pytest.mark.parametrize("family", ["manylinux", "musllinux", "android"])
def test_every_kind_of_figure_names_its_source(family: str) -> None:
    document = json.loads((ROOT / DATA / f"{family}.json").read_text())
    used = {key for policy in document["policies"] for key in policy}
    assert used == set(document["sources"])
    assert all(document["sources"].values())
