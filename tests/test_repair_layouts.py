"""Repaired consumers of every shape and in every place: installed, and imported by a fresh process.

Each import happens twice: with the host's copies of the libraries in reach of the loader, and where there are none.
"""

from __future__ import annotations

import ast
import itertools
import os
import subprocess
import sys
import venv
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cc import extension, shared_library, simple_module
from tests.support.tools import require
from tests.support.toy import (
    EXT_SUFFIX,
    PLATFORM,
    STRICT,
    Toy,
    World,
    consumer,
    installed,
    library_wheel,
    package,
)
from tests.support.venvs import Environment, clean_environment
from tests.support.wheels import members

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOY = "toy_lib/lib/libtoy-toy_lib.so.1"
HOOK_IMPORT = "from . import _distributor_init"


# --- shapes of packages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pip", [True, False], ids=["pip", "uv"])
def test_extension_in_a_package(toy: Toy, world: World, tmp_path: Path, pip: bool) -> None:
    wheel = toy.repaired(consumer(tmp_path, "plain", package("plain", toy.plain)))
    # By name alone: the requirement in its metadata brings the library wheel.
    environment = installed(tmp_path / "venv", "plain", links=[wheel.parent, toy.wheels], pip=pip)
    assert world.see(environment, "import plain; out = plain.value()", environment.site / TOY) == 42


def test_extension_in_a_nested_package(toy: Toy, world: World, tmp_path: Path) -> None:
    files = {
        "outer/__init__.py": '"""Loads nothing."""\n',
        "outer/middle/__init__.py": "",
        **package("outer.middle.inner", toy.plain),
    }
    wheel = consumer(tmp_path, "nested", files)
    answer = toy.repair(wheel)
    assert answer.document["wheels"][0]["hooks"] == ["outer/_distributor_init.py"]
    environment = installed(tmp_path / "venv", toy.repaired(wheel), links=[toy.wheels])
    library = environment.site / TOY
    assert world.see(environment, "import outer.middle.inner as m; out = m.value()", library) == 42
    # The file itself, past the packages between.
    assert world.see(environment, "from outer.middle.inner._ext import value; out = value()", library) == 42


def test_several_packages_in_one_wheel(toy: Toy, world: World, tmp_path: Path) -> None:
    both = toy.extension("toy_value() + upper_value()", ["libupper.so.2", "libtoy.so.1"])
    files = {**package("one", toy.plain), **package("two", both), "three/__init__.py": "value = int\n"}
    wheel = toy.repaired(consumer(tmp_path, "several", files), toy.toy, toy.upper)
    found = members(wheel)
    assert {name for name in found if name.endswith("_distributor_init.py")} == {
        "one/_distributor_init.py",
        "two/_distributor_init.py",
    }
    assert b"upper_lib" not in found["one/_distributor_init.py"]
    assert found["three/__init__.py"] == b"value = int\n"
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    library = environment.site / TOY
    assert world.see(environment, "import one; out = one.value()", library) == 42
    upper = environment.site / "upper_lib/lib/libupper-upper_lib.so.2"
    for order in itertools.permutations(("one", "two", "three")):
        code = f"import {', '.join(order)}; out = one.value() + two.value() + three.value()"
        assert world.see(environment, code, library, upper) == 42 + 142 + 42


def test_abi3_extension(toy: Toy, world: World, tmp_path: Path) -> None:
    built = toy.extension("toy_value()", flags=["-DPy_LIMITED_API=0x03080000"])
    wheel = consumer(
        tmp_path,
        "stable",
        {"stable/__init__.py": "from ._ext import value\n", "stable/_ext.abi3.so": built},
        tag=f"cp38-abi3-{PLATFORM}",
    )
    repaired = toy.repaired(wheel)
    assert repaired.name.startswith("stable-1.0-cp38-abi3-manylinux")
    environment = installed(tmp_path / "venv", repaired, links=[toy.wheels])
    assert world.see(environment, "import stable; out = stable.value()", environment.site / TOY) == 42


