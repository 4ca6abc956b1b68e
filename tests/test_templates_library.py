"""A library wheel's generated package: it loads its libraries, or says in plain words why not."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from nativelib.read.elf import read_elf_file
from tests.support.cc import shared_library
from tests.support_templates import (
    ANCHOR,
    Library,
    compile_library,
    hook_text,
    install_library,
    last_error,
    output,
    provider,
    python,
    required,
    write,
)

SHOW = "import foo_lib; print(*foo_lib.loaded().values())"
REMEDY = "Try: python -m pip install --force-reinstall --no-deps 'foo-lib==1.2.3'"
PYTHONS = [
    path
    for path in sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python"))
    if int(path.parts[-3].split(".")[1]) >= 8
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``foo_lib`` in it, which no test changes."""
    root = tmp_path_factory.mktemp("site")
    install_library(root)
    return root


@pytest.fixture
def own(site: Path, tmp_path: Path) -> Path:
    """The package directory of a copy that a test may break."""
    shutil.copytree(site / "foo_lib", tmp_path / "foo_lib")
    return tmp_path / "foo_lib"


def lib_of(site: Path) -> str:
    return str(site / "foo_lib" / "lib" / "libfoo-foo_lib.so.1")


@pytest.mark.parametrize(
    "flags", [["-W", "error"], ["-OO"], ["-I"], ["-S"], ["-X", "dev", "-W", "error"]], ids=" ".join
)
def test_import_loads_the_library_and_says_which_file_is_used(site: Path, flags: list[str]) -> None:
    code = f"import sys; sys.path.insert(0, {str(site)!r}); {SHOW}"
    assert output(python(code, flags=flags)) == lib_of(site)


@pytest.mark.skipif(not PYTHONS, reason="no other Pythons here")
@pytest.mark.parametrize("interpreter", PYTHONS, ids=lambda path: path.parts[-3])
def test_every_python_from_3_8_on(site: Path, interpreter: Path) -> None:
    assert output(python(SHOW, site, executable=str(interpreter), flags=["-W", "error"])) == lib_of(site)


def test_sixteen_threads_import_at_once(site: Path) -> None:
    code = """
import threading
barrier, found = threading.Barrier(16), []
def go():
    barrier.wait()
    import foo_lib
    foo_lib.load_library()
    found.append((id(foo_lib), len(foo_lib._handles), *foo_lib.loaded().values()))
threads = [threading.Thread(target=go) for _ in range(16)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(found), len(set(found)), found[0][1:])
"""
    assert output(python(code, site, flags=["-W", "error"])) == f"16 1 (1, {lib_of(site)!r})"


def test_relative_path_and_another_working_directory_later(site: Path) -> None:
    code = "import sys; sys.path.insert(0, 'foo/..'); import foo_lib, os; os.chdir('/'); print(foo_lib.get_lib_dir())"
    (site / "foo").mkdir(exist_ok=True)
    assert output(python(code, cwd=site)) == str(site / "foo_lib" / "lib")


def test_symbols_stay_local_whatever_the_default_flags_are(site: Path) -> None:
    code = """
import ctypes, os, sys
sys.setdlopenflags(os.RTLD_GLOBAL | os.RTLD_NOW)
import foo_lib
print(hasattr(ctypes.CDLL(None), "foo_value"))
"""
    assert output(python(code, site)) == "False"


def test_loading_again_and_reloading_change_nothing(site: Path) -> None:
    code = """
import importlib, foo_lib
foo_lib.load_library(); importlib.reload(foo_lib)
with open("/proc/self/maps") as maps:
    print([line.split()[-1] for line in maps if "libfoo" in line and "r-xp" in line])
"""
    assert output(python(code, site, flags=["-W", "error"])) == str([lib_of(site)])


def test_what_it_tells_those_who_build(site: Path) -> None:
    code = "import foo_lib as f; print(f.get_library(), f.get_library(True), f.get_requirement(), f.__version_info__)"
    assert output(python(code, site)) == "foo libfoo-foo_lib.so.1 foo-lib==1.2.3 (1, 2, 3)"
    code = (
        "import foo_lib as f; print(f.get_include_dir(), f.get_lib_dir(), [n for n in f.__all__ if not hasattr(f, n)])"
    )
    assert output(python(code, site)) == f"{site}/foo_lib/include {site}/foo_lib/lib []"


