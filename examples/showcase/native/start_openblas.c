/* Set OpenBLAS to as many threads as OpenMP has.
 *
 * OpenBLAS before 0.3.22 asks omp_get_num_places() how many processors there are. LLVM's runtime answers 1 when threads are
 * not bound (one place, all of the machine), GCC's 0 (no places), and with 1 OpenBLAS never uses a second thread, unless it is
 * told. This library needs OpenBLAS, so it is initialised after it, whoever loads it.
 */
extern int omp_get_max_threads(void);
extern int openblas_get_num_threads(void);
extern void openblas_set_num_threads(int);

__attribute__((constructor)) static void start(void)
{
    int threads = omp_get_max_threads();
    if (openblas_get_num_threads() < threads)
        openblas_set_num_threads(threads);
}
