"""The spec: ``[project]`` and ``[tool.nativelib]``, and the metadata that follow from them."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.metadata import Metadata

from nativelib.errors import ReadError, SpecError
from nativelib.facts.core_metadata import core_metadata
from nativelib.facts.spec import HeaderRule, Project, SonameRule, Spec, parse_spec, with_version
from nativelib.findings import Code
from nativelib.read.spec import read_spec

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = '[project]\nname = "foo-lib"\nversion = "1.2"\n'
TOOL = '[tool.nativelib]\nlibraries = ["lib/libfoo.so.1"]\n'


def parse(text: str) -> tuple[Project, Spec]:
    return parse_spec(tomllib.loads(text), where="pyproject.toml")


def tool(extra: str) -> Spec:
    return parse(PROJECT + TOOL + extra)[1]


def project(extra: str) -> Project:
    return parse(PROJECT + extra + "\n" + TOOL)[0]


def wrong(text: str) -> dict[str, str]:
    """Return message and remedy of each finding by dotted key."""
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert {finding.code for finding in caught.value.findings} == {Code.BAD_SPEC}
    return {finding.where: f"{finding.message} {finding.remedy}" for finding in caught.value.findings}


def test_a_small_spec_gets_defaults() -> None:
    spec = tool("")
    assert spec == Spec(
        import_name="foo_lib",
        libraries=("lib/libfoo.so.1",),
        pkg_config_names=("foo-lib",),
        cmake_name="foo-lib",
    )
    assert spec.soname is SonameRule.UNIQUE


def test_every_key_of_the_spec() -> None:
    spec = tool(
        """
        import-name = "foo"
        pkg-config = "foo-2.0"
        headers = ["include/*.h", { glob = "include/sub/**/*.h", to = "sub" }, { glob = "inc/*", to = "." }]
        programs = ["bin/foo"]
        licenses = ["share/doc/foo/copyright"]
        singleton = true
        alias = ["libfoo-old.so.1"]
        provided-by = ["openmp-lib >=1", "wheels/bar_lib-1-py3-none-any.whl"]
        compatible = ">={version},<2"
        pkg-config-names = ["foo"]
        cmake-name = "Foo"
        static = true
        [tool.nativelib.abi]
        blas-int = "64"
        flavour = "plain"
        """
    )
    assert spec == Spec(
        import_name="foo",
        pkg_config="foo-2.0",
        libraries=("lib/libfoo.so.1",),
        headers=(
            HeaderRule(glob="include/*.h"),
            HeaderRule(glob="include/sub/**/*.h", to="sub"),
            HeaderRule(glob="inc/*"),
        ),
        programs=("bin/foo",),
        licenses=("share/doc/foo/copyright",),
        soname=SonameRule.KEEP,
        singleton=True,
        aliases=("libfoo-old.so.1",),
        provided_by=("openmp-lib>=1", "wheels/bar_lib-1-py3-none-any.whl"),
        compatible=">={version},<2",
        pkg_config_names=("foo",),
        cmake_name="Foo",
        static=True,
        abi={"blas-int": "64", "flavour": "plain"},
    )
    assert spec.provided_by_names == ("openmp-lib>=1",)


@pytest.mark.parametrize(
    ("line", "where", "said"),
    [
        ('library = ["x"]', "library", "Did you mean libraries?"),
        ('import_name = "x"', "import_name", "Did you mean import-name?"),
        ('zzz = "x"', "zzz", "Known keys: abi"),
        ('import-name = "a.b"', "import-name", "not a single ASCII identifier"),
        ('import-name = "class"', "import-name", "keyword"),
        ('import-name = "é"', "import-name", "ASCII"),
        ("import-name = 1", "import-name", 'Write "1"'),
        ('headers = "include/*.h"', "headers", 'Write ["include/*.h"]'),
        ('headers = ["/usr/include/*.h"]', "headers[0]", "relative"),
        ('headers = ["a.h", "../x.h"]', "headers[1]", "'..'"),
        ('headers = ["include/"]', "headers[0]", "include/*"),
        ('headers = ["include/**.h"]', "headers[0]", "stand alone"),
        ('headers = [{ to = "x" }]', "headers[0].glob", "needs a glob"),
        ('headers = [{ glob = "x", place = "y" }]', "headers[0].place", "Known keys: glob, to"),
        ('headers = [{ glob = "x", to = "../y" }]', "headers[0].to", "'..'"),
        ("headers = [3]", "headers[0]", "a string, not a number"),
        ('soname = "uniqe"', "soname", "'unique', 'keep'"),
        ('soname = "lib/libx.so"', "soname", "a soname such as 'libfoo.so.1'"),
        ('soname = "unique"\nsingleton = true', "soname", "contradicts"),
        ('singleton = "yes"', "singleton", "true or false, not a string"),
        ('alias = ["lib/libx.so"]', "alias[0]", "not a path"),
        ('provided-by = ["openmp-lib", "openmp lib"]', "provided-by[1]", "neither a distribution nor a wheel file"),
        ("provided-by = [\"a; python_version < '3'\"]", "provided-by[0]", "nothing else"),
        ('compatible = "1.2"', "compatible", "not a version specifier"),
        ('compatible = ">={version"', "compatible", "not a version specifier"),
        ('compatible = ">=2"', "compatible", "excludes the project's own version 1.2"),
        ('pkg-config-names = ["a/b"]', "pkg-config-names[0]", "must begin with"),
        ('pkg-config = "--exists"', "pkg-config", "must begin with"),
        ('build-script = "/build.sh"', "build-script", "relative"),
        ('abi = { blas-int = "16" }', "abi.blas-int", "'32', '64'"),
        ("abi = { blas-int = 64 }", "abi.blas-int", 'Write "64"'),
        ('abi = "x"', "abi", "a table, not a string"),
        ('prefix = "/usr"\npkg-config = "foo"', "", "prefix and pkg-config exclude each other"),
    ],
)
def test_a_wrong_spec(line: str, where: str, said: str) -> None:
    found = wrong(PROJECT + TOOL + line)
    key = f"tool.nativelib.{where}".rstrip(".")
    assert list(found) == [key]
    assert said in found[key]


@pytest.mark.parametrize(
    ("lines", "where", "said"),
    [
        ('name = "x"', "project.version", "needs a version"),
        ('version = "1"', "project.name", "needs a name"),
        ('name = "-x"\nversion = "1"', "project.name", "not a distribution name"),
        ('name = "x"\nversion = "one"', "project.version", "not a version"),
        ('name = "x"\ndynamic = ["version"]', "project.dynamic", "Only a build script"),
        ('name = "x"\nversion = "1"\ndynamic = ["version"]', "project.version", "dynamic too"),
        ('name = "x"\nversion = "1"\ndynamic = ["readme"]', "project.dynamic[0]", "only the version can"),
        ('name = "x"\nversion = "1"\nscripts = {a = "b:c"}', "project.scripts", "tool.nativelib.programs"),
        ('name = "x"\nversion = "1"\nlicense = "MIT OR Own"', "project.license", "Own"),
        ('name = "x"\nversion = "1"\nlicense = {}', "project.license", "either file or text"),
        ('name = "x"\nversion = "1"\nlicense = {file = "L"}\nlicense-files = []', "project.license", "PEP 639"),
        (
            'name = "x"\nversion = "1"\nlicense = "MIT"\nclassifiers = ["License :: OSI Approved"]',
            "project.classifiers",
            "PEP 639",
        ),
        ('name = "x"\nversion = "1"\nreadme = "README"', "project.readme", "suffix"),
        ('name = "x"\nversion = "1"\nreadme = {text = "x"}', "project.readme.content-type", "content-type"),
        ('name = "x"\nversion = "1"\ndescription = "a\\nb"', "project.description", "single line"),
        ('name = "x"\nversion = "1"\nauthors = [{email = "nobody"}]', "project.authors[0].email", "email"),
        ('name = "x"\nversion = "1"\nauthors = ["me"]', "project.authors[0]", "table"),
        ('name = "x"\nversion = "1"\ndependencies = ["a", "=b"]', "project.dependencies[1]", "PEP 508"),
        ('name = "x"\nversion = "1"\nrequires-python = "3"', "project.requires-python", "PEP 440"),
        ('name = "x"\nversion = "1"\nurls = {a = "b\\nc"}', "project.urls.a", "single line"),
        ('name = "x"\nversion = "1"\nlicence = "MIT"', "project.licence", "Did you mean license?"),
    ],
)
def test_a_wrong_project(lines: str, where: str, said: str) -> None:
    found = wrong(f"[project]\n{lines}\n{TOOL}import-name = 'x'\n")
    assert list(found) == [where]
    assert said in found[where]


def test_all_errors_at_once() -> None:
    found = wrong('[project]\nversion = 3\n[tool.nativelib]\nlibraries = ["/a", "b"]\nheders = []\nstatic = 1\n')
    assert set(found) == {
        "project.name",
        "project.version",
        "tool.nativelib.libraries[0]",
        "tool.nativelib.heders",
        "tool.nativelib.static",
    }


def test_absent_tables() -> None:
    assert set(wrong("")) == {"project", "tool.nativelib"}
    assert set(wrong("project = 1\n[tool]\nnativelib = []")) == {"project", "tool.nativelib"}
    assert set(wrong(PROJECT)) == {"tool.nativelib"}
    assert set(wrong(PROJECT + "[tool.nativelib]\nlibraries = []")) == {"tool.nativelib.libraries"}


def test_an_import_name_that_does_not_follow_is_asked_for() -> None:
    text = PROJECT.replace("foo-lib", "7zip-lib") + TOOL
    assert set(wrong(text)) == {"tool.nativelib.import-name"}
    assert parse(text + 'import-name = "zip7"')[1].import_name == "zip7"


_TOML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_SPEC_KEYS = ["libraries", "headers", "soname", "abi", "provided-by", "compatible", "import-name", "static", "prefix"]
_PROJECT_KEYS = [
    "name",
    "version",
    "license",
    "readme",
    "authors",
    "urls",
    "optional-dependencies",
    "dynamic",
    "keywords",
]


@given(
    st.dictionaries(st.sampled_from(_PROJECT_KEYS) | st.text(max_size=3), _TOML, max_size=5),
    st.dictionaries(st.sampled_from(_SPEC_KEYS) | st.text(max_size=3), _TOML, max_size=5),
)
def test_no_document_is_a_surprise(project_table: dict[str, object], spec_table: dict[str, object]) -> None:
    document = {
        "project": {"name": "x", "version": "1", **project_table},
        "tool": {"nativelib": {"libraries": ["a"], **spec_table}},
    }
    try:
        found, _ = parse_spec(document, where="pyproject.toml")
    except SpecError as problem:
        findings = problem.findings
    else:
        text = core_metadata(found, found.version or "1", [], [])
        assert Metadata.from_email(text, validate=True).name == found.name
        return
    assert findings
    assert all(finding.where for finding in findings)


def test_a_dynamic_version() -> None:
    text = '[project]\nname = "foo"\ndynamic = ["version"]\n' + TOOL + 'build-script = "b.sh"\ncompatible = "<2"\n'
    found, spec = parse(text)
    assert found.version is None
    assert with_version(found, spec, "1.0-1").version == "1.0.post1"
    for version, said in [(None, "said none"), ("new", "not a version"), ("3", "excludes")]:
        with pytest.raises(SpecError, match=said):
            with_version(found, spec, version)


def test_metadata_of_a_full_project() -> None:
    found = project(
        """
        description = "Foo, for others"
        requires-python = ">=3.8"
        license = "mit or apache-2.0"
        authors = [{ name = "A. Müller", email = "a@example.org" }, { name = "Only Name" }, { email = "b@example.org" }]
        maintainers = [{ name = "C" }]
        keywords = ["blas", "linear algebra"]
        classifiers = ["Programming Language :: C"]
        dependencies = ["bar >= 1; os_name=='posix'"]
        readme = { text = "# Über foo\\r\\n\\nText: not a header\\n", content-type = "text/markdown" }
        [project.urls]
        Home = "https://example.org"
        [project.optional-dependencies]
        Some_Extra = ["x; os_name=='posix' or os_name=='nt'", "y"]
        """
    )
    text = core_metadata(found, "1.2", ["LICENSE", "libfoo/copyright"], ['openmp-lib>=1; sys_platform == "linux"'])
    metadata = Metadata.from_email(text.encode(), validate=True)
    assert (metadata.metadata_version, metadata.name, str(metadata.version)) == ("2.4", "foo-lib", "1.2")
    assert metadata.summary == "Foo, for others"
    assert metadata.license_expression == "MIT OR Apache-2.0"
    assert metadata.license_files == ["LICENSE", "libfoo/copyright"]
    assert metadata.author == "Only Name"
    assert metadata.author_email == '"A. Müller" <a@example.org>, b@example.org'
    assert metadata.maintainer == "C"
    assert metadata.keywords == ["blas", "linear algebra"]
    assert metadata.classifiers == ["Programming Language :: C"]
    assert metadata.project_urls == {"Home": "https://example.org"}
    assert str(metadata.requires_python) == ">=3.8"
    assert metadata.provides_extra == ["some-extra"]
    assert [str(requirement) for requirement in metadata.requires_dist or []] == [
        'bar>=1; os_name == "posix"',
        'openmp-lib>=1; sys_platform == "linux"',
        'x; (os_name == "posix" or os_name == "nt") and extra == "some-extra"',
        'y; extra == "some-extra"',
    ]
    assert metadata.description_content_type == "text/markdown"
    assert metadata.description == "# Über foo\n\nText: not a header\n"


def test_metadata_of_a_license_text() -> None:
    found = project('license = { text = "Line one\\n\\nName: forged" }')
    text = core_metadata(found, "1.2", [], [], dynamic=["Requires-Dist"])
    metadata = Metadata.from_email(text, validate=True)
    assert metadata.name == "foo-lib"
    assert metadata.dynamic == ["requires-dist"]
    assert [line.strip() for line in (metadata.license or "").splitlines()] == ["Line one", "", "Name: forged"]


def write(directory: Path, text: str, **files: str) -> Path:
    (directory / "pyproject.toml").write_text(text, encoding="utf-8")
    for name, content in files.items():
        (directory / name).write_text(content, encoding="utf-8")
    return directory


def test_read_spec_reads_the_files_that_it_names(tmp_path: Path) -> None:
    text = PROJECT + 'readme = "README.md"\nlicense-files = ["LICEN?E*", "third/**/COPYING"]\n' + TOOL
    write(tmp_path, text, **{"README.md": "# Hé", "LICENSE": "x", "LICENCE.txt": "y"})
    deep = tmp_path / "third" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "COPYING").write_text("z")
    found, spec, path = read_spec(tmp_path)
    assert path == tmp_path / "pyproject.toml"
    assert spec.import_name == "foo_lib"
    assert found.readme is not None
    assert (found.readme.text, found.readme.content_type) == ("# Hé", "text/markdown")
    assert found.license_files == ("LICENCE.txt", "LICENSE", "third/a/b/COPYING")


def test_a_licence_may_be_a_link_to_that_of_the_repository(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("x")
    inner = tmp_path / "inner"
    inner.mkdir()
    write(inner, PROJECT + 'license-files = ["LICENSE"]\n' + TOOL)
    (inner / "LICENSE").symlink_to("../LICENSE")
    assert read_spec(inner)[0].license_files == ("LICENSE",)


def test_license_file_of_the_table_form(tmp_path: Path) -> None:
    write(tmp_path, PROJECT + 'license = { file = "L[1].txt" }\n' + TOOL, **{"L[1].txt": "x", "L1.txt": "y"})
    assert read_spec(tmp_path)[0].license_files == ("L[1].txt",)


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        (PROJECT + 'readme = "README.md"\n' + TOOL, "project.readme", "cannot be read"),
        (PROJECT + 'license-files = ["LICENSE", "COPYIN"]\n' + TOOL, "project.license-files[1]", "COPYING"),
        (PROJECT + TOOL + 'build-script = "b.sh"', "tool.nativelib.build-script", "does not exist"),
        (PROJECT + TOOL + 'import-name = "ctypes"', "tool.nativelib.import-name", "standard library"),
    ],
)
def test_files_that_are_not_there(tmp_path: Path, text: str, where: str, said: str) -> None:
    write(tmp_path, text, LICENSE="x", COPYING="y")
    with pytest.raises(SpecError) as caught:
        read_spec(tmp_path)
    (finding,) = caught.value.findings
    assert finding.where == where
    assert said in finding.message + finding.remedy


def test_no_file_and_no_toml(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="does not exist"):
        read_spec(tmp_path)
    write(tmp_path, "[project]\nname = \n")
    with pytest.raises(SpecError, match="at line 2"):
        read_spec(tmp_path)
    (tmp_path / "pyproject.toml").write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(SpecError, match="line 2"):
        read_spec(tmp_path)
    (tmp_path / "pyproject.toml").write_bytes(b"a = " + b"[" * 100_000)
    with pytest.raises(SpecError, match="nested"):
        read_spec(tmp_path)
