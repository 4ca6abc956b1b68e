"""What a process really gets when it imports repaired consumers: which file, whatever else is around, and which error.

Each import happens twice: with the host's copies of the libraries in reach of the loader, and where there are none.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cc import extension, shared_library, simple_module
from tests.support.downloads import debian_package
from tests.support.nohost import host_files
from tests.support.tools import lacking, require
from tests.support.toy import ISOLATED, STRICT, Toy, World, consumer, installed, library_wheel, package
from tests.support.venvs import Environment, run_python
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from collections.abc import Sequence

TOY = "toy_lib/lib/libtoy-toy_lib.so.1"
UPPER = "upper_lib/lib/libupper-upper_lib.so.2"
KEPT = "kept_lib/lib/libkept.so.3"
NEWER = "NL402"  # the provider's platform tag is newer than the consumer's


def plain_consumer(toy: Toy, directory: Path, name: str, built: Path | None = None) -> Path:
    return consumer(directory, name, package(name, built or toy.plain))


@pytest.fixture(scope="module")
def three(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with consumers ``low`` (toy-lib), ``high`` (upper-lib, toy-lib) and ``top`` (upper-lib alone)."""
    directory = tmp_path_factory.mktemp("three")
    both = toy.extension("toy_value() + upper_value()", ["libtoy.so.1", "libupper.so.2"])
    top = toy.extension("upper_value()", ["libupper.so.2"])
    wheels = [
        toy.repaired(plain_consumer(toy, directory, "low")),
        toy.repaired(plain_consumer(toy, directory, "high", both), toy.upper, toy.toy),
        toy.repaired(plain_consumer(toy, directory, "top", top), toy.upper),
    ]
    return installed(directory / "venv", *wheels, links=[toy.wheels])


# --- orders -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order", ["low, high", "high, low", "top, low", "toy_lib, high", "high, toy_lib", "upper_lib, low"]
)
def test_import_orders(three: Environment, world: World, order: str) -> None:
    code = f"import {order}, low, high, top; out = [low.value(), high.value(), top.value()]"
    assert world.see(three, code, three.site / TOY, three.site / UPPER) == [42, 184, 142]


def test_library_wheel_that_needs_another_is_enough(three: Environment, world: World) -> None:
    """The consumer names upper-lib alone; that one brings and loads toy-lib."""
    code = "import sys, top; out = [top.value(), 'toy_lib' in sys.modules]"
    assert world.see(three, code, three.site / TOY, three.site / UPPER) == [142, True]


def test_loaded_says_what_is_mapped(three: Environment, world: World) -> None:
    code = "import high, toy_lib, upper_lib; out = [toy_lib.loaded(), upper_lib.loaded()]"
    expected = [{Path(name).name: str(three.site / name)} for name in (TOY, UPPER)]
    assert world.see(three, code, three.site / TOY) == expected


@pytest.mark.parametrize("order", ["repaired, unrepaired", "unrepaired, repaired"])
def test_beside_an_unrepaired_consumer_each_gets_its_own(toy: Toy, world: World, tmp_path: Path, order: str) -> None:
    wheels = [
        toy.repaired(plain_consumer(toy, tmp_path, "repaired")),
        plain_consumer(toy, tmp_path, "unrepaired"),
    ]
    environment = installed(tmp_path / "venv", *wheels, links=[toy.wheels])
    code = f"import {order}; out = [repaired.value(), unrepaired.value()]"
    seen = world.look(environment, code, hosted=True)
    assert seen.out == [42, -1]
    assert seen.copies("libtoy") == sorted([str(toy.host / "libtoy.so.1"), str(environment.site / TOY)])
    # What the library wheel has loaded under its own soname is not there for those who need the original one.
    assert "libtoy.so.1" in world.refused(environment, code, hosted=False)


