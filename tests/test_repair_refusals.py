"""What `repair` refuses: exit status 1, a finding that says why, nothing written, and the input as it was."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cc import shared_library
from tests.support.counting import (
    ARCHITECTURE,
    NODES,
    consumer_wheel,
    count_library,
    foreign_wheel,
    library_wheel,
    plain_extension,
)
from tests.support.projects import nativelib
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.projects import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What the refusals are tried with, built once."""

    root: Path
    library: Path
    """libcount.so.1 with a version node for each of its two functions."""
    bare: Path
    """The same without version nodes."""
    provider: Path
    bare_provider: Path
    consumer: Path
    """Needs both functions, with version nodes."""
    bare_consumer: Path


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    root = tmp_path_factory.mktemp("refusals")
    library = count_library(root / "versioned", nodes=NODES)
    bare = count_library(root / "bare")
    return Stock(
        root=root,
        library=library,
        bare=bare,
        provider=library_wheel(root / "wheels", library),
        bare_provider=library_wheel(root / "bare-wheels", bare),
        consumer=consumer_wheel(root / "consumer", plain_extension(root / "obj", library)),
        bare_consumer=consumer_wheel(root / "bare-consumer", plain_extension(root / "bare-obj", bare)),
    )


def state(path: Path) -> tuple[bytes, int, int]:
    status = path.stat()
    return path.read_bytes(), status.st_mtime_ns, status.st_mode


def refused(wheel: Path, *options: str | Path, code: str, says: tuple[str, ...] = (), cwd: Path) -> dict[str, Any]:
    """Check that *wheel* is refused with *code* and the words *says*; return the finding."""
    before = state(wheel)
    out = cwd / "refused"
    answer = nativelib("repair", wheel, "-w", out, *options, cwd=cwd)
    assert answer.code == 1, answer.stdout
    [entry] = answer.document["wheels"]
    assert entry["output"] is None
    assert entry["input"] == str(wheel)
    grave = {"error", "warning"} if "--strict" in options else {"error"}
    errors = [finding for finding in entry["findings"] if finding["severity"] in grave]
    assert code in {finding["code"] for finding in errors}, errors
    text = " ".join(f"{finding['where']} {finding['message']} {finding['remedy']}" for finding in errors)
    for word in says:
        assert word in text
    assert not out.exists() or list(out.iterdir()) == []
    assert state(wheel) == before
    return next(finding for finding in errors if finding["code"] == code)


def accepted(answer: Answer) -> dict[str, Any]:
    assert answer.code == 0, answer.stdout
    [entry] = answer.document["wheels"]
    assert Path(entry["output"]).is_file()
    found: dict[str, Any] = entry
    return found


def test_what_all_refusals_vary_is_accepted(stock: Stock, tmp_path: Path) -> None:
    for consumer, provider in ((stock.consumer, stock.provider), (stock.bare_consumer, stock.bare_provider)):
        entry = accepted(nativelib("repair", consumer, "--provided-by", provider, "-w", tmp_path / "out"))
        assert [item["soname"] for item in entry["provided"]] == ["libcount.so.1"]
        assert not [finding for finding in entry["findings"] if finding["severity"] == "error"]


# The proof


@pytest.mark.parametrize("reference", [False, True])
def test_a_missing_symbol(stock: Stock, tmp_path: Path, reference: bool) -> None:
    """With the copy that it was linked with in reach, and without: then nothing else that is loaded has the symbol."""
    provider = library_wheel(tmp_path / "old", count_library(tmp_path / "less", {"count_one": 1}))
    where = ("--ldpaths", stock.bare.parent) if reference else ()
    finding = refused(stock.bare_consumer, "--provided-by", provider, *where, code="NL301", cwd=tmp_path)
    assert finding["symbols"] == ["count_two"]
    assert "count_two" in finding["message"]
    assert "count-lib 1.0" in finding["message"]
    assert finding["where"] == "counter/_counter.abi3.so"


