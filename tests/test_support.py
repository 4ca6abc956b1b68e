"""The helpers of the tests must themselves tell the truth."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import nohost
from tests.support.cc import extension, program, shared_library, simple_module
from tests.support.downloads import debian_package, pypi_wheel
from tests.support.tools import require
from tests.support.venvs import fresh_venv, run_python
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from pathlib import Path

_PRINT_MAPS = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); print(open('/proc/self/maps').read())"


def test_library_extension_wheel_and_environment(tmp_path: Path) -> None:
    library = shared_library(tmp_path, "libseven.so.1", "int seven(void) { return 7; }", soname="libseven.so.1")
    source = simple_module("uses_seven", "seven()", "int seven(void);")
    module = extension(tmp_path, "uses_seven", source, needed=[library], rpath="$ORIGIN")
    platform = "linux_x86_64"
    files: dict[str, bytes | str | Path] = {module.name: module, "libseven.so.1": library, "noted.txt": "noted"}
    wheel = make_wheel(tmp_path, f"seven-1.0-py3-none-{platform}.whl", files, metadata_extra="Summary: seven\n")
    assert members(wheel)["noted.txt"] == b"noted"

    for number, installer in enumerate(("install", "pip_install")):
        environment = fresh_venv(tmp_path / f"venv{number}")
        getattr(environment, installer)(wheel)
        assert run_python(environment, "import uses_seven; print(uses_seven.value())").stdout == "7\n"


def test_fresh_environment_does_not_see_this_one(tmp_path: Path) -> None:
    environment = fresh_venv(tmp_path / "venv")
    assert run_python(environment, "import pytest", check=False).returncode == 1
    with pytest.raises(RuntimeError, match="ModuleNotFoundError"):
        run_python(environment, "import pytest")
    borrowing = fresh_venv(tmp_path / "borrowing", borrow=True)
    run_python(borrowing, "import pytest")


@pytest.mark.parametrize("way", ["mounts", "audit", "chosen"])
def test_host_libraries_are_hidden_and_others_are_not(tmp_path: Path, way: str) -> None:
    stems = ("libgomp", "libstdc++", "libquadmath")  # none that Python itself needs to start
    files = nohost.host_files(stems)
    visible = sorted({f.name for f in files if ".so." in f.name and _opens(f.name)})
    if not visible:
        pytest.skip("the host has none of these libraries")
    hiding: nohost.Hiding | None
    if way == "chosen":
        hiding = nohost.hide_host_libraries(tmp_path, stems)
    else:
        hiding = (nohost._by_mounts if way == "mounts" else nohost._by_audit)(tmp_path, stems, files)
    if hiding is None:
        pytest.skip("this machine cannot do it so")
    tests = "".join(f"\ntry: ctypes.CDLL({name!r})\nexcept OSError as e: print(e)" for name in visible)
    done = run_python(sys.executable, f"import ctypes{tests}", prefix=hiding.prefix, env=hiding.env, check=False)
    if way == "mounts" and "Operation not permitted" in done.stderr:
        pytest.skip("no mount namespaces here; the audit library is what is used")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{name}: cannot open shared object file: No such file or directory" for name in visible
    ]

    # A file with such a name that is not the host's is found as ever: by path, and by a run path.
    own = shared_library(tmp_path / "own", "libgomp.so.1", "int own;", soname="libgomp.so.1")
    user = shared_library(
        tmp_path / "own", "libuser.so", "extern int own; int *p = &own;", needed=[own], rpath="$ORIGIN"
    )
    code = _PRINT_MAPS.replace("sys.argv[1]", repr(str(user)))
    maps = run_python(sys.executable, code, prefix=hiding.prefix, env=hiding.env).stdout
    assert nohost.mapped_files(maps)[str(own)] == own.stat().st_ino


def test_mapped_files_of_a_process(tmp_path: Path) -> None:
    source = '#include <stdio.h>\n#include <unistd.h>\nint main(void) { puts("up"); fflush(stdout); return pause(); }'
    sleeper = program(tmp_path, "a sleeper", source)
    with subprocess.Popen([sleeper], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = nohost.mapped_files(process.pid)
        process.kill()
    assert found[str(sleeper)] == sleeper.stat().st_ino


@pytest.mark.network
def test_downloads_are_kept() -> None:
    wheel = pypi_wheel("cffi", "1.17.1", platform="manylinux2014_aarch64", python="311")
    assert wheel.name == "cffi-1.17.1-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl"
    stamp = wheel.stat().st_mtime_ns
    assert pypi_wheel("cffi", "1.17.1", platform="manylinux2014_aarch64", python="311").stat().st_mtime_ns == stamp
    with pytest.raises(ValueError, match="SHA-256"):
        pypi_wheel("cffi", "1.17.1", platform="manylinux2014_aarch64", python="311", sha256="0" * 64)


@pytest.mark.network
def test_debian_package_is_unpacked() -> None:
    root = debian_package("libgomp1")
    assert list(root.glob("usr/lib/*/libgomp.so.1")) or list(root.glob("lib/*/libgomp.so.1"))


def _opens(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def test_what_is_missing_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-compiler"):
        require("no-such-compiler")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-compiler"):
        require("no-such-compiler")
