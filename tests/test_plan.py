"""Plans as pure functions: needs, requirements, hooks, names, run paths, and their JSON."""

from __future__ import annotations

import ast
import json
import posixpath
import string
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from nativelib.errors import PlanError
from nativelib.facts.elf import ElfEdit, ElfFacts, Import, Machine, Symbol, VersionNeed
from nativelib.facts.manifest import Manifest
from nativelib.facts.outside import Outside
from nativelib.facts.provider import ProvidedLibrary, Provider, ProviderKind
from nativelib.facts.wheel import Place, Scheme
from nativelib.findings import Code, Finding, Severity
from nativelib.plan.answers import unused_findings
from nativelib.plan.graft import depend_first, hashed_name, inside, link_name, origin_path, run_path, unique_soname
from nativelib.plan.hook import STATEMENT, around_block, decode, encode, hooked_package, with_import
from nativelib.plan.needs import Answer, Ground, excluded, index_inside, reachable, resolve, unsearched
from nativelib.plan.requirement import contradictory, lower_bound, merge, minimum, public, requirement, specifier
from nativelib.plan.serial import plan_from_json, plan_to_json
from nativelib.plan.symbols import Scope, prove
from nativelib.plan.values import (
    HOOK_BEGIN,
    HOOK_END,
    Assemble,
    Describe,
    Drop,
    Generate,
    Graft,
    Grafted,
    Patch,
    Plan,
    Provided,
    Summary,
    Write,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

X86_64 = Machine(62, 64, True)


def elf(
    *needed: str,
    soname: str | None = None,
    exports: Sequence[str] = (),
    imports: Sequence[Import] = (),
    rpath: Sequence[str] = (),
    runpath: Sequence[str] = (),
    version_needs: Sequence[VersionNeed] = (),
    sha256: str = "0" * 64,
    build_id: str | None = None,
) -> ElfFacts:
    """Return the facts of a file: no file has them, but a plan sees nothing else of a file either."""
    return ElfFacts(
        machine=X86_64,
        e_type=3,
        e_flags=0,
        dynamic=True,
        interpreter=None,
        soname=soname,
        needed=needed,
        rpath=tuple(rpath),
        runpath=tuple(runpath),
        version_needs=tuple(version_needs),
        version_definitions=(),
        version_base=None,
        imports=frozenset(imports),
        exports=frozenset(Symbol.parse(text) for text in exports),
        build_id=build_id,
        isa_needed=frozenset(),
        relr=False,
        sections=True,
        load_end=0,
        size=1,
        sha256=sha256,
    )


def provider(
    name: str, *libraries: tuple[str, str], version: str = "1.0", only: str | None = None, **more: Any
) -> Provider:
    """Return a provider with *libraries*: pairs of soname and original soname."""
    offered = tuple(
        ProvidedLibrary(
            soname=soname,
            original_soname=original,
            file=f"{name}/lib/{soname}",
            facts=elf(soname=soname, sha256=more.get("sha256", "1" * 64), build_id=more.get("build_id")),
        )
        for soname, original in libraries
    )
    return Provider(
        name=name,
        version=version,
        origin=f"{name}.whl",
        kind=ProviderKind.OWN,
        import_name=name.replace("-", "_"),
        libraries=offered,
        every=offered,
        only=only,
        manifest=more.get("manifest"),
        pin=more.get("pin"),
    )


def manifest(version: str, exports: dict[str, dict[str, str]], compatible: str | None = None) -> Manifest:
    return Manifest(
        name="lib",
        version=version,
        import_name="lib",
        libraries=(),
        compatible=compatible,
        exports={
            soname: {Symbol.parse(text): first for text, first in symbols.items()}
            for soname, symbols in exports.items()
        },
    )


def answers(ground: Ground, outside: Outside | None = None) -> dict[tuple[str, str], tuple[Answer, str | None]]:
    return {(n.requester, n.soname): (n.answer, n.source) for n in resolve(ground, outside or Outside())}


def ground(files: dict[str, ElfFacts], **more: Any) -> Ground:
    return Ground(files=files, inside=index_inside(files), **more)


# Needs


def test_each_answer() -> None:
    files = {
        "p/_e.so": elf(
            "libin.so.1", "libp.so.1", "libc.so.6", "libcuda.so.1", "libz9.so", "libno.so", "libpython3.11.so.1.0"
        ),
        "p/libin.so.1": elf(soname="libin.so.1"),
    }
    outside = Outside(
        paths={("p/_e.so", "libz9.so"): "/lib/libz9.so", ("p/_e.so", "libno.so"): None},
        files={"/lib/libz9.so": elf("libdeep.so", soname="libz9.so")},
    )
    land = ground(
        files,
        providers=[provider("lib-p", ("libp-lib_p.so.1", "libp.so.1"))],
        policy=frozenset({"libc.so.6"}),
        excludes=["libcuda.so.*"],
    )
    assert answers(land, outside) == {
        ("p/_e.so", "libin.so.1"): (Answer.WHEEL, "p/libin.so.1"),
        ("p/_e.so", "libp.so.1"): (Answer.PROVIDED, "lib-p/lib/libp-lib_p.so.1"),
        ("p/_e.so", "libc.so.6"): (Answer.POLICY, None),
        ("p/_e.so", "libcuda.so.1"): (Answer.EXCLUDED, None),
        ("p/_e.so", "libz9.so"): (Answer.GRAFT, "/lib/libz9.so"),
        ("p/_e.so", "libno.so"): (Answer.MISSING, None),
        ("p/_e.so", "libpython3.11.so.1.0"): (Answer.PYTHON, None),
        ("/lib/libz9.so", "libdeep.so"): (Answer.MISSING, None),
    }
    # What has been looked for in vain is not looked for again; what a graft needs is asked only now.
    assert unsearched(resolve(land, outside), outside) == (("/lib/libz9.so", "libdeep.so"),)


def test_libpython_stays_where_a_version_need_names_it() -> None:
    """Without the DT_NEEDED entry glibc would end the process."""
    need = VersionNeed("libpython3.11.so.1.0", "PY_1")
    found = answers(ground({"p/_e.so": elf("libpython3.11.so.1.0", version_needs=[need])}))
    assert found["p/_e.so", "libpython3.11.so.1.0"][0] is not Answer.PYTHON


@pytest.mark.parametrize(
    ("member", "more", "wins"),
    [
        ("p/libx.so.1", {}, False),
        ("p/libx.so.1", {"replace": frozenset({"libx.so.1"})}, True),
        ("p.libs/libx.so.1", {}, True),
        ("p/.dylibs/libx.so.1", {}, True),
        ("p/libs/libx.so.1", {}, False),
    ],
)
def test_wheel_or_provider(member: str, more: dict[str, Any], wins: bool) -> None:
    files = {"p/_e.so": elf("libx.so.1"), member: elf(soname="libx.so.1", sha256="2" * 64)}
    land = ground(files, providers=[provider("lib", ("libx-lib.so.1", "libx.so.1"))], **more)
    [need] = resolve(land, Outside())
    assert (need.answer, need.replaces) == ((Answer.PROVIDED, member) if wins else (Answer.WHEEL, None))


@pytest.mark.parametrize("same", [{"sha256": "2" * 64}, {"build_id": "abcd"}])
def test_the_same_content_is_the_provider_s(same: dict[str, str]) -> None:
    files = {"p/_e.so": elf("libx.so.1"), "p/libx.so.1": elf(soname="libx.so.1", sha256="2" * 64, build_id="abcd")}
    [need] = resolve(ground(files, providers=[provider("lib", ("libx-lib.so.1", "libx.so.1"), **same)]), Outside())
    assert need.answer is Answer.PROVIDED


def test_two_providers_of_one_soname() -> None:
    files = {"p/_e.so": elf("libx.so.1")}
    both = [provider("one", ("libx-one.so.1", "libx.so.1")), provider("two", ("libx-two.so.1", "libx.so.1"))]
    with pytest.raises(PlanError, match=r"libx\.so\.1") as caught:
        resolve(ground(files, providers=both), Outside())
    assert [finding.code for finding in caught.value.findings] == [Code.AMBIGUOUS_PROVIDER]
    named = [both[0], replace(both[1], only="libx.so.1")]
    [need] = resolve(ground(files, providers=named), Outside())
    assert need.provider is named[1]


def test_a_provider_named_for_one_soname_answers_for_no_other() -> None:
    files = {"p/_e.so": elf("libx.so.1", "liby.so.1")}
    only = provider("lib", ("libx-lib.so.1", "libx.so.1"), ("liby-lib.so.1", "liby.so.1"), only="libx.so.1")
    found = answers(ground(files, providers=[only]))
    assert found["p/_e.so", "libx.so.1"][0] is Answer.PROVIDED
    assert found["p/_e.so", "liby.so.1"][0] is Answer.MISSING


def test_needs_of_grafts_and_of_wheel_files_are_reached() -> None:
    files = {"p/_e.so": elf("a.so"), "p/a.so": elf("b.so", soname="a.so")}
    outside = Outside(
        paths={("p/a.so", "b.so"): "/b.so", ("/b.so", "c.so"): None},
        files={"/b.so": elf("c.so", "a.so", soname="b.so")},
    )
    needs = resolve(ground(files), outside)
    groups = {"p/_e.so": needs[:1], "p/a.so": needs[1:2], "/b.so": needs[2:]}
    assert [need.soname for need in reachable("p/_e.so", groups)] == ["a.so", "b.so", "c.so", "a.so"]


names = st.text(string.ascii_lowercase, min_size=1, max_size=6)


@given(st.dictionaries(names, st.lists(names, max_size=4, unique=True), max_size=6), st.data())
def test_every_need_has_exactly_one_answer(graph: dict[str, list[str]], data: st.DataObject) -> None:
    """Whatever needs whatever, also in circles: each DT_NEEDED entry is answered once, and the search ends."""
    files = {f"p/{name}.so": elf(*(f"{n}.so" for n in needed), soname=f"{name}.so") for name, needed in graph.items()}
    everything = sorted({n for f in files.values() for n in f.needed})
    policy = frozenset(data.draw(st.lists(st.sampled_from(everything), unique=True)) if everything else ())
    land = ground(files, policy=policy, excludes=["a*"])
    needs = resolve(land, Outside())
    assert [(n.requester, n.soname) for n in needs] == [(m, s) for m, f in files.items() for s in f.needed]
    for need in needs:
        own = f"p/{need.soname}" in files and f"p/{need.soname}" != need.requester
        expected = (
            Answer.WHEEL
            if own
            else Answer.POLICY
            if need.soname in policy
            else Answer.EXCLUDED
            if need.soname.startswith("a")
            else Answer.MISSING
        )
        assert need.answer is expected


def test_excludes_match_sonames_and_paths() -> None:
    assert excluded("libx.so.1", None, ["libx.so.*"])
    assert excluded("libx.so.1", "/opt/cuda/libx.so.1", ["/opt/cuda/*"])
    assert not excluded("libx.so.1", None, ["/opt/cuda/*", "libx", "LIBX*"])


def test_unused_excludes() -> None:
    files = {"p/_e.so": elf("libx.so.1")}
    outside = Outside(paths={("p/_e.so", "libx.so.1"): "/lib/libx.so.1"}, files={"/lib/libx.so.1": elf()})
    needs = resolve(ground(files), outside)
    globs = ["libx.so.2", "/opt/libx.so.*", "liby*", "*", "libx.so.1"]
    found = unused_findings(needs, [], globs, frozenset({"libx.so.1"}))
    assert [(finding.where, finding.severity.value) for finding in found] == [
        ("libx.so.2", "error"),
        ("/opt/libx.so.*", "error"),
        ("liby*", "warning"),
        ("*", "warning"),
    ]


# The proof


def test_a_symbol_belongs_to_whom_its_version_need_names() -> None:
    wanted = [Import("f", "V1", "libx.so.1"), Import("g", "V1", "liby.so.1"), Import("h", weak=True)]
    scope = Scope(provided={"libx.so.1": elf(exports=["f@V1", "g@V1"]), "liby.so.1": elf(exports=["g@V2", "g"])})
    proof = prove(elf(imports=wanted), scope)
    assert proof.used == {"libx.so.1": {Symbol("f", "V1")}, "liby.so.1": frozenset()}
    assert proof.missing == {"liby.so.1": {Symbol("g", "V1")}}
    assert not proof.holds


def test_a_symbol_without_version_belongs_to_the_copy_it_was_linked_with() -> None:
    scope = Scope(
        provided={"libx.so.1": elf(exports=["other"])},
        references={"libx.so.1": elf(exports=["f"])},
        others=[elf(exports=["f"])],
    )
    assert prove(elf(imports=[Import("f")]), scope).missing == {"libx.so.1": {Symbol("f")}}
    assert prove(elf(imports=[Import("f")]), replace(scope, references={})).holds


def test_what_nobody_has_is_an_error_only_where_everybody_is_known() -> None:
    scope = Scope(provided={"libx.so.1": elf(exports=["f"])})
    file = elf(imports=[Import("f"), Import("g"), Import("PyList_New")])
    assert prove(file, scope).homeless == {Symbol("g")}
    assert not prove(file, scope).holds
    assert prove(file, replace(scope, complete=False)).holds


# The requirement

numbers = st.integers(0, 30)
releases = st.builds(lambda a, b, c: f"{a}.{b}.{c}", numbers, numbers, numbers)
clauses = st.builds(lambda op, v: f"{op}{v}", st.sampled_from(["==", ">=", "<=", "<", ">", "!=", "~="]), releases)


def test_the_lower_bound_is_the_first_release_with_all_that_is_used() -> None:
    history = manifest("1.3", {"l.so": {"a": "1.1", "b": "1.2", "c@V": "1.3"}, "m.so": {"z": "1.0"}})
    for used, expected in (("a", "1.1"), ("ab", "1.2"), ("abc", "1.3"), ("", "1.1")):
        symbols = {Symbol(name, "V" if name == "c" else "") for name in used}
        assert lower_bound(history, {"l.so": symbols}) == expected
    assert lower_bound(history, {"l.so": {Symbol("a")}, "m.so": {Symbol("z")}}) == "1.1"
    assert lower_bound(manifest("1.3", {"l.so": {"a": "1.3"}}), {"l.so": {Symbol("a")}}) == "1.3"


def test_ten_is_newer_than_nine() -> None:
    assert (
        lower_bound(manifest("1.10", {"l.so": {"a": "1.9", "b": "1.10"}}), {"l.so": {Symbol("a"), Symbol("b")}})
        == "1.10"
    )


def test_an_unversioned_symbol_needs_the_oldest_of_its_versions() -> None:
    """The loader takes any version of the name for a reference without one."""
    history = manifest("1.3", {"l.so": {"f@V1": "1.1", "f@V2": "1.3"}})
    assert lower_bound(history, {"l.so": {Symbol("f")}}) == "1.1"


def _upper(compatible: str) -> str:
    """Return the clauses that consumers inherit: ``==`` and ``~=`` win whole, else the upper ones."""
    clauses = list(SpecifierSet(compatible))
    if any(clause.operator in {"==", "~="} for clause in clauses):
        return compatible
    return ",".join(str(clause) for clause in clauses if clause.operator in {"<", "<=", "!="})


@given(releases, st.lists(clauses, min_size=1, max_size=3), st.booleans())
def test_the_specifier_always_accepts_the_provider(version: str, declared: list[str], history: bool) -> None:
    compatible = ",".join(declared)
    first = "0.0.0" if history else version
    info = manifest(version, {"l.so": {"a": first}}, compatible)
    offer = provider("lib", ("l.so", "l.so"), version=version, manifest=info)
    if not SpecifierSet(_upper(compatible)).contains(version):
        with pytest.raises(PlanError, match="excludes it"):
            specifier(offer, {"l.so": {Symbol("a")}})
        return
    found = specifier(offer, {"l.so": {Symbol("a")}})
    assert found.contains(version)
    wins = {"==", "~="} & {clause.operator for clause in SpecifierSet(compatible)}
    if wins:
        assert found == SpecifierSet(compatible)
    else:
        assert f">={first}" in str(found).split(",")
        assert found == SpecifierSet(f">={first},{_upper(compatible)}".rstrip(","))


@given(releases, st.sampled_from(["auto", "exact", "minimum", "compatible"]), st.sampled_from(["", "+local.1"]))
def test_every_pin_is_a_valid_requirement(version: str, pin: str, local: str) -> None:
    found = specifier(provider("Lib.X", ("l.so", "l.so"), version=version + local), {}, pin=pin)
    text = requirement("Lib.X", found)
    assert text.startswith("lib-x")
    assert Requirement(text).specifier.contains(version)
    assert "+" not in text
    assert minimum(found) == Version(version).release


def test_public_versions() -> None:
    assert [public(v) for v in ("1.0+x", "1!2.0.post1+y", "1.0rc1", "1.0.dev3")] == [
        "1.0",
        "1!2.0.post1",
        "1.0rc1",
        "1.0.dev3",
    ]


@given(st.lists(clauses, max_size=3), st.lists(clauses, max_size=3), st.lists(releases, max_size=40))
@example(["==1.0.0"], ["<1.0.0"], ["1.0.0"])
@example([">1.0.0"], ["<1.0.1"], [])
def test_contradictions_are_real(one: list[str], other: list[str], versions: list[str]) -> None:
    """No version that would satisfy both is overlooked."""
    first, second = SpecifierSet(",".join(one)), SpecifierSet(",".join(other))
    if contradictory(first, second):
        assert not [v for v in versions if first.contains(v) and second.contains(v)]


def test_merge_keeps_the_author_s_and_replaces_ours() -> None:
    ours = 'lib>=1.0; sys_platform == "linux"'
    marker = 'sys_platform == "linux"'
    wanted = SpecifierSet(">=1.2")
    new = 'lib>=1.2; sys_platform == "linux"'
    assert merge([], (), "lib", wanted, marker) == ((), (new,))
    assert merge([ours], (ours,), "lib", wanted, marker) == ((ours,), (new,))
    assert merge([ours], (), "lib", wanted, marker) == ((), (new,))
    assert merge([new], (new,), "lib", wanted, marker) == ((), ())
    assert merge([new], (), "lib", wanted, marker) == ((), ())
    assert merge(["Lib[x]<3", "not a requirement!"], (), "lib", wanted, marker) == ((), (new,))
    for elsewhere in ("extra == 'old'", "sys_platform == 'win32'", "os_name == 'nt' and platform_system != 'Linux'"):
        assert merge([f"lib<1; {elsewhere}"], (), "lib", wanted, marker) == ((), (new,))
    for here in ("sys_platform == 'linux'", "python_version >= '3.8'", "platform_machine == 'x86_64'"):
        with pytest.raises(PlanError, match="no version"):
            merge([f"lib<1; {here}"], (), "lib", wanted, marker)
    with pytest.raises(PlanError, match="no version"):
        merge(["LIB<1.2"], (), "lib", wanted, marker)


# Names

sonames = st.from_regex(r"lib[a-z][a-z0-9_+-]{0,8}(\.[0-9]{1,3}){0,1}\.so(\.[0-9]{1,3}){0,3}", fullmatch=True)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(sonames, digests)
def test_graft_names(soname: str, sha256: str) -> None:
    name = hashed_name(soname, sha256)
    stem, _, rest = soname.partition(".so")
    assert name == f"{stem}-{sha256[:8]}.so{rest}" or stem.endswith(f"-{sha256[:8]}")
    assert hashed_name(name, sha256) == name
    assert link_name(soname) == f"{stem}.so"


@given(sonames, st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True))
def test_unique_sonames(soname: str, owner: str) -> None:
    name = unique_soname(soname, owner)
    assert name.startswith(soname.partition(".so")[0])
    assert name.partition(".so")[0].endswith(f"-{owner}")
    assert name.partition(".so")[2] == soname.partition(".so")[2]
    assert unique_soname(name, owner) == name