def test_every_missing_symbol_of_every_file(tmp_path: Path) -> None:
    names = [f"count_{letter}" for letter in "abcdefgh"]
    whole = count_library(tmp_path / "whole", dict.fromkeys(names, 1))
    provider = library_wheel(tmp_path / "old", count_library(tmp_path / "less", dict.fromkeys(names[:3], 1)))
    one = plain_extension(tmp_path / "one", whole, functions=names[:6])
    other = plain_extension(tmp_path / "other", whole, functions=names[5:], module="_other")
    wheel = consumer_wheel(tmp_path / "consumer", one, files={"counter/_other.abi3.so": other})
    answer = nativelib("repair", wheel, "--provided-by", provider, "-w", tmp_path / "out", "--ldpaths", whole.parent)
    assert {f["where"]: f["symbols"] for f in answer.findings if f["severity"] == "error"} == {
        "counter/_counter.abi3.so": ["count_d", "count_e", "count_f"],
        "counter/_other.abi3.so": ["count_f", "count_g", "count_h"],
    }


def test_a_missing_version_node(stock: Stock, tmp_path: Path) -> None:
    library = count_library(tmp_path / "less", nodes={"COUNT_1": ("count_one", "count_two")})
    provider = library_wheel(tmp_path / "old", library)
    finding = refused(stock.consumer, "--provided-by", provider, code="NL301", cwd=tmp_path)
    assert finding["symbols"] == ["count_two@COUNT_2"]


def test_a_provider_without_version_nodes(stock: Stock, tmp_path: Path) -> None:
    finding = refused(stock.consumer, "--provided-by", stock.bare_provider, code="NL301", cwd=tmp_path)
    assert finding["symbols"] == ["count_one@COUNT_1", "count_two@COUNT_2"]


def test_a_manifest_that_promises_too_much_is_not_believed(stock: Stock, tmp_path: Path) -> None:
    old = library_wheel(tmp_path / "old", count_library(tmp_path / "less", {"count_one": 1}))
    files = members(old)
    [manifest] = [name for name in files if name.endswith("nativelib.json")]
    files[manifest] = files[manifest].replace(b'"count_one": "1.0"', b'"count_one": "1.0", "count_two": "1.0"')
    assert b"count_two" in files[manifest]
    liar = make_wheel(tmp_path / "liar", old.name, {n: c for n, c in files.items() if not n.endswith("/RECORD")})
    refused(stock.bare_consumer, "--provided-by", liar, code="NL301", cwd=tmp_path, says=("count_two",))


# Machines


def test_another_architecture(stock: Stock, tmp_path: Path) -> None:
    other = "aarch64" if ARCHITECTURE == "x86_64" else "x86_64"
    cc = f"{other.replace('x86_64', 'x86-64')}-linux-gnu-gcc"
    library = count_library(tmp_path / "foreign", cc=cc)
    ext = plain_extension(tmp_path / "obj", library, cc=cc)
    wheel = consumer_wheel(tmp_path / "consumer", ext, platform=f"linux_{other}")
    finding = refused(
        wheel, "--provided-by", stock.bare_provider, code="NL205", cwd=tmp_path, says=(other, ARCHITECTURE)
    )
    assert finding["where"] == str(stock.bare_provider)
    # The same wheel with a provider of its own machine is fine on this machine.
    own = foreign_wheel(tmp_path / "own", library, arch=other)
    accepted(nativelib("repair", wheel, "--provided-by", own, "-w", tmp_path / "out"))


def test_a_name_for_another_architecture(stock: Stock, tmp_path: Path) -> None:
    other = "aarch64" if ARCHITECTURE == "x86_64" else "x86_64"
    wheel = consumer_wheel(
        tmp_path / "consumer", plain_extension(tmp_path / "obj", stock.bare), platform=f"linux_{other}"
    )
    refused(
        wheel,
        "--provided-by",
        stock.bare_provider,
        code="NL205",
        cwd=tmp_path,
        says=("counter/_counter.abi3.so", other, ARCHITECTURE),
    )


