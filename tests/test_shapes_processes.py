"""The same wheels in every kind of process and environment: flags, programs, workers, threads, archives, no library."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cc import extension
from tests.support.matrix import record
from tests.support.projects import nativelib
from tests.support.shapes import module_source
from tests.support.toy import EXT_SUFFIX, Toy, World, consumer, installed, package
from tests.support.venvs import Environment, clean_environment, fresh_venv

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.long

TOY = "toy_lib/lib/libtoy-toy_lib.so.1"
LOADERS = ["--loader-modules", "--no-run-path"]
MODULES = ("hooked._ext", "alone", "space.fast", "compiled")
ALL = "import alone, compiled, hooked, space.fast; out = [m.value() for m in (alone, compiled, hooked, space.fast)]"


@pytest.fixture(scope="module")
def shapes(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repaired wheel with a module of each shape, none of which has a run path to the library."""
    root = tmp_path_factory.mktemp("shapes")
    built = {}
    for full in MODULES:
        name = full.rpartition(".")[2]
        built[full] = extension(root / full, name, module_source(full), needed=[toy.host / "libtoy.so.1"])
    files: dict[str, Any] = {
        "hooked/__init__.py": "from ._ext import Thing, value\n",
        "hooked/__main__.py": "import sys\nfrom hooked import value\nprint('main', value(), sys.argv[1:])\n",
        "hooked/work.py": "import alone, compiled, hooked, space.fast\n"
        "def work(thing):\n"
        "    return type(thing)(), [m.value() for m in (alone, compiled, hooked, space.fast)]\n"
        "if __name__ == '__main__':\n    print('work', work(alone.Thing())[1])\n",
        f"hooked/_ext{EXT_SUFFIX}": built["hooked._ext"],
        f"alone{EXT_SUFFIX}": built["alone"],
        f"space/fast{EXT_SUFFIX}": built["space.fast"],
        f"compiled/__init__{EXT_SUFFIX}": built["compiled"],
    }
    return toy.repaired(consumer(root, "shapes", files), arguments=LOADERS)


