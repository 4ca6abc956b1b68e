"""``nativelib show --graph``: the files that it writes for real wheels."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from nativelib.cli.graph_text import text_width
from nativelib.findings import Code
from tests.support.cc import program
from tests.support.counting import consumer_wheel, count_library, library_wheel, plain_extension
from tests.support.downloads import pypi_wheel
from tests.support.projects import nativelib
from tests.support.wheels import make_wheel
from tests.test_json import check

_SVG = "{http://www.w3.org/2000/svg}"
_DOCS = Path(__file__).resolve().parent.parent / "docs"


class Picture:
    """What an SVG picture shows."""

    def __init__(self, path: Path) -> None:
        self.root = ET.fromstring(path.read_bytes())
        self.nodes = {
            str(group.get("id")): str(group.findtext(f"{_SVG}title")).splitlines()
            for group in self.root.iter(f"{_SVG}g")
            if str(group.get("class")).startswith("node ")
        }
        self.kinds = {
            str(group.get("id")): str(group.get("class")).removeprefix("node ")
            for group in self.root.iter(f"{_SVG}g")
            if group.get("id") in self.nodes
        }
        lines = self.root.findall(f".//{_SVG}path[@data-from]")
        self.edges = {(str(line.get("data-from")), str(line.get("data-to"))) for line in lines}

    def node(self, name: str) -> str:
        """Return the node that lists *name*."""
        [found] = [node for node, lines in self.nodes.items() if name in lines[1:]]
        return found

    def kind(self, name: str) -> str:
        return self.kinds[self.node(name)]

    def needs(self, user: str, used: str) -> bool:
        return (self.node(user), self.node(used)) in self.edges

    @property
    def size(self) -> tuple[float, float]:
        return float(self.root.attrib["width"]), float(self.root.attrib["height"])


class Stock:
    """A wheel whose libraries come from everywhere."""

    def __init__(self, root: Path) -> None:
        self.root = root
        count = count_library(root / "count")
        gone = count_library(root / "gone", {"gone": 1}, soname="libgone.so.3")
        driver = count_library(root / "driver", {"driver": 1}, soname="libdriver.so.1")
        inner = count_library(root / "graft", {"inner": 1}, soname="libinner.so.2")
        self.graft = count_library(root / "graft", {"graft": 1}, soname="libgraft.so.1", needed=[inner])
        self.provider = library_wheel(root / "wheels", count)
        functions = ("count_one", "gone", "driver", "graft")
        every = plain_extension(root / "obj", count, gone, driver, self.graft, functions=functions)
        few = [plain_extension(root / "obj", count, module=f"_few{n}", functions=("count_one",)) for n in range(6)]
        # Two libraries that need each other, which linkers allow and loaders manage.
        own = count_library(root / "first", {"own": 1}, soname="libown.so.1")
        other = count_library(root / "own", {"other": 2}, soname="libother.so.1", needed=[own])
        own = count_library(root / "own", {"own": 1}, soname="libown.so.1", needed=[other])
        source = '#include <stdio.h>\nint own(void);\nint main(void) { return printf("%d", own()) < 0; }'
        tool = program(root / "obj", "tool", source, needed=[own], flags=["-Wl,--allow-shlib-undefined"])
        old = count_library(root / "old", {"old": 1}, soname="libold-0123abcd.so.1")
        self.wheel = consumer_wheel(
            root / "in",
            every,
            files={
                **{f"counter/{file.name}": file for file in few},
                "counter/libown.so.1": own,
                "counter/libother.so.1": other,
                "counter.libs/libold-0123abcd.so.1": old,
                "counter-1.0.data/scripts/tool": tool,
            },
        )
        gone.unlink()
        self.options = ("--provided-by", self.provider, "--exclude", "libdriver*", "--ldpaths", self.graft.parent)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    return Stock(tmp_path_factory.mktemp("graph"))


@pytest.fixture(scope="module")
def picture(stock: Stock) -> Picture:
    assert nativelib("show", stock.wheel, *stock.options, "--graph", stock.root / "a.svg").code == 0
    return Picture(stock.root / "a.svg")


def test_each_file_is_of_its_kind(picture: Picture, stock: Stock) -> None:
    assert {name: picture.kind(name) for name in ("libcount-count_lib.so.1", "libgone.so.3", "libdriver.so.1")} == {
        "libcount-count_lib.so.1": "provided",
        "libgone.so.3": "missing",
        "libdriver.so.1": "excluded",
    }
    assert picture.kind(str(stock.graft)) == "graft"
    assert picture.kind("counter/_counter.abi3.so") == "extension"
    assert picture.kind("counter/libown.so.1") == "library"
    assert picture.kind("counter.libs/libold-0123abcd.so.1") == "vendored"
    assert picture.kind("counter-1.0.data/scripts/tool") == "program"
    assert picture.kind("libc.so.6") == "system"
    assert picture.kind(stock.wheel.name) == "wheel"


def test_every_need_is_an_edge(picture: Picture, stock: Stock) -> None:
    [wheel] = nativelib("show", stock.wheel, *stock.options).document["wheels"]
    names = {"libcount.so.1": "libcount-count_lib.so.1"}
    needs = 0
    for elf in wheel["elf"]:
        for need in elf["needed"]:
            used = need["source"] if need["answer"] in {"wheel", "graft"} else need["soname"]
            assert picture.needs(elf["path"], names.get(used, used)), (elf["path"], used)
            needs += 1
    assert needs >= 13
    assert picture.needs(str(stock.graft), str(stock.graft.parent / "libinner.so.2"))
    assert picture.needs("counter/libown.so.1", "counter/libother.so.1")
    assert picture.needs("counter/libother.so.1", "counter/libown.so.1")


def test_everything_in_the_wheel_is_reached_from_it(picture: Picture, stock: Stock) -> None:
    reached, queue = set[str](), [picture.node(stock.wheel.name)]
    while queue:
        reached.add(queue[-1])
        last = queue.pop()
        queue += [used for user, used in picture.edges if user == last and used not in reached]
    assert reached == set(picture.nodes)


def test_files_that_nothing_tells_apart_are_one_box(picture: Picture) -> None:
    node = picture.node("counter/_few0.abi3.so")
    assert picture.nodes[node] == ["6 extensions:", *(f"counter/_few{n}.abi3.so" for n in range(6))]
    group = picture.root.find(f".//{_SVG}g[@id='{node}']")
    assert group is not None
    shown = [text.text for text in group.findall(f"{_SVG}text")]
    assert shown == ["E", "6 extensions", "counter/_few0", "counter/_few1", "counter/_few2", "and 3 more"]


def test_text_stays_in_its_box(picture: Picture) -> None:
    checked = 0
    for group in picture.root.iter(f"{_SVG}g"):
        if group.get("id") in picture.nodes:
            box = group.find(f"{_SVG}rect")
            assert box is not None
            x, y, width, height = (float(box.attrib[key]) for key in ("x", "y", "width", "height"))
            for text in group.findall(f"{_SVG}text"):
                if "text-anchor" not in text.attrib:
                    begin = float(text.attrib["x"])
                    assert x < begin
                    assert begin + text_width(str(text.text), float(text.attrib["font-size"])) < x + width
                    assert y < float(text.attrib["y"]) < y + height
                    checked += 1
    assert checked > 12


def test_colours_are_explained_and_not_alone(picture: Picture) -> None:
    legend = picture.root.find(f".//{_SVG}g[@id='legend']")
    assert legend is not None
    letters = [t.text for t in legend.iter(f"{_SVG}text") if t.get("text-anchor")]
    # One letter for each kind, apart from the wheel.
    assert letters == sorted(set(letters), key=letters.index)
    assert len(letters) == len(set(picture.kinds.values())) - 1


def test_equal_wheels_give_equal_bytes(stock: Stock, tmp_path: Path) -> None:
    for seed in ("0", "1"):
        for suffix in ("svg", "dot", "mmd"):
            target = tmp_path / f"{seed}.{suffix}"
            nativelib("show", stock.wheel, *stock.options, "--graph", target, env={"PYTHONHASHSEED": seed})
    for suffix in ("svg", "dot", "mmd"):
        assert (tmp_path / f"0.{suffix}").read_bytes() == (tmp_path / f"1.{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", ["dot", "gv", "mmd", "mermaid"])
def test_other_languages_have_the_same_nodes_and_edges(
    suffix: str, stock: Stock, picture: Picture, tmp_path: Path
) -> None:
    target = tmp_path / f"a.{suffix.upper()}"
    nativelib("show", stock.wheel, *stock.options, "--graph", target)
    text = target.read_text()
    edges = set(re.findall(r"^  (n\d+) (?:->|-->|-\.-) (n\d+)", text, re.MULTILINE))
    assert edges == picture.edges
    assert set(re.findall(r"^ +(n\d+) ?[\[({>]", text, re.MULTILINE)) == set(picture.nodes)
    assert text.startswith("digraph nativelib {\n" if suffix in {"dot", "gv"} else "flowchart LR\n")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not there")
def test_graphviz_draws_the_dot_file(stock: Stock, picture: Picture, tmp_path: Path) -> None:
    nativelib("show", stock.wheel, *stock.options, "--graph", tmp_path / "a.dot")
    done = subprocess.run(["dot", "-Tsvg", tmp_path / "a.dot"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    drawn = ET.fromstring(done.stdout)
    assert len(drawn.findall(f".//{_SVG}g[@class='node']")) == len(picture.nodes)
    assert len(drawn.findall(f".//{_SVG}g[@class='edge']")) == len(picture.edges)


_HOSTILE = "\"><script>alert(1)</script>&amp;'`#quot;\\N{x}|\u202e"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a wheel with hostile names, and the one of a library that it lacks: not UTF-8."""
    root = tmp_path_factory.mktemp("hostile")
    soname = os.fsdecode(b"lib\xff\x01" + _HOSTILE.replace("/", "").encode() + b".so.1")
    library = count_library(root, {"gone": 1}, soname=soname)
    ext = plain_extension(root / "obj", library, functions=("gone",))
    library.unlink()
    name = _HOSTILE.replace("/", "").replace("\\", "").replace("\u202e", "")
    return consumer_wheel(root, ext, files={f"counter/{name}.abi3.so": ext, f"counter/{'long' * 50}.so": ext}), soname