def test_another_c_library(stock: Stock, tmp_path: Path) -> None:
    # Something must be taken from the C library: what needs none of it fits both.
    more = "int getpid(void); int process(void) { return getpid(); }"
    library = count_library(tmp_path / "musl", cc="musl-gcc", more=more)
    ext = plain_extension(tmp_path / "obj", library, cc="musl-gcc", more=more)
    wheel = consumer_wheel(tmp_path / "consumer", ext)
    refused(wheel, "--provided-by", stock.bare_provider, code="NL206", cwd=tmp_path, says=("musl", "glibc"))
    provider = foreign_wheel(tmp_path / "own", library)
    glibc = consumer_wheel(tmp_path / "glibc", plain_extension(tmp_path / "obj2", stock.bare, more=more))
    finding = refused(glibc, "--provided-by", provider, code="NL206", cwd=tmp_path)
    assert finding["where"] == str(provider)


# Providers and excludes that match nothing


def test_a_provider_of_something_else(stock: Stock, tmp_path: Path) -> None:
    other = count_library(tmp_path / "other", {"other": 1}, soname="libother.so.3")
    provider = library_wheel(tmp_path / "wheels", other, name="other-lib")
    options = ("--provided-by", provider, "--provided-by", stock.provider)
    finding = refused(stock.consumer, *options, code="NL202", cwd=tmp_path, says=("libother.so.3", "libcount.so.1"))
    assert finding["where"] == str(provider)


def test_a_provider_of_something_else_alone(stock: Stock, tmp_path: Path) -> None:
    other = count_library(tmp_path / "other", {"other": 1}, soname="libother.so.3")
    provider = library_wheel(tmp_path / "wheels", other, name="other-lib")
    refused(stock.consumer, "--provided-by", provider, code="NL202", cwd=tmp_path, says=("libcount.so.1",))


def test_an_exclude_that_misses_what_would_be_grafted(stock: Stock, tmp_path: Path) -> None:
    path = ("--ldpaths", stock.library.parent)
    for glob in ("libcount.so.2", "libcount.so", "libcount*.so.7", "/opt/count/lib/libcount.so.*"):
        refused(stock.consumer, "--exclude", glob, *path, code="NL203", cwd=tmp_path, says=(glob, "libcount.so.1"))
    for glob in ("libcount.so.*", "libcount*", f"{stock.library.parent}/*"):
        entry = accepted(nativelib("repair", stock.consumer, "--exclude", glob, *path, "-w", tmp_path / "out"))
        assert entry["grafted"] == []


def test_an_exclude_of_something_else_is_a_warning(stock: Stock, tmp_path: Path) -> None:
    options = ("--exclude", "libcuda.so.1", "--ldpaths", stock.library.parent)
    entry = accepted(nativelib("repair", stock.consumer, *options, "-w", tmp_path / "out"))
    assert [f["code"] for f in entry["findings"] if f["severity"] == "warning"] == ["NL203"]
    refused(stock.consumer, *options, "--strict", code="NL203", cwd=tmp_path, says=("libcuda.so.1",))


def test_two_providers_of_one_soname(stock: Stock, tmp_path: Path) -> None:
    second = library_wheel(tmp_path / "wheels", stock.library, name="count-two")
    both = ("--provided-by", stock.provider, "--provided-by", second)
    refused(stock.consumer, *both, code="NL204", cwd=tmp_path, says=("libcount.so.1", "count-lib", "count-two"))
    for chosen, other in ((second, stock.provider), (stock.provider, second)):
        options = ("--provided-by", f"libcount.so.1={chosen}", "--ldpaths", stock.library.parent)
        entry = accepted(nativelib("repair", stock.consumer, *options, "-w", tmp_path / chosen.stem))
        assert [item["provider"] for item in entry["provided"]] == [chosen.name.partition("-")[0].replace("_", "-")]
        # The other one has then nothing left to do, which is said.
        refused(stock.consumer, *options, "--provided-by", other, code="NL202", cwd=tmp_path)


