"""Extensions that no regular package holds: at the top, and in namespace packages of the three styles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cc import extension
from tests.support.matrix import record
from tests.support.shapes import again, module_source
from tests.support.toy import EXT_SUFFIX, STRICT, Toy, World, consumer, installed, package
from tests.support.wheels import members

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.long

TOY = "toy_lib/lib/libtoy-toy_lib.so.1"
WAYS = {"run path": [], "loader module": ["--loader-modules", "--no-run-path"]}

# What packaging guides told people to write. pkg_resources left setuptools, so the usual form has a way out.
STYLES = {
    "PEP 420": None,
    "pkgutil": '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n',
    "pkg_resources": 'try:\n    __import__("pkg_resources").declare_namespace(__name__)\nexcept ImportError:\n'
    '    __path__ = __import__("pkgutil").extend_path(__path__, __name__)\n',
}


def built(toy: Toy, directory: Path, full: str, expression: str = "toy_value()") -> Path:
    name = full.rpartition(".")[2]
    needed = [toy.host / "libtoy.so.1", toy.host / "libupper.so.2"]
    flags = [f"-Wl,-rpath-link,{toy.host}"]
    return extension(directory / full, name, module_source(full, expression), needed=needed, flags=flags)


def portion(directory: Path, name: str, style: str | None, files: dict[str, Any]) -> Path:
    """Write a wheel with a portion of the namespace ``space``."""
    inits = {} if style is None else {"space/__init__.py": style}
    return consumer(directory, name, {**inits, **files})


@pytest.mark.parametrize("way", WAYS)
def test_single_file_at_the_top(toy: Toy, world: World, tmp_path: Path, way: str) -> None:
    file = built(toy, tmp_path, "alone", "toy_value() + upper_value()")
    wheel = toy.repaired(consumer(tmp_path, "alone", {file.name: file}), toy.toy, toy.upper, arguments=WAYS[way])
    again(toy, wheel, toy.toy, toy.upper, arguments=WAYS[way])
    environment = installed(tmp_path / "venv", "alone", links=[wheel.parent, toy.wheels], pip=True)
    files = [environment.site / TOY, environment.site / "upper_lib/lib/libupper-upper_lib.so.2"]
    assert world.see(environment, "import alone; out = alone.value()", *files) == 42 + 142
    if way != "run path":
        split = installed(tmp_path / "split", toy.toy, toy.upper)
        moved = installed(tmp_path / "moved", "--no-deps", wheel)
        code = "import alone; out = alone.value()"
        env = {"PYTHONPATH": str(split.site)}
        assert world.see(moved, code, split.site / TOY, env=env, flags=STRICT) == 42 + 142
    record(
        "Shapes",
        f"single-file top-level extension, by {way}",
        "installed by pip, imported",
        "works; 2nd repair: same bytes",
    )


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("way", WAYS)
def test_namespace_package(toy: Toy, world: World, tmp_path: Path, way: str, style: str) -> None:
    """Another wheel's portion of the namespace stays importable, whichever was installed first."""
    text = STYLES[style]
    inner, deeper = built(toy, tmp_path, "space.fast"), built(toy, tmp_path, "space.deep.er.low")
    files = {f"space/{inner.name}": inner, f"space/deep/er/{deeper.name}": deeper}
    wheel = portion(tmp_path, "first", text, files)
    repaired = toy.repaired(wheel, toy.toy, toy.upper, arguments=WAYS[way])
    again(toy, repaired, toy.toy, toy.upper, arguments=WAYS[way])
    found = members(repaired)
    assert not [name for name in found if name.endswith("_distributor_init.py")]
    assert found.get("space/__init__.py", b"").decode() == (text or "")
    other = portion(tmp_path / "two", "second", text, {"space/other.py": "x = 1\n"})
    third = toy.repaired(
        portion(tmp_path / "three", "third", text, package("space/regular", toy.plain)), arguments=["--no-run-path"]
    )
    assert "space/regular/_distributor_init.py" in members(third)
    code = """
import space.deep.er.low, space.fast, space.other, space.regular
from space import fast
out = [fast.value(), space.deep.er.low.value(), space.other.x, space.regular.value(), fast.__package__]"""
    for number, order in enumerate(([repaired, other, third], [third, other, repaired])):
        environment = installed(tmp_path / f"venv{number}", "--no-deps", *order)
        environment.install(toy.toy, toy.upper)
        assert world.see(environment, code, environment.site / TOY) == [42, 42, 1, 42, "space"]
    record(
        "Shapes",
        f"namespace package, {style} style, by {way}",
        "two portions without and one with a package of its own, both orders",
        "works; 2nd repair: same bytes",
    )