@pytest.mark.parametrize(
    ("soname", "expected"),
    [
        ("libglib-2.0.so.0", "libglib-2.0-12345678.so.0"),
        ("libfoo.so", "libfoo-12345678.so"),
        ("libfoo.so.1.2.3", "libfoo-12345678.so.1.2.3"),
        ("libicudata.so.72", "libicudata-12345678.so.72"),
        ("ld-linux-x86-64.so.2", "ld-linux-x86-64-12345678.so.2"),
        ("libodd", "libodd-12345678"),
        ("lib.so.so.1", "lib-12345678.so.so.1"),
    ],
)
def test_graft_names_by_hand(soname: str, expected: str) -> None:
    assert hashed_name(soname, "12345678" + "0" * 56) == expected


# Run paths

parts = st.text("abc", min_size=1, max_size=3)
directories = st.lists(parts, max_size=4).map("/".join)


@given(directories, directories)
def test_a_run_path_leads_to_its_directory(home: str, target: str) -> None:
    place = Place(Scheme.SITE, posixpath.join(home, "x.so"))
    entry = origin_path(place, target)
    assert entry.startswith("$ORIGIN")
    assert posixpath.normpath(entry.replace("$ORIGIN", f"/site/{home}")) == posixpath.normpath(f"/site/{target}")
    assert inside(place, entry)