@pytest.mark.parametrize("name", ["threads", "fork", "twice", "subinterpreter"])
def test_unusual_processes(three: Environment, world: World, name: str) -> None:
    code = {
        "threads": """
import threading, importlib
found = []
def work(name): found.append(importlib.import_module(name).value())
threads = [threading.Thread(target=work, args=(name,)) for name in ("low", "high", "top") * 4]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
out = sorted(set(found))""",
        "fork": """
import os, low
reader, writer = os.pipe()
if os.fork() == 0:
    import high
    os.write(writer, str(high.value()).encode()); os._exit(0)
os.wait(); out = [low.value(), 142, int(os.read(reader, 10))]""",
        "twice": """
import sys, low, high
old = [low.value(), high.value()]
ours = "low", "high", "toy_lib", "upper_lib"
for name in [n for n in sys.modules if n.partition(".")[0] in ours]: del sys.modules[name]
import top, low, high
out = [low.value(), top.value(), high.value()]; assert old == [out[0], out[2]]""",
        "subinterpreter": """
import os
try:
    import _interpreters as subs
    new = subs.create("legacy")
except ImportError:
    import _xxsubinterpreters as subs
    new = subs.create(isolated=False)
reader, writer = os.pipe()
inner = "import os, low, high, top; os.write(%d, f'{low.value()} {top.value()} {high.value()}'.encode())" % writer
subs.run_string(new, inner); os.close(writer)
out = [int(word) for word in os.read(reader, 100).split()]""",
    }[name]
    assert world.see(three, code, three.site / TOY) == [42, 142, 184]


# --- built against the library wheel itself -----------------------------------------------------------------------


def test_built_against_the_library_wheel(toy: Toy, world: World, tmp_path: Path) -> None:
    build = installed(tmp_path / "build", toy.toy)
    asked = [str(build.python), "-I", "-m", "toy_lib", "--cflags", "--libs"]
    flags = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    source = simple_module("_ext", "toy_value() + toy_new()", "#include <toy.h>")
    built = extension(tmp_path / "ext", "_ext", source, flags=[flag for flag in flags if flag.startswith("-I")])
    assert built.is_file()
    # Libraries come after the source on the command line.
    wrapped = shared_library_of(tmp_path / "linked", source, flags)
    hook = tmp_path / "hook"
    hook.mkdir()
    run_python(build, f"import toy_lib; toy_lib.write_distributor_init({str(hook)!r})")
    init = "from . import _distributor_init\nfrom ._ext import value\n"
    files = {**package("linked", wrapped, init), "linked/_distributor_init.py": hook / "_distributor_init.py"}
    wheel = consumer(tmp_path, "linked", files)

    # As it is, with its lenient hook, and repaired, with the strict one.
    alone = installed(tmp_path / "venv", wheel, toy.toy)
    assert world.see(alone, "import linked; out = linked.value()", alone.site / TOY) == 44
    answer = toy.repair(wheel)
    [found] = answer.document["wheels"]
    soname = "libtoy-toy_lib.so.1"
    assert found["provided"] == [{"soname": soname, "provider": "toy-lib", "as": soname}]
    assert found["requires"] == ['toy-lib<2,>=1.2.0; sys_platform == "linux"']
    repaired = toy.repaired(wheel)
    text = members(repaired)["linked/_distributor_init.py"].decode()
    assert text.count(">>> nativelib") == 1
    environment = installed(tmp_path / "venv2", "linked", links=[repaired.parent, toy.wheels])
    assert world.see(environment, "import linked; out = linked.value()", environment.site / TOY) == 44


def shared_library_of(directory: Path, source: str, flags: Sequence[str]) -> Path:
    """Return an extension that is linked as ``cc ... source flags`` does it."""
    from sysconfig import get_config_var, get_path

    directory.mkdir()
    (directory / "ext.c").write_text(source)
    output = directory / f"_ext{get_config_var('EXT_SUFFIX')}"
    argv = [require("gcc"), "-shared", "-fPIC", f"-I{get_path('include')}", "-o", str(output)]
    subprocess.run([*argv, str(directory / "ext.c"), *flags], check=True)
    return output