def test_cxx_extension_and_library(toy: Toy, world: World, tmp_path: Path) -> None:
    """Exceptions of the library wheel's library are caught by type in the consumer's extension."""
    library, wheel = cxx_library(tmp_path)
    source = f"""
    #include <Python.h>
    #include <string>
    {CXX_HEADER}
    extern "C" {{
    static PyObject *value(PyObject *, PyObject *) {{
        try {{ thing::fail(thing::name()); }}
        catch (const thing::Error &error) {{ return PyUnicode_FromString(error.what()); }}
        return NULL;
    }}
    static PyMethodDef methods[] = {{{{"value", value, METH_NOARGS, 0}}, {{0, 0, 0, 0}}}};
    static struct PyModuleDef definition = {{PyModuleDef_HEAD_INIT, "_ext", 0, -1, methods}};
    PyMODINIT_FUNC PyInit__ext(void) {{ return PyModule_Create(&definition); }}
    }}
    """
    built = extension(tmp_path / "ext", "_ext", source, needed=[library], cc="g++")
    repaired = toy.repaired(consumer(tmp_path, "modern", package("modern", built)), wheel)
    environment = installed(tmp_path / "venv", repaired, wheel)
    provided = environment.site / "thing_lib/lib/libthing-thing_lib.so.1"
    assert world.see(environment, "import modern; out = modern.value()", provided) == "the wheel's thing"


CXX_HEADER = """
#include <stdexcept>
#include <string>
namespace thing {
    struct __attribute__((visibility("default"))) Error : std::runtime_error {
        explicit Error(const std::string &text); virtual ~Error();
    };
    __attribute__((visibility("default"))) std::string name();
    __attribute__((visibility("default"))) void fail(const std::string &text);
}
"""


def cxx_library(directory: Path) -> tuple[Path, Path]:
    """Return the copy of the library to link with, and the library wheel."""

    def source(whose: str) -> str:
        return f"""{CXX_HEADER}
        namespace thing {{
            Error::Error(const std::string &text) : std::runtime_error(text) {{}}
            Error::~Error() {{}}
            std::string name() {{ return "the {whose} thing"; }}
            void fail(const std::string &text) {{ throw Error(text); }}
        }}"""

    libraries = {
        whose: shared_library(
            directory / whose / "lib", "libthing.so.1", source(whose), soname="libthing.so.1", cc="g++"
        )
        for whose in ("host's", "wheel's")
    }
    wheel = library_wheel(
        directory / "wheels", "thing-lib", "1.0", directory / "wheel's", ["lib/*"], spec='abi = { cxx = "libstdc++" }'
    )
    return libraries["host's"], wheel


@pytest.mark.parametrize("init_in", ["", "split-1.0.data/platlib/"])
@pytest.mark.parametrize("extension_in", ["split-1.0.data/platlib/", "split-1.0.data/purelib/"])
def test_members_of_the_data_directory(toy: Toy, world: World, tmp_path: Path, init_in: str, extension_in: str) -> None:
    """What counts is where a member is installed, not where it lies in the archive."""
    files: dict[str, Any] = {
        f"{init_in}split/__init__.py": "from .sub._ext import value\n",
        f"{extension_in}split/sub/{toy.plain.name}": toy.plain,
    }
    wheel = toy.repaired(consumer(tmp_path, "split", files))
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    assert world.see(environment, "import split; out = split.value()", environment.site / TOY) == 42


def test_library_that_the_package_opens_itself(toy: Toy, world: World, tmp_path: Path) -> None:
    """No extension module at all: plug-ins and ctypes packages are consumers as well."""
    source = "int toy_value(void); int plugin(void) { return toy_value() * 2; }"
    plugin = shared_library(tmp_path, "plugin.so", source, needed=[toy.host / "libtoy.so.1"])
    init = "import ctypes, os\nvalue = ctypes.CDLL(os.path.join(os.path.dirname(__file__), 'data/plugin.so')).plugin\n"
    files: dict[str, Any] = {"opener/__init__.py": init, "opener/data/plugin.so": plugin}
    wheel = consumer(tmp_path, "opener", files, tag=f"py3-none-{PLATFORM}")
    environment = installed(tmp_path / "venv", toy.repaired(wheel, arguments=["--no-run-path"]), links=[toy.wheels])
    assert world.see(environment, "import opener; out = opener.value()", environment.site / TOY) == 84


