"""What belongs to a release, and whether its files say the same: decisions, from values."""

from __future__ import annotations

from typing import Any

import pytest
from packaging.markers import Marker

from nativelib.errors import PlanError
from nativelib.facts.metadata import parse_metadata
from nativelib.facts.release import DistFile, ProviderWheel
from nativelib.facts.wheel import WheelName
from nativelib.findings import Code, Severity
from nativelib.plan.markers import implies, may_hold, meanings, narrowed
from nativelib.plan.release import (
    canonical_texts,
    local_findings,
    other_findings,
    releases,
    requirement_findings,
    sdist_findings,
)
from nativelib.plan.release_providers import check_named, provider_findings
from nativelib.plan.release_tools import behaviours

LINUX = 'sys_platform == "linux"'
X86, ARM, MUSL = "manylinux_2_17_x86_64", "manylinux_2_28_aarch64", "musllinux_1_2_x86_64"
MAC, WIN = "macosx_11_0_arm64", "win_amd64"
BLAS = f"blas-lib<2,>=1; {LINUX}"


def dist(
    platform: str | None, *requires: str, version: str = "1.0", python: str = "cp311-cp311", more: str = ""
) -> DistFile:
    """Return a wheel for *platform*, or a source distribution, that has *requires* and the header lines *more*."""
    lines = "".join(f"Requires-Dist: {value}\n" for value in requires)
    kind = "2.2" if platform is None else "2.1"
    text = f"Metadata-Version: {kind}\nName: numx\nVersion: {version}\n{lines}{more}"
    name = f"numx-{version}-{python}-{platform}.whl" if platform else f"numx-{version}.tar.gz"
    wheel = WheelName.parse(name) if platform else None
    return DistFile(path=f"/dist/{name}", metadata=parse_metadata(text), wheel=wheel)


def only(files: list[DistFile]) -> Any:
    [release] = releases(files)
    return release


def provider(name: str, *, counts: bool = True) -> ProviderWheel:
    return ProviderWheel(path=f"/links/{name}", wheel=WheelName.parse(name), counts=counts)


# What belongs together


def test_files_are_ordered_by_name_and_the_sdist_stands_apart() -> None:
    release = only([dist(WIN), dist(None), dist(MAC)])
    assert [wheel.label for wheel in release.wheels] == ["cp311-cp311-macosx_11_0_arm64", "cp311-cp311-win_amd64"]
    assert release.sdist is not None
    assert release.label == "numx 1.0"
    assert local_findings([release]) == []


def test_other_versions_and_distributions_are_strangers() -> None:
    other = DistFile(
        path="/dist/numy-1.0-py3-none-any.whl",
        metadata=parse_metadata("Metadata-Version: 2.1\nName: numy\nVersion: 1.0\n"),
        wheel=WheelName.parse("numy-1.0-py3-none-any.whl"),
    )
    with pytest.raises(PlanError) as caught:
        releases([dist(X86), dist(MAC, version="1.1"), other])
    found = caught.value.findings
    assert [finding.code for finding in found] == [Code.NOT_ONE_RELEASE] * 2
    assert "numx 1.1" in found[0].message
    assert "numx 1.0" in found[0].message
    assert "numy 1.0" in found[1].message


@pytest.mark.parametrize(
    "files",
    [
        [dist(None)],
        [dist(X86), dist(None), DistFile(path="/other/numx-1.0.zip", metadata=dist(None).metadata)],
        [dist(X86), DistFile(path="/other/" + dist(X86).filename, metadata=dist(X86).metadata, wheel=dist(X86).wheel)],
        [dist(X86, version="1.0+cpu"), dist(X86, version="1.0+cu118")],
        [dist(X86, version="1.0"), dist(X86, version="1.0+cpu")],
    ],
    ids=["no wheel", "two sdists", "one name twice", "two flavours", "a flavour"],
)
def test_what_is_no_release(files: list[DistFile]) -> None:
    with pytest.raises(PlanError) as caught:
        releases(files)
    assert {finding.code for finding in caught.value.findings} == {Code.NOT_ONE_RELEASE}