@pytest.fixture(scope="module")
def environment(toy: Toy, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with it."""
    return installed(tmp_path_factory.mktemp("env") / "venv", shapes, links=[toy.wheels])


@pytest.mark.parametrize("flags", ["-I", "-S", "-OO", "-E -s", "-I -S -OO", "-X dev", "-X importtime", "-B -v"])
def test_interpreter_flags(environment: Environment, world: World, flags: str) -> None:
    code = f"import sys; sys.path.append({str(environment.site)!r}); {ALL}" if "S" in flags else ALL
    words = ("-W", "error", *flags.split())
    assert world.see(environment, code, environment.site / TOY, flags=words) == [42] * 4
    record("Shapes", f"`python {flags}`", "hook, and loader modules", "works")


def test_byte_code_without_sources(
    environment: Environment, shapes: Path, toy: Toy, world: World, tmp_path: Path
) -> None:
    """As images that were made smaller have them."""
    copy = installed(tmp_path / "venv", shapes, links=[toy.wheels])
    subprocess.run([str(copy.python), "-I", "-OO", "-m", "compileall", "-q", "-b", str(copy.site)], check=True)
    sources = list(copy.site.rglob("*.py"))
    assert len(sources) > 10
    for path in sources:
        path.unlink()
    assert world.see(copy, ALL, copy.site / TOY) == [42] * 4
    record("Shapes", "byte code without sources (`compileall -b`)", "hook, and loader modules", "works")


def test_read_only_installation(environment: Environment, shapes: Path, toy: Toy, world: World, tmp_path: Path) -> None:
    copy = installed(tmp_path / "venv", shapes, links=[toy.wheels])
    for path in [*copy.site.rglob("*"), copy.site]:
        path.chmod(0o555)
    try:
        assert world.see(copy, ALL, copy.site / TOY, flags=("-I", "-W", "error")) == [42] * 4
    finally:
        for path in [copy.site, *copy.site.rglob("*")]:
            path.chmod(0o755)


def test_programs_of_python(environment: Environment) -> None:
    file = str(environment.site / "hooked" / "work.py")
    for words, expected in (
        (("-m", "hooked", "a b"), "main 42 ['a b']\n"),
        (("-m", "hooked.work"), "work [42, 42, 42, 42]\n"),
        ((file,), "work [42, 42, 42, 42]\n"),
    ):
        argv = [str(environment.python), "-I", "-W", "error", *words]
        done = subprocess.run(argv, env=clean_environment(), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")
    record("Shapes", "`python -m package`, `python -m package.module`, `python file.py`", "a hooked package", "works")


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
@pytest.mark.parametrize("preloaded", [True, False])
def test_multiprocessing(environment: Environment, world: World, tmp_path: Path, method: str, preloaded: bool) -> None:
    """Classes of extensions travel both ways."""
    script = tmp_path / "main.py"
    script.write_text(f"""
import multiprocessing, sys
import alone, space.fast, compiled
if {preloaded}:
    import hooked
def main():
    context = multiprocessing.get_context({method!r})
    if {method == "forkserver" and preloaded}:
        context.set_forkserver_preload(["hooked.work", "alone"])
    from hooked.work import work
    with context.Pool(2) as pool:
        things = [alone.Thing(), space.fast.Thing(), compiled.Thing(), hooked_thing()]
        found = pool.map(work, things * 2)
    assert [type(thing) for thing, _ in found] == [type(thing) for thing in things * 2], found
    print(sorted({{str(values) for _, values in found}}))
def hooked_thing():
    import hooked
    return hooked.Thing()
if __name__ == "__main__":
    main()
""")
    for prefix, env in (((), {"LD_LIBRARY_PATH": str(world.host)}), (world.hiding.prefix, dict(world.hiding.env))):
        argv = [*prefix, str(environment.python), "-I", "-B", "-W", "error", str(script)]
        done = subprocess.run(
            argv, env=clean_environment(env), capture_output=True, text=True, check=False, timeout=120
        )
        assert (done.returncode, done.stdout) == (0, "['[42, 42, 42, 42]']\n"), done.stderr
    record("Shapes", f"`multiprocessing`, {method}", "hook and loader modules, classes pickled both ways", "works")


def test_threads_importing_at_once(environment: Environment, world: World) -> None:
    code = """
import importlib, sys, threading
sys.setswitchinterval(1e-5)
names = ["alone", "compiled", "hooked", "space.fast", "toy_lib"] * 4
barrier, found, failed = threading.Barrier(len(names)), [], []
def go(name):
    barrier.wait()
    try:
        m = importlib.import_module(name)
        found.append(42 if name == "toy_lib" else m.value())
    except BaseException as error:
        failed.append(repr(error))
threads = [threading.Thread(target=go, args=(name,)) for name in names]
[t.start() for t in threads]; [t.join() for t in threads]
out = [len(found), sorted(set(found)), failed]"""
    for _ in range(5):
        assert world.see(environment, code, environment.site / TOY) == [20, [42], []]
    record("Shapes", "threads importing at once", "20 threads, five modules, five times", "works")


def test_import_hooks_of_others(environment: Environment, world: World) -> None:
    """Lazy loading and finders that wrap others must not see a difference."""
    code = f"""
import importlib.util, sys
spec = importlib.util.find_spec("hooked")
loader = importlib.util.LazyLoader(spec.loader)
spec.loader = loader
module = importlib.util.module_from_spec(spec)
sys.modules["hooked"] = module
loader.exec_module(module)
{ALL}"""
    assert world.see(environment, code, environment.site / TOY) == [42] * 4


# --- archives -----------------------------------------------------------------------------------------------------


def test_archives_are_refused_in_words(toy: Toy, shapes: Path, world: World, tmp_path: Path) -> None:
    empty = fresh_venv(tmp_path / "venv")
    for env in ({}, {"NATIVELIB_TEST": "1"}):
        for hosted in (True, False):
            code = f"import sys; sys.path.insert(0, {str(toy.kept)!r}); import kept_lib"
            text = world.refused(empty, code, hosted=hosted, env=env)
            assert text.startswith(
                f"kept-lib 3.0: its libraries are in the archive {toy.kept}, and the system can load"
            )
            assert text.endswith(f"\nUnpack {toy.kept}, or install kept-lib with pip.")
    code = f"import sys; sys.path[:0] = [{str(shapes)!r}, {str(toy.toy)!r}]; import hooked"
    text = world.refused(empty, code, hosted=False)
    assert text.startswith(f"toy-lib 1.2.0: its libraries are in the archive {toy.toy}")
    record("Shapes", "import from a zip file on `sys.path`", "library wheel, consumer", "refused in words")


# --- where the library wheel is -----------------------------------------------------------------------------------


def test_system_site_packages_with_another_version_outside(
    toy: Toy, world: World, shapes: Path, tmp_path: Path
) -> None:
    """The version inside wins; without one, that outside serves."""
    outside = installed(tmp_path / "outside", toy.old)
    venv.EnvBuilder(symlinks=True, system_site_packages=True).create(tmp_path / "venv")
    inside = Environment(path=tmp_path / "venv")
    # What --system-site-packages does for the site-packages of an installation: they come last.
    (inside.site / "zz_outside.pth").write_text(f"{outside.site}\n")
    inside.install(shapes, flags=["--no-deps"])
    assert world.see(inside, ALL, outside.site / TOY) == [41] * 4
    inside.install(toy.toy)
    assert world.see(inside, ALL, inside.site / TOY) == [42] * 4
    code = f"import sys; sys.path.insert(0, {str(outside.site)!r}); {ALL}"
    assert world.see(inside, code, outside.site / TOY) == [41] * 4
    record("Shapes", "environment with `--system-site-packages`, another version outside", "each copy first", "works")


def test_library_wheel_installed_editable(toy: Toy, world: World, shapes: Path, tmp_path: Path) -> None:
    """A ``.pth`` file leads to it, and nothing lies beside the consumer."""
    elsewhere = installed(tmp_path / "elsewhere", toy.toy)
    environment = installed(tmp_path / "venv", "--no-deps", shapes)
    (environment.site / "_toy_lib.pth").write_text(f"{elsewhere.site}\n")
    assert world.see(environment, ALL, elsewhere.site / TOY) == [42] * 4


# --- source trees with the lenient hook ---------------------------------------------------------------------------

BACKEND = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
METADATA = '[project]\nname = "grown"\nversion = "1.0"\n[tool.hatch.build.targets.wheel]\npackages = ["grown"]\n'


def source_tree(toy: Toy, directory: Path, library: Path, *, rpath: str | None = None) -> Path:
    """Write a project with an extension that was built in place against *library*, and the lenient hook."""
    tree = directory / "tree"
    flags = ["-Wl,--disable-new-dtags"]  # DT_RPATH, as conda's packages have
    built = extension(
        directory / "ext", "_ext", module_source("grown._ext"), needed=[library], rpath=rpath, flags=flags
    )
    (tree / "grown").mkdir(parents=True)
    (tree / "pyproject.toml").write_text(BACKEND + METADATA)
    (tree / "grown" / "__init__.py").write_text("from . import _distributor_init\nfrom ._ext import value\n")
    (tree / "grown" / built.name).write_bytes(built.read_bytes())
    answer = nativelib("shim", "--provided-by", toy.toy, "-o", tree / "grown" / "_distributor_init.py")
    assert answer.code == 0, answer.stderr
    return tree


def editable(environment: Environment, tree: Path) -> None:
    """Install *tree* with ``pip install -e``, built by the hatchling of the running environment."""
    argv = [sys.executable, "-m", "pip", "--python", str(environment.python), "install", "-q", "--no-build-isolation"]
    words = ["--no-deps", "--no-index", "--editable", str(tree)]
    path = os.pathsep.join(entry for entry in sys.path if entry.endswith("site-packages"))
    env = clean_environment({"PYTHONPATH": path})
    done = subprocess.run([*argv, *words], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_editable_consumer_built_against_the_library_wheel(toy: Toy, world: World, tmp_path: Path) -> None:
    build = installed(tmp_path / "venv", toy.toy)
    tree = source_tree(toy, tmp_path, build.site / TOY)
    editable(build, tree)
    assert world.see(build, "import grown; out = [grown.value(), grown.__file__]", build.site / TOY) == [
        42,
        str(tree / "grown" / "__init__.py"),
    ]
    # Without the library wheel the loader's own words are what is left: the hook is lenient.
    other = fresh_venv(tmp_path / "other")
    editable(other, tree)
    assert "libtoy-toy_lib.so.1: cannot open shared object file" in world.refused(other, "import grown", hosted=False)
    record("Shapes", "editable install of a consumer with the lenient hook", "built against the library wheel", "works")


def test_conda_like_use_without_the_library_wheel(toy: Toy, world: World, tmp_path: Path) -> None:
    """The source tree with its lenient hook, built against a library of the prefix; no library wheel anywhere."""
    prefix = tmp_path / "venv"
    environment = fresh_venv(prefix)
    library = prefix / "lib" / "libtoy.so.1"
    library.write_bytes((toy.root / "good" / "lib" / "libtoy.so.1").read_bytes())
    tree = source_tree(toy, tmp_path, library, rpath=str(prefix / "lib"))
    editable(environment, tree)
    code = "import grown; out = grown.value()"
    assert world.see(environment, code, library) == 42
    # Installed all the same, the library wheel is loaded beside it and does no harm: its soname is its own.
    environment.install(toy.toy)
    seen = world.look(environment, code, hosted=True)
    assert seen.out == 42
    assert set(seen.copies("libtoy")) == {str(library), str(environment.site / TOY)}
    record(
        "Shapes", "conda-like: lenient hook, library of the prefix", "without the library wheel, and with it", "works"
    )


def test_repaired_consumer_without_the_library_wheel(toy: Toy, world: World, tmp_path: Path) -> None:
    """A kept soname is taken from the system: with a warning, and silently if the distributor says that it is meant."""
    built = extension(tmp_path, "_ext", module_source("kept._ext", "kept_value()"), needed=[toy.host / "libkept.so.3"])
    wheel = toy.repaired(consumer(tmp_path, "kept", package("kept", built)), toy.kept)
    environment = installed(tmp_path / "venv", "--no-deps", wheel)
    code = "import kept; out = kept.value()"
    env = {"NATIVELIB_SYSTEM": "kept-lib"}
    assert world.look(environment, code, hosted=True, env=env, flags=("-B", "-W", "error")).out == -7
    assert "RuntimeWarning: kept uses the system's" in world.run(environment, code, hosted=True).stderr
    assert "is not installed" in world.refused(environment, code, hosted=False)
    record(
        "Shapes",
        "repaired consumer, kept soname, library of the system",
        "`NATIVELIB_SYSTEM`, without it, without the library",
        "works; warning; refused in words",
    )
