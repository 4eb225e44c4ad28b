/* What the parts of the compiled evaluator share: a plan that is ready to run, and how to run a block of rows. */
#ifndef KUBELOOP_SCORING_NATIVE_H
#define KUBELOOP_SCORING_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#define LATEST_S 253402300799.0 /* the end of the year 9999 */
#define BLOCK 256               /* rows that a plan is run on at once, where its trees stay in the cache */
#define HIDDEN __attribute__((visibility("hidden")))

typedef struct {
    uint32_t word; /* rank, feature, whether missing goes left, whether it tests a category: see forest.py */
    int32_t left;
} node;

typedef struct test test;
typedef struct ends ends;

typedef struct {
    int32_t trees, leaf, sets;
    int single;
    const int32_t *roots, *outs, *starts, *kinds;
    const node *nodes;
    const uint32_t *bits;
    const double *base, *edges, *values;
    double divisor;
    ends *ends; /* of each tree in the two tables below; NULL where not all trees are small */
    test *tests;
    int32_t *leaves; /* nodes, in each tree from left to right */
} forest;

typedef struct {
    int code;
    int32_t reads, out, width;
    const int32_t *read, *ints;
    const double *floats;
    Py_ssize_t floats_size, ints_size;
    Py_buffer read_buffer, floats_buffer, ints_buffer;
    forest trees;
} operation;

typedef struct {
    PyObject_HEAD
    operation *steps;
    Py_ssize_t count, held;
    int32_t inputs, slots, width, block, most_reads;
    int32_t *result;
    char *kinds;      /* n number, b boolean, t timestamp, c category */
    char *nullable;   /* 1 or 0 */
    int32_t *codes;   /* per input: how many codes a category has; 0 for any other kind */
    PyObject *tables; /* per input: text -> code as float, or None */
    PyObject *resolve, *unscorable;
} program;

/* How many of ascending numbers lie strictly below x. */
static inline int32_t below(const double *numbers, int32_t size, double x)
{
    const double *at = numbers;
    while (size > 1) {
        int32_t half = size / 2;
        at += (at[half - 1] < x) ? half : 0;
        size -= half;
    }
    return (int32_t)(at - numbers) + (size == 1 && *at < x);
}

/* Room for the slots of so many rows, and behind them, at `scratch`, for what an operation needs for itself; NULL: no
 * memory. Needs no lock. */
HIDDEN double *plan_room(const program *self, int32_t size, void **scratch);

/* Run the plan on the first `rows` of `size` rows; the first row whose answer is not finite or that a learner would
 * refuse, or -1. Needs no lock. */
HIDDEN int32_t plan_run(const program *self, double *w, int32_t size, int32_t rows, void *scratch);

/* The scores of a row that the plan was run on. */
static inline void plan_scores(const program *self, const double *w, int32_t size, int32_t row, double *to)
{
    for (int32_t j = 0; j < self->width; j++) to[j] = w[(Py_ssize_t)self->result[j] * size + row];
}

/* See forests.c. 0: no memory. Running needs no lock; `ranks` has room for one per row and read. */
HIDDEN int forest_open(operation *s);
HIDDEN void forest_close(forest *f);
HIDDEN void forest_run(const operation *s, double *w, int32_t size, int32_t rows, uint16_t *ranks);

#define FLOAT_ROOM 32

/* See floats.c. Reading needs no lock, writing does. */
HIDDEN int floats_open(void);
HIDDEN const char *read_float(const char *from, const char *end, double *to, int *whole);
HIDDEN char *write_float(double x, char *to);

extern HIDDEN PyTypeObject program_type;
extern HIDDEN PyTypeObject bodies_type;

#endif
