"""Two extension modules, linked against whatever OpenBLAS the compiler finds (CPATH and LIBRARY_PATH steer gcc)."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "numpy_like._core",
            ["native/core.c"],
            depends=["native/matrix.h"],
            libraries=["openblas"],
            extra_compile_args=["-fopenmp", "-g0"],
            extra_link_args=["-fopenmp"],
        ),
        Extension(
            "numpy_like.linalg._lapack",
            ["native/lapack.c"],
            depends=["native/matrix.h"],
            libraries=["openblas"],
            extra_compile_args=["-g0"],
        ),
    ],
)