def test_two_providers_that_share_the_work(stock: Stock, tmp_path: Path) -> None:
    extra = count_library(tmp_path / "extra", {"extra": 5}, soname="libextra.so.1")
    pair_source = tmp_path / "pair"
    (pair_source / "lib").mkdir(parents=True)
    for library in (stock.library, extra):
        (pair_source / "lib" / library.name).write_bytes(library.read_bytes())
    pair = library_wheel(
        tmp_path / "wheels", pair_source / "lib" / "lib*.so.1", name="pair-lib", tool='alias = ["libextra.so.0"]'
    )
    ext = plain_extension(tmp_path / "obj", stock.library, extra, functions=("count_one", "extra"))
    wheel = consumer_wheel(tmp_path / "consumer", ext)
    options = ("--provided-by", f"libcount.so.1={stock.provider}", "--provided-by", pair)
    entry = accepted(nativelib("repair", wheel, *options, "-w", tmp_path / "out"))
    assert {item["soname"]: item["provider"] for item in entry["provided"]} == {
        "libcount.so.1": "count-lib",
        "libextra.so.1": "pair-lib",
    }


@pytest.mark.parametrize("text", ["count-lib-that-is-not-installed", "nowhere/count_lib-1.0-py3-none-any.whl", "a b"])
def test_a_provider_that_is_not_there(stock: Stock, tmp_path: Path, text: str) -> None:
    finding = refused(stock.consumer, "--provided-by", text, code="NL101", cwd=tmp_path)
    assert text in f"{finding['where']} {finding['message']}"


def test_a_provider_without_libraries(stock: Stock, tmp_path: Path) -> None:
    empty = make_wheel(tmp_path, "empty_lib-1.0-py3-none-any.whl", {"empty_lib/__init__.py": ""})
    refused(stock.consumer, "--provided-by", empty, code="NL107", cwd=tmp_path, says=("empty-lib 1.0",))


def test_a_provider_whose_library_is_broken(stock: Stock, tmp_path: Path) -> None:
    broken = tmp_path / "libcount.so.1"
    broken.write_bytes(stock.library.read_bytes()[:6000])
    for provider in (
        foreign_wheel(tmp_path / "foreign", broken),
        _changed(stock.provider, tmp_path / "own", "lib/libcount-count_lib.so.1", lambda content: content[:6000]),
    ):
        refused(stock.consumer, "--provided-by", provider, code="NL105", cwd=tmp_path, says=("truncated",))


# Libraries that are nowhere, or must not be copied


def test_a_library_that_is_nowhere(stock: Stock, tmp_path: Path) -> None:
    directories = [tmp_path / "first", tmp_path / "second"]
    path = ":".join(map(str, directories))
    words = ("counter/_counter.abi3.so", "libcount.so.1", *map(str, directories))
    refused(stock.consumer, "--ldpaths", path, code="NL201", cwd=tmp_path, says=words)
    system = refused(stock.consumer, code="NL201", cwd=tmp_path)
    assert "/usr/lib" in system["message"]
    assert "--provided-by" in system["remedy"]


def test_a_library_for_another_machine_on_the_search_path(stock: Stock, tmp_path: Path) -> None:
    other = "aarch64" if ARCHITECTURE == "x86_64" else "x86_64"
    cc = f"{other.replace('x86_64', 'x86-64')}-linux-gnu-gcc"
    library = count_library(tmp_path / "other", nodes=NODES, cc=cc)
    refused(stock.consumer, "--ldpaths", library.parent, code="NL201", cwd=tmp_path, says=(str(library), other))


def test_a_truncated_library_on_the_search_path(stock: Stock, tmp_path: Path) -> None:
    broken = tmp_path / "libcount.so.1"
    broken.write_bytes(stock.library.read_bytes()[:6000])
    refused(stock.consumer, "--ldpaths", tmp_path, code="NL201", cwd=tmp_path, says=("truncated",))