def cut(path: Path) -> None:
    """Take the last byte away that a segment maps."""
    os.truncate(path, read_elf_file(path).load_end - 1)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "{path} is missing"),
        (lambda path: path.write_bytes(b""), "{path} is not a shared library (0 bytes)"),
        (lambda path: path.write_text("INPUT(libfoo.so)\n" * 9), "{path} is not a shared library (153 bytes)"),
        (lambda path: path.write_bytes(b"\x7fELF" + bytes(20)), "{path} is not a shared library (24 bytes)"),
        (cut, "{path} is cut off after "),
        (lambda path: path.write_bytes(path.read_bytes()[:70]), "{path} is cut off after 70 bytes"),
    ],
    ids=["deleted", "empty", "text", "magic alone", "cut in the last segment", "cut in the headers"],
)
@pytest.mark.parametrize("name", ["libfoo-foo_lib.so.1", ANCHOR])
def test_damaged_files_are_explained(own: Path, name: str, damage: object, said: str) -> None:
    path = own / "lib" / name
    damage(path)  # type: ignore[operator]
    if name == ANCHOR and not path.exists():
        assert output(python(SHOW, own.parent)) == lib_of(own.parent)
        return
    text = last_error(python(SHOW, own.parent))
    assert text.startswith("foo-lib 1.2.3: " + said.format(path=path))
    assert text.endswith(REMEDY)


@pytest.mark.parametrize(
    ("machine", "compiler", "flags"),
    [("aarch64", "aarch64-linux-gnu-gcc", []), ("x86_64", "gcc", []), ("i686", "gcc", ["-m32"])],
    ids=["aarch64", "x86_64", "i686"],
)
def test_library_for_another_processor(
    own: Path, tmp_path: Path, machine: str, compiler: str, flags: list[str]
) -> None:
    here = os.uname().machine
    if machine == here or (compiler == "gcc" and here != "x86_64"):
        pytest.skip(f"needs a compiler for {machine} that is not for this machine")
    foreign = compile_library(tmp_path / "foreign", Library(), cc=compiler, flags=["-nostdlib", *flags])
    shutil.copy(foreign, own / "lib" / "libfoo-foo_lib.so.1")
    text = last_error(python(SHOW, own.parent))
    assert f"libfoo-foo_lib.so.1 is built for {machine}, and this Python for {here}." in text
    assert text.endswith(REMEDY)


def test_private_library_that_is_cut_off(tmp_path: Path) -> None:
    private = shared_library(tmp_path / "build", "libp-0a1b2c3d.so", "int p;", soname="libp-0a1b2c3d.so")
    package = install_library(tmp_path, options={"needed": [private]}, private=[private.name])
    assert "libp-0a1b2c3d.so is missing." in last_error(python(SHOW, tmp_path))
    shutil.copy(private, package / "lib")
    assert output(python(SHOW, tmp_path)) == lib_of(tmp_path)
    cut(package / "lib" / private.name)
    assert "libp-0a1b2c3d.so is cut off after" in last_error(python(SHOW, tmp_path))


def test_dependency_that_the_system_lacks(tmp_path: Path) -> None:
    never = shared_library(tmp_path / "gone", "libneversys.so.3", "int never;", soname="libneversys.so.3")
    install_library(tmp_path, options={"needed": [never]})
    text = last_error(python(SHOW, tmp_path))
    assert (
        f"the libraries in {tmp_path}/foo_lib/lib need libneversys.so.3, which is neither there nor on this system"
        in text
    )
    assert text.endswith("Install the package of your system that has libneversys.so.3.")


def test_frozen_layouts_without_the_anchor(own: Path, tmp_path: Path) -> None:
    (own / "lib" / ANCHOR).unlink()
    assert output(python(SHOW, own.parent, flags=["-W", "error"])) == lib_of(own.parent)
    moved = write(tmp_path / "moved" / "libfoo-foo_lib.so.1", Path(lib_of(own.parent)).read_bytes())
    shutil.rmtree(own / "lib")
    env = {"LD_LIBRARY_PATH": str(moved.parent)}
    assert output(python(SHOW, own.parent, env=env, flags=["-W", "error"])) == str(moved)
    text = last_error(python(SHOW, own.parent))
    assert text == f"foo-lib 1.2.3: libfoo-foo_lib.so.1 is missing in {own}/lib.\n{REMEDY}"


