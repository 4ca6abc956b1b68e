"""Loader modules: they load the libraries and then are the extension, as if nobody stood in front of it."""

from __future__ import annotations

import ast
import itertools
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cc import extension
from tests.support.matrix import record
from tests.support.shapes import LIMITED, PROBE, again, module_source
from tests.support.toy import EXT_SUFFIX, ISOLATED, STRICT, Toy, World, consumer, installed, package
from tests.support.venvs import Environment, run_python
from tests.support.wheels import members

if TYPE_CHECKING:
    from pathlib import Path

TOY = "toy_lib/lib/libtoy-toy_lib.so.1"
LOADERS = "--loader-modules"
FULL, ABI3 = EXT_SUFFIX, ".abi3.so"
KINDS = list(itertools.product((False, True), (False, True)))
PATCHED = "nativelib_patched"


def built(toy: Toy, directory: Path, full: str, *, multi: bool = True, limited: bool = False, more: str = "") -> Path:
    """Compile the extension *full*, linked with the host's libtoy."""
    source = module_source(full, multi=multi, more=more, declarations="#include <unistd.h>")
    flags = [LIMITED] if limited else []
    name = full.rpartition(".")[2]
    return extension(
        directory / f"{name}{multi}{limited}", name, source, needed=[toy.host / "libtoy.so.1"], flags=flags
    )


def kind_name(multi: bool, limited: bool) -> str:
    return f"{'multi' if multi else 'single'}_{'abi3' if limited else 'full'}"


