"""One extension module, linked against the OpenBLAS of a library wheel.

STATS_LIKE_BLAS names the wheel (default ``openblas-lib``); ``system`` takes the copy that the compiler finds.
"""

import importlib
import os

from setuptools import Extension, setup


def openblas():
    """Return the arguments of `Extension` that compile and link against OpenBLAS."""
    wheel = os.environ.get("STATS_LIKE_BLAS", "openblas-lib")
    if wheel == "system":
        return {"libraries": ["openblas"]}
    provider = importlib.import_module(wheel.replace("-", "_"))
    return {
        "include_dirs": [provider.get_include_dir()],
        "library_dirs": [provider.get_lib_dir()],
        "libraries": [provider.get_library()],
    }


setup(
    ext_modules=[
        Extension(
            "stats_like._stats",
            ["native/stats.c"],
            extra_compile_args=["-fopenmp", "-g0"],
            extra_link_args=["-fopenmp"],
            **openblas(),
        ),
    ],
)