@given(
    directories,
    st.lists(
        st.one_of(
            st.sampled_from(
                ["/usr/lib", "$ORIGIN", "${ORIGIN}/../lib", "$ORIGIN/../../../../..", "", "lib", "$ORIGINx"]
            ),
            directories.map(lambda d: f"$ORIGIN/{d}"),
        ),
        max_size=5,
    ),
    st.lists(directories, max_size=3),
)
def test_run_paths_stay_inside_and_are_stable(home: str, entries: list[str], wanted: list[str]) -> None:
    place = Place(Scheme.SITE, posixpath.join(home, "x.so"))
    new, dropped = run_path(place, elf(runpath=entries), wanted)
    assert all(inside(place, entry) for entry in new)
    assert set(dropped) == {entry for entry in entries if entry and not inside(place, entry)}
    assert len(set(new)) == len(new)

    def where(entry: str) -> str:
        text = entry.replace("${ORIGIN}", "$ORIGIN")
        return posixpath.normpath(text.replace("$ORIGIN", f"/site/{home}", 1))

    assert {posixpath.normpath(f"/site/{d}") for d in wanted} <= {where(entry) for entry in new}
    assert run_path(place, elf(runpath=new), wanted) == (new, ())


def test_libraries_come_after_what_they_need() -> None:
    files = [("a", elf("b.so", soname="a.so")), ("b", elf("c.so", soname="b.so")), ("c", elf("x.so", soname="c.so"))]
    assert depend_first(files) == ("c.so", "b.so", "a.so")
    circle = [("a", elf("b.so", soname="a.so")), ("b", elf("a.so", soname="b.so"))]
    assert sorted(depend_first(circle)) == ["a.so", "b.so"]