@pytest.mark.parametrize("visible", [True, False], ids=["host_copy_found", "host_copy_gone"])
def test_built_against_the_hosts_copy(toy: Toy, world: World, tmp_path: Path, visible: bool) -> None:
    """Whether the repair finds the copy that the consumer was linked with makes no difference to the result."""
    wheel = plain_consumer(toy, tmp_path, "hosted")
    repaired = toy.repaired(wheel, arguments=["--ldpaths", toy.host if visible else tmp_path])
    environment = installed(tmp_path / "venv", repaired, links=[toy.wheels])
    assert world.see(environment, "import hosted; out = hosted.value()", environment.site / TOY) == 42


def test_data_symbols_and_functions_come_from_one_copy(toy: Toy, world: World, tmp_path: Path) -> None:
    built = toy.extension("toy_number * 1000 + toy_value()", declarations="extern int toy_number;")
    environment = installed(
        tmp_path / "venv", toy.repaired(plain_consumer(toy, tmp_path, "data", built)), links=[toy.wheels]
    )
    assert world.see(environment, "import data; out = data.value()", environment.site / TOY) == 42042


# --- kept sonames -------------------------------------------------------------------------------------------------


def test_kept_soname(toy: Toy, world: World, tmp_path: Path) -> None:
    built = toy.extension("kept_value()", ["libkept.so.3"])
    wheel = toy.repaired(plain_consumer(toy, tmp_path, "keeper", built), toy.kept)
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    assert world.see(environment, "import keeper; out = keeper.value()", environment.site / KEPT) == 7
    # Unrepaired consumers are served as well, once the library wheel is imported.
    environment.install(plain_consumer(toy, tmp_path, "friend", built))
    code = "import keeper, friend; out = [keeper.value(), friend.value()]"
    assert world.see(environment, code, environment.site / KEPT) == [7, 7]


def test_kept_soname_that_another_file_has_already(toy: Toy, world: World, tmp_path: Path) -> None:
    """Not a singleton, so somebody may be surprised: a warning names both files."""
    built = toy.extension("kept_value()", ["libkept.so.3"])
    wheel = toy.repaired(plain_consumer(toy, tmp_path, "keeper", built), toy.kept)
    environment = installed(
        tmp_path / "venv", wheel, plain_consumer(toy, tmp_path, "friend", built), links=[toy.wheels]
    )
    code = "import friend, warnings\nwith warnings.catch_warnings(record=True) as found:\n"
    code += "    warnings.simplefilter('always'); import keeper\n"
    code += "out = [friend.value(), keeper.value(), [str(w.message) for w in found]]"
    seen = world.look(environment, code, hosted=True)
    assert seen.out[:2] == [-7, -7]
    assert seen.copies("libkept") == [str(toy.host / "libkept.so.3")]
    [text] = seen.out[2]
    assert str(toy.host / "libkept.so.3") in text
    assert str(environment.site / KEPT) in text


# --- the system's copy on request ---------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["toy-lib", "Toy_Lib,other", "all"])
def test_system_copy_under_the_unique_soname(toy: Toy, world: World, three: Environment, asked: str) -> None:
    """A stub leads from the soname of the wheel to the system's library; the run path must not bring the wheel's."""
    env = {"NATIVELIB_SYSTEM": asked}
    code = "import low, toy_lib; out = [low.value(), toy_lib.loaded()]"
    seen = world.look(three, code, hosted=True, env=env, flags=STRICT)
    assert seen.out == [-1, {"libtoy-toy_lib.so.1": str(toy.host / "libtoy.so.1")}]
    real = [path for path in seen.copies("libtoy") if "/system/" not in path]
    assert real == [str(toy.host / "libtoy.so.1")]
    assert seen.mapped[real[0]] == (toy.host / "libtoy.so.1").stat().st_ino
    text = world.refused(three, "import low", hosted=False, env=env, flags=STRICT)
    assert "NATIVELIB_SYSTEM" in text
    assert "libtoy.so.1" in text
    assert "Unset" in text


def test_system_copy_for_two_that_need_each_other(toy: Toy, world: World, three: Environment) -> None:
    code = "import high; out = high.value()"
    seen = world.look(three, code, hosted=True, env={"NATIVELIB_SYSTEM": "all"}, flags=STRICT)
    assert seen.out == -1001
    assert str(three.site / TOY) not in seen.mapped
    assert str(three.site / UPPER) not in seen.mapped


