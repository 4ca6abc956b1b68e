"""A library wheel's package where another file has its soname already, and where the system's is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support_templates import (
    Library,
    compile_library,
    install_consumer,
    install_library,
    last_error,
    output,
    python,
)

SHOW = "import foo_lib; print(*foo_lib.loaded().values())"
VERSIONS = {"FOO_1.0": "foo_value", "FOO_2.0": "foo_new"}
KEPT = Library(unique=False, versions=VERSIONS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``foo_lib`` in it, which no test changes."""
    root = tmp_path_factory.mktemp("site")
    install_library(root)
    return root


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a singleton library wheel and a consumer of it that needs its symbol versions."""
    root = tmp_path_factory.mktemp("kept")
    package = install_library(root, [KEPT], singleton=True)
    install_consumer(root, package / "lib" / KEPT.soname)
    return root


def lib_of(site: Path) -> str:
    return str(site / "foo_lib" / "lib" / "libfoo-foo_lib.so.1")


def test_another_file_with_the_soname_is_used_with_a_warning(site: Path, tmp_path: Path) -> None:
    other = compile_library(tmp_path, Library(value=5))
    by_path = f"import ctypes; ctypes.CDLL({str(other)!r}); "
    by_name = f"import ctypes; ctypes.CDLL({other.name!r}); "
    for code, env in ((by_path, {}), (by_name, {"LD_LIBRARY_PATH": str(tmp_path)}), ("", {"LD_PRELOAD": str(other)})):
        done = python(code + SHOW, site, env=env)
        assert (done.returncode, done.stdout.strip()) == (0, str(other))
        said = (
            f"RuntimeWarning: foo-lib 1.2.3: {other.name} was already loaded from {other}; {lib_of(site)} is not used"
        )
        assert f"<string>:1: {said}" in done.stderr
        assert python(code + SHOW, site, env=env, flags=["-W", "error"]).returncode == 1


def test_own_file_loaded_before_is_no_other_file(site: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(site)
    code = f"import ctypes; ctypes.CDLL({lib_of(tmp_path / 'link')!r}); {SHOW}"
    assert Path(output(python(code, site, flags=["-W", "error"]))).samefile(lib_of(site))


def test_library_path_alone_does_not_win(site: Path, tmp_path: Path) -> None:
    compile_library(tmp_path, Library(value=5))
    assert output(python(SHOW, site, env={"LD_LIBRARY_PATH": str(tmp_path)}, flags=["-W", "error"])) == lib_of(site)


def test_singleton_takes_what_is_there_if_its_versions_suffice(kept: Path, tmp_path: Path) -> None:
    other = compile_library(tmp_path, Library(unique=False, versions=VERSIONS, value=9))
    code = f"import ctypes; ctypes.CDLL({str(other)!r}); {SHOW}; import consumer; print(consumer.value())"
    assert output(python(code, kept, flags=["-W", "error"])).split() == [str(other), "9"]


@pytest.mark.parametrize("singleton", [True, False])
@pytest.mark.parametrize(
    ("versions", "lack"),
    [({"FOO_1.0": "foo_value"}, "has no foo_new@FOO_2.0"), ({}, "has no symbol versions")],
    ids=["too old", "unversioned"],
)
def test_other_file_whose_versions_do_not_suffice(
    tmp_path: Path, versions: dict[str, str], lack: str, singleton: bool
) -> None:
    package = install_library(tmp_path, [KEPT], singleton=singleton)
    other = compile_library(tmp_path / "other", Library(unique=False, versions=versions))
    text = last_error(python(f"import ctypes; ctypes.CDLL({str(other)!r}); {SHOW}", tmp_path))
    ours = package / "lib" / KEPT.soname
    assert text.startswith(
        f"foo-lib 1.2.3: {KEPT.soname} was already loaded from {other}, which {lack}; {ours} cannot be used"
    )
    assert text.endswith(f"Import foo_lib before whatever loads {other}, or keep that file from being loaded.")


def test_without_the_check_the_process_would_die(kept: Path, tmp_path: Path) -> None:
    other = compile_library(tmp_path, Library(unique=False))
    done = python(f"import ctypes; ctypes.CDLL({str(other)!r}); import consumer", kept)
    assert done.returncode == 127
    assert "Inconsistency detected by ld.so" in done.stderr


@pytest.mark.parametrize("names", ["foo-lib", "FOO_Lib", " other, foo.lib", "all"])
def test_system_copy_when_asked_for(site: Path, tmp_path: Path, names: str) -> None:
    other = compile_library(tmp_path, Library(value=5), soname="libfoo.so.1")
    library = site / "foo_lib" / "lib" / "libfoo-foo_lib.so.1"
    install_consumer(tmp_path / "app", library)
    env = {"LD_LIBRARY_PATH": str(tmp_path), "NATIVELIB_SYSTEM": names}
    code = f"{SHOW}; import consumer; print(consumer.value())"
    assert output(python(code, site, tmp_path / "app", env=env, flags=["-W", "error"])).split() == [str(other), "5"]


def test_kept_system_copy_when_asked_for(kept: Path, tmp_path: Path) -> None:
    code = f"{SHOW}; import consumer; print(consumer.value())"
    env = {"LD_LIBRARY_PATH": str(tmp_path), "NATIVELIB_SYSTEM": "foo-lib"}
    other = compile_library(tmp_path, Library(unique=False, versions=VERSIONS, value=5))
    assert output(python(code, kept, env=env)).split() == [str(other), "5"]
    compile_library(tmp_path, Library(unique=False))
    text = last_error(python(code, kept, env=env))
    said = f"NATIVELIB_SYSTEM asks for the system's {KEPT.soname}, but {other} has no symbol versions."
    assert text.startswith(f"foo-lib 1.2.3: {said}")


def test_system_copy_that_is_not_there(site: Path) -> None:
    text = last_error(python(SHOW, site, env={"NATIVELIB_SYSTEM": "foo-lib"}))
    assert text.startswith(
        "foo-lib 1.2.3: NATIVELIB_SYSTEM asks for the system's libfoo.so.1, which cannot be loaded: libfoo.so.1:"
    )
    assert text.endswith(
        f"Unset NATIVELIB_SYSTEM, or take foo-lib out of it, to use the libraries in {site}/foo_lib/lib."
    )
    assert output(python(SHOW, site, env={"NATIVELIB_SYSTEM": "foo, lib,foo-lib2"})) == lib_of(site)