# The hook

PROLOGUES = st.lists(
    st.sampled_from(
        [
            "#!/usr/bin/python3\n",
            "# a comment\n",
            "\n",
            '"""A docstring."""\n',
            "'''Lines\nand lines\n'''  # and a comment\n",
            "from __future__ import annotations\n",
            "from __future__ import (\n    annotations,\n    division,\n)\n",
        ]
    ),
    max_size=4,
)
BODIES = st.lists(
    st.sampled_from(
        [
            "import os\n",
            "from . import _ext\n",
            "from ._ext import value\n",
            "x = 1\n",
            "if True:\n    import json\n",
            "try:\n    from . import _distributor_init\nexcept ImportError:\n    pass\n",
            "def f():\n    return '''\n# text\n'''\n",
            "__all__ = ['f']\n",
            "d = 'd\u00e9j\u00e0'\n",
            "pass",
        ]
    ),
    max_size=4,
)


@given(PROLOGUES, BODIES, st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(deadline=None)
def test_an_import_is_put_in_front_and_nothing_else_changes(
    prologue: list[str], body: list[str], newline: str, mark: bool
) -> None:
    text = "".join([*prologue, *body]).replace("\n", newline)
    source = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    try:
        old = ast.parse(source)
    except SyntaxError:
        assume(False)
    result = with_import(source, "p/__init__.py")
    assert result is not None
    new = ast.parse(result)
    [added] = [s for s in new.body if ast.unparse(s) == STATEMENT]
    position = new.body.index(added)
    rest = new.body[:position] + new.body[position + 1 :]
    assert [ast.dump(s) for s in rest] == [ast.dump(s) for s in old.body]
    assert ast.get_docstring(new) == ast.get_docstring(old)
    # In front of it there is nothing but docstring and __future__.
    for statement in new.body[:position]:
        assert isinstance(statement, ast.Expr) or (
            isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        )
    ending = newline if "\n" in text else "\n"
    # All bytes of the author are still there, in order; and again changes nothing.
    assert f"{STATEMENT}{ending}".encode() in result
    assert result.replace(f"{STATEMENT}{ending}".encode(), b"", 1).rstrip() == source.rstrip()
    assert with_import(result, "p/__init__.py") is None


@pytest.mark.parametrize(
    ("source", "first"),
    [
        (b"from . import _distributor_init\nimport numpy\n", True),
        (b"'''Doc.'''\nfrom __future__ import annotations\nfrom . import _distributor_init\n", True),
        (b"__version__ = '1'\nimport os, sys\nfrom . import _distributor_init\n", True),
        (b"from ._distributor_init import NUMPY_MKL  # noqa\n", True),
        (b"from . import _distributor_init as hook, _ext\n", True),
        (b"import numpy\nfrom . import _distributor_init\n", False),
        (b"from . import _ext, _distributor_init\n", False),
        (b"try:\n    from . import _distributor_init\nexcept ImportError:\n    pass\n", False),
        (b"if True:\n    from . import _distributor_init\n", False),
        (b"x = f()\nfrom . import _distributor_init\n", False),
        (b"import ctypes\nfrom . import _distributor_init\n", False),
        (b"", False),
    ],
)
def test_where_the_hook_is_imported_already(source: bytes, first: bool) -> None:
    assert (with_import(source, "p/__init__.py") is None) is first


@pytest.mark.parametrize(
    "source",
    [b"'''doc'''; import os\n", b"def f(:\n", b"from __future__ import annotations; x = 1\n", b"x = '\xff'\n", b"\0"],
)
def test_what_cannot_be_edited_safely_is_refused(source: bytes) -> None:
    with pytest.raises(PlanError) as caught:
        with_import(source, "p/__init__.py")
    assert [finding.code for finding in caught.value.findings] == [Code.HOOK_REFUSED]
    assert caught.value.findings[0].where == "p/__init__.py"


def test_latin_1_stays_latin_1() -> None:
    source = "# -*- coding: latin-1 -*-\n'''d\u00e9j\u00e0'''\nx = '\u00e9'\n".encode("latin-1")
    result = with_import(source, "p/__init__.py")
    assert result == source.replace(b"x = ", f"{STATEMENT}\nx = ".encode())


@given(st.binary(max_size=200))
def test_bytes_survive_as_text(source: bytes) -> None:
    assert encode(decode(source)) == source


BLOCK = f"{HOOK_BEGIN}\nold()\n{HOOK_END}\n"


@given(PROLOGUES, BODIES)
@settings(deadline=None)
def test_a_block_of_an_earlier_repair_is_what_gets_replaced(prologue: list[str], body: list[str]) -> None:
    before, after = "".join(prologue), "".join(body)
    splice = around_block(f"{before}{BLOCK}{after}".encode(), "p/_distributor_init.py")
    assert (splice.before, splice.after) == (before, after)


def test_a_block_goes_after_the_prologue() -> None:
    source = b"'''Doc.'''\r\nfrom __future__ import annotations\r\nimport os\r\n"
    splice = around_block(source, "p/_distributor_init.py")
    assert splice.after == "import os\r\n"
    assert splice.newline == "\r\n"


@pytest.mark.parametrize(
    ("member", "texts", "expected"),
    [
        ("p/_e.so", {"p/__init__.py": b""}, "p/__init__.py"),
        ("p/q/r/_e.so", {"p/__init__.py": b"", "p/q/__init__.py": b""}, "p/__init__.py"),
        ("ns/p/_e.so", {"ns/p/__init__.py": b""}, "ns/p/__init__.py"),
        ("ns/p/q/_e.so", {"ns/p/__init__.py": b"", "ns/p/q/__init__.py": b""}, "ns/p/__init__.py"),
        (
            "ns/p/_e.so",
            {
                "ns/__init__.py": b"__path__ = __import__('pkgutil').extend_path(__path__, __name__)",
                "ns/p/__init__.py": b"",
            },
            "ns/p/__init__.py",
        ),
        (
            "ns/p/_e.so",
            {"ns/__init__.py": b"__import__('pkg_resources').declare_namespace(__name__)", "ns/p/__init__.py": b""},
            "ns/p/__init__.py",
        ),
        ("_e.so", {"p/__init__.py": b""}, None),
        ("ns/_e.so", {"ns/p/__init__.py": b""}, None),
        ("x-1.data/platlib/p/_e.so", {"p/__init__.py": b""}, "p/__init__.py"),
        ("p/_e.so", {"x-1.data/purelib/p/__init__.py": b""}, "x-1.data/purelib/p/__init__.py"),
        ("x-1.data/data/p/_e.so", {"p/__init__.py": b""}, None),
    ],
)
def test_the_outermost_regular_package_is_hooked(member: str, texts: dict[str, bytes], expected: str | None) -> None:
    assert hooked_package(member, texts) == expected


# JSON

texts = st.text(max_size=8)
edits = st.builds(
    ElfEdit,
    soname=st.none() | texts,
    replace_needed=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    remove_needed=st.lists(texts, max_size=2).map(tuple),
    run_path=st.none() | st.lists(texts, max_size=2).map(tuple),
    run_path_tag=st.sampled_from(["rpath", "runpath"]),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=5,
)
modes = st.sampled_from([0o644, 0o755])
documents = st.dictionaries(texts, json_values, max_size=2)
members = st.text(min_size=1, max_size=8)


def _actions(name: str) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(Patch, member=st.just(name), edit=edits, renamed_from=st.none() | texts, strip=st.booleans()),
        st.builds(
            Generate,
            member=st.just(name),
            template=texts,
            values=documents,
            before=texts,
            after=texts,
            newline=st.sampled_from(["\n", "\r\n"]),
            mode=modes,
        ),
        st.builds(Write, member=st.just(name), text=texts | st.just("\udcff"), mode=modes),
        st.builds(
            Graft,
            member=st.just(name),
            source=texts.map("/".__add__),
            sha256=digests,
            edit=st.none() | edits,
            strip=st.booleans(),
            mode=modes,
        ),
        st.builds(
            Assemble,
            member=st.just(name),
            machine=st.builds(Machine, st.integers(0, 300), st.sampled_from([32, 64]), st.booleans()),
            soname=texts,
            needed=st.lists(texts, max_size=2).map(tuple),
            run_path=st.lists(texts, max_size=2).map(tuple),
            mode=modes,
        ),
        st.builds(Describe, member=st.just(name), document=documents, mode=modes),
        st.builds(Drop, member=st.just(name)),
    )