def test_local_versions_of_unvendored_wheels_are_versions_of_their_own() -> None:
    files = [dist(MAC), dist(X86, BLAS, version="1.0+nl.0a1b2c3d"), dist(ARM, BLAS, version="1.0+nl.9a1b2c3d")]
    found = releases(files)
    assert [release.version for release in found] == ["1.0", "1.0+nl.0a1b2c3d", "1.0+nl.9a1b2c3d"]
    assert not [finding for release in found for finding in requirement_findings(release)]
    [finding] = local_findings(found)
    assert (finding.code, finding.severity) == (Code.LOCAL_VERSIONS, Severity.WARNING)
    assert "1.0+nl.9a1b2c3d" in finding.message


def test_a_local_version_of_the_project_is_part_of_the_release() -> None:
    found = releases([dist(X86, version="1.0+cpu"), dist(ARM, version="1.0+cpu.nl.9a1b2c3d")])
    assert [release.version for release in found] == ["1.0+cpu", "1.0+cpu.nl.9a1b2c3d"]


def test_a_sdist_beside_wheels_of_another_local_version_promises_these_nothing() -> None:
    first, second = releases([dist(None, "a"), dist(X86, BLAS, version="1.0+nl.9a1b2c3d")])
    assert (first.wheels, second.sdist) == ((), None)
    assert not sdist_findings(first)
    assert not sdist_findings(first, frozenset())
    assert behaviours(first) == ()


# Equal requirements


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("NumPy >=1.0", "numpy>=1"),
        ("foo (>=1,<2)", "Foo<2,>=1"),
        ("foo[b,a]", "foo[A, B]"),
        (f"foo; {LINUX}", "foo; 'linux' == sys_platform"),
        (f"foo; {LINUX}", 'foo ; (platform_system == "Linux")'),
        ('foo; python_version >= "3.9" and os_name == "nt"', "foo; os_name=='nt' and python_version>'3.8'"),
        ('foo; extra == "Test_All"', "foo; extra == 'test-all'"),
        ('foo; platform_machine in "x86_64 AMD64"', 'foo; platform_machine=="AMD64" or platform_machine=="x86_64"'),
    ],
)
def test_equal_requirements_share_a_text(one: str, other: str) -> None:
    texts = canonical_texts([one, other])
    assert texts[one] == texts[other]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("foo>=1", "foo>1"),
        ("foo", "foo[a]"),
        ("foo", f"foo; {LINUX}"),
        (f"foo; {LINUX}", f'foo; {LINUX} or sys_platform == "android"'),
        ('foo; python_version > "3.9"', 'foo; python_version >= "3.9"'),
        ("foo @ https://example.org/a.whl", "foo"),
        ('foo; platform_release >= "5.4"', 'foo; platform_release >= "5.5"'),
        ("not a requirement!", "foo"),
    ],
)
def test_other_requirements_have_other_texts(one: str, other: str) -> None:
    texts = canonical_texts([one, other])
    assert texts[one] != texts[other]


def same(one: Marker, other: Marker) -> bool:
    first, second = meanings((one, other))
    return first == second


def test_markers_are_compared_by_what_they_say() -> None:
    linux, wider = Marker(LINUX), Marker(f'{LINUX} or sys_platform == "android"')
    assert implies(linux, wider)
    assert not implies(wider, linux)
    assert implies(linux, None)
    assert not implies(None, linux)
    assert same(narrowed(None, {"linux"}), linux)
    assert same(narrowed(wider, {"linux"}), linux)
    assert may_hold(linux, {"platform_machine": "aarch64"})
    assert not may_hold(Marker(f'{LINUX} and platform_machine == "x86_64"'), {"platform_machine": "aarch64"})
    assert may_hold(Marker('python_full_version >= "3.11.4"'), {"python_version": "3.11"})
    assert not may_hold(Marker('python_full_version >= "3.12.1"'), {"python_version": "3.11"})


def test_a_marker_with_too_many_cases_is_compared_as_text() -> None:
    names = ("platform_machine", "platform_version", "platform_release", "extra", "implementation_version")
    text = " and ".join(f'{name} != "{value}"' for name in names for value in ("1.1", "2.2", "3.3", "4.4"))
    marker = Marker(text)
    assert same(marker, Marker(text))
    assert not same(marker, Marker(LINUX))
    assert may_hold(marker, {})