# --- what __init__.py may look like -------------------------------------------------------------------------------

INITS: Mapping[str, bytes] = {
    "first_line": b"from ._ext import value\n",
    "empty": b"",
    "docstring": b'"""What it is."""\nfrom ._ext import value\n',
    "long_docstring": b'# A comment.\n\n"""What\n\nit is."""\n\n\nfrom ._ext import value\n',
    "future": b'"""What it is."""\n\nfrom __future__ import annotations\nfrom ._ext import value\ndef f(x: never): 0\n',
    "cookie": '# -*- coding: latin-1 -*-\n"""Was es ist: schön."""\nfrom ._ext import value\n'.encode("latin-1"),
    "shebang_cookie": b"#!/usr/bin/env python\n# vim: set fileencoding=cp1252 :\nfrom ._ext import value\nx = '\x80'\n",
    "bom": b'\xef\xbb\xbf"""What it is: \xc3\xa9."""\nfrom ._ext import value\n',
    "bom_alone": b"\xef\xbb\xbffrom ._ext import value\n",
    "crlf": b'"""What\r\nit is."""\r\nfrom ._ext import value\r\n',
    "no_newline_at_the_end": b'"""What it is."""',
    "standard_library_first": b"import sys, os\nfrom . import _names\nfrom ._ext import value\n",
    "hook_in_try": b"try:\n    from . import _distributor_init\nexcept ImportError:\n    pass\n"
    b"from ._ext import value\n",
    "all_before": b"__all__ = ['value']\n__version__ = '1'\nfrom ._ext import value\n",
    "lazy": b"def __getattr__(name):\n    from importlib import import_module\n"
    b"    return getattr(import_module('._ext', __name__), name)\n",
}


@pytest.fixture(scope="module")
def inits(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Path]:
    """An environment with one repaired wheel that has a package for each of INITS."""
    directory = tmp_path_factory.mktemp("inits")
    files: dict[str, Any] = {}
    for name, init in INITS.items():
        files |= package(f"init_{name}", toy.plain, init)
        files[f"init_{name}/_names.py"] = "from ._ext import value as _value\n"
    wheel = toy.repaired(consumer(directory, "inits", files))
    return installed(directory / "venv", wheel, links=[toy.wheels]), wheel


@pytest.mark.parametrize("name", INITS)
def test_init(inits: tuple[Environment, Path], world: World, name: str) -> None:
    environment, wheel = inits
    module = f"init_{name}"
    code = f"import {module} as m\ntry: out = m.value()\nexcept AttributeError:\n    from {module}._ext import value\n"
    code += "    out = value()\nout = [out, m.__doc__]"
    value, documentation = world.see(environment, code, environment.site / TOY)
    before, after = INITS[name], members(wheel)[f"{module}/__init__.py"]
    assert value == 42
    assert documentation == ast.get_docstring(ast.parse(before), clean=False)
    newline = b"\r\n" if name == "crlf" else b"\n"
    statement = HOOK_IMPORT.encode() + newline
    assert after.replace(statement, b"", 1).rstrip() == before.rstrip()
    body = [ast.dump(node) for node in ast.parse(after).body]
    assert body.index(ast.dump(ast.parse(HOOK_IMPORT).body[0])) <= 2
    assert len(body) == len(ast.parse(before).body) + 1


def test_annotations_stay_strings_after_the_future_import(inits: tuple[Environment, Path], world: World) -> None:
    environment, _ = inits
    code = "import init_future as m; out = m.f.__annotations__"
    assert world.see(environment, code) == {"x": "never"}