def test_no_graft(stock: Stock, tmp_path: Path) -> None:
    options = ("--ldpaths", stock.library.parent)
    says = ("counter/_counter.abi3.so", "libcount.so.1", str(stock.library))
    refused(stock.consumer, *options, "--no-graft", code="NL209", cwd=tmp_path, says=says)
    assert accepted(nativelib("repair", stock.consumer, *options, "-w", tmp_path / "out"))["grafted"]
    accepted(nativelib("repair", stock.consumer, "--provided-by", stock.provider, "--no-graft", "-w", tmp_path / "out"))


def test_a_truncated_library_in_the_wheel_that_is_needed(stock: Stock, tmp_path: Path) -> None:
    """The copy on the search path is not quietly taken instead."""
    broken = stock.library.read_bytes()[:6000]
    ext = plain_extension(tmp_path / "obj", stock.library, rpath="$ORIGIN/lib")
    wheel = consumer_wheel(tmp_path / "consumer", ext, files={"counter/lib/libcount.so.1": broken})
    for options in ((), ("--ldpaths", str(stock.library.parent)), ("--provided-by", str(stock.provider))):
        refused(wheel, *options, code="NL105", cwd=tmp_path, says=("counter/lib/libcount.so.1", "truncated"))


def test_a_truncated_extension(stock: Stock, tmp_path: Path) -> None:
    whole = plain_extension(tmp_path / "obj", stock.library)
    wheel = consumer_wheel(tmp_path / "consumer", whole, files={"counter/_x.abi3.so": whole.read_bytes()[:6000]})
    refused(wheel, "--provided-by", stock.provider, code="NL105", cwd=tmp_path, says=("counter/_x.abi3.so",))


def test_a_broken_file_that_nothing_loads_is_a_warning(stock: Stock, tmp_path: Path) -> None:
    ext = plain_extension(tmp_path / "obj", stock.library)
    data = {"counter/tests/data/broken-core": ext.read_bytes()[:900]}
    wheel = consumer_wheel(tmp_path / "consumer", ext, files=data)
    entry = accepted(nativelib("repair", wheel, "--provided-by", stock.provider, "-w", tmp_path / "out"))
    [warned] = [finding for finding in entry["findings"] if finding["severity"] == "warning"]
    assert (warned["code"], warned["where"]) == ("NL105", "counter/tests/data/broken-core")


# Requirements and tags


@pytest.mark.parametrize("required", ["count-lib==0.9", "Count_Lib<1.0", "count.lib>=2; sys_platform == 'linux'"])
def test_an_author_who_requires_another_version(stock: Stock, tmp_path: Path, required: str) -> None:
    ext = plain_extension(tmp_path / "obj", stock.library)
    wheel = consumer_wheel(tmp_path / "consumer", ext, metadata_extra=f"Requires-Dist: {required}\n")
    refused(wheel, "--provided-by", stock.provider, code="NL401", cwd=tmp_path, says=(required, "count-lib==1.0"))


def test_a_pin_that_is_none(stock: Stock, tmp_path: Path) -> None:
    options = ("--provided-by", stock.provider, "--pin")
    refused(stock.consumer, *options, "newest", code="NL401", cwd=tmp_path, says=("newest", "minimum"))


@pytest.mark.parametrize("pin", ["==2.0", ">1.0", "<0.9"])
def test_a_pin_that_the_provider_does_not_meet(stock: Stock, tmp_path: Path, pin: str) -> None:
    options = ("--provided-by", stock.provider, "--pin", pin)
    refused(stock.consumer, *options, code="NL401", cwd=tmp_path, says=("count-lib 1.0", pin))


@pytest.mark.parametrize("marker", ["linux", "sys_platform = 'linux'", "sys_platform == 'linux'\nX: y"])
def test_a_marker_that_is_none(stock: Stock, tmp_path: Path, marker: str) -> None:
    options = ("--provided-by", stock.provider, "--marker", marker)
    refused(stock.consumer, *options, code="NL401", cwd=tmp_path, says=("--marker",))