@pytest.mark.parametrize("provider", ["installed", "absent"])
def test_system_copy_of_a_kept_soname(toy: Toy, world: World, tmp_path: Path, provider: str) -> None:
    built = toy.extension("kept_value()", ["libkept.so.3"])
    wheel = toy.repaired(plain_consumer(toy, tmp_path, "keeper", built), toy.kept)
    what = [wheel, toy.kept] if provider == "installed" else [wheel]
    environment = installed(tmp_path / "venv", "--no-deps", *what)
    env = {"NATIVELIB_SYSTEM": "kept-lib"}
    # Silently: warnings are errors here.
    seen = world.look(environment, "import keeper; out = keeper.value()", hosted=True, env=env, flags=STRICT)
    assert seen.out == -7
    assert seen.copies("libkept") == [str(toy.host / "libkept.so.3")]
    assert "libkept.so.3" in world.refused(environment, "import keeper", hosted=False, env=env, flags=STRICT)


# --- missing, too old, something else -----------------------------------------------------------------------------


def test_missing_provider(toy: Toy, world: World, tmp_path: Path) -> None:
    environment = installed(tmp_path / "venv", "--no-deps", toy.repaired(plain_consumer(toy, tmp_path, "lonely")))
    for hosted in (True, False):
        text = world.refused(environment, "import lonely", hosted=hosted)
        assert text.startswith("lonely needs libtoy-toy_lib.so.1 of toy-lib, which is not installed for this Python")
        assert str(environment.path) in text
        assert text.endswith("python -m pip install 'toy-lib<2,>=1.0.0'")


def test_missing_provider_of_the_provider(toy: Toy, world: World, tmp_path: Path) -> None:
    top = toy.extension("upper_value()", ["libupper.so.2"])
    wheel = toy.repaired(plain_consumer(toy, tmp_path, "top", top), toy.upper)
    environment = installed(tmp_path / "venv", "--no-deps", wheel, toy.upper)
    for hosted in (True, False):
        text = world.refused(environment, "import top", hosted=hosted)
        assert "upper-lib 2.0" in text
        assert "toy-lib, which is not installed" in text
        assert "pip install 'toy-lib" in text


def test_missing_provider_of_a_kept_soname(toy: Toy, world: World, tmp_path: Path) -> None:
    """The host's copy may serve, but never unseen."""
    built = toy.extension("kept_value()", ["libkept.so.3"])
    wheel = toy.repaired(plain_consumer(toy, tmp_path, "keeper", built), toy.kept)
    environment = installed(tmp_path / "venv", "--no-deps", wheel)
    code = "import warnings\nwith warnings.catch_warnings(record=True) as found:\n"
    code += "    warnings.simplefilter('always'); import keeper\n"
    code += "[w] = found; out = [keeper.value(), w.category.__name__, str(w.message), w.filename]"
    value, category, message, filename = world.look(environment, code, hosted=True).out
    assert (value, category) == (-7, "RuntimeWarning")
    assert "kept-lib is not installed" in message
    assert "pip install 'kept-lib<4,>=3.0'" in message
    assert filename == "<string>"  # whoever imports the consumer
    assert "libkept.so.3" in world.refused(environment, "import keeper", hosted=False)


def test_provider_is_too_old(toy: Toy, world: World, tmp_path: Path) -> None:
    needs_new = toy.repaired(plain_consumer(toy, tmp_path, "modern", toy.extension("toy_new()")))
    environment = installed(tmp_path / "venv", "--no-deps", needs_new, toy.old)
    for hosted in (True, False):
        text = world.refused(environment, "import modern", hosted=hosted)
        assert text.startswith("modern needs toy-lib<2,>=1.2.0, but 1.0.0 is installed")
        assert str(environment.site / "toy_lib") in text
        assert text.endswith("python -m pip install 'toy-lib<2,>=1.2.0'")


def test_old_provider_that_has_everything_serves(toy: Toy, world: World, tmp_path: Path) -> None:
    """The lower bound is the first release with the symbols used, not the one at hand."""
    frugal = toy.repaired(plain_consumer(toy, tmp_path, "frugal"))
    environment = installed(tmp_path / "venv", toy.old, frugal)
    assert world.see(environment, "import frugal; out = frugal.value()", environment.site / TOY) == 41


