"""Extension modules of every kind, and what a process says of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.wheels import members

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.toy import Toy

LIMITED = "-DPy_LIMITED_API=0x03080000"

_MODULE = """
#include <Python.h>
{declarations}
static PyObject *value(PyObject *self, PyObject *none) {{ return PyLong_FromLong((long)({expression})); }}
static PyMethodDef methods[] = {{{{"value", value, METH_NOARGS, "The value."}}, {{0, 0, 0, 0}}}};
static PyType_Slot slots[] = {{{{Py_tp_doc, "A thing."}}, {{0, 0}}}};
static PyType_Spec spec = {{"{full}.Thing", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots}};
static int run(PyObject *module) {{
    PyObject *thing = PyType_FromSpec(&spec);
    if (!thing || PyModule_AddObject(module, "Thing", thing) < 0) return -1;
    if (PyModule_AddStringConstant(module, "__version__", "1.5") < 0) return -1;
    {more}
    return PyModule_AddIntConstant(module, "_private", 5);
}}
#if {multi}
static PyModuleDef_Slot phases[] = {{{{Py_mod_exec, (void *)run}},
#if defined(Py_GIL_DISABLED) && !defined(WANTS_THE_GIL)
    {{Py_mod_gil, Py_MOD_GIL_NOT_USED}},
#endif
    {{0, 0}}}};
static struct PyModuleDef definition = {{
    PyModuleDef_HEAD_INIT, "{full}", "An extension.", 0, methods, phases, 0, 0, 0}};
PyMODINIT_FUNC PyInit_{name}(void) {{ return PyModuleDef_Init(&definition); }}
#else
static struct PyModuleDef definition = {{
    PyModuleDef_HEAD_INIT, "{full}", "An extension.", -1, methods, 0, 0, 0, 0}};
PyMODINIT_FUNC PyInit_{name}(void) {{
    PyObject *module = PyModule_Create(&definition);
    if (module && run(module) < 0) {{ Py_DECREF(module); return 0; }}
    return module;
}}
#endif
"""


def module_source(
    full: str, expression: str = "toy_value()", *, multi: bool = True, declarations: str = "", more: str = ""
) -> str:
    """Return the source of the extension *full*, which has what real ones have.

    A function ``value()`` for the C integer *expression*, a class ``Thing``, ``_private`` and ``__version__``. *multi*
    chooses between multi-phase and single-phase initialisation (PEP 489); *more* is C that runs on the way.
    """
    return _MODULE.format(
        full=full,
        name=full.rpartition(".")[2],
        expression=expression,
        multi=int(multi),
        declarations=f"int toy_value(void), upper_value(void), kept_value(void);\n{declarations}",
        more=more,
    )


# What a user can see of a module, apart from where its file is.
PROBE = """
import importlib, inspect, os, pickle, pkgutil, sys
import {name} as m
thing = m.Thing()
out = {{
    "value": m.value(),
    "public": sorted(n for n in vars(m) if not n.startswith("__")),
    "dunder": sorted(n for n in vars(m) if n.startswith("__")),
    "texts": [m.__name__, m.__doc__, m.__package__, m.__version__],
    "type": [type(m).__name__, m.Thing.__module__, m.Thing.__qualname__, repr(m)[:40]],
    "function": [m.value.__module__, type(m.value).__name__],
    "pickle": [pickle.loads(pickle.dumps(m.value)) is m.value, pickle.loads(pickle.dumps(m.Thing)) is m.Thing,
               type(pickle.loads(pickle.dumps(thing))) is m.Thing],
    "spec": [m.__spec__.name, m.__spec__.parent, type(m.__spec__.loader).__name__, m.__spec__.has_location,
             m.__spec__.origin == m.__file__ == m.__loader__.path, m.__spec__.cached, m.__spec__._initializing,
             m.__spec__.submodule_search_locations],
    "path": getattr(m, "__path__", None),
    "file": [os.path.dirname(m.__file__), os.path.isfile(m.__file__), os.path.splitext(m.__file__)[1]],
    "modules": [sys.modules["{name}"] is m, importlib.import_module("{name}") is m],
    "again": [__import__("{name}", fromlist=["value"]).value is m.value],
    "source": inspect.getsourcefile(m),
    "reload": [importlib.reload(m).value(), importlib.reload(m).__name__, "value" in vars(sys.modules["{name}"])],
}}
"""


def again(toy: Toy, wheel: Path, *providers: Path | str, arguments: Sequence[Path | str] = ()) -> None:
    """Repair *wheel*, a result, once more, with and without the same *arguments*: nothing may change."""
    for words in dict.fromkeys((tuple(arguments), tuple(w for w in arguments if w != "--loader-modules"))):
        answer = toy.repair(wheel, *providers, arguments=words)
        if answer.code:
            raise AssertionError(answer.stdout + answer.stderr)
        [found] = answer.document["wheels"]
        result = wheel.parent / found["output"]
        if result.name != wheel.name or result.read_bytes() != wheel.read_bytes():
            raise AssertionError(f"{result} differs: {changed(wheel, result)}")


def changed(one: Path, other: Path) -> list[str]:
    """Return the members in which two wheels differ."""
    first, second = members(one), members(other)
    return sorted(name for name in {*first, *second} if first.get(name) != second.get(name))


def errors(stdout: str) -> list[tuple[str, str]]:
    """Return code and place of each error in the JSON that a command printed."""
    document: dict[str, Any] = json.loads(stdout)
    parts = (document, *document.get("wheels", ()))
    return [(f["code"], f["where"]) for part in parts for f in part.get("findings", ()) if f["severity"] == "error"]
