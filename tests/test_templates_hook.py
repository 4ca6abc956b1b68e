"""The block in a consumer's ``_distributor_init.py``: it loads other wheels' libraries, or says who needs what."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.cc import shared_library
from tests.support_templates import (
    Library,
    compile_library,
    hook_text,
    install_consumer,
    install_library,
    last_error,
    output,
    provider,
    python,
    write,
)

USE = "import consumer; print(consumer.value())"
STRICT = ["-W", "error"]
REMEDY = "Try: python -m pip install 'foo-lib>=1.0'"
UNIQUE = Library().soname
FOREIGN = Library(unique=False, stem="far")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``foo_lib`` in it, which no test changes."""
    root = tmp_path_factory.mktemp("library")
    install_library(root)
    return root


@pytest.fixture(scope="module")
def app(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another directory, with a repaired consumer that has no run path."""
    root = tmp_path_factory.mktemp("app")
    install_consumer(root, site / "foo_lib" / "lib" / UNIQUE, hook=hook_text([provider()]))
    return root


@pytest.fixture(scope="module")
def lenient(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the lenient hook."""
    root = tmp_path_factory.mktemp("lenient")
    install_consumer(root, site / "foo_lib" / "lib" / UNIQUE, hook=hook_text([provider()], strict=False))
    return root


def older(site: Path, target: Path, version: str) -> Path:
    """Copy the library wheel to *target* under another version."""
    shutil.copytree(site / "foo_lib", target / "foo_lib")
    init = target / "foo_lib" / "__init__.py"
    numbers = tuple(map(int, version.split(".")))
    init.write_text(init.read_text().replace('"1.2.3"', f'"{version}"').replace("(1, 2, 3)", str(numbers)))
    return target


@pytest.mark.parametrize("flags", [STRICT, ["-OO"], ["-I"], ["-S"]], ids=" ".join)
def test_split_installation(site: Path, app: Path, flags: list[str]) -> None:
    for path in ([str(site), str(app)], [str(app), str(site)]):
        assert output(python(f"import sys; sys.path[:0] = {path}; {USE}", flags=flags)) == "1"


def test_without_the_hook_it_fails(site: Path, app: Path, tmp_path: Path) -> None:
    shutil.copytree(app / "consumer", tmp_path / "consumer")
    (tmp_path / "consumer" / "_distributor_init.py").write_text("")
    assert "cannot open shared object file" in last_error(python(USE, site, tmp_path))


@pytest.mark.parametrize("order", ["import consumer, foo_lib", "import foo_lib, consumer"])
def test_both_import_orders(site: Path, app: Path, order: str) -> None:
    code = f"{order}; print(consumer.value(), foo_lib.loaded()[{UNIQUE!r}])"
    assert output(python(code, site, app, flags=STRICT)) == f"1 {site}/foo_lib/lib/{UNIQUE}"


def test_relative_paths(site: Path, app: Path, tmp_path: Path) -> None:
    (tmp_path / "l").symlink_to(site)
    (tmp_path / "a").symlink_to(app)
    assert output(python(f"import sys; sys.path[:0] = ['l', 'a']; {USE}", flags=STRICT, cwd=tmp_path)) == "1"


def test_sixteen_threads(site: Path, app: Path) -> None:
    code = """
import threading
barrier, found = threading.Barrier(16), []
def go():
    barrier.wait()
    import consumer
    found.append(consumer.value())
threads = [threading.Thread(target=go) for _ in range(16)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sum(found))
"""
    assert output(python(code, site, app, flags=STRICT)) == "16"


def test_nothing_is_left_in_the_module(site: Path, app: Path) -> None:
    code = """
import consumer._distributor_init as hook
print(sorted(name for name in vars(hook) if not name.startswith("__")), "foo_lib" in vars(hook))
"""
    assert output(python(code, site, app)) == "[] False"


def test_spliced_into_a_file_of_the_author(site: Path, app: Path, tmp_path: Path) -> None:
    shutil.copytree(app / "consumer", tmp_path / "consumer")
    text = hook_text([provider()])
    block = text[text.index("# >>>") :]
    mine = (
        '"""Mine."""\nfrom __future__ import annotations\n' + block + "import os\nmodule = consumer = absent = os.sep\n"
    )
    write(tmp_path / "consumer" / "_distributor_init.py", mine)
    code = f"{USE}; h = consumer._distributor_init; print(h.__doc__, h.module, h.absent, hasattr(h, '_nativelib'))"
    assert output(python(code, site, tmp_path, flags=STRICT)).split() == ["1", "Mine.", "/", "/", "False"]


def test_missing_library_wheel(app: Path, tmp_path: Path) -> None:
    (tmp_path / "foo_lib" / "data").mkdir(parents=True)
    for path in ([app], [app, tmp_path]):
        text = last_error(python(USE, *path))
        assert text.startswith(
            f"consumer needs {UNIQUE} of foo-lib, which is not installed for this Python ({sys.prefix}), and"
        )
        assert f"and the system has no such library ({UNIQUE}: cannot open shared object file" in text
        assert text.endswith(REMEDY)


def test_nested_consumer_is_named_in_full(site: Path, tmp_path: Path) -> None:
    write(tmp_path / "ns" / "pkg" / "_distributor_init.py", hook_text([provider()]))
    write(tmp_path / "ns" / "pkg" / "__init__.py", "from . import _distributor_init\n")
    assert last_error(python("import ns.pkg", tmp_path)).startswith("ns.pkg needs ")
    assert output(python("import ns.pkg", tmp_path, site, flags=STRICT)) == ""


@pytest.mark.parametrize("version", ["0.9", "0.99.1", "0"])
@pytest.mark.parametrize("kind", ["app", "lenient"])
def test_too_old(site: Path, tmp_path: Path, kind: str, version: str, request: pytest.FixtureRequest) -> None:
    old = older(site, tmp_path, version)
    text = last_error(python(USE, request.getfixturevalue(kind), old))
    assert text == f"consumer needs foo-lib>=1.0, but {version} is installed ({old}/foo_lib/__init__.py).\n{REMEDY}"


@pytest.mark.parametrize("version", ["1", "1.0", "1.0.1", "10"])
def test_new_enough(site: Path, app: Path, tmp_path: Path, version: str) -> None:
    assert output(python(USE, app, older(site, tmp_path, version), flags=STRICT)) == "1"


def test_other_missing_module_is_not_taken_for_the_library_wheel(app: Path, lenient: Path, tmp_path: Path) -> None:
    write(tmp_path / "foo_lib" / "__init__.py", "import foo_lib_helper\n")
    for root in (app, lenient):
        done = python(USE, root, tmp_path)
        assert done.stderr.endswith("ModuleNotFoundError: No module named 'foo_lib_helper'\n")


def test_broken_library_wheel_speaks_for_itself(site: Path, app: Path, tmp_path: Path) -> None:
    old = older(site, tmp_path, "1.2.3")
    (old / "foo_lib" / "lib" / UNIQUE).write_text("")
    assert "foo-lib 1.2.3: " in last_error(python(USE, app, old))


def test_system_copy_instead_of_an_absent_library_wheel(tmp_path: Path) -> None:
    kept = Library(unique=False, value=4)
    built = compile_library(tmp_path / "system", kept)
    one = provider(sonames=[kept.soname])
    install_consumer(tmp_path, built, hook=hook_text([one]))
    env = {"LD_LIBRARY_PATH": str(built.parent)}
    done = python(USE, tmp_path, env=env)
    assert (done.returncode, done.stdout) == (0, "4\n")
    said = f"<string>:1: RuntimeWarning: consumer uses the system's {kept.soname}, because foo-lib is not installed.\n"
    assert done.stderr == f"{said}{REMEDY}\n"
    assert python(USE, tmp_path, env=env, flags=STRICT).returncode == 1
    for names in ("foo-lib", "x,Foo_Lib ", "all"):
        assert output(python(USE, tmp_path, env={**env, "NATIVELIB_SYSTEM": names}, flags=STRICT)) == "4"
    assert last_error(python(USE, tmp_path, env={"NATIVELIB_SYSTEM": "all"})).startswith(
        "consumer needs libfoo.so.1 of foo-lib"
    )


def test_lenient_form_does_nothing_without_the_library_wheel(site: Path, lenient: Path, tmp_path: Path) -> None:
    assert output(python(USE, site, lenient, flags=STRICT)) == "1"
    (tmp_path / "foo_lib" / "data").mkdir(parents=True)
    code = "import consumer"
    text = last_error(python(code, lenient, tmp_path))
    assert text.startswith(f"{UNIQUE}: cannot open shared object file")  # the loader's words, not the hook's


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``far``, a package of somebody else that must not be imported, and one with its consumer."""
    root = tmp_path_factory.mktemp("foreign")
    dep = shared_library(
        root / "wheel" / "far" / "libs", "libdep.so.3", "int dep(void) { return 2; }", soname="libdep.so.3"
    )
    far = compile_library(root / "wheel" / "far" / "libs", FOREIGN, needed=[dep])
    write(root / "wheel" / "far" / "__init__.py", "raise SystemExit('imported')\n")
    hook = hook_text([foreign_provider()])
    install_consumer(root / "app", far, hook=hook, symbol="far_value")
    write(root / "lenient" / "consumer" / "_distributor_init.py", hook_text([foreign_provider()], strict=False))
    write(root / "lenient" / "consumer" / "__init__.py", "from . import _distributor_init\nvalue = int\n")
    return root


def foreign_provider() -> dict[str, object]:
    files = [{"soname": name, "path": f"far/libs/{name}"} for name in ("libdep.so.3", FOREIGN.soname)]
    return provider("foreign", "far", requirement="far==3", sonames=[FOREIGN.soname], files=files)


def mapped(stem: str) -> str:
    return f"""
with open("/proc/self/maps") as maps:
    print(*sorted({{line.split()[-1] for line in maps if {stem!r} in line}}))
"""


def test_foreign_library_is_opened_without_its_package(foreign: Path) -> None:
    code = f"{USE}; import sys, ctypes; print('far' in sys.modules, hasattr(ctypes.CDLL(None), 'far_value'))"
    assert output(python(code, foreign / "wheel", foreign / "app", flags=STRICT)).split() == ["1", "False", "False"]
    code = f"import consumer{mapped('libfar.so')}"
    assert output(python(code, foreign / "wheel", foreign / "lenient", flags=STRICT)).endswith(
        f"/far/libs/{FOREIGN.soname}"
    )


def test_foreign_namespace_package_in_two_directories(foreign: Path, tmp_path: Path) -> None:
    shutil.copytree(foreign / "wheel" / "far" / "libs", tmp_path / "far" / "libs")
    (tmp_path / "empty" / "far").mkdir(parents=True)
    code = "import sys; sys.path[:0] = ['empty', '.']\n" + USE
    assert output(python(code, foreign / "app", flags=STRICT, cwd=tmp_path)) == "1"


def test_foreign_library_that_is_loaded_already_is_not_mapped_twice(foreign: Path, tmp_path: Path) -> None:
    other = shutil.copy(foreign / "wheel" / "far" / "libs" / FOREIGN.soname, tmp_path)
    dep = foreign / "wheel" / "far" / "libs" / "libdep.so.3"
    code = f"import ctypes; [ctypes.CDLL(p) for p in ({str(dep)!r}, {other!r})]\n{USE}{mapped('libfar.so')}"
    assert output(python(code, foreign / "wheel", foreign / "app")).split() == ["1", other]


def test_foreign_package_missing_or_incomplete(foreign: Path, tmp_path: Path) -> None:
    write(tmp_path / "far" / "__init__.py", "")
    for path in ([foreign / "app"], [foreign / "app", tmp_path]):
        text = last_error(python(USE, *path))
        assert text.startswith(f"consumer needs {FOREIGN.soname} of far, which is not installed for this Python (")
        assert text.endswith("Try: python -m pip install 'far==3'")
        assert output(python("import consumer", foreign / "lenient", *path[1:], flags=STRICT)) == ""


def test_foreign_library_that_cannot_be_loaded(foreign: Path, tmp_path: Path) -> None:
    shutil.copytree(foreign / "wheel" / "far", tmp_path / "far")
    path = write(tmp_path / "far" / "libs" / "libdep.so.3", "nothing")
    for root in (foreign / "app", foreign / "lenient"):
        text = last_error(python("import consumer", root, tmp_path))
        assert text.startswith(f"consumer cannot load libdep.so.3 of far from {path}: {path}: file too short.\n")
        assert text.endswith("Try: python -m pip install --force-reinstall 'far==3'")


def test_system_copy_of_a_foreign_library(foreign: Path, tmp_path: Path) -> None:
    other = compile_library(tmp_path, Library(unique=False, stem="far", value=8))
    env = {"LD_LIBRARY_PATH": str(other.parent), "NATIVELIB_SYSTEM": "far"}
    assert output(python(USE, foreign / "wheel", foreign / "app", env=env, flags=STRICT)) == "8"


def test_provider_that_is_to_be_imported(tmp_path: Path) -> None:
    one = provider("import", "big.core", name="big", requirement="big>=2")
    write(tmp_path / "app" / "consumer" / "_distributor_init.py", hook_text([one]))
    write(tmp_path / "app" / "consumer" / "__init__.py", "from . import _distributor_init\n")
    code = "import consumer, sys; print('big.core' in sys.modules)"
    assert last_error(python(code, tmp_path / "app")).endswith("Try: python -m pip install 'big>=2'")
    write(tmp_path / "big" / "__init__.py", "")
    assert last_error(python(code, tmp_path / "app", tmp_path)).startswith("consumer needs ")
    write(tmp_path / "big" / "core.py", "import sub\n")
    assert python(code, tmp_path / "app", tmp_path).stderr.endswith("ModuleNotFoundError: No module named 'sub'\n")
    write(tmp_path / "big" / "core.py", "")
    assert output(python(code, tmp_path / "app", tmp_path, flags=STRICT)) == "True"


def test_several_providers_share_their_helpers(site: Path, foreign: Path, tmp_path: Path) -> None:
    bar = Library(stem="bar", owner="bar_lib")
    install_library(tmp_path, [bar], import_name="bar_lib")
    text = hook_text([provider(), provider(import_name="bar_lib", sonames=[bar.soname]), foreign_provider()])
    for helper in ("absent", "check_age", "load", "system_wanted"):
        assert text.count(f"def {helper}(") == 1
    write(tmp_path / "consumer" / "_distributor_init.py", text)
    write(tmp_path / "consumer" / "__init__.py", "from . import _distributor_init\n")
    code = f"import consumer{mapped('-bar_lib')}{mapped('-foo_lib')}{mapped('libfar.so')}"
    files = output(python(code, site, tmp_path, foreign / "wheel", flags=STRICT)).split()
    assert [Path(file).name for file in files] == [bar.soname, UNIQUE, FOREIGN.soname]
    (tmp_path / "bar_lib").rename(tmp_path / "gone")
    assert last_error(python(code, site, tmp_path, foreign / "wheel")).startswith(
        f"consumer needs {bar.soname} of bar-lib"
    )


@pytest.mark.parametrize("strict", [True, False])
def test_block_is_plain_and_names_the_import_for_freezers(strict: bool) -> None:
    text = hook_text([provider()], strict=strict)
    assert text.isascii()
    assert len(text.splitlines()) < 60
    tree = ast.parse(text, feature_version=(3, 8))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert "foo_lib" in names
    assert [type(node).__name__ for node in tree.body[1:]] == ["FunctionDef", "Expr", "Delete"]
