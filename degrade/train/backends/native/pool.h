// Jobs on several threads. The result of a job does not depend on the thread that does it.
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <unistd.h>

#define MOST_THREADS 255  // fits in the low byte of `round`
#define PATIENCE 20000  // looks for work before a thread sleeps: about 0.2 ms

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t threads[MOST_THREADS];
    int started;
    pid_t owner;  // a forked child has none of its parent's threads
    void (*job)(const void *, int);
    const void *what;
    int jobs;
    atomic_int next, done;
    atomic_uint round;  // 256 x the number of rounds so far + the helpers of this round
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static inline void breathe(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void work(void) {
    int job;
    while ((job = atomic_fetch_add(&pool.next, 1)) < pool.jobs) pool.job(pool.what, job);
}

static void *serve(void *argument) {
    int self = (int)(intptr_t)argument;
    unsigned seen = 0;
    for (;;) {
        for (int look = 0; look < PATIENCE && atomic_load(&pool.round) == seen; look++) breathe();
        if (atomic_load(&pool.round) == seen) {
            pthread_mutex_lock(&pool.lock);
            while (atomic_load(&pool.round) == seen) pthread_cond_wait(&pool.wake, &pool.lock);
            pthread_mutex_unlock(&pool.lock);
        }
        seen = atomic_load(&pool.round);
        if (self < (int)(seen & 255)) {
            work();
            atomic_fetch_add(&pool.done, 1);
        }
    }
    return NULL;
}

// Does job(what, 0) to job(what, jobs - 1), on this thread and as many others as make `threads`.
static void spread(void (*job)(const void *, int), const void *what, int jobs, int threads) {
    int helpers = (threads < jobs ? threads : jobs) - 1;
    if (helpers > MOST_THREADS) helpers = MOST_THREADS;
    if (pool.owner != getpid()) {
        pool.owner = getpid(), pool.started = 0;
        atomic_store(&pool.round, 0);
        pthread_mutex_init(&pool.lock, NULL);
        pthread_cond_init(&pool.wake, NULL);
    }
    while (pool.started < helpers) {
        intptr_t self = pool.started;
        if (pthread_create(&pool.threads[self], NULL, serve, (void *)self)) break;
        pool.started++;
    }
    if (helpers > pool.started) helpers = pool.started;
    if (helpers <= 0) {
        for (int i = 0; i < jobs; i++) job(what, i);
        return;
    }
    pthread_mutex_lock(&pool.lock);
    pool.job = job, pool.what = what, pool.jobs = jobs;
    atomic_store(&pool.next, 0);
    atomic_store(&pool.done, 0);
    atomic_store(&pool.round, (atomic_load(&pool.round) / 256 + 1) * 256 + (unsigned)helpers);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    work();
    for (int look = 1; atomic_load(&pool.done) < helpers; look++) {
        breathe();
        if (look % PATIENCE == 0) sched_yield();  // another process has the core that a helper waits for
    }
}
