"""setuptools' build backend, which asks for the library wheel that STATS_LIKE_BLAS names."""

import os

from setuptools.build_meta import build_sdist, build_wheel, prepare_metadata_for_build_wheel

__all__ = [
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_wheel",
]


def get_requires_for_build_wheel(config_settings=None):  # noqa: ARG001 - PEP 517 names the argument
    """Return what setup.py imports: the library wheel, unless the system's copy is asked for."""
    wheel = os.environ.get("STATS_LIKE_BLAS", "openblas-lib")
    return [] if wheel == "system" else [wheel]


get_requires_for_build_sdist = get_requires_for_build_wheel
