/* numpy_like.linalg._lapack: a system of linear equations through LAPACK. */
#include "matrix.h"

#include <stdlib.h>

/* The Fortran routine itself: Debian's OpenBLAS comes without LAPACKE's header. */
extern void dgesv_(const int *n, const int *nrhs, double *a, const int *lda, int *pivots, double *b, const int *ldb,
                   int *info);

/* Write the transpose of `from` (rows x columns, row by row) to `to`: LAPACK stores by columns. */
static void
transpose(const double *from, int rows, int columns, double *to)
{
    for (int row = 0; row < rows; row++) {
        for (int column = 0; column < columns; column++) {
            to[(size_t)column * rows + row] = from[(size_t)row * columns + column];
        }
    }
}

/* Solve a x = b and leave x in `out`; return LAPACK's info, or -1 when memory is short. */
static int
solve(const Py_buffer *a, const Py_buffer *b, Py_buffer *out)
{
    int n = matrix_rows(a), nrhs = matrix_columns(b), info = -1;
    double *lu = malloc((size_t)n * n * sizeof(double));
    double *x = malloc((size_t)n * nrhs * sizeof(double));
    int *pivots = malloc((size_t)n * sizeof(int));

    if (lu != NULL && x != NULL && pivots != NULL) {
        transpose(a->buf, n, n, lu);
        transpose(b->buf, n, nrhs, x);
        dgesv_(&n, &nrhs, lu, &n, pivots, x, &n, &info);
        transpose(x, nrhs, n, out->buf);
    }
    free(pivots);
    free(x);
    free(lu);
    return info;
}

PyDoc_STRVAR(solve_into_doc, "solve_into(a, b, out)\n--\n\n"
                             "Write the solution x of a x = b into the matrix `out`; the columns of `b` are right sides.");

static PyObject *
solve_into(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *objects[3];
    Py_buffer a, b, out;
    PyObject *result = NULL;
    int info;

    if (!PyArg_ParseTuple(args, "OOO:solve_into", &objects[0], &objects[1], &objects[2])) {
        return NULL;
    }
    if (matrix_get(objects[0], &a, 0, "a") < 0) {
        return NULL;
    }
    if (matrix_get(objects[1], &b, 0, "b") < 0) {
        goto release_a;
    }
    if (matrix_get(objects[2], &out, PyBUF_WRITABLE, "out") < 0) {
        goto release_b;
    }
    if (matrix_columns(&a) != matrix_rows(&a) || matrix_rows(&b) != matrix_rows(&a)
        || matrix_rows(&out) != matrix_rows(&b) || matrix_columns(&out) != matrix_columns(&b)) {
        PyErr_SetString(PyExc_ValueError, "the shapes do not fit");
        goto release_out;
    }
    Py_BEGIN_ALLOW_THREADS
    info = solve(&a, &b, &out);
    Py_END_ALLOW_THREADS
    if (info > 0) {
        PyErr_SetString(PyExc_ZeroDivisionError, "the matrix is singular");
    }
    else if (info < 0) {
        PyErr_NoMemory();
    }
    else {
        result = Py_NewRef(Py_None);
    }

release_out:
    PyBuffer_Release(&out);
release_b:
    PyBuffer_Release(&b);
release_a:
    PyBuffer_Release(&a);
    return result;
}

static PyMethodDef methods[] = {
    {"solve_into", solve_into, METH_VARARGS, solve_into_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "numpy_like.linalg._lapack",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__lapack(void)
{
    return PyModuleDef_Init(&definition);
}