@pytest.mark.parametrize(
    ("plat", "code"),
    [
        ("manylinux_2_5_x86_64", "NL601"),
        ("manylinux1_x86_64", "NL601"),
        ("musllinux_1_2_x86_64", "NL601"),
        ("manylinux_9_99_x86_64", "NL602"),
        ("solaris_x86_64", "NL602"),
        ("manylinux_2_28_aarch64", "NL205"),
        ("linux_aarch64", "NL205"),
        ("musllinux_1_2_s390x", "NL205"),
    ],
)
def test_a_platform_tag_that_is_not_met(tmp_path: Path, plat: str, code: str) -> None:
    if ARCHITECTURE != "x86_64":
        pytest.skip("the tags are those of x86_64")
    # preadv64v2 came with glibc 2.26.
    source = "long preadv64v2(int, void *, int, long, int);\nint value(void) { return preadv64v2(0, 0, 0, 0, 0); }\n"
    ext = shared_library(tmp_path / "obj", "_new.abi3.so", f"{source}void *PyInit__new(void) {{ return 0; }}")
    wheel = consumer_wheel(tmp_path / "consumer", ext)
    refused(wheel, "--plat", plat, code=code, cwd=tmp_path, says=(plat,))
    accepted(nativelib("repair", wheel, "--plat", "manylinux_2_28_x86_64", "-w", tmp_path / "out"))


def test_a_platform_tag_that_is_not_met_says_why(tmp_path: Path) -> None:
    if ARCHITECTURE != "x86_64":
        pytest.skip("the tags are those of x86_64")
    source = "long preadv64v2(int, void *, int, long, int);\nint value(void) { return preadv64v2(0, 0, 0, 0, 0); }\n"
    ext = shared_library(tmp_path / "obj", "_new.abi3.so", f"{source}void *PyInit__new(void) {{ return 0; }}")
    wheel = consumer_wheel(tmp_path / "consumer", ext)
    refused(wheel, "--plat", "manylinux_2_17_x86_64", code="NL601", cwd=tmp_path, says=("counter/_new", "GLIBC_2.26"))


# What is only a warning, unless --strict


def test_a_provider_with_a_newer_tag(stock: Stock, tmp_path: Path) -> None:
    if ARCHITECTURE != "x86_64":
        pytest.skip("the tags are those of x86_64")
    files: dict[str, str | Path] = {"young/__init__.py": "", "young/lib/libcount.so.1": stock.bare}
    young = make_wheel(tmp_path, "young-1.0-py3-none-manylinux_2_99_x86_64.whl", files)
    options = ("--provided-by", young)
    entry = accepted(nativelib("repair", stock.bare_consumer, *options, "-w", tmp_path / "out"))
    [warned] = [finding for finding in entry["findings"] if finding["severity"] == "warning"]
    assert warned["code"] == "NL402"
    assert "manylinux_2_99_x86_64" in warned["message"]
    assert "manylinux_2_5_x86_64" in warned["message"]
    # The consumer's tag comes from the consumer alone.
    assert "manylinux_2_5_x86_64" in entry["tags"]
    refused(stock.bare_consumer, *options, "--strict", code="NL402", cwd=tmp_path)


# What symbols do not show


def test_facts_that_clash(stock: Stock, tmp_path: Path) -> None:
    tool = '[tool.nativelib.abi]\nthreading = "openmp"'
    provider = library_wheel(tmp_path / "wheels", stock.library, tool=tool)
    options = ("--provided-by", provider, "--require-abi")
    accepted(nativelib("repair", stock.consumer, *options, "threading=openmp", "-w", tmp_path / "out"))
    says = ("threading", "openmp", "pthreads")
    refused(stock.consumer, *options, "threading=pthreads", code="NL303", cwd=tmp_path, says=says)
    unknown = accepted(nativelib("repair", stock.consumer, *options, "cxx=11", "-w", tmp_path / "out"))
    assert [f["code"] for f in unknown["findings"] if f["severity"] == "warning"] == ["NL304"]
    refused(stock.consumer, *options, "cxx=11", "--strict", code="NL304", cwd=tmp_path)


