"""A library with every way in which C and Fortran pass things, and programs that call it under two sets of names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nativelib.write.adapter import build_adapter

if TYPE_CHECKING:
    from nativelib.facts.elf import Machine

FUNCTIONS = ("make", "halve", "total", "spell_", "many", "cdot", "apply", "add")
SONAME, ADAPTER = "libtarget.so.1", "libpre_target64_.so"

_DECLARATIONS = """
#include <complex.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
typedef struct { double a[6]; } big;
typedef struct { float x, y; } small;
big make(double start);
small halve(small s);
long total(int count, ...);
void spell_(char *out, const char *text, int *n, long out_length, long text_length);
double many(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j,
            double p, double q, double r, double s, double t, double u, double v, double w, double x, double y);
double complex cdot(const double complex *x, const double complex *y, int n);
int apply(int (*f)(int), int x);
int add(int a, int b);
"""

TARGET = f"""{_DECLARATIONS}
big make(double start) {{ big b; for (int i = 0; i < 6; i++) b.a[i] = start + i; return b; }}
small halve(small s) {{ s.x /= 2; s.y /= 2; return s; }}
long total(int count, ...) {{
    va_list list; va_start(list, count);
    double sum = 0; for (int i = 0; i < count; i++) sum += i % 2 ? va_arg(list, double) : va_arg(list, int);
    va_end(list); return (long)(sum * 100);
}}
/* As Fortran passes strings: their lengths come last, by value. */
void spell_(char *out, const char *text, int *n, long out_length, long text_length) {{
    memset(out, '.', out_length);
    for (int i = 0; i < *n; i++) memcpy(out + i * text_length, text, text_length);
}}
double many(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j,
            double p, double q, double r, double s, double t, double u, double v, double w, double x, double y) {{
    return a + 2*b + 3*c + 4*d + 5*e + 6*f + 7*g + 8*h + 9*i + 10*j + p*q + r*s + t*u + v*w + x/y;
}}
double complex cdot(const double complex *x, const double complex *y, int n) {{
    double complex sum = 0; for (int i = 0; i < n; i++) sum += conj(x[i]) * y[i]; return sum;
}}
int apply(int (*f)(int), int x) {{ return f(f(x)); }}
int add(int a, int b) {{ return a + b; }}
"""

_MAIN = """
static int square(int x) { return x * x; }
int main(void) {
    big b = make(1.5); small s = {3, 5}; s = halve(s);
    char out[12]; int n = 2; spell_(out, "abcde", &n, 12, 5);
    double complex x[2] = {1 + 2 * I, 3}, y[2] = {2, 1 - I};
    double complex z = cdot(x, y, 2);
    printf("%g %g %g %g|%ld|%.12s|", b.a[0], b.a[5], s.x, s.y, total(4, 1, 2.5, 3, 4.25), out);
    printf("%g|%g %g|%d\\n", many(1,2,3,4,5,6,7,8,9,10, 1,2,3,4,5,6,7,8,9,10), creal(z), cimag(z), apply(square, 3));
    return add(20, 22) - 42;
}
"""

PROGRAM = _DECLARATIONS + _MAIN
"""Calls the target under its own names."""


def renamed(text: str) -> str:
    """Return C source in which the functions have the names of the adapter."""
    return re.sub(rf"\b({'|'.join(FUNCTIONS)})(?=\()", r"pre_\g<1>64_", text)


def adapter(machine: Machine, soname: str = ADAPTER) -> bytes:
    """Return an adapter for the target."""
    return build_adapter(
        machine, soname=soname, needed=[SONAME], forwards=[(f"pre_{name}64_", name) for name in FUNCTIONS]
    )