text_lists = st.lists(texts, max_size=2).map(tuple)
findings = st.builds(
    Finding,
    code=st.sampled_from(list(Code)),
    severity=st.sampled_from(list(Severity)),
    where=texts,
    message=members,
    remedy=texts,
    symbols=text_lists,
)
plans = st.builds(
    Plan,
    source=st.none() | st.just("/w.whl"),
    source_sha256=st.none() | digests,
    output=st.just("w.whl"),
    dist_info=st.just("w.dist-info"),
    actions=st.lists(members, unique=True, max_size=4).flatmap(lambda n: st.tuples(*map(_actions, n))),
    summary=st.builds(
        Summary,
        tags=text_lists,
        requires=text_lists,
        provided=st.lists(st.builds(Provided, soname=texts, provider=texts, written=texts), max_size=2).map(tuple),
        grafted=st.lists(st.builds(Grafted, soname=texts, path=texts, source=texts), max_size=2).map(tuple),
        removed=text_lists,
        hooks=text_lists,
    ),
    findings=st.lists(findings, max_size=2).map(tuple),
    level=st.integers(0, 9),
)


@given(plans)
@settings(deadline=None)
def test_a_plan_survives_as_json(plan: Plan) -> None:
    text = json.dumps(plan_to_json(plan))
    assert plan_from_json(json.loads(text)) == plan