def test_libraries_of_one_wheel_find_each_other(tmp_path: Path) -> None:
    bar = Library(stem="bar")
    built = compile_library(tmp_path / "build", bar)
    foo = compile_library(tmp_path / "build", Library(), needed=[built])
    install_library(tmp_path, [Library(), bar], compiled={bar.soname: built, Library().soname: foo})
    code = "import foo_lib; print(*(p.rpartition('/')[2] for p in foo_lib.loaded().values()))"
    assert output(python(code, tmp_path, flags=["-W", "error"])) == "libfoo-foo_lib.so.1 libbar-foo_lib.so.1"


def two_wheels(root: Path) -> tuple[Path, Path]:
    """Install ``bar_lib``, which needs ``foo_lib`` 1.0, each in a directory of its own without run paths."""
    foo, bar = root / "one", root / "two"
    package = install_library(foo)
    library = Library(stem="bar", owner="bar_lib")
    options = {"needed": [package / "lib" / Library().soname]}
    install_library(bar, [library], import_name="bar_lib", options=options, requires=[required("foo_lib", [1, 0])])
    return foo, bar


def test_needed_library_wheel_is_loaded_first(tmp_path: Path) -> None:
    foo, bar = two_wheels(tmp_path)
    code = (
        "import bar_lib, sys; print(sorted(n for n in sys.modules if n.endswith('_lib')), *bar_lib.loaded().values())"
    )
    for path in ((foo, bar), (bar, foo)):
        assert (
            output(python(code, *path, flags=["-W", "error"]))
            == f"['bar_lib', 'foo_lib'] {bar}/bar_lib/lib/libbar-bar_lib.so.1"
        )


def test_needed_library_wheel_missing_or_too_old(tmp_path: Path) -> None:
    foo, bar = two_wheels(tmp_path)
    remedy = "Try: python -m pip install 'foo-lib>=1.0'"
    missing = "bar-lib 1.2.3: its libraries need those of foo-lib, which is not installed for this Python ("
    text = last_error(python("import bar_lib", bar))
    assert text.startswith(missing)
    assert text.endswith(remedy)
    (tmp_path / "stray" / "foo_lib" / "data").mkdir(parents=True)
    assert last_error(python("import bar_lib", bar, tmp_path / "stray")).startswith(missing)
    init = foo / "foo_lib" / "__init__.py"
    init.write_text(init.read_text().replace("1.2.3", "0.9").replace("(1, 2, 3)", "(0, 9)"))
    text = last_error(python("import bar_lib", bar, foo))
    assert text.startswith(f"bar-lib 1.2.3: its libraries need foo-lib>=1.0, but 0.9 is installed ({foo}/foo_lib).")
    assert text.endswith(remedy)
    init.write_text("import not_there")
    done = python("import bar_lib", bar, foo)
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'not_there'\n")


def test_writing_the_hook_of_a_consumer(site: Path, tmp_path: Path) -> None:
    code = f"import foo_lib; print(foo_lib.write_distributor_init({str(tmp_path)!r}))"
    target = tmp_path / "_distributor_init.py"
    assert output(python(code, site)) == str(target)
    text = hook_text([provider(minimum=[1, 2, 3])], strict=False)
    assert target.read_text() == text
    begin = text.index("# >>> nativelib")
    old = "# caf\u00e9\n" + re.sub("foo_lib", "older_lib", text[begin:]) + "print('mine')\n"
    target.write_text(old, encoding="latin-1")
    assert output(python(code, site)) == str(target)
    assert target.read_text(encoding="latin-1") == "# caf\u00e9\n" + text[begin:] + "print('mine')\n"
    target.write_text("print('mine')\n")
    done = python(code, site)
    assert (
        f"FileExistsError: {target} has no block of nativelib's and is left alone; add `import foo_lib` there"
        in done.stderr
    )
    assert target.read_text() == "print('mine')\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_distributor_init.py"]


def test_system_whose_own_library_is_too_old(tmp_path: Path) -> None:
    new = Library(stem="dep", unique=False, versions={"DEP_1": "dep_value", "DEP_2": "dep_new"})
    dep = compile_library(tmp_path / "new", new)
    source = "int dep_new(void); int foo_value(void) { return dep_new(); }"
    foo = shared_library(tmp_path / "build", Library().soname, source, soname=Library().soname, needed=[dep])
    install_library(tmp_path, compiled={Library().soname: foo})
    old = compile_library(tmp_path / "old", Library(stem="dep", unique=False, versions={"DEP_1": "dep_value"}))
    text = last_error(python(SHOW, tmp_path, env={"LD_LIBRARY_PATH": str(old.parent)}))
    assert f"the libraries in {tmp_path}/foo_lib/lib need DEP_2 of libdep.so.1, and the one in use is older (" in text
