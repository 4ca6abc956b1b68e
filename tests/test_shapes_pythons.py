"""All generated code, run by every Python that is at hand, with warnings as errors."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cc import program, shared_library
from tests.support.interpreters import CPYTHONS, WHAT, cpython, pypy
from tests.support.matrix import record
from tests.support.projects import nativelib
from tests.support.shapes import module_source
from tests.support.toy import PLATFORM, Toy, consumer
from tests.support.venvs import clean_environment
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.interpreters import Interpreter

pytestmark = pytest.mark.long

NEWER = "NL402"
STRICT = ("-B", "-W", "error")

CODE = """
import importlib, json, pickle, threading
import alone, compiled.inner, hooked, linked, space.fast
import toy_lib, upper_lib
for m in (alone, space.fast, compiled, compiled.inner):
    assert pickle.loads(pickle.dumps(m.Thing)) is m.Thing and m.__spec__.name == m.__name__ == m.Thing.__module__, m
    assert importlib.import_module(m.__name__) is m and "nativelib" not in " ".join(vars(m)), m
assert importlib.reload(alone).value() == 42 and compiled.__path__ and compiled.inner.__package__ == "compiled"
print(json.dumps([alone.value(), space.fast.value(), compiled.value(), compiled.inner.value(), hooked.value(),
                  linked.value(), *toy_lib.loaded().values(), *upper_lib.loaded().values()]))
"""


def unpacked(target: Path, *wheels: Path) -> Path:
    """Unpack *wheels* as an installer would, without the files of other schemes."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target, [n for n in archive.namelist() if ".data/" not in n])
    return target


def compiled(
    toy: Toy, directory: Path, python: Interpreter, full: str, library: Path | None = None, flags: Sequence[str] = ()
) -> Path:
    """Compile the extension *full* for *python*."""
    name = full.rpartition(".")[2]
    expression = "strange_value()" if library else "toy_value()"
    source = module_source(full, expression, declarations="int strange_value(void);")
    needed = [library or toy.host / "libtoy.so.1"]
    flags = [*python.headers, *flags]
    return shared_library(directory / full, f"{name}{python.suffix}", source, needed=needed, flags=flags)


def run(python: Interpreter, path: Sequence[Path], *words: str) -> subprocess.CompletedProcess[str]:
    env = clean_environment({"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"})
    argv = [str(python.path), *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, cwd="/")


@pytest.mark.network
@pytest.mark.parametrize("which", [*CPYTHONS, "PyPy"])
def test_generated_code(toy: Toy, tmp_path: Path, which: str) -> None:
    """Hook, foreign hook, loader modules, library packages, program script, lenient hook."""
    python = pypy() if which == "PyPy" else cpython(which)
    far = shared_library(
        tmp_path / "far", "libstrange.so.4", "int strange_value(void) { return 66; }", soname="libstrange.so.4"
    )
    foreign_files: dict[str, Any] = {"strange/__init__.py": "1 / 0\n", "strange/lib/libstrange.so.4": far}
    foreign = make_wheel(tmp_path, f"strange-4.5-py3-none-manylinux_2_17_{os.uname().machine}.whl", foreign_files)
    modules = {
        name: compiled(toy, tmp_path, python, name) for name in ("alone", "space.fast", "compiled", "compiled.inner")
    }
    hooked = compiled(toy, tmp_path, python, "hooked._ext")
    linked = compiled(toy, tmp_path, python, "linked._ext", far)
    source = '#include <stdio.h>\nint toy_value(void);\nint main(void) { printf("%d\\n", toy_value()); }'
    tool = program(tmp_path, "toy-tool", source, needed=[toy.host / "libtoy.so.1"])
    wheel = consumer(
        tmp_path,
        "pythons",
        {
            f"alone{python.suffix}": modules["alone"],
            f"space/fast{python.suffix}": modules["space.fast"],
            f"compiled/__init__{python.suffix}": modules["compiled"],
            f"compiled/inner{python.suffix}": modules["compiled.inner"],
            "hooked/__init__.py": "from ._ext import value\n",
            f"hooked/{hooked.name}": hooked,
            "linked/__init__.py": "from ._ext import value\n",
            f"linked/{linked.name}": linked,
            "pythons-1.0.data/scripts/toy-tool": tool,
        },
        tag=f"py3-none-{PLATFORM}",
    )
    repaired = toy.repaired(wheel, toy.toy, foreign, arguments=["--loader-modules", "--no-run-path"], allow=[NEWER])
    lenient = tmp_path / "lenient" / "loose"
    lenient.mkdir(parents=True)
    answer = nativelib("shim", "--provided-by", toy.upper, "--provided-by", foreign, "-o", lenient / "__init__.py")
    assert answer.code == 0
    path = [unpacked(tmp_path / "a", repaired), unpacked(tmp_path / "b", toy.toy, toy.upper), lenient.parent]
    path.append(unpacked(tmp_path / "c", foreign))

    done = run(python, path, *STRICT, "-c", CODE)
    assert (done.returncode, done.stderr) == (0, "")
    *values, first, second = json.loads(done.stdout)
    assert values == [42, 42, 42, 42, 42, 66]
    assert first == str(tmp_path / "b/toy_lib/lib/libtoy-toy_lib.so.1")
    assert second == str(tmp_path / "b/upper_lib/lib/libupper-upper_lib.so.2")
    assert run(python, path, *STRICT, "-m", "upper_lib", "--loaded").stdout == f"libupper-upper_lib.so.2 {second}\n"
    for start in (path, path[2:3]):  # with all that it names, and with nothing
        done = run(python, start, *STRICT, "-c", "import loose")
        assert (done.returncode, done.stderr) == (0, "")

    script = tmp_path / "toy-tool"
    script.write_bytes(members(repaired)["pythons-1.0.data/scripts/toy-tool"])
    (tmp_path / "a/pythons.scripts/toy-tool").chmod(0o755)
    done = run(python, path, *STRICT, str(script))
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")

    for name in ("alone", "space.fast", "compiled", "hooked"):
        done = run(python, path[:1], *STRICT, "-c", f"import {name}")
        assert done.returncode == 1
        assert f"ImportError: {name} needs libtoy-toy_lib.so.1 of toy-lib, which is not installed" in done.stderr
    kind = "PyPy" if which == "PyPy" else "CPython"
    record("Pythons", f"{kind} {python.version}", WHAT, "works")