def test_the_integer_width_is_seen_in_names(tmp_path: Path) -> None:
    library = count_library(tmp_path / "blas", {"dgemm_64_": 1, "cblas_dgemm": 2}, soname="libblas.so.3")
    wide = consumer_wheel(tmp_path / "in", plain_extension(tmp_path / "obj", library, functions=("dgemm_64_",)))
    for width, code in (("32", "NL303"), ("64", None)):
        tool = f'[tool.nativelib.abi]\nblas-int = "{width}"'
        provider = library_wheel(tmp_path / width, library, name="blas-lib", tool=tool)
        if code:
            refused(wide, "--provided-by", provider, code=code, cwd=tmp_path, says=("dgemm_64_", "blas-int"))
        else:
            accepted(nativelib("repair", wide, "--provided-by", provider, "-w", tmp_path / "out"))


def test_a_wheel_for_two_c_libraries(stock: Stock, tmp_path: Path) -> None:
    more = "int getpid(void); int process(void) { return getpid(); }"
    glibc = plain_extension(tmp_path / "g", stock.bare, more=more)
    musl = plain_extension(tmp_path / "m", more=more, functions=(), module="_musl", cc="musl-gcc")
    wheel = consumer_wheel(tmp_path / "in", glibc, files={"counter/_musl.abi3.so": musl})
    refused(wheel, "--provided-by", stock.bare_provider, code="NL210", cwd=tmp_path, says=("musl", "glibc"))


# Files that are no wheels


def _changed(wheel: Path, directory: Path, ending: str, change: Callable[[bytes], bytes]) -> Path:
    """Return a copy of *wheel* in which one member has another content, with a RECORD that fits."""
    files = {name: content for name, content in members(wheel).items() if not name.endswith("/RECORD")}
    [name] = [name for name in files if name.endswith(ending)]
    files[name] = change(files[name])
    return make_wheel(directory, wheel.name, files)