def test_stray_directory_with_the_providers_name(toy: Toy, world: World, tmp_path: Path) -> None:
    wheel = toy.repaired(plain_consumer(toy, tmp_path, "lonely"))
    environment = installed(tmp_path / "venv", "--no-deps", wheel)
    (environment.site / "toy_lib" / "lib").mkdir(parents=True)
    for hosted in (True, False):
        text = world.refused(environment, "import lonely", hosted=hosted)
        assert "toy-lib, which is not installed" in text
        assert text.endswith("python -m pip install 'toy-lib<2,>=1.0.0'")


def test_stray_directory_does_not_hide_the_provider(toy: Toy, world: World, tmp_path: Path) -> None:
    environment = installed(tmp_path / "venv", toy.repaired(plain_consumer(toy, tmp_path, "shop")), links=[toy.wheels])
    (tmp_path / "stray" / "toy_lib").mkdir(parents=True)
    env = {"PYTHONPATH": str(tmp_path / "stray")}
    code = "import shop; out = shop.value()"
    assert world.see(environment, code, environment.site / TOY, env=env, flags=STRICT) == 42


@pytest.mark.parametrize("damage", ["gone", "truncated", "not_elf"])
def test_damaged_library(toy: Toy, world: World, tmp_path: Path, damage: str) -> None:
    environment = installed(tmp_path / "venv", toy.repaired(plain_consumer(toy, tmp_path, "shop")), links=[toy.wheels])
    library = environment.site / TOY
    content = library.read_bytes()
    library.unlink()
    if damage != "gone":
        library.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"<html>404</html>")
    for hosted in (True, False):
        text = world.refused(environment, "import shop", hosted=hosted)
        assert text.startswith("toy-lib 1.2.0: ")
        assert str(library) in text or ("libtoy-toy_lib.so.1 is missing" in text and str(library.parent) in text)
        assert "--force-reinstall" in text