@pytest.fixture(scope="module")
def modules(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One wheel with an extension of each kind at the top and in a namespace, repaired in both ways, installed."""
    root = tmp_path_factory.mktemp("modules")
    files: dict[str, Any] = {"space/plain.py": "x = 1\n"}
    for multi, limited in KINDS:
        name, suffix = kind_name(multi, limited), ABI3 if limited else FULL
        files[f"{name}{suffix}"] = built(toy, root, name, multi=multi, limited=limited)
        files[f"space/{name}{suffix}"] = built(toy, root / "space", f"space.{name}", multi=multi, limited=limited)
    wheel = consumer(root, "modules", files)
    by_path = toy.repaired(wheel)
    by_loader = toy.repaired(consumer(root / "loader", "modules", files), arguments=[LOADERS, "--no-run-path"])
    again(toy, by_loader, arguments=[LOADERS, "--no-run-path"])
    again(toy, by_path)
    return {
        "wheel": by_loader,
        "by path": installed(root / "a", by_path, links=[toy.wheels]),
        "by loader": installed(root / "b", by_loader, links=[toy.wheels]),
    }


@pytest.mark.parametrize("place", ["", "space."])
@pytest.mark.parametrize(("multi", "limited"), KINDS)
def test_nothing_tells_it_from_the_extension_itself(
    modules: dict[str, Any], world: World, place: str, multi: bool, limited: bool
) -> None:
    name = place + kind_name(multi, limited)
    seen = {}
    for how in ("by path", "by loader"):
        environment = modules[how]
        found = world.see(environment, PROBE.format(name=name), environment.site / TOY)
        seen[how] = ast.literal_eval(repr(found).replace(str(environment.site), "SITE"))
    assert seen["by loader"]["value"] == 42
    # The loader's own file is on disk, and has the name that a source of the module would have.
    assert seen["by loader"].pop("source") in (None, *[f"SITE/{name.replace('.', '/')}.py"])
    del seen["by path"]["source"]
    assert seen["by loader"] == seen["by path"]


def test_members(modules: dict[str, Any]) -> None:
    found = members(modules["wheel"])
    for multi, limited in KINDS:
        name, suffix = kind_name(multi, limited), ABI3 if limited else FULL
        for directory in ("", "space/"):
            assert f"{directory}{name}.py" in found
            assert f"{directory}_{name}_nl{suffix}" in found
            assert f"{directory}{name}{suffix}" not in found
    assert "space/__init__.py" not in found
    assert not [name for name in found if "_distributor_init" in name]


@pytest.mark.parametrize("place", ["", "space."])
@pytest.mark.parametrize(("multi", "limited"), KINDS)
def test_reload(modules: dict[str, Any], world: World, place: str, multi: bool, limited: bool) -> None:
    """As with every extension, the module stays the same object and keeps what it has."""
    name = place + kind_name(multi, limited)
    code = f"""
import importlib, sys, {name} as m
def told(): return {{k: v if isinstance(v, (str, int)) else repr(v)[:30] for k, v in vars(m).items()}}
old = told()
for _ in range(3):
    assert importlib.reload(m) is m is sys.modules["{name}"]
new = told()
out = [m.value(), sorted(k for k in {{*old, *new}} if old.get(k) != new.get(k))]
# Forgotten and imported anew: another module.
del sys.modules["{name}"]
n = importlib.import_module("{name}")
out += [n.value(), importlib.reload(n) is n]"""
    for how in ("by path", "by loader"):
        environment = modules[how]
        assert world.see(environment, code, environment.site / TOY) == [42, [], 42, True]


def test_pickles_of_one_way_are_read_by_the_other(modules: dict[str, Any], world: World) -> None:
    name = "space." + kind_name(True, False)
    code = f"import pickle, {name} as m; out = pickle.dumps([m.value, m.Thing, m.Thing()]).hex()"
    texts = {how: world.look(modules[how], code, hosted=False).out for how in ("by path", "by loader")}
    assert texts["by path"] == texts["by loader"]
    code = f"import pickle; out = [str(type(x)) for x in pickle.loads(bytes.fromhex('{texts['by path']}'))]"
    assert world.look(modules["by loader"], code, hosted=False).out[2] == f"<class '{name}.Thing'>"


def test_missing_library_wheel_names_the_module(
    modules: dict[str, Any], toy: Toy, world: World, tmp_path: Path
) -> None:
    alone = installed(tmp_path / "venv", "--no-deps", modules["wheel"])
    for name in (kind_name(True, True), f"space.{kind_name(False, False)}"):
        for hosted in (True, False):
            text = world.refused(alone, f"import {name}", hosted=hosted)
            assert text.startswith(f"{name} needs libtoy-toy_lib.so.1 of toy-lib, which is not installed")
            assert text.endswith("Try: python -m pip install 'toy-lib<2,>=1.0.0'")
    # It can be tried again in the same process.
    code = f"""
import sys
for _ in range(2):
    try: import {name}
    except ImportError: pass
    assert "{name}" not in sys.modules
sys.path.append({str(modules["by loader"].site)!r})
import {name} as m; out = m.value()"""
    assert world.look(alone, code, hosted=False).out == 42


def test_library_that_is_in_use_already_is_warned_of_at_the_import(toy: Toy, world: World, tmp_path: Path) -> None:
    """The warning of the system's copy points at the line that imports the module."""
    source = module_source("single", "kept_value()")
    file = extension(tmp_path, "single", source, needed=[toy.host / "libkept.so.3"])
    wheel = toy.repaired(
        consumer(tmp_path, "single", {file.name: file}), toy.kept, arguments=[LOADERS, "--no-run-path"]
    )
    alone = installed(tmp_path / "venv", "--no-deps", wheel)
    (tmp_path / "user.py").write_text("1\n2\nimport single; print(single.value())\n")
    code = f"import runpy; out = runpy.run_path({str(tmp_path / 'user.py')!r}) and 0"
    done = world.run(alone, code, hosted=True, flags=("-I", "-B"))
    assert f"{tmp_path}/user.py:3: RuntimeWarning: single uses the system's libkept.so.3" in done.stderr
    assert done.stdout.startswith("-7\n")


SLOW = """
    Py_BEGIN_ALLOW_THREADS
    usleep(200000);
    Py_END_ALLOW_THREADS
"""


def test_threads_that_import_at_once_see_it_only_when_it_is_ready(toy: Toy, world: World, tmp_path: Path) -> None:
    file = built(toy, tmp_path, "slow", more=SLOW)
    wheel = toy.repaired(consumer(tmp_path, "slow", {file.name: file}), arguments=[LOADERS, "--no-run-path"])
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    code = """
import importlib, sys, threading
sys.setswitchinterval(1e-5)
barrier, found = threading.Barrier(16), []
def go(number):
    barrier.wait()
    if number % 4 == 0:
        import slow
        found.append((slow.Thing, slow._private, slow.value))
    elif number % 4 == 1:
        from slow import Thing, _private, value
        found.append((Thing, _private, value))
    elif number % 4 == 2:
        names = {}
        exec("from slow import *", names)
        found.append((names["Thing"], 5, names["value"]))
    else:
        found.append((importlib.import_module("slow").Thing, 5, sys.modules["slow"].value))
threads = [threading.Thread(target=go, args=(n,)) for n in range(16)]
[t.start() for t in threads]; [t.join() for t in threads]
import slow
out = [len(found), found.count((slow.Thing, 5, slow.value)), slow.value()]"""
    assert world.see(environment, code, environment.site / TOY) == [16, 16, 42]
    record("Shapes", "loader module, threads importing at once", "16 threads, an extension that starts slowly", "works")


def test_several_library_wheels(toy: Toy, world: World, tmp_path: Path) -> None:
    source = module_source("both", "toy_value() + upper_value()")
    needed = [toy.host / "libtoy.so.1", toy.host / "libupper.so.2"]
    file = extension(tmp_path, "both", source, needed=needed)
    arguments = [LOADERS, "--no-run-path"]
    wheel = toy.repaired(consumer(tmp_path, "both", {file.name: file}), toy.toy, toy.upper, arguments=arguments)
    again(toy, wheel, toy.toy, toy.upper, arguments=arguments)
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    files = [environment.site / TOY, environment.site / "upper_lib/lib/libupper-upper_lib.so.2"]
    assert world.see(environment, "import both; out = both.value()", *files) == 42 + 142


def test_library_wheel_in_another_directory(toy: Toy, world: World, modules: dict[str, Any], tmp_path: Path) -> None:
    """What no run path can do."""
    alone = installed(tmp_path / "venv", "--no-deps", modules["wheel"])
    other = installed(tmp_path / "other", toy.toy)
    name = f"space.{kind_name(True, True)}"
    code = f"import {name} as m; out = m.value()"
    env = {"PYTHONPATH": str(other.site)}
    assert world.see(alone, code, other.site / TOY, env=env, flags=STRICT) == 42
    record("Shapes", "loader module, library wheel in another directory", "namespace package, no run path", "works")


# --- packages whose __init__ is an extension ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def compiled(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A package of which everything is compiled, with data, a submodule and a program; repaired in both ways."""
    root = tmp_path_factory.mktemp("compiled")
    files: dict[str, Any] = {
        f"compiled/__init__{FULL}": built(toy, root, "compiled"),
        f"compiled/inner{FULL}": built(toy, root, "compiled.inner"),
        "compiled/other.py": "from .inner import value\nfrom . import _private\n",
        "compiled/__main__.py": "import compiled.inner\nprint('main', compiled.inner.value())\n",
        "compiled/data.txt": "data\n",
    }
    by_loader = toy.repaired(consumer(root, "compiled", files), arguments=[LOADERS, "--no-run-path"])
    again(toy, by_loader, arguments=[LOADERS, "--no-run-path"])
    by_path = toy.repaired(consumer(root / "path", "compiled", files))
    again(toy, by_path)
    return {
        "wheel": by_loader,
        "by path": installed(root / "a", by_path, links=[toy.wheels]),
        "by loader": installed(root / "b", by_loader, links=[toy.wheels]),
    }


def test_package_whose_init_is_an_extension(compiled: dict[str, Any], world: World) -> None:
    seen = {}
    for how in ("by path", "by loader"):
        environment = compiled[how]
        found = world.see(environment, PROBE.format(name="compiled"), environment.site / TOY)
        found.pop("source")
        seen[how] = ast.literal_eval(repr(found).replace(str(environment.site), "SITE"))
        code = """
import compiled.other, importlib.resources, os, pkgutil
out = [compiled.other.value(), compiled.inner.Thing.__module__, compiled.other._private, compiled.inner.__package__,
       open(os.path.join(os.path.dirname(compiled.__file__), "data.txt")).read(),
       pkgutil.get_data("compiled", "data.txt").decode(),
       importlib.resources.files("compiled").joinpath("data.txt").read_text()]"""
        data = ["data\n"] * 3
        assert world.see(environment, code, environment.site / TOY) == [42, "compiled.inner", 5, "compiled", *data]
    assert seen["by loader"] == seen["by path"]
    assert seen["by loader"]["path"] == ["SITE/compiled"]
    found = members(compiled["wheel"])
    assert f"compiled/___init___nl{FULL}" in found
    assert "compiled/_distributor_init.py" not in found
    record("Shapes", "package whose `__init__` is an extension", "run path, and loader module", "works")


def test_package_whose_init_is_an_extension_runs_as_a_program(compiled: dict[str, Any]) -> None:
    for how in ("by path", "by loader"):
        done = run_python(compiled[how], "", flags=("-I", "-m", "compiled"))
        assert done.stdout == "main 42\n"


def test_extension_modules_are_no_programs(compiled: dict[str, Any], modules: dict[str, Any]) -> None:
    done = run_python(modules["by loader"], "", flags=("-I", "-m", "multi_full"), check=False)
    assert done.returncode == 1
    assert "multi_full" in done.stderr
    assert "cannot be run as a program" in done.stderr
    assert "Traceback" not in done.stderr


def test_init_of_source_behind_an_init_that_is_an_extension_is_never_run(
    toy: Toy, world: World, tmp_path: Path
) -> None:
    """As mypyc leaves it: ``__init__.py`` lies there, but the extension beside it is what is imported."""
    plain = extension(tmp_path, "typed", module_source("typed", "7"))
    files: dict[str, Any] = {
        "typed/__init__.py": "raise RuntimeError('never')\n",
        f"typed/__init__{FULL}": plain,
        f"typed/inner{FULL}": built(toy, tmp_path, "typed.inner"),
    }
    code = "import typed.inner; out = [typed.value(), typed.inner.value()]"
    wheel = consumer(tmp_path, "typed", files)
    answer = toy.repair(wheel)
    [found] = answer.document["wheels"]
    assert [(f["code"], f["where"]) for f in found["findings"]] == [("NL502", f"typed/inner{FULL}")]
    assert found["hooks"] == []
    # ``typed`` is a module of the standard library in no Python.
    environment = installed(tmp_path / "venv", toy.repaired(wheel), links=[toy.wheels])
    assert world.see(environment, code, environment.site / TOY) == [7, 42]
    by_loader = toy.repaired(consumer(tmp_path / "two", "typed", files), arguments=[LOADERS, "--no-run-path"])
    again(toy, by_loader, arguments=[LOADERS, "--no-run-path"])
    environment = installed(tmp_path / "venv2", by_loader, links=[toy.wheels])
    assert world.see(environment, code, environment.site / TOY) == [7, 42]
    record(
        "Shapes",
        "package with both `__init__.py` and an extension `__init__` (mypyc)",
        "run path, and loader module for what is inside",
        "works",
    )


# --- what is in the way -------------------------------------------------------------------------------------------


def test_module_of_the_same_name_is_not_overwritten(toy: Toy, tmp_path: Path) -> None:
    """Cython's pure Python mode ships the source beside the extension."""
    for number, taken in enumerate((["fast.py"], [f"_fast_nl{FULL}"], ["fast.py", f"_fast_nl{FULL}"])):
        files: dict[str, Any] = {f"fast{FULL}": built(toy, tmp_path, "fast"), **dict.fromkeys(taken, "# Mine.\n")}
        answer = toy.repair(consumer(tmp_path / str(number), "fast", files), arguments=[LOADERS])
        assert answer.code == 1
        [error] = [finding for finding in answer.findings if finding["severity"] == "error"]
        assert (error["code"], error["where"]) == ("NL501", f"fast{FULL}")
        assert all(name in error["message"] for name in taken)
        assert not list(tmp_path.glob(f"{number}/repaired/*"))
    record("Shapes", "loader module, `name.py` beside the extension", "Cython's pure Python mode", "refused: NL501")


def test_module_that_only_looks_like_ours_is_left_alone(toy: Toy, world: World, tmp_path: Path) -> None:
    files: dict[str, Any] = {
        f"_odd_nl{FULL}": built(toy, tmp_path, "_odd_nl"),
        "odd.py": "from _odd_nl import value\n",
    }
    wheel = toy.repaired(consumer(tmp_path, "odd", files))
    assert members(wheel)["odd.py"] == b"from _odd_nl import value\n"
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    assert world.see(environment, "import odd; out = odd.value()", environment.site / TOY) == 42


def test_builds_for_several_pythons_share_a_loader(toy: Toy, world: World, tmp_path: Path) -> None:
    other = f"many.cpython-3{sys.version_info[1] + 1}-x86_64-linux-gnu.so"
    file = built(toy, tmp_path, "many")
    foreign = built(toy, tmp_path / "other", "many", limited=True)
    files: dict[str, Any] = {f"many{FULL}": file, other: foreign}
    arguments = [LOADERS, "--no-run-path"]
    wheel = toy.repaired(consumer(tmp_path, "many", files), arguments=arguments)
    again(toy, wheel, arguments=arguments)
    found = members(wheel)
    assert {f"_many_nl{FULL}", f"_{other.replace('many', 'many_nl')}", "many.py"} <= set(found)
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    code = "import many; out = [many.value(), many.__file__]"
    assert world.see(environment, code, environment.site / TOY) == [42, f"{environment.site}/_many_nl{FULL}"]
    (environment.site / f"_many_nl{FULL}").unlink()
    text = world.refused(environment, "import many", hosted=False)
    assert text == f"many has no extension module for this Python in {environment.site}"


def test_only_what_needs_a_loader_gets_one(toy: Toy, tmp_path: Path) -> None:
    """Neither extensions in a package, nor such as need nothing, nor libraries that export an initialiser by chance."""
    files: dict[str, Any] = {
        **package("packed", toy.plain),
        f"free{FULL}": extension(tmp_path, "free", module_source("free", "1")),
        "libopen.so": built(toy, tmp_path, "open"),
    }
    wheel = toy.repaired(consumer(tmp_path, "packed", files), arguments=[LOADERS])
    found = set(members(wheel))
    assert {f"free{FULL}", "libopen.so", "packed/_distributor_init.py", f"packed/_ext{FULL}"} <= found
    assert not [name for name in found if "_nl" in name]


def test_data_directory(toy: Toy, world: World, tmp_path: Path) -> None:
    file = built(toy, tmp_path, "placed")
    files: dict[str, Any] = {f"placed-1.0.data/platlib/{file.name}": file}
    wheel = toy.repaired(consumer(tmp_path, "placed", files), arguments=[LOADERS])
    again(toy, wheel, arguments=[LOADERS])
    assert f"placed-1.0.data/platlib/_placed_nl{FULL}" in members(wheel)
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    assert world.see(environment, "import placed; out = placed.value()", environment.site / TOY) == 42
    record("Shapes", "loader module in `.data/platlib`", "top-level extension", "works")


def test_archive_is_refused_in_words(modules: dict[str, Any], toy: Toy, world: World, tmp_path: Path) -> None:
    """A wheel on ``sys.path``, and the library wheel beside it installed."""
    environment = installed(tmp_path / "venv", toy.toy)
    code = f"import sys; sys.path.insert(0, {str(modules['wheel'])!r}); import multi_full"
    text = world.refused(environment, code, hosted=False)
    assert text.startswith(f"multi_full has no extension module for this Python in {modules['wheel']}, an archive")


def test_relative_directory_on_the_path(modules: dict[str, Any], tmp_path: Path) -> None:
    environment: Environment = modules["by loader"]
    (tmp_path / "here").symlink_to(environment.site)
    code = "import sys, os; sys.path[0] = 'here'; import multi_full as m; os.chdir('/'); print(m.value(), m.__file__)"
    done = run_python(environment, code, flags=("-B", *ISOLATED[2:]), cwd=tmp_path)
    assert done.stdout == f"42 {tmp_path}/here/_multi_full_nl{FULL}\n"