def test_init_that_imports_the_hook_already_is_left_alone(toy: Toy, world: World, tmp_path: Path) -> None:
    init = f'"""Doc."""\nimport sys\n{HOOK_IMPORT}\nfrom ._ext import value\n'
    files = {**package("ready", toy.plain, init), "ready/_distributor_init.py": "# Nothing here yet.\n"}
    wheel = toy.repaired(consumer(tmp_path, "ready", files))
    assert members(wheel)["ready/__init__.py"] == init.encode()
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    assert world.see(environment, "import ready; out = ready.value()", environment.site / TOY) == 42


# --- a _distributor_init.py that is there already -----------------------------------------------------------------

NUMPY_HOOK = '''"""Hook for distributors.

Distributors may put code here that runs before anything else.
"""

try:
    from . import _distributor_init_local
except ImportError:
    pass
'''
OWN_HOOK = '"""Ours."""\nfrom __future__ import annotations\n\nimport sys\n\nsys.own_hook_ran = True\n'


@pytest.mark.parametrize("local", [False, True], ids=["without_local", "with_local"])
def test_distributor_init_with_a_local_slot(toy: Toy, world: World, tmp_path: Path, local: bool) -> None:
    init = f"import sys\n{HOOK_IMPORT}\nfrom ._ext import value\n"
    files = {**package("slotted", toy.plain, init), "slotted/_distributor_init.py": NUMPY_HOOK}
    if local:
        files["slotted/_distributor_init_local.py"] = "import sys\nsys.local_hook_ran = True\n"
    wheel = toy.repaired(consumer(tmp_path, "slotted", files))
    found = members(wheel)
    assert "slotted/_distributor_init_local.py" in found or not local
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    code = "import sys, slotted; out = [slotted.value(), getattr(sys, 'local_hook_ran', False)]"
    assert world.see(environment, code, environment.site / TOY) == [42, local]

    # The library is missing: nothing between here and the user swallows that.
    alone = installed(tmp_path / "alone", "--no-deps", wheel)
    for hosted in (True, False):
        text = world.refused(alone, "import slotted", hosted=hosted)
        assert "toy-lib" in text
        assert "slotted needs" in text


def test_own_distributor_init_still_runs_and_keeps_its_docstring(toy: Toy, world: World, tmp_path: Path) -> None:
    files = {**package("owning", toy.plain), "owning/_distributor_init.py": OWN_HOOK}
    wheel = toy.repaired(consumer(tmp_path, "owning", files))
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    code = "import sys, owning; out = [owning.value(), sys.own_hook_ran, owning._distributor_init.__doc__]"
    assert world.see(environment, code, environment.site / TOY) == [42, True, "Ours."]


def test_hook_behind_except_import_error_does_not_hide_a_missing_library(
    toy: Toy, world: World, tmp_path: Path
) -> None:
    files = {**package("hiding", toy.plain, INITS["hook_in_try"]), "hiding/_distributor_init.py": "# Empty.\n"}
    wheel = toy.repaired(consumer(tmp_path, "hiding", files))
    alone = installed(tmp_path / "venv", "--no-deps", wheel)
    for hosted in (True, False):
        assert "pip install 'toy-lib" in world.refused(alone, "import hiding", hosted=hosted)


# --- where things are installed -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repaired wheel whose extension is all that it has."""
    return toy.repaired(consumer(tmp_path_factory.mktemp("shop"), "shop", package("shop", toy.plain)))


def into(target: Path, *what: Path | str, links: Path | None = None) -> Path:
    """Install *what* with ``pip install --target``, where pip finds no other environment; return *target*."""
    argv = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--target", str(target)]
    found = ["--find-links", str(links)] if links else ["--no-deps"]
    _run([*argv, *found, *map(str, what)])
    return target