def _reads(document: dict[str, Any]) -> list[Code] | Plan:
    try:
        return plan_from_json(document)
    except PlanError as problem:
        return [finding.code for finding in problem.findings]


@given(plans, st.data())
@settings(deadline=None)
def test_what_is_no_plan_is_a_finding(plan: Plan, data: st.DataObject) -> None:
    document = json.loads(json.dumps(plan_to_json(plan)))
    places: list[Any] = [document, document["summary"], *document["actions"], *document["findings"]]
    where = data.draw(st.sampled_from(places))
    key = data.draw(st.sampled_from(sorted(where)))
    value = where.pop(key)
    found = _reads(document)  # what has a default may be left out
    assert found == [Code.BAD_SPEC] or isinstance(found, Plan)
    where[key] = value
    where[f"{key}_more"] = 1
    assert _reads(document) == [Code.BAD_SPEC]


@pytest.mark.parametrize("document", [{}, {"schema": 2}, {"schema": 1}, {"schema": 1, "actions": 5}, {"schema": "1"}])
def test_another_schema_is_a_finding(document: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        plan_from_json(document)


def test_a_member_has_at_most_one_action() -> None:
    with pytest.raises(ValueError, match="more than one action for a"):
        Plan(
            source=None,
            source_sha256=None,
            output="w.whl",
            dist_info="w.dist-info",
            actions=(Drop(member="a"), Write(member="a", text="")),
        )
