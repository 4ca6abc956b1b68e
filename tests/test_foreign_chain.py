"""Libraries of foreign providers that need others: of another distribution, of the system, or that have no name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cc import extension, shared_library, simple_module
from tests.support.counting import ARCHITECTURE, consumer_wheel, count_library, counting_extension, foreign_wheel
from tests.support.projects import nativelib, repaired
from tests.support.toy import installed
from tests.support.venvs import fresh_venv, run_python
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.projects import Answer

HOOK = "counter/_distributor_init.py"


def pair(directory: Path, *, run_path: str | None = None) -> tuple[Path, Path, Path]:
    """Return a consumer of a library, the wheel of that library, and the wheel of the library that it needs."""
    base = count_library(directory / "base", {"base": 40}, soname="libbase.so.1")
    upper = shared_library(
        directory / "upper",
        "libupper.so.1",
        "int base(void); int count_one(void) { return base() + 2; }",
        soname="libupper.so.1",
        needed=[base],
        rpath=run_path,
    )
    # Beside the library while the extension is linked, so that the linker is content.
    built = counting_extension(directory, upper, base, functions=["count_one"])
    return consumer_wheel(directory, built), foreign_wheel(directory, upper, name="above"), zebra(directory, base)


def zebra(directory: Path, library: Path) -> Path:
    """The name is on purpose the last in the alphabet."""
    return foreign_wheel(directory, library, name="zebra")


def codes(answer: Answer, severity: str) -> list[str]:
    # NL402 is about tags: consumers this small deserve older ones than their providers have.
    found = [finding["code"] for finding in answer.findings if finding["severity"] == severity]
    return [code for code in found if code != "NL402"]


@pytest.fixture
def indirect(tmp_path: Path) -> tuple[Path, Path, Path]:
    """As `pair`, but only the provider's library needs the other one."""
    _, above, other = pair(tmp_path)
    upper = tmp_path / "upper" / "libupper.so.1"
    link = [f"-Wl,-rpath-link,{tmp_path / 'base' / 'lib'}"]
    source = simple_module("_counter", "count_one()", "int count_one(void);")
    return (
        consumer_wheel(tmp_path / "indirect", extension(tmp_path, "_counter", source, needed=[upper], flags=link)),
        above,
        other,
    )


def test_libraries_are_opened_after_those_that_they_need(indirect: tuple[Path, Path, Path], tmp_path: Path) -> None:
    wheel, above, other = indirect
    result = repaired(wheel, "--provided-by", above, "--provided-by", other, into=tmp_path / "out")
    found = members(result)
    text = found[HOOK].decode()
    assert text.index('"zebra/lib/libbase.so.1"') < text.index('"above/lib/libupper.so.1"')
    required = [line for line in found["counter-1.0.dist-info/METADATA"].decode().splitlines() if "Requires" in line]
    assert required == ['Requires-Dist: above==1.0; sys_platform == "linux"']
    environment = fresh_venv(tmp_path / "venv")
    environment.install(result, above, other)
    assert run_python(environment, "import counter; print(counter.value())").stdout == "42\n"
    # The one that is missing is named, although only the other one's library needs it.
    incomplete = fresh_venv(tmp_path / "incomplete")
    incomplete.install(result, above)
    said = run_python(incomplete, "import counter", check=False).stderr
    assert "ImportError: counter needs libbase.so.1 of zebra, which is not installed" in said


def test_both_are_needed_directly(tmp_path: Path) -> None:
    wheel, above, other = pair(tmp_path)
    result = repaired(wheel, "--provided-by", above, "--provided-by", other, into=tmp_path / "out")
    text = members(result)[HOOK].decode()
    assert text.index('"zebra/lib/libbase.so.1"') < text.index('"above/lib/libupper.so.1"')


def test_half_a_chain_is_refused(indirect: tuple[Path, Path, Path], tmp_path: Path) -> None:
    wheel, above, _ = indirect
    answer = nativelib("repair", wheel, "--provided-by", above, "-w", tmp_path / "out")
    assert answer.code == 1
    [text] = answer.errors().values()
    assert text.startswith("NL201 above/lib/libupper.so.1 of above 1.0 needs libbase.so.1, which neither it nor ")
    answer = nativelib("repair", wheel, "--provided-by", above, "--exclude", "libbase.so.1", "-w", tmp_path / "out")
    assert answer.code == 0
    assert codes(answer, "warning") == []


def test_a_run_path_of_its_own_may_lead_to_the_rest(tmp_path: Path) -> None:
    _, above, _ = pair(tmp_path, run_path="$ORIGIN/../../zebra/lib")
    link = [f"-Wl,-rpath-link,{tmp_path / 'base' / 'lib'}"]
    source = simple_module("_counter", "count_one()", "int count_one(void);")
    built = extension(tmp_path, "_counter", source, needed=[tmp_path / "upper" / "libupper.so.1"], flags=link)
    wheel = consumer_wheel(tmp_path / "indirect", built)
    answer = nativelib("repair", wheel, "--provided-by", above, "-w", tmp_path / "out")
    assert answer.code == 0
    assert codes(answer, "warning") == ["NL201"]
    assert nativelib("repair", wheel, "--provided-by", above, "--strict", "-w", tmp_path / "strict").code == 1