def _run(argv: list[str], **env: str) -> None:
    done = subprocess.run(argv, env=clean_environment(env), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


SHOP = "import shop; out = shop.value()"


def test_target_directory(toy: Toy, world: World, shop: Path, tmp_path: Path) -> None:
    target = into(tmp_path / "target", shop, links=toy.wheels)
    path = {"PYTHONPATH": str(target)}
    assert world.see(sys.executable, SHOP, target / TOY, env=path, flags=STRICT) == 42


@pytest.mark.parametrize("provider_first", [True, False])
def test_two_directories(toy: Toy, world: World, shop: Path, tmp_path: Path, provider_first: bool) -> None:
    one, other = into(tmp_path / "a place", toy.toy), into(tmp_path / "shops", shop)
    order = (one, other) if provider_first else (other, one)
    path = {"PYTHONPATH": os.pathsep.join(map(str, order))}
    assert world.see(sys.executable, SHOP, one / TOY, env=path, flags=STRICT) == 42


def test_two_copies_of_the_provider(toy: Toy, world: World, shop: Path, tmp_path: Path) -> None:
    """The copy that Python imports is the one that serves, although the run path leads to the other."""
    near, far = into(tmp_path / "near", shop, links=toy.wheels), into(tmp_path / "far", toy.toy)
    path = {"PYTHONPATH": os.pathsep.join(map(str, (far, near)))}
    assert world.see(sys.executable, SHOP, far / TOY, env=path, flags=STRICT) == 42


@pytest.mark.parametrize("provider_in", ["user site", "venv"])
def test_user_site_and_venv(toy: Toy, world: World, shop: Path, tmp_path: Path, provider_in: str) -> None:
    venv.EnvBuilder(symlinks=True, system_site_packages=True).create(tmp_path / "venv")
    environment = Environment(path=tmp_path / "venv")
    base = tmp_path / "user"
    wheels = [toy.toy, shop] if provider_in == "user site" else [shop, toy.toy]
    argv = [sys.executable, "-m", "pip", "--python", str(environment.python), "install", "-q", "--no-index"]
    _run([*argv, "--user", "--no-deps", str(wheels[0])], PYTHONUSERBASE=str(base))
    environment.install(wheels[1], flags=["--no-deps"])
    [user_site] = base.glob("lib/python*/site-packages")
    home = user_site if provider_in == "user site" else environment.site
    assert world.see(environment, SHOP, home / TOY, env={"PYTHONUSERBASE": str(base)}, flags=STRICT) == 42


def test_environment_behind_a_link_and_with_odd_names(toy: Toy, world: World, shop: Path, tmp_path: Path) -> None:
    real = installed(tmp_path / "ünï cöde's, 100% $ORIGIN" / "venv", shop, links=[toy.wheels])
    link = tmp_path / "link"
    link.symlink_to(real.path)
    environment = Environment(path=link)
    assert world.see(environment, SHOP, environment.site / TOY) == 42


# --- without a package to hook ------------------------------------------------------------------------------------


def test_namespace_package_by_run_path(toy: Toy, world: World, tmp_path: Path) -> None:
    """Also what the provider's library needs of another library wheel is found so."""
    both = toy.extension("upper_value()", ["libupper.so.2"])
    wheel = consumer(tmp_path, "spaced", {f"space/deep/{both.name}": both, "space/other.py": "x = 1\n"})
    answer = toy.repair(wheel, toy.upper)
    [found] = answer.document["wheels"]
    assert [(f["code"], f["severity"]) for f in found["findings"]] == [("NL502", "note")]
    assert found["hooks"] == []
    environment = installed(tmp_path / "venv", toy.repaired(wheel, toy.upper), links=[toy.wheels])
    assert not (environment.site / "space/__init__.py").exists()
    files = [environment.site / TOY, environment.site / "upper_lib/lib/libupper-upper_lib.so.2"]
    assert world.see(environment, "from space.deep._ext import value; out = value()", *files) == 142


def test_package_in_a_namespace_is_hooked(toy: Toy, world: World, tmp_path: Path) -> None:
    files = {
        **package("space/inner", toy.plain),
        "styled/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
        **package("styled/inner", toy.plain),
    }
    wheel = toy.repaired(consumer(tmp_path, "spaced", files), arguments=["--no-run-path"])
    hooks = {name for name in members(wheel) if name.endswith("_distributor_init.py")}
    assert hooks == {"space/inner/_distributor_init.py", "styled/inner/_distributor_init.py"}
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    for name in ("space", "styled"):
        code = f"import {name}.inner as m; out = m.value()"
        assert world.see(environment, code, environment.site / TOY) == 42


def test_top_level_extension_by_run_path(toy: Toy, world: World, tmp_path: Path) -> None:
    built = toy.extension("toy_value() + upper_value()", ["libtoy.so.1", "libupper.so.2"], module="alone")
    wheel = toy.repaired(consumer(tmp_path, "alone", {built.name: built}), toy.toy, toy.upper)
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    files = [environment.site / TOY, environment.site / "upper_lib/lib/libupper-upper_lib.so.2"]
    assert world.see(environment, "import alone; out = alone.value()", *files) == 42 + 142


def test_top_level_extension_without_run_path_is_refused(toy: Toy, tmp_path: Path) -> None:
    built = toy.extension("toy_value()", module="alone")
    answer = toy.repair(consumer(tmp_path, "alone", {built.name: built}), arguments=["--no-run-path"])
    assert answer.code == 1
    [error] = [finding for finding in answer.findings if finding["severity"] == "error"]
    assert (error["code"], error["where"]) == ("NL502", f"alone{EXT_SUFFIX}")
    assert "no run path" in error["message"]
    assert error["remedy"]
    assert not list(tmp_path.glob("repaired/*"))


def test_run_path_alone_serves_an_extension_that_is_opened_without_its_package(
    toy: Toy, world: World, shop: Path, tmp_path: Path
) -> None:
    environment = installed(tmp_path / "venv", shop, links=[toy.wheels])
    file = environment.site / "shop" / toy.plain.name
    code = f"import importlib.util as u; s = u.spec_from_file_location('_ext', {str(file)!r})"
    code += "; m = u.module_from_spec(s); s.loader.exec_module(m); out = m.value()"
    assert world.see(environment, code, environment.site / TOY) == 42


def test_no_run_path(toy: Toy, world: World, tmp_path: Path) -> None:
    wheel = consumer(tmp_path, "pathless", package("pathless", toy.plain))
    repaired = toy.repaired(wheel, arguments=["--no-run-path"])
    environment = installed(tmp_path / "venv", repaired, links=[toy.wheels])
    file = environment.site / "pathless" / toy.plain.name
    listing = subprocess.run([require("readelf"), "-dW", str(file)], capture_output=True, text=True, check=True).stdout
    assert "PATH" not in listing
    assert "[libtoy-toy_lib.so.1]" in listing
    assert world.see(environment, "import pathless; out = pathless.value()", environment.site / TOY) == 42


def test_extension_below_a_package_needs_a_library_of_its_own_wheel(toy: Toy, world: World, tmp_path: Path) -> None:
    """The provided library is needed by a library inside the wheel only; the extension needs that one."""
    source = "int toy_value(void); int helper(void) { return toy_value() + 1; }"
    helper = shared_library(tmp_path, "libhelper.so", source, soname="libhelper.so", needed=[toy.host / "libtoy.so.1"])
    built = extension(
        tmp_path / "ext",
        "_ext",
        simple_module("_ext", "helper()", "int helper(void);"),
        needed=[helper],
        rpath="$ORIGIN/private",
        flags=[f"-Wl,-rpath-link,{toy.host}"],
    )
    files = {**package("helped", built), "helped/private/libhelper.so": helper}
    wheel = toy.repaired(consumer(tmp_path, "helped", files))
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    used = [environment.site / TOY, environment.site / "helped/private/libhelper.so"]
    assert world.see(environment, "import helped; out = helped.value()", *used) == 43