def _raw(wheel: Path, target: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """Return a copy of *wheel* whose members *change* has edited, RECORD as it is."""
    files = members(wheel)
    change(files)
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target


def test_no_wheel_at_all(stock: Stock, tmp_path: Path) -> None:
    name = stock.consumer.name
    for number, content in enumerate((b"", b"no zip file", stock.consumer.read_bytes()[:-100], bytes(10_000))):
        path = tmp_path / str(number) / name
        path.parent.mkdir()
        path.write_bytes(content)
        refused(path, "--provided-by", stock.provider, code="NL102", cwd=tmp_path, says=(name,))
    odd = tmp_path / "counter.whl"
    odd.write_bytes(stock.consumer.read_bytes())
    refused(odd, "--provided-by", stock.provider, code="NL102", cwd=tmp_path, says=("counter.whl",))


def test_a_wheel_that_is_not_there(stock: Stock, tmp_path: Path) -> None:
    for path in (tmp_path / stock.consumer.name, tmp_path):
        answer = nativelib("repair", path, "-w", tmp_path / "out")
        assert answer.code == 1
        [entry] = answer.document["wheels"]
        assert entry["output"] is None
        assert entry["findings"][0]["severity"] == "error"


def test_no_record(stock: Stock, tmp_path: Path) -> None:
    path = _raw(stock.consumer, tmp_path / stock.consumer.name, lambda files: files.pop("counter-1.0.dist-info/RECORD"))
    refused(path, "--provided-by", stock.provider, code="NL104", cwd=tmp_path, says=("RECORD",))


@pytest.mark.parametrize("member", ["counter/__init__.py", "counter/_counter.abi3.so", "counter-1.0.dist-info/WHEEL"])
def test_a_record_that_does_not_fit(stock: Stock, tmp_path: Path, member: str) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[member] = files[member][:-1] + bytes([files[member][-1] ^ 1])

    path = _raw(stock.consumer, tmp_path / stock.consumer.name, change)
    refused(path, "--provided-by", stock.provider, code="NL104", cwd=tmp_path, says=(member,))


def test_a_member_that_record_does_not_name(stock: Stock, tmp_path: Path) -> None:
    path = _raw(stock.consumer, tmp_path / stock.consumer.name, lambda files: files.update({"counter/more.py": b""}))
    refused(path, "--provided-by", stock.provider, code="NL104", cwd=tmp_path, says=("counter/more.py",))


@pytest.mark.parametrize("member", ["../outside.py", "counter/../../outside.py", "/etc/outside", "counter\\x.py"])
def test_a_member_that_leads_outside(stock: Stock, tmp_path: Path, member: str) -> None:
    path = _raw(stock.consumer, tmp_path / stock.consumer.name, lambda files: files.update({member: b""}))
    refused(path, "--provided-by", stock.provider, code="NL103", cwd=tmp_path)
    refused(stock.consumer, "--provided-by", _raw(
        stock.provider, tmp_path / "provider" / stock.provider.name, lambda files: files.update({member: b""})
    ), code="NL103", cwd=tmp_path)  # fmt: skip


# Output


def test_the_input_is_not_overwritten(stock: Stock, tmp_path: Path) -> None:
    entry = accepted(nativelib("repair", stock.consumer, "--provided-by", stock.provider, "-w", tmp_path / "out"))
    name = Path(entry["output"]).name
    path = tmp_path / name
    path.write_bytes(stock.consumer.read_bytes())
    before = state(path)
    answer = nativelib("repair", name, "--provided-by", stock.provider, "-w", ".", cwd=tmp_path)
    assert answer.code == 1
    assert [finding["code"] for finding in answer.findings if finding["severity"] == "error"] == ["NL108"]
    assert state(path) == before
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted([name, "out"])


def test_another_input_of_the_call_is_not_overwritten(stock: Stock, tmp_path: Path) -> None:
    """The result of the first wheel has the name of the second one."""
    first = tmp_path / stock.consumer.name
    first.write_bytes(stock.consumer.read_bytes())
    ext = plain_extension(tmp_path / "obj", stock.library, functions=("count_one",))
    entry = accepted(nativelib("repair", first, "--provided-by", stock.provider, "-w", tmp_path / "out"))
    second = tmp_path / Path(entry["output"]).name
    second.write_bytes(consumer_wheel(tmp_path / "x", ext).read_bytes())
    befores = state(first), state(second)
    answer = nativelib("repair", first, second, "--provided-by", stock.provider, "-w", tmp_path)
    assert answer.code == 1
    assert (state(first), state(second)) == befores


def test_one_result_is_not_overwritten_by_the_next(stock: Stock, tmp_path: Path) -> None:
    copies = [tmp_path / name / stock.consumer.name for name in ("a", "b")]
    for path in copies:
        path.parent.mkdir()
        path.write_bytes(stock.consumer.read_bytes())
    answer = nativelib("repair", *copies, "--provided-by", stock.provider, "-w", tmp_path / "out")
    assert answer.code == 1
    first, second = answer.document["wheels"]
    assert Path(first["output"]).is_file()
    assert second["output"] is None


def test_one_that_fails_does_not_stop_the_others(stock: Stock, tmp_path: Path) -> None:
    ext = plain_extension(tmp_path / "obj", stock.library)
    good = [consumer_wheel(tmp_path / "good", ext, name=name) for name in ("alpha", "omega")]
    library = count_library(tmp_path / "more", {"count_one": 1, "count_new": 3})
    bad = consumer_wheel(tmp_path / "bad", plain_extension(tmp_path / "x", library, functions=("count_new",)), name="m")
    broken = tmp_path / "zed-1.0-py3-none-any.whl"
    broken.write_bytes(b"no zip file")
    wheels = [good[0], bad, broken, good[1]]
    answer = nativelib(
        "repair", *wheels, "--provided-by", stock.provider, "-w", tmp_path / "out", "--ldpaths", library.parent
    )
    assert answer.code == 1
    entries = answer.document["wheels"]
    assert [entry["input"] for entry in entries] == [str(wheel) for wheel in wheels]
    assert [entry["output"] is not None for entry in entries] == [True, False, False, True]
    written = sorted(str(path) for path in (tmp_path / "out").iterdir())
    assert written == sorted(entry["output"] for entry in entries if entry["output"])
