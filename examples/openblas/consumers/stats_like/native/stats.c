/* stats_like._stats: covariances through CBLAS and OpenMP, least squares through LAPACK. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

/* The Fortran routine itself. gfortran passes the length of a character argument, unseen, after all others. */
extern void dgels_(const char *trans, const int *m, const int *n, const int *nrhs, double *a, const int *lda, double *b,
                   const int *ldb, double *work, const int *lwork, int *info, size_t trans_length);

/* Fill `view` with a C-contiguous float64 matrix; return 0, or -1 with an exception set. The caller releases it. */
static int
matrix_get(PyObject *object, Py_buffer *view, int flags)
{
    if (PyObject_GetBuffer(object, view, PyBUF_ND | PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | flags) < 0) {
        return -1;
    }
    if (view->ndim == 2 && view->format != NULL && strcmp(view->format, "d") == 0 && view->shape[0] > 0
        && view->shape[1] > 0 && view->shape[0] <= INT_MAX && view->shape[1] <= INT_MAX) {
        return 0;
    }
    PyErr_SetString(PyExc_TypeError, "a matrix of float64 is needed");
    PyBuffer_Release(view);
    return -1;
}

/* Write `samples` (n x p) less the mean of each column to `centred`, one column to a thread. */
static void
centre(const double *samples, int n, int p, double *centred)
{
#pragma omp parallel for
    for (int column = 0; column < p; column++) {
        double mean = 0.0;
        for (int row = 0; row < n; row++) {
            mean += samples[(size_t)row * p + column];
        }
        mean /= n;
        for (int row = 0; row < n; row++) {
            centred[(size_t)row * p + column] = samples[(size_t)row * p + column] - mean;
        }
    }
}

/* Write the covariance matrix (p x p) of `samples` (n x p) to `out`; return 0, or -1 when memory is short. */
static int
covariance(const double *samples, int n, int p, double *out)
{
    double *centred = malloc((size_t)n * p * sizeof(double));

    if (centred == NULL) {
        return -1;
    }
    centre(samples, n, p, centred);
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, p, n, 1.0 / (n - 1), centred, p, 0.0, out, p);
    for (int row = 0; row < p; row++) {
        for (int column = 0; column < row; column++) {
            out[(size_t)row * p + column] = out[(size_t)column * p + row];
        }
    }
    free(centred);
    return 0;
}

PyDoc_STRVAR(covariance_into_doc, "covariance_into(samples, out)\n--\n\n"
                                  "Write the covariance matrix of the columns of `samples` into the matrix `out`.");

static PyObject *
covariance_into(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *objects[2], *result = NULL;
    Py_buffer samples, out;
    int status;

    if (!PyArg_ParseTuple(args, "OO:covariance_into", &objects[0], &objects[1])) {
        return NULL;
    }
    if (matrix_get(objects[0], &samples, 0) < 0) {
        return NULL;
    }
    if (matrix_get(objects[1], &out, PyBUF_WRITABLE) < 0) {
        goto release_samples;
    }
    int n = (int)samples.shape[0], p = (int)samples.shape[1];
    if (n < 2 || out.shape[0] != p || out.shape[1] != p) {
        PyErr_SetString(PyExc_ValueError, "the shapes do not fit");
        goto release_out;
    }
    Py_BEGIN_ALLOW_THREADS
    status = covariance(samples.buf, n, p, out.buf);
    Py_END_ALLOW_THREADS
    result = status < 0 ? PyErr_NoMemory() : Py_NewRef(Py_None);

release_out:
    PyBuffer_Release(&out);
release_samples:
    PyBuffer_Release(&samples);
    return result;
}

/* Overwrite the first n rows of `y` (one column) with the least squares solution; return LAPACK's info, or -1.

   `x` (m x n, row by row) is to LAPACK its own transpose (n x m, by columns), so the transposed system is solved. */
static int
fit(double *x, int m, int n, double *y)
{
    int one = 1, info = -1, lwork = -1;
    double best;

    dgels_("T", &n, &m, &one, x, &n, y, &m, &best, &lwork, &info, 1);
    lwork = (int)best;
    double *work = info == 0 ? malloc((size_t)lwork * sizeof(double)) : NULL;
    if (work == NULL) {
        return -1;
    }
    dgels_("T", &n, &m, &one, x, &n, y, &m, work, &lwork, &info, 1);
    free(work);
    return info;
}

PyDoc_STRVAR(fit_inplace_doc, "fit_inplace(x, y)\n--\n\nWrite the coefficients that fit y = x c best into the first rows "
                              "of `y`; `x` is overwritten.");

static PyObject *
fit_inplace(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *objects[2], *result = NULL;
    Py_buffer x, y;
    int info;

    if (!PyArg_ParseTuple(args, "OO:fit_inplace", &objects[0], &objects[1])) {
        return NULL;
    }
    if (matrix_get(objects[0], &x, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    if (matrix_get(objects[1], &y, PyBUF_WRITABLE) < 0) {
        goto release_x;
    }
    if (x.shape[0] < x.shape[1] || y.shape[0] != x.shape[0] || y.shape[1] != 1) {
        PyErr_SetString(PyExc_ValueError, "the shapes do not fit");
        goto release_y;
    }
    Py_BEGIN_ALLOW_THREADS
    info = fit(x.buf, (int)x.shape[0], (int)x.shape[1], y.buf);
    Py_END_ALLOW_THREADS
    if (info > 0) {
        PyErr_SetString(PyExc_ZeroDivisionError, "the columns of x depend on each other");
    }
    else {
        result = info < 0 ? PyErr_NoMemory() : Py_NewRef(Py_None);
    }

release_y:
    PyBuffer_Release(&y);
release_x:
    PyBuffer_Release(&x);
    return result;
}

static PyMethodDef methods[] = {
    {"covariance_into", covariance_into, METH_VARARGS, covariance_into_doc},
    {"fit_inplace", fit_inplace, METH_VARARGS, fit_inplace_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "stats_like._stats",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__stats(void)
{
    return PyModuleDef_Init(&definition);
}
