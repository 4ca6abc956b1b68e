/* numpy_like._core: a matrix product through CBLAS, and an OpenMP loop of our own. */
#include "matrix.h"

#include <cblas.h>

PyDoc_STRVAR(multiply_into_doc,
             "multiply_into(a, b, out)\n--\n\nWrite the product of the matrices `a` and `b` into the matrix `out`.");

static PyObject *
multiply_into(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *objects[3];
    Py_buffer a, b, out;
    PyObject *result = NULL;

    if (!PyArg_ParseTuple(args, "OOO:multiply_into", &objects[0], &objects[1], &objects[2])) {
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
    int m = matrix_rows(&a), k = matrix_columns(&a), n = matrix_columns(&b);
    if (matrix_rows(&b) != k || matrix_rows(&out) != m || matrix_columns(&out) != n) {
        PyErr_SetString(PyExc_ValueError, "the shapes do not fit");
        goto release_out;
    }
    Py_BEGIN_ALLOW_THREADS
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1.0, a.buf, k, b.buf, n, 0.0, out.buf, n);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);

release_out:
    PyBuffer_Release(&out);
release_b:
    PyBuffer_Release(&b);
release_a:
    PyBuffer_Release(&a);
    return result;
}

PyDoc_STRVAR(sum_of_squares_doc,
             "sum_of_squares(a)\n--\n\nReturn the sum of the squares of all elements, added up by an OpenMP team.");

static PyObject *
sum_of_squares(PyObject *Py_UNUSED(module), PyObject *object)
{
    Py_buffer a;
    double sum = 0.0;

    if (matrix_get(object, &a, 0, "a") < 0) {
        return NULL;
    }
    const double *values = a.buf;
    Py_ssize_t count = a.len / a.itemsize;
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for reduction(+ : sum)
    for (Py_ssize_t i = 0; i < count; i++) {
        sum += values[i] * values[i];
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&a);
    return PyFloat_FromDouble(sum);
}

static PyMethodDef methods[] = {
    {"multiply_into", multiply_into, METH_VARARGS, multiply_into_doc},
    {"sum_of_squares", sum_of_squares, METH_O, sum_of_squares_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "numpy_like._core",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