# Every thread imports everything, each beginning elsewhere. An import that fails in one of them is told by all.
THREADS = """
import importlib, json, sys, threading
names = ["alone", "compiled.inner", "hooked", "toy_lib", "upper_lib", "space.fast", "loose"]
said = [sys._is_gil_enabled()]
start = threading.Barrier(16)
def work(number):
    turn = number % len(names)
    start.wait()
    try:
        for name in names[turn:] + names[:turn]:
            module = importlib.import_module(name)
            if hasattr(module, "value"):
                said.append(module.value())
    except BaseException as problem:
        said.append(repr(problem))
threads = [threading.Thread(target=work, args=[number]) for number in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
import toy_lib
said.append(sys._is_gil_enabled())
with open("/proc/self/maps") as maps:
    print(json.dumps([said, list(toy_lib.loaded().values()), maps.read()]))
"""


@pytest.mark.network
@pytest.mark.parametrize("which", [version for version in CPYTHONS if version.endswith("t")])
def test_the_gil_stays_away(toy: Toy, tmp_path: Path, which: str) -> None:
    """Nothing generated brings it back, threads that import at once get along, and an extension that asks gets it."""
    python = cpython(which)
    names = ("alone", "space.fast", "compiled", "compiled.inner", "hooked._ext")
    modules = {name: compiled(toy, tmp_path, python, name) for name in names}
    asks = compiled(toy, tmp_path / "asks", python, "asks._ext", flags=["-DWANTS_THE_GIL"])
    files: dict[str, str | Path] = {
        f"alone{python.suffix}": modules["alone"],
        f"space/fast{python.suffix}": modules["space.fast"],
        f"compiled/__init__{python.suffix}": modules["compiled"],
        f"compiled/inner{python.suffix}": modules["compiled.inner"],
        "hooked/__init__.py": "from ._ext import value\n",
        f"hooked/_ext{python.suffix}": modules["hooked._ext"],
        "asks/__init__.py": "from ._ext import value\n",
        f"asks/_ext{python.suffix}": asks,
    }
    wheel = consumer(tmp_path, "free", files, tag=f"{python.tag}-{PLATFORM}")
    repaired = toy.repaired(wheel, arguments=["--loader-modules", "--no-run-path"], allow=[NEWER])
    assert repaired.name.startswith(f"free-1.0-{python.tag}-manylinux")
    (tmp_path / "lenient").mkdir()
    assert nativelib("shim", "--provided-by", toy.upper, "-o", tmp_path / "lenient" / "loose.py").code == 0
    path = [unpacked(tmp_path / "a", repaired), unpacked(tmp_path / "b", toy.toy, toy.upper), tmp_path / "lenient"]

    for name in ("toy_lib", "upper_lib", "loose", "hooked", "alone", "compiled.inner"):
        done = run(python, path, *STRICT, "-c", f"import {name}, sys; print(sys._is_gil_enabled())")
        assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", ""), name
    for _ in range(5):
        done = run(python, path, *STRICT, "-c", THREADS)
        assert (done.returncode, done.stderr) == (0, "")
        said, loaded, maps = json.loads(done.stdout)
        assert said == [False, *[42] * (4 * 16), False]
        assert loaded == [str(tmp_path / "b/toy_lib/lib/libtoy-toy_lib.so.1")]
        assert {line.split()[-1] for line in maps.splitlines() if "/libtoy" in line} == set(loaded)

    code = "import asks, sys; print(sys._is_gil_enabled(), asks.value())"
    done = run(python, path, "-c", code)
    assert (done.returncode, done.stdout) == (0, "True 42\n")
    [warning] = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert "RuntimeWarning: The global interpreter lock (GIL) has been enabled to load module 'asks._ext'" in warning
    what = "library packages, strict and lenient hook, loader modules; 16 threads importing at once"
    record("Pythons", f"CPython {python.version}, the GIL", what, "stays disabled")


def test_everything_is_python_3_8(toy: Toy, tmp_path: Path) -> None:
    """By the parser, whatever Pythons the machine has."""
    wheel = consumer(tmp_path, "old", {toy.plain.name.replace("_ext", "_ext"): toy.plain})
    repaired = toy.repaired(wheel, arguments=["--loader-modules"])
    generated = {**members(toy.upper), **members(repaired)}
    sources = {name: text for name, text in generated.items() if name.endswith(".py")}
    assert {"_ext.py", "upper_lib/__init__.py", "upper_lib/__main__.py", "upper_lib/_why.py"} <= set(sources)
    for name, text in sources.items():
        ast.parse(text, filename=name, feature_version=(3, 8))
    shown = nativelib("shim", "--provided-by", toy.upper).document["text"]
    ast.parse(shown, feature_version=(3, 8))
