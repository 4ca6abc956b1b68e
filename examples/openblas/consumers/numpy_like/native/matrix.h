/* Float64 matrices of any object that has the buffer protocol. */
#ifndef MATRIX_H
#define MATRIX_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <limits.h>
#include <string.h>

/* Fill `view` with the C-contiguous float64 matrix that `object` exports; return 0, or -1 with an exception set.
   `flags` is 0 or PyBUF_WRITABLE. The caller releases the view. */
static inline int
matrix_get(PyObject *object, Py_buffer *view, int flags, const char *name)
{
    if (PyObject_GetBuffer(object, view, PyBUF_ND | PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | flags) < 0) {
        return -1;
    }
    if (view->ndim != 2 || view->format == NULL || strcmp(view->format, "d") != 0) {
        PyErr_Format(PyExc_TypeError, "%s must be a matrix of float64", name);
    }
    else if (view->shape[0] < 1 || view->shape[1] < 1 || view->shape[0] > INT_MAX || view->shape[1] > INT_MAX) {
        PyErr_Format(PyExc_ValueError, "%s is empty or too large for a BLAS with 32-bit integers", name);
    }
    else {
        return 0;
    }
    PyBuffer_Release(view);
    return -1;
}

static inline int
matrix_rows(const Py_buffer *view)
{
    return (int)view->shape[0];
}

static inline int
matrix_columns(const Py_buffer *view)
{
    return (int)view->shape[1];
}

#endif