# --- foreign providers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A wheel that nativelib did not build, and the host's copy of its library.

    ``libstrange.so.4`` needs a grafted ``libinner-0a1b2c3d.so.1``, which it has no run path to: its package opens that
    one first. The package must not be imported unasked.
    """
    directory = tmp_path_factory.mktemp("foreign")
    inner = shared_library(
        directory, "libinner-0a1b2c3d.so.1", "int inner(void) { return 60; }", soname="libinner-0a1b2c3d.so.1"
    )
    source = "int inner(void); int strange_value(void) { return inner() + 6; }"
    strange = shared_library(directory, "libstrange.so.4", source, soname="libstrange.so.4", needed=[inner])
    init = (
        "import ctypes, os\nhere = os.path.dirname(__file__)\n"
        "for name in ('../strange.libs/libinner-0a1b2c3d.so.1', 'lib/libstrange.so.4'):\n"
        "    ctypes.CDLL(os.path.join(here, name))\n"
    )
    files: dict[str, bytes | str | Path] = {
        "strange/__init__.py": init,
        "strange/lib/libstrange.so.4": strange,
        "strange.libs/libinner-0a1b2c3d.so.1": inner,
        "aside/__init__.py": "",
        "aside/libaside.so": shared_library(directory, "libaside.so", "int aside;"),
    }
    wheel = make_wheel(
        directory / "wheels", f"strange_dist-4.5-py3-none-manylinux_2_17_{os.uname().machine}.whl", files
    )
    host = shared_library(
        directory / "host", "libstrange.so.4", "int strange_value(void) { return -6; }", soname="libstrange.so.4"
    )
    return wheel, host


def strange_consumer(toy: Toy, directory: Path, host: Path, name: str = "guest") -> Path:
    source = simple_module("_ext", "strange_value()", "int strange_value(void);")
    return plain_consumer(toy, directory, name, extension(directory / f"ext_{name}", "_ext", source, needed=[host]))


@pytest.mark.parametrize("run_path", [True, False])
def test_foreign_provider(toy: Toy, world: World, foreign: tuple[Path, Path], tmp_path: Path, run_path: bool) -> None:
    wheel, host = foreign
    arguments = [] if run_path else ["--no-run-path"]
    repaired = toy.repaired(strange_consumer(toy, tmp_path, host), wheel, arguments=arguments, allow=[NEWER])
    environment = installed(tmp_path / "venv", repaired, links=[wheel.parent])
    files = [environment.site / "strange/lib/libstrange.so.4", environment.site / "strange.libs/libinner-0a1b2c3d.so.1"]
    code = "import sys, guest; out = [guest.value(), 'strange' in sys.modules]"
    env = {"LD_LIBRARY_PATH": str(host.parent)}
    assert world.look(environment, code, hosted=True, env=env).out == [66, False]
    assert world.see(environment, code, *files) == [66, False]
    asked = {**env, "NATIVELIB_SYSTEM": "strange.dist"}
    assert world.look(environment, code, hosted=True, env=asked, flags=STRICT).out == [-6, False]
    code = "import strange, sys, guest; out = [guest.value(), 'strange' in sys.modules]"
    assert world.see(environment, code, *files) == [66, True]


def test_foreign_provider_in_another_directory(
    toy: Toy, world: World, foreign: tuple[Path, Path], tmp_path: Path
) -> None:
    wheel, host = foreign
    repaired = toy.repaired(strange_consumer(toy, tmp_path, host), wheel, allow=[NEWER])
    one = installed(tmp_path / "one", "--no-deps", repaired)
    other = installed(tmp_path / "other", wheel)
    files = [other.site / "strange/lib/libstrange.so.4", other.site / "strange.libs/libinner-0a1b2c3d.so.1"]
    env = {"PYTHONPATH": str(other.site)}
    assert world.see(one, "import guest; out = guest.value()", *files, env=env, flags=STRICT) == 66


LAYOUTS = {
    "grafts_beside_a_package": ("odd_name.libs/libbare.so.4", {"apart/__init__.py": "", "bare/__init__.py": ""}),
    "grafts_beside_a_module": ("odd_name.libs/libbare.so.4", {"bare.py": ""}),
    "regular_package_in_a_namespace": ("vendor/bare/lib/libbare.so.4", {"vendor/bare/__init__.py": "LOAD"}),
    "namespace_package": ("vendor/bare/libbare.so.4", {"vendor/bare/other.py": ""}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_foreign_providers(toy: Toy, world: World, tmp_path: Path, layout: str) -> None:
    """The package that leads to the library need not be called like the distribution."""
    place, texts = LAYOUTS[layout]
    load = "import ctypes, os; ctypes.CDLL(os.path.join(os.path.dirname(__file__), 'lib', 'libbare.so.4'))"
    bare = shared_library(tmp_path, "libbare.so.4", "int bare(void) { return 9; }", soname="libbare.so.4")
    files: dict[str, bytes | str | Path] = {
        place: bare,
        **{name: text.replace("LOAD", load) for name, text in texts.items()},
    }
    wheel = make_wheel(tmp_path / "wheels", f"odd_name-1-py3-none-manylinux_2_17_{os.uname().machine}.whl", files)
    built = extension(tmp_path / "ext", "_ext", simple_module("_ext", "bare()", "int bare(void);"), needed=[bare])
    imported = ["--import-provider", "odd-name"] if "LOAD" in str(texts) else []
    for number, arguments in enumerate(([], imported)):
        repaired = toy.repaired(
            plain_consumer(toy, tmp_path / str(number), "guest", built),
            wheel,
            arguments=["--no-run-path", *arguments],
            allow=[NEWER],
        )
        environment = installed(tmp_path / f"venv{number}", repaired, links=[wheel.parent])
        code = "import sys, guest; out = [guest.value(), [n for n in sys.modules if n.endswith('bare')]]"
        expected = ["vendor.bare"] if arguments else []
        assert world.see(environment, code, environment.site / place) == [9, expected]


def test_import_provider(toy: Toy, world: World, foreign: tuple[Path, Path], tmp_path: Path) -> None:
    """For packages that are meant to be imported: theirs is the loading."""
    wheel, host = foreign
    arguments = ["--no-run-path", "--import-provider", "Strange.Dist"]
    repaired = toy.repaired(strange_consumer(toy, tmp_path, host), wheel, arguments=arguments, allow=[NEWER])
    environment = installed(tmp_path / "venv", repaired, links=[wheel.parent])
    files = [environment.site / "strange/lib/libstrange.so.4", environment.site / "strange.libs/libinner-0a1b2c3d.so.1"]
    code = "import sys, guest; out = [guest.value(), 'strange' in sys.modules, 'aside' in sys.modules]"
    assert world.see(environment, code, *files) == [66, True, False]


def test_missing_foreign_provider(toy: Toy, world: World, foreign: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, host = foreign
    for number, arguments in enumerate(([], ["--import-provider", "strange-dist"])):
        repaired = toy.repaired(
            strange_consumer(toy, tmp_path / str(number), host), wheel, arguments=arguments, allow=[NEWER]
        )
        environment = installed(tmp_path / f"venv{number}", "--no-deps", repaired)
        text = world.refused(environment, "import guest", hosted=False)
        assert text.startswith("guest needs libstrange.so.4 of strange-dist, which is not installed")
        assert text.endswith("python -m pip install 'strange-dist==4.5'")
        env = {"LD_LIBRARY_PATH": str(host.parent)}
        assert "RuntimeWarning" in world.run(environment, "import guest", hosted=True, env=env).stderr
        done = world.run(
            environment, "import guest; print(guest.value())", hosted=True, env=env, flags=("-I", "-W", "always")
        )
        assert done.stdout == "-6\n"


# --- the real ones ------------------------------------------------------------------------------------------------

OPENMP_SOURCE = """
#include <Python.h>
#include <omp.h>
static PyObject *value(PyObject *self, PyObject *none) {
    long sum = 0; int threads = 0;
    #pragma omp parallel num_threads(3) reduction(+ : sum)
    {
        #pragma omp single
        threads = omp_get_num_threads();
        #pragma omp for schedule(dynamic)
        for (int i = 0; i <= 1000; i++) sum += i;
    }
    return PyLong_FromLong(sum * 10 + threads);
}
static PyMethodDef methods[] = {{"value", value, METH_NOARGS, 0}, {0, 0, 0, 0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_ext", 0, -1, methods, 0, 0, 0, 0};
PyMODINIT_FUNC PyInit__ext(void) { return PyModule_Create(&definition); }
"""


@pytest.fixture(scope="module")
def openmp(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The library wheel of gcc's libgomp, and an extension with a parallel loop."""
    directory = tmp_path_factory.mktemp("openmp")
    asked = [require("gcc"), "-print-file-name=libgomp.so.1"]
    found = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    if not found.is_absolute():
        lacking("gcc's libgomp.so.1")
    (directory / "prefix/lib").mkdir(parents=True)
    shutil.copy(found.resolve(), directory / "prefix/lib/libgomp.so.1")
    wheel = library_wheel(
        directory / "wheels",
        "openmp-lib",
        "12.2",
        directory / "prefix",
        ["lib/libgomp.so.1"],
        spec='singleton = true\ncompatible = ">={version}"',
    )
    return wheel, extension(directory / "ext", "_ext", OPENMP_SOURCE, flags=["-fopenmp"])


GOMP = "openmp_lib/lib/libgomp.so.1"


def test_openmp_singleton(toy: Toy, world: World, openmp: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, built = openmp
    wheels = [
        toy.repaired(plain_consumer(toy, tmp_path, name, built), wheel, allow=[NEWER]) for name in ("loops", "other")
    ]
    environment = installed(tmp_path / "venv", *wheels, links=[wheel.parent])
    for order in ("loops, other", "other, loops", "openmp_lib, loops, other"):
        code = f"import {order}; out = [loops.value(), other.value()]"
        assert world.see(environment, code, environment.site / GOMP) == [5005003, 5005003]


def test_openmp_singleton_uses_an_incumbent(toy: Toy, world: World, openmp: tuple[Path, Path], tmp_path: Path) -> None:
    """Without a warning, and never with a second copy, whoever comes first."""
    wheel, built = openmp
    host = {str(path.resolve()) for path in host_files(["libgomp"])}
    if not host:
        lacking("a libgomp of the host")
    unrepaired = plain_consumer(toy, tmp_path, "unrepaired", built)
    repaired = toy.repaired(plain_consumer(toy, tmp_path, "loops", built), wheel, allow=[NEWER])
    environment = installed(tmp_path / "venv", repaired, unrepaired, links=[wheel.parent])
    code = "import unrepaired, loops; out = [loops.value(), unrepaired.value()]"
    seen = world.look(environment, code, hosted=True)
    assert seen.out == [5005003, 5005003]
    [copy] = seen.copies("libgomp")
    assert os.path.realpath(copy) in host
    code = "import loops, unrepaired; out = [loops.value(), unrepaired.value()]"
    assert world.see(environment, code, environment.site / GOMP) == [5005003, 5005003]


BLAS_SOURCE = """
#include <Python.h>
extern double cblas_ddot(int, const double *, int, const double *, int);
extern double dnrm2_(const int *, const double *, const int *);
extern void dgesv_(int *, int *, double *, int *, int *, double *, int *, int *);
static PyObject *value(PyObject *self, PyObject *none) {
    double x[] = {1, 2, 3}, y[] = {4, 5, 6}, a[] = {2, 0, 0, 4}, b[] = {6, 8}, z[] = {3, 4};
    int two = 2, one = 1, pivots[2], info;
    dgesv_(&two, &one, a, &two, pivots, b, &two, &info);
    return Py_BuildValue("ddddi", cblas_ddot(3, x, 1, y, 1), dnrm2_(&two, z, &one), b[0], b[1], info);
}
static PyMethodDef methods[] = {{"value", value, METH_NOARGS, 0}, {0, 0, 0, 0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_ext", 0, -1, methods, 0, 0, 0, 0};
PyMODINIT_FUNC PyInit__ext(void) { return PyModule_Create(&definition); }
"""


@pytest.mark.long
@pytest.mark.network
def test_openblas_of_the_distribution(toy: Toy, world: World, tmp_path: Path) -> None:
    trees = [debian_package(name) for name in ("libopenblas0-pthread", "libgfortran5", "libquadmath0")]
    [openblas] = trees[0].glob("usr/lib/*/openblas-pthread/libopenblas.so.0")
    directories = sorted({str(path.parent) for tree in trees for path in tree.glob("usr/lib/**/*.so.?")})
    wheel = library_wheel(
        tmp_path / "wheels",
        "openblas-lib",
        "0.3.21",
        trees[0] / "usr",
        ["lib/**/openblas-pthread/libopenblas.so.0"],
        spec='compatible = ">={version},<0.4"\nabi = { blas-int = "32", threading = "pthreads" }',
        arguments=["--ldpaths", ":".join(directories)],
    )
    names = [Path(name).name for name in members(wheel) if ".so" in name and "/system/" not in name]
    assert [name for name in names if name.startswith(("libgfortran-", "libquadmath-"))]
    flags = [f"-Wl,-rpath-link,{directory}" for directory in directories]
    built = extension(tmp_path / "ext", "_ext", BLAS_SOURCE, needed=[openblas], flags=flags)
    wheels = [
        toy.repaired(plain_consumer(toy, tmp_path, name, built), wheel, allow=[NEWER]) for name in ("algebra", "more")
    ]
    environment = installed(tmp_path / "venv", *wheels, links=[wheel.parent])
    lib = environment.site / "openblas_lib/lib"
    private = [path for path in lib.iterdir() if re.match(r"lib(gfortran|quadmath)-", path.name)]
    assert len(private) == 2
    for order in ("algebra, more", "more, algebra"):
        code = f"import {order}; out = [algebra.value(), more.value()]"
        got = world.see(environment, code, lib / "libopenblas-openblas_lib.so.0", *private, flags=ISOLATED)
        assert got == [[32.0, 5.0, 3.0, 2.0, 0]] * 2