def test_hostile_requirements_cost_no_more_than_their_text() -> None:
    deep = f"foo; {'(' * 100_000}os_name == 'nt'{')' * 100_000}"
    long = "foo; " + " and ".join(["os_name != 'a'"] * 20_000)
    many = [f'foo; python_version > "{n % 40}.{n}" and platform_machine != "{n}"' for n in range(300)]
    assert canonical_texts([deep, long, *many])[deep] == deep


# What differs


def test_equal_files_are_silent() -> None:
    files = [dist(X86, BLAS, "a"), dist(MAC, "a", f"Blas.Lib >=1, <2 ; {LINUX}"), dist(None, "a", BLAS)]
    release = only(files)
    assert not [*requirement_findings(release), *other_findings(release), *sdist_findings(release)]
    assert {b.tool for b in behaviours(release)} == {"pip", "uv lock", "poetry lock", "PyPI"}
    assert "whichever" in behaviours(release)[1].text


def test_a_requirement_that_only_some_have_is_an_error_with_a_marker_too() -> None:
    [finding] = requirement_findings(only([dist(X86, BLAS), dist(MUSL, BLAS), dist(MAC)]))
    assert (finding.code, finding.severity) == (Code.RELEASE_DIFFERS, Severity.ERROR)
    assert f"{BLAS!r} is in 2 wheels" in finding.message
    assert "not in 1 wheel (cp311-cp311-macosx_11_0_arm64)" in finding.message


def test_other_fields_that_differ() -> None:
    pythons = only([dist(X86, more="Requires-Python: >=3.9\n"), dist(MAC, more="Requires-Python: >= 3.10\n")])
    [finding] = other_findings(pythons)
    assert "'>=3.10'" in finding.message
    extras = only([dist(X86, more="Provides-Extra: test\n"), dist(MAC)])
    assert "extra 'test'" in other_findings(extras)[0].message
    alike = [dist(X86, more="Provides-Extra: A_b\n"), dist(MAC, more="Provides-Extra: a-b\n")]
    assert other_findings(only(alike)) == []
    newer = DistFile(
        path="/dist/numx-1.0-cp311-cp311-win_amd64.whl",
        metadata=parse_metadata("Metadata-Version: 2.4\nName: numx\nVersion: 1.0\n"),
        wheel=dist(WIN).wheel,
    )
    [finding] = other_findings(only([dist(X86), newer]))
    assert finding.severity is Severity.NOTE


def test_what_the_sdist_promises() -> None:
    wheels = [dist(X86, BLAS, more="Requires-Python: >=3.9\n"), dist(MAC, BLAS, more="Requires-Python: >=3.9\n")]
    found = sdist_findings(only([*wheels, dist(None)]))
    assert [finding.code for finding in found] == [Code.SDIST_DIFFERS] * 2
    assert {finding.severity for finding in found} == {Severity.ERROR}
    assert [finding.message.split()[4] for finding in found] == ["Requires-Dist", "Requires-Python"]
    dynamic = "Dynamic: requires-dist\nDynamic: Requires-Python\n"
    assert sdist_findings(only([*wheels, dist(None, more=dynamic)])) == []
    for version in ("2.1", "1.0", "two"):
        old = parse_metadata(f"Metadata-Version: {version}\nName: numx\nVersion: 1.0\n")
        assert sdist_findings(only([*wheels, DistFile(path="/dist/numx-1.0.tar.gz", metadata=old)])) == []
    less = only([dist(X86), dist(None, "a")])
    assert "not all wheels have its 'a'" in sdist_findings(less)[0].message
    [planned] = sdist_findings(only([dist(X86), dist(None)]), frozenset({BLAS}))
    assert planned.severity is Severity.WARNING


def test_what_tools_make_of_it() -> None:
    said = {b.tool: b.text for b in behaviours(only([dist(X86, BLAS), dist(MAC, "a"), dist(WIN, "a", BLAS)]))}
    assert "Here it is cp311-cp311-macosx_11_0_arm64: 'a'." in said["uv lock"]
    assert f"{BLAS!r} is lost, and 2 wheels" in said["uv lock"]
    assert "'a' comes with 2 wheels (cp311-cp311-macosx_11_0_arm64, cp311-cp311-win_amd64)" in said["pip"]
    said = {b.tool: b.text for b in behaviours(only([dist(ARM, "a"), dist(WIN)]))}
    assert "lost" not in said["uv lock"]
    extra = 'b; extra == "test"'
    said = {b.tool: b.text for b in behaviours(only([dist(X86, "a", extra)]))}
    assert "installs 'a' with every wheel" in said["pip"]
    said = {b.tool: b.text for b in behaviours(only([dist(X86, "a"), dist(None)]))}
    assert "upload a wheel before the sdist" in said["PyPI"]


