/* Let a program fork after it has used GCC's OpenMP runtime.
 *
 * The threads of a parallel region stay in a pool, of which a forked child inherits the administration but not the threads: its
 * next parallel region waits for them without end. Before a fork the pool of the calling thread is given up (GCC 9 and later);
 * parent and child make new ones when they need them.
 */
#include <pthread.h>

extern int omp_pause_resource_all(int);

static void prepare(void)
{
    omp_pause_resource_all(2); /* omp_pause_hard */
}

__attribute__((constructor)) static void start(void)
{
    pthread_atfork(prepare, 0, 0);
}
