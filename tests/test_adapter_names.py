"""What an adapter of the spec becomes: which function each name leads to, and what is refused with which words."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nativelib.errors import PlanError, ReadError, SpecError
from nativelib.facts.adapter import AdapterRule, AskedAdapter
from nativelib.facts.elf import Libc
from nativelib.facts.prefix import PrefixFacts, PrefixLibrary
from nativelib.facts.spec import parse_spec
from nativelib.findings import Code
from nativelib.plan.adapter import AdapterGround, plan_adapters
from nativelib.plan.adapter_names import leads_to
from nativelib.read.adapter import read_adapters
from nativelib.read.elf import read_elf_file
from nativelib.read.wheel import read_wheel
from tests.support.cc import shared_library
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nativelib.facts.wheel import WheelFacts
    from nativelib.findings import Finding
    from nativelib.plan.adapter import PlannedAdapter

HEAD = '[project]\nname = "foo-lib"\nversion = "1"\n[tool.nativelib]\nlibraries = ["lib/*.so.1"]\n'
BLAS = "int dgemm_(void) { return 1; } int cblas_dgemm(void) { return 2; } int table[3]; __thread int state;"


def _rule(**values: object) -> AdapterRule:
    return AdapterRule(**{"soname": "libpre64_.so", "target": "libt.so.1", **values})  # type: ignore[arg-type]


def _ground(abi: Mapping[str, str], *libraries: Path) -> AdapterGround:
    _, spec = parse_spec(tomllib.loads(HEAD), where="pyproject.toml")
    found = [read_elf_file(path) for path in libraries]
    prefix = PrefixFacts(
        root="/usr",
        libraries=tuple(
            PrefixLibrary(source=str(path), matched=path.name, sha256=elf.sha256, size=elf.size, elf=elf)
            for path, elf in zip(libraries, found, strict=True)
        ),
    )
    spec = replace(spec, abi=abi)
    return AdapterGround(label="foo-lib", spec=spec, prefix=prefix, providers=(), libc=Libc.GLIBC)


def _planned(rule: AdapterRule, ground: AdapterGround, *consumers: WheelFacts) -> PlannedAdapter:
    [adapter] = plan_adapters([AskedAdapter(rule=rule, key="adapter[0]", consumers=consumers)], ground)
    return adapter


def _refused(rule: AdapterRule, ground: AdapterGround, *consumers: WheelFacts) -> dict[Code, Finding]:
    with pytest.raises(PlanError) as caught:
        _planned(rule, ground, *consumers)
    return {finding.code: finding for finding in caught.value.findings}


@pytest.fixture(scope="module")
def blas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_library(tmp_path_factory.mktemp("blas"), "libt.so.1", BLAS, soname="libt.so.1")


# --- the spec


def test_every_key() -> None:
    text = """
    [[tool.nativelib.adapter]]
    soname = "libscipy_openblas64_.so"
    target = "libopenblas64.so.0"
    prefix = "scipy_"
    suffix = "64_"
    symbols = ["scipy_dgemm_64_"]
    symbols-file = "names.txt"
    from = ["numpy.whl"]
    rename = { scipy_odd64_ = "even_" }
    blas-int = "64"
    [[tool.nativelib.adapter]]
    soname = "libother.so"
    target = "libopenblas64.so.0"
    suffix = "_64"
    symbols = "all"
    """
    one, other = parse_spec(tomllib.loads(HEAD + text), where="pyproject.toml")[1].adapters
    assert one == AdapterRule(
        soname="libscipy_openblas64_.so",
        target="libopenblas64.so.0",
        prefix="scipy_",
        suffix="64_",
        symbols=("scipy_dgemm_64_",),
        symbols_file="names.txt",
        wheels=("numpy.whl",),
        rename={"scipy_odd64_": "even_"},
        blas_int="64",
    )
    assert other == AdapterRule(soname="libother.so", target="libopenblas64.so.0", suffix="_64", every=True)


@pytest.mark.parametrize(
    ("lines", "where", "words"),
    [
        ('target = "t"\nsymbols = ["a"]', "[0].soname", "needs it"),
        ('soname = "s"\nsymbols = ["a"]', "[0].target", "needs it"),
        ('soname = "a/b"\ntarget = "t"\nsymbols = ["a"]', "[0].soname", "must begin with a letter"),
        ('soname = "s"\ntarget = "t"', "[0]", "Nothing says which names"),
        ('soname = "s"\ntarget = "t"\nsymbols = "all"', "[0].symbols", "lead to themselves"),
        ('soname = "s"\ntarget = "t"\nsymbols = "some"', "[0].symbols", "must be one of 'all'"),
        ('soname = "s"\ntarget = "t"\nsymbols = ["a@V1"]', "[0].symbols[0]", "without a version"),
        ('soname = "s"\ntarget = "t"\nsymbols = ["a"]\nprefix = "a b"', "[0].prefix", "not the name of a symbol"),
        ('soname = "s"\ntarget = "t"\nfrom = ["numpy"]', "[0].from[0]", "path of a wheel file"),
        ('soname = "s"\ntarget = "t"\nsymbols = ["a"]\nblas-int = "16"', "[0].blas-int", "'32', '64'"),
        ('soname = "s"\ntarget = "t"\nsymbols = ["a"]\nwheels = []', "[0].wheels", "There is no key 'wheels'"),
        ('soname = "s"\ntarget = "t"\nrename = { a = 1 }', "[0].rename.a", "must be a string"),
    ],
)
def test_mistakes_in_the_spec(lines: str, where: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(tomllib.loads(f"{HEAD}[[tool.nativelib.adapter]]\n{lines}\n"), where="pyproject.toml")
    found = {finding.where: finding for finding in caught.value.findings}
    assert words in found[f"tool.nativelib.adapter{where}"].message
    assert {finding.code for finding in found.values()} == {Code.BAD_SPEC}


def test_two_adapters_with_one_soname() -> None:
    text = '[[tool.nativelib.adapter]]\nsoname = "s.so"\ntarget = "t"\nsymbols = ["a"]\n'
    with pytest.raises(SpecError, match=r"Another adapter has the soname 's\.so'"):
        parse_spec(tomllib.loads(HEAD + text + text), where="pyproject.toml")


def test_the_file_of_symbols(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("# of numpy\n\npre_a64_\n  pre_b64_  # twice\n")
    [asked] = read_adapters([_rule(symbols_file="names.txt")], tmp_path)
    assert asked.names == ("pre_a64_", "pre_b64_")


@pytest.mark.parametrize("content", [b"two words\n", b"\xff\n", None, b"a@V\n"])
def test_a_file_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(ReadError) as caught:
        read_adapters([_rule(symbols_file="names.txt", wheels=("no-1-py3-none-any.whl",))], tmp_path)
    wheel, names = caught.value.findings
    assert wheel.code is Code.NOT_FOUND
    assert names.code is (Code.NOT_FOUND if content is None else Code.BAD_SPEC)
    assert names.where == "tool.nativelib.adapter[0].symbols-file"


# --- the rule for names


@pytest.mark.parametrize(
    ("name", "prefix", "suffix", "function"),
    [
        ("scipy_cblas_dgemm64_", "scipy_", "64_", "cblas_dgemm"),  # NumPy's wheels
        ("scipy_dgesv_64_", "scipy_", "64_", "dgesv_"),
        ("scipy_dgemm_", "scipy_", "", "dgemm_"),  # SciPy's
        ("dgesv_64_", "", "64_", "dgesv_"),  # Julia's
        ("cblas_dgemm64_", "", "64_", "cblas_dgemm"),
        ("dgesv_64", "", "_64", "dgesv_"),  # MKL's, and LAPACK's extended interface
        ("cblas_dgemm_64", "", "_64", "cblas_dgemm"),
        ("scipy_dgesv_64_", "scipy_", "_64_", "dgesv_"),
        ("scipy_nothing64_", "scipy_", "64_", None),
        ("odd", "scipy_", "64_", "even_"),
        ("worse", "scipy_", "64_", None),
    ],
)
def test_which_function_a_name_leads_to(name: str, prefix: str, suffix: str, function: str | None) -> None:
    rule = _rule(prefix=prefix, suffix=suffix, rename={"odd": "even_", "worse": "gone"})
    assert leads_to(name, rule, {"cblas_dgemm", "dgesv_", "dgemm_", "even_"}) == function


def test_all_functions_and_no_variables(blas: Path) -> None:
    adapter = _planned(_rule(every=True, prefix="pre_", blas_int="64"), _ground({"blas-int": "64"}, blas))
    assert adapter.forwards == (("pre_cblas_dgemm", "cblas_dgemm"), ("pre_dgemm_", "dgemm_"))
    assert adapter.soname == "libpre64_-foo_lib.so"
    assert adapter.facts.needed == ("libt-foo_lib.so.1",)


# --- refusals


def test_names_that_the_target_lacks_are_all_listed(blas: Path) -> None:
    rule = _rule(prefix="pre_", symbols=("pre_dgemm_", "pre_b", "pre_a"), rename={"x": "y"}, blas_int="64")
    [finding] = _refused(rule, _ground({"blas-int": "64"}, blas)).values()
    assert finding.code is Code.ADAPTER_NAMES
    assert finding.symbols == ("pre_a", "pre_b", "x")


@pytest.mark.parametrize("name", ["table", "state"])
def test_variables_are_refused(blas: Path, name: str) -> None:
    rule = _rule(prefix="pre_", symbols=(f"pre_{name}", "pre_dgemm_"), blas_int="64")
    [finding] = _refused(rule, _ground({"blas-int": "64"}, blas)).values()
    assert finding.symbols == (f"pre_{name}",)
    assert "are variables" in finding.message


def test_a_name_that_leads_to_itself_is_refused(blas: Path) -> None:
    rule = _rule(prefix="pre_", symbols=("dgemm_", "pre_cblas_dgemm"), blas_int="64")
    [finding] = _refused(rule, _ground({"blas-int": "64"}, blas)).values()
    assert finding.symbols == ("dgemm_",)
    assert "found in the adapter itself" in finding.message


def test_a_function_that_two_libraries_export_is_refused(tmp_path: Path, blas: Path) -> None:
    """They are in one scope, so that the one that was loaded first would answer for both."""
    other = shared_library(tmp_path, "libu.so.1", "int dgemm_(void) { return 3; }", soname="libu.so.1")
    rule = _rule(prefix="pre_", symbols=("pre_dgemm_",), blas_int="64")
    [finding] = _refused(rule, _ground({"blas-int": "64"}, blas, other)).values()
    assert "exported by libu-foo_lib.so.1 as well" in finding.message


def test_a_function_in_two_versions_is_refused(tmp_path: Path) -> None:
    source = """
    int old(void) { return 1; } int new(void) { return 2; }
    __asm__(".symver old,f@V1"); __asm__(".symver new,f@@V2");
    """
    script = "V1 { global: f; local: old; new; };\nV2 { global: f; } V1;\n"
    path = shared_library(tmp_path, "libt.so.1", source, soname="libt.so.1", version_script=script)
    [finding] = _refused(_rule(prefix="pre_", symbols=("pre_f",)), _ground({}, path)).values()
    assert finding.symbols == ("pre_f",)
    assert "several versions" in finding.message


@pytest.mark.parametrize(
    ("own", "theirs", "words"),
    [
        (None, {"blas-int": "64"}, "It is not said whether consumers"),
        ("64", {}, "foo-lib does not declare"),
        ("32", {"blas-int": "64"}, "pass integers of 32 bits, and foo-lib (libt-foo_lib.so.1) says 64"),
    ],
)
def test_the_width_of_integers(blas: Path, own: str | None, theirs: dict[str, str], words: str) -> None:
    rule = _rule(prefix="pre_", symbols=("pre_dgemm_",), blas_int=own)
    found = _refused(rule, _ground(theirs, blas))
    assert words in found[Code.ADAPTER_ABI].message


def test_names_that_say_another_width(blas: Path) -> None:
    rule = _rule(prefix="pre_", suffix="64_", symbols=("pre_dgemm_64_",), blas_int="32")
    found = _refused(rule, _ground({"blas-int": "32"}, blas))
    assert "pre_dgemm_64_ takes 64-bit integers by its name" in found[Code.ADAPTER_ABI].message


def test_a_library_without_blas_needs_no_width(tmp_path: Path) -> None:
    path = shared_library(tmp_path, "libt.so.1", "int f(void) { return 1; }", soname="libt.so.1")
    assert _planned(_rule(prefix="pre_", symbols=("pre_f",)), _ground({}, path)).forwards == (("pre_f", "f"),)


def test_targets_that_are_none(blas: Path) -> None:
    rule = _rule(target="libgone.so", prefix="pre_", symbols=("pre_dgemm_",))
    finding = _refused(rule, _ground({}, blas))[Code.BAD_ADAPTER]
    assert "libt.so.1" in finding.remedy
    rule = _rule(soname="libt.so.1", prefix="pre_", symbols=("pre_dgemm_",), blas_int="64")
    assert Code.DUPLICATE_SONAME in _refused(rule, _ground({"blas-int": "64"}, blas))


def test_a_machine_without_adapters(blas: Path) -> None:
    ground = _ground({}, blas)
    [library] = ground.prefix.libraries
    s390x = replace(library, elf=replace(library.elf, machine=library.elf.machine._replace(e_machine=22)))
    ground = replace(ground, prefix=replace(ground.prefix, libraries=(s390x,)))
    assert Code.WRONG_ARCHITECTURE in _refused(_rule(prefix="pre_", symbols=("pre_dgemm_",)), ground)


# --- names from consumer wheels


def _consumer(directory: Path, *, vendored: bool, source: str = "", version_script: str | None = None) -> WheelFacts:
    source = source or "int pre_dgemm_64_(void), other(void); int f(void) { return pre_dgemm_64_() + other(); }"
    name = "libpre64_-0123abcd.so" if vendored else "libpre64_.so"
    library = shared_library(
        directory, name, "int pre_dgemm_64_(void) { return 1; } int unused64_;", soname=name,
        version_script=version_script,
    )  # fmt: skip
    user = shared_library(directory, "user.so", source, needed=[library])
    files = {"pkg/user.so": user, **({f"con.libs/{name}": library} if vendored else {})}
    return read_wheel(make_wheel(directory, "con-1-py3-none-linux_x86_64.whl", files))


@pytest.mark.parametrize("vendored", [True, False])
def test_what_a_consumer_takes(tmp_path: Path, blas: Path, vendored: bool) -> None:
    """With a copy of the library in the wheel: what the copy exports. Without one: what looks like one of its names."""
    rule = _rule(prefix="pre_", suffix="64_", wheels=("con.whl",), blas_int="64")
    adapter = _planned(rule, _ground({"blas-int": "64"}, blas), _consumer(tmp_path, vendored=vendored))
    assert adapter.forwards == (("pre_dgemm_64_", "dgemm_"),)


def test_consumers_that_ask_for_versions(tmp_path: Path, blas: Path) -> None:
    wheel = _consumer(tmp_path, vendored=True, version_script="PRE_1 { global: *; };\n")
    rule = _rule(prefix="pre_", suffix="64_", wheels=("con.whl",), blas_int="64")
    finding = _refused(rule, _ground({"blas-int": "64"}, blas), wheel)[Code.ADAPTER_NAMES]
    assert finding.symbols == ("pre_dgemm_64_@PRE_1",)


def test_wheels_that_are_no_consumers(tmp_path: Path, blas: Path) -> None:
    wheel = _consumer(tmp_path, vendored=True)
    rule = _rule(soname="libelse.so", prefix="pre_", suffix="64_", wheels=("con.whl",), blas_int="64")
    finding = _refused(rule, _ground({"blas-int": "64"}, blas), wheel)[Code.BAD_ADAPTER]
    assert "does not need libelse.so" in finding.message
    idle = _consumer(tmp_path / "idle", vendored=True, source="int f(void) { return 1; }")
    rule = replace(rule, soname="libpre64_.so")
    finding = _refused(rule, _ground({"blas-int": "64"}, blas), idle)[Code.BAD_ADAPTER]
    assert "takes nothing from libpre64_.so" in finding.message