# Providers

_NAME = "blas_lib-1.5-py3-none-{}.whl"


def test_every_linux_wheel_needs_a_provider_wheel_for_its_machine() -> None:
    release = only([dist(platform, BLAS) for platform in (X86, ARM, MUSL, MAC, WIN)])
    there = [provider(_NAME.format(X86)), provider(_NAME.format("manylinux_2_17_aarch64"))]
    [finding] = provider_findings(release, [BLAS], [], there)
    assert (finding.code, finding.severity) == (Code.NO_PROVIDER_WHEEL, Severity.ERROR)
    assert finding.where.endswith(f"{MUSL}.whl")
    assert "x86_64 with musl" in finding.message
    assert provider_findings(release, [BLAS], [], [*there, provider(_NAME.format("musllinux_1_1_x86_64"))]) == []


@pytest.mark.parametrize(
    ("name", "own", "python", "fits"),
    [
        ("blas_lib-1.5-py3-none-any.whl", X86, "cp311-cp311", True),
        ("blas_lib-0.9-py3-none-any.whl", X86, "cp311-cp311", False),
        ("blas_lib-2.0-py3-none-any.whl", X86, "cp311-cp311", False),
        (f"blas_lib-1.5-cp311-cp311-{X86}.whl", X86, "cp311-cp311", True),
        (f"blas_lib-1.5-cp310-cp310-{X86}.whl", X86, "cp311-cp311", False),
        (f"blas_lib-1.5-cp39-abi3-{X86}.whl", X86, "cp311-cp311", True),
        (f"blas_lib-1.5-cp312-abi3-{X86}.whl", X86, "cp311-cp311", False),
        ("blas_lib-1.5-py3-none-linux_x86_64.whl", MUSL, "cp311-cp311", True),
        ("blas_lib-1.5-py3-none-manylinux2014_x86_64.whl", X86, "cp39-abi3", True),
        (f"blas_lib-1.5-py2.py3-none-{MUSL}.whl", X86, "cp311-cp311", False),
        (f"blas_lib-1.5-py3-none-{WIN}.whl", X86, "cp311-cp311", False),
    ],
)
def test_which_provider_wheels_count(name: str, own: str, python: str, fits: bool) -> None:
    found = provider_findings(only([dist(own, BLAS, python=python)]), [BLAS], [], [provider(name)])
    assert [finding.code for finding in found] == ([] if fits else [Code.NO_PROVIDER_WHEEL])


def test_a_provider_for_newer_systems_only_is_a_warning() -> None:
    release = only([dist(X86, BLAS)])
    [finding] = provider_findings(release, [BLAS], [], [provider(_NAME.format("manylinux_2_28_x86_64"))])
    assert (finding.code, finding.severity) == (Code.PROVIDER_NEWER_TAG, Severity.WARNING)


def test_which_requirements_are_looked_at() -> None:
    release = only([dist(X86, BLAS, 'gone-lib; sys_platform == "win32"')])
    [unchecked] = provider_findings(release, [BLAS], [BLAS], [])
    assert (unchecked.code, unchecked.severity) == (Code.NO_PROVIDER_WHEEL, Severity.NOTE)
    assert provider_findings(release, [BLAS], [], []) == []
    arm = provider(_NAME.format(ARM), counts=False)
    assert provider_findings(release, [BLAS], [], [arm]) == []
    assert len(provider_findings(release, [BLAS], [BLAS], [arm])) == 1
    elsewhere = provider(f"gone_lib-1-py3-none-{ARM}.whl")
    assert provider_findings(release, ['gone-lib; sys_platform == "win32"'], [], [elsewhere]) == []


def test_a_provider_that_nothing_requires_is_an_error() -> None:
    with pytest.raises(PlanError) as caught:
        check_named([provider(_NAME.format(X86))], {"numpy"})
    assert [finding.code for finding in caught.value.findings] == [Code.UNUSED_PROVIDER]
    check_named([provider(_NAME.format(X86))], {"blas-lib"})