def test_names_cannot_become_markup(hostile: tuple[Path, str], tmp_path: Path) -> None:
    wheel, _ = hostile
    for suffix in ("svg", "dot", "mmd"):
        assert nativelib("show", wheel, "--graph", tmp_path / f"a.{suffix}").code == 0
    picture = Picture(tmp_path / "a.svg")
    assert {element.tag.removeprefix(_SVG) for element in picture.root.iter()} <= {
        *("svg", "g", "rect", "path", "text", "title", "style"),
    }
    [missing] = [lines for node, lines in picture.nodes.items() if picture.kinds[node] == "missing"]
    assert missing[1].startswith('lib\\xff\\x01"><script>')
    assert "\u202e" not in (tmp_path / "a.svg").read_text(encoding="utf-8")
    mermaid = (tmp_path / "a.mmd").read_text(encoding="ascii")
    inside = re.findall(r'"([^"]*)"', mermaid)
    assert mermaid.count('"') == 2 * len(inside)
    assert not [text for text in inside if re.search(r"[<>`\\|{]", text.replace("<br/>", ""))]


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not there")
def test_graphviz_shows_hostile_names_as_they_are(hostile: tuple[Path, str], tmp_path: Path) -> None:
    nativelib("show", hostile[0], "--graph", tmp_path / "a.dot")
    done = subprocess.run(["dot", "-Tsvg", tmp_path / "a.dot"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    texts = [text.text or "" for text in ET.fromstring(done.stdout).iter(f"{_SVG}text")]
    [shown] = [text for text in texts if text.startswith("lib")]
    assert _HOSTILE.replace("/", "").replace("\u202e", "\\u202e") in shown


def test_wheels_share_what_lies_outside(stock: Stock, tmp_path: Path) -> None:
    count = count_library(tmp_path / "count")
    plain = consumer_wheel(tmp_path, plain_extension(tmp_path / "obj", count, module="_plain"), name="plain")
    target = tmp_path / "both.svg"
    assert nativelib("show", stock.wheel, plain, *stock.options, "--graph", target).code == 0
    picture = Picture(target)
    assert picture.needs("plain/_plain.abi3.so", "libcount-count_lib.so.1")
    assert picture.needs("counter/_counter.abi3.so", "libcount-count_lib.so.1")
    assert sorted(picture.kinds.values()).count("wheel") == 2


def test_a_pure_wheel_is_a_graph_too(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "pure-1.0-py3-none-any.whl", {"pure.py": ""})
    assert nativelib("show", wheel, "--graph", tmp_path / "a.svg").code == 0
    assert list(Picture(tmp_path / "a.svg").kinds.values()) == ["wheel"]


def test_a_wheel_that_cannot_be_read_is_left_out(stock: Stock, tmp_path: Path) -> None:
    broken = tmp_path / "broken-1.0-py3-none-any.whl"
    broken.write_bytes(b"no zip file")
    answer = nativelib("show", broken, stock.wheel, "--graph", tmp_path / "a.svg")
    assert answer.code == 1
    assert list(Picture(tmp_path / "a.svg").kinds.values()).count("wheel") == 1
    assert nativelib("show", broken, "--graph", tmp_path / "b.svg").code == 1
    assert not (tmp_path / "b.svg").exists()


def test_another_suffix_is_wrong_usage(stock: Stock, tmp_path: Path) -> None:
    answer = nativelib("show", stock.wheel, "--graph", tmp_path / "a.png")
    assert answer.code == 2
    assert ".svg" in answer.stderr
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_saved_leaves_nothing_but_the_report(stock: Stock, tmp_path: Path) -> None:
    (tmp_path / "a.svg").mkdir()
    for target in (tmp_path / "a.svg", tmp_path / "none" / "a.svg"):
        answer = nativelib("show", stock.wheel, "--graph", target)
        assert answer.code == 1
        check("show", answer.document)
        assert [finding["code"] for finding in answer.document["findings"]] == [Code.WRITE_FAILED.value]
        assert answer.document["wheels"][0]["elf"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]


@pytest.mark.network
def test_scipy_fits_on_a_page_and_the_document_shows_it(tmp_path: Path) -> None:
    """114 ELF files. The picture in the documents is what the command makes."""
    platform = "manylinux_2_28_x86_64"
    wheel = pypi_wheel("scipy", "1.17.1", platform=platform, python="311")
    assert nativelib("show", wheel, "--graph", tmp_path / "scipy.svg").code == 0
    picture = Picture(tmp_path / "scipy.svg")
    width, height = picture.size
    assert width <= 2000
    assert height <= 1600
    files = [
        name for lines in picture.nodes.values() for name in lines[1:] if name.startswith(("scipy/", "scipy.libs/"))
    ]
    assert len(files) == len(set(files)) == 114
    assert (tmp_path / "scipy.svg").read_bytes() == (_DOCS / "scipy.svg").read_bytes()