def test_a_library_without_a_soname(tmp_path: Path) -> None:
    library = shared_library(tmp_path / "lib", "libplain.so", "int count_one(void) { return 42; }")
    source = simple_module("_counter", "count_one()", "int count_one(void);")
    # Linked by -l, as without a soname the linker writes down what it was given.
    flags = [f"-L{library.parent}", "-Wl,--no-as-needed", "-lplain"]
    wheel = consumer_wheel(tmp_path, extension(tmp_path, "_counter", source, flags=flags))
    provider = foreign_wheel(tmp_path, library, name="plain")
    words = ["--provided-by", str(provider), "-w", str(tmp_path / "out")]
    answer = nativelib("repair", wheel, *words, "--no-run-path")
    assert answer.code == 1
    assert "NL502" in codes(answer, "error")
    answer = nativelib("repair", wheel, *words)
    assert answer.code == 0
    assert codes(answer, "warning") == ["NL502"]
    environment = fresh_venv(tmp_path / "venv")
    environment.install(answer.document["wheels"][0]["output"], provider)
    assert run_python(environment, "import counter; print(counter.value())").stdout == "42\n"


def test_what_a_provider_brings_along_counts(tmp_path: Path) -> None:
    library = shared_library(
        tmp_path / "lib",
        "libroot.so.1",
        "#include <math.h>\ndouble root(double x) { return cbrt(x) + expm1(x); }",
        soname="libroot.so.1",
        flags=["-fno-builtin", "-lm", "-Wl,--no-as-needed", "-lm"],
    )
    # The author forgot -lm, and it works: the loader searches what libroot needs, too.
    declarations = "double root(double); double log1p(double);"
    source = simple_module("_counter", "root(0) + log1p(0)", declarations)
    built = extension(tmp_path, "_counter", source, needed=[library], flags=["-fno-builtin"])
    provider = foreign_wheel(tmp_path, library, name="roots")
    answer = nativelib("repair", consumer_wheel(tmp_path, built), "--provided-by", provider, "-w", tmp_path / "out")
    assert answer.code == 0, answer.stdout
    environment = fresh_venv(tmp_path / "venv")
    environment.install(answer.document["wheels"][0]["output"], provider)
    assert run_python(environment, "import counter; print(counter.value())").stdout == "0\n"


TEMPLATES = """
#include <memory>
#include <string>
#include <vector>
std::vector<std::shared_ptr<std::string>> kept;
extern "C" int NAME(void) {
    kept.push_back(std::make_shared<std::string>("x"));
    kept.resize(kept.size() + 3);
    return (int)kept.size();
}
"""


@pytest.mark.parametrize("shared", [False, True])
def test_copies_of_standard_templates_are_no_collision(tmp_path: Path, shared: bool) -> None:
    more = "int same(void) { return 1; }" if shared else ""
    providers, libraries = [], []
    for name in ("one", "two"):
        source = TEMPLATES.replace("kept", f"kept_{name}").replace("NAME", name) + (
            f'extern "C" {more}' if more else ""
        )
        soname = f"lib{name}.so.1"
        libraries.append(shared_library(tmp_path / name, soname, source, soname=soname, cc="g++"))
        providers.append(foreign_wheel(tmp_path, libraries[-1], name=name))
    built = counting_extension(tmp_path, *libraries, functions=["one", "two"])
    words = [word for provider in providers for word in ("--provided-by", str(provider))]
    answer = nativelib("repair", consumer_wheel(tmp_path, built), *words, "-w", tmp_path / "out")
    assert answer.code == 0, answer.stdout
    assert [code for code in codes(answer, "warning") if code == "NL305"] == (["NL305"] if shared else [])


@pytest.mark.parametrize("pip", [True, False], ids=["pip", "uv"])
def test_an_installed_provider_with_libraries_in_the_prefix(tmp_path: Path, pip: bool) -> None:
    library = count_library(tmp_path)
    name = f"prefixed-1.0-py3-none-manylinux_2_17_{ARCHITECTURE}.whl"
    provider = make_wheel(tmp_path, name, {f"prefixed-1.0.data/data/lib/{library.name}": library})
    environment = installed(tmp_path / "venv", provider, pip=pip)
    wheel = consumer_wheel(tmp_path, counting_extension(tmp_path, library))
    words = ["--provided-by", "prefixed", "--python", str(environment.python)]
    result = repaired(wheel, *words, into=tmp_path / "out")
    assert result.read_bytes() == repaired(wheel, "--provided-by", provider, into=tmp_path / "file").read_bytes()
    environment.install(result)
    assert run_python(environment, "import counter; print(counter.value())").stdout == "3\n"


def test_of_equal_copies_the_one_that_the_loader_finds_by_name_is_opened(tmp_path: Path) -> None:
    library = count_library(tmp_path)
    files: dict[str, str | Path] = {
        "copies/__init__.py": "",
        "copies/libcount.so": library,
        f"copies/{library.name}": library,
    }
    provider = make_wheel(tmp_path, f"copies-1.0-py3-none-manylinux_2_17_{ARCHITECTURE}.whl", files)
    wheel = consumer_wheel(tmp_path, counting_extension(tmp_path, library))
    text = members(repaired(wheel, "--provided-by", provider, into=tmp_path / "out"))[HOOK].decode()
    assert f'"copies/{library.name}"' in text
    assert '"copies/libcount.so"' not in text