def test_portions_in_two_directories(toy: Toy, world: World, tmp_path: Path) -> None:
    """One namespace over two directories, and the library wheels in a third: loader modules only."""
    arguments = WAYS["loader module"]
    sites = []
    for name in ("one", "two"):
        file = built(toy, tmp_path, f"space.{name}")
        wheel = toy.repaired(
            consumer(tmp_path, name, {f"space/{file.name}": file}), toy.toy, toy.upper, arguments=arguments
        )
        sites.append(installed(tmp_path / name, "--no-deps", wheel).site)
    home = installed(tmp_path / "venv", toy.toy, toy.upper)
    env = {"PYTHONPATH": ":".join(map(str, sites))}
    code = "from space import one, two; out = [one.value(), two.value()]"
    assert world.see(home, code, home.site / TOY, env=env, flags=STRICT) == [42, 42]


def test_without_any_way_it_is_refused(toy: Toy, tmp_path: Path) -> None:
    for number, name in enumerate(("alone", "space.fast")):
        file = built(toy, tmp_path / str(number), name)
        member = f"{name.rpartition('.')[0].replace('.', '/')}/{file.name}".lstrip("/")
        answer = toy.repair(
            consumer(tmp_path / str(number), "refused", {member: file}), toy.toy, toy.upper, arguments=["--no-run-path"]
        )
        assert answer.code == 1
        assert [(f["code"], f["where"]) for f in answer.findings if f["severity"] == "error"] == [("NL502", member)]
        assert "--loader-modules" in answer.errors()[member]
        assert not list(tmp_path.glob(f"{number}/repaired/*"))
    record("Shapes", "extension without a package, `--no-run-path` alone", "top-level, namespace", "refused: NL502")


def test_style_that_a_package_does_not_have(toy: Toy, world: World, tmp_path: Path) -> None:
    """A package that merely speaks of namespaces, in a comment, is taken for one: by run path it works all the same."""
    init = "# Once this was: __import__('pkgutil').extend_path(__path__, __name__)\nfrom ._ext import value\n"
    wheel = toy.repaired(consumer(tmp_path, "spoken", package("spoken", toy.plain, init)))
    again(toy, wheel)
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    assert world.see(environment, "import spoken; out = spoken.value()", environment.site / TOY) == 42


@pytest.mark.parametrize("scheme", ["platlib", "purelib"])
@pytest.mark.parametrize("way", WAYS)
def test_data_schemes_of_site_packages(toy: Toy, world: World, tmp_path: Path, scheme: str, way: str) -> None:
    file = built(toy, tmp_path, "space.fast")
    data = f"placed-1.0.data/{scheme}"
    files: dict[str, Any] = {
        f"{data}/space/{file.name}": file,
        f"{data}/packed/__init__.py": "from .sub._ext import value\n",
        f"packed/sub/{toy.plain.name}": toy.plain,
    }
    wheel = toy.repaired(consumer(tmp_path, "placed", files), toy.toy, toy.upper, arguments=WAYS[way])
    again(toy, wheel, toy.toy, toy.upper, arguments=WAYS[way])
    if way != "run path":
        assert f"{data}/space/_fast_nl{EXT_SUFFIX}" in members(wheel)
    assert f"{data}/packed/_distributor_init.py" in members(wheel)
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels], pip=True)
    code = "import packed, space.fast; out = [packed.value(), space.fast.value()]"
    assert world.see(environment, code, environment.site / TOY) == [42, 42]
    record("Shapes", f"extensions in `.data/{scheme}`, by {way}", "in a package, in a namespace package", "works")
