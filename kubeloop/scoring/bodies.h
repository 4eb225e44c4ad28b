/* What reading requests and writing answers share. */
#ifndef KUBELOOP_SCORING_BODIES_H
#define KUBELOOP_SCORING_BODIES_H

#include "native.h"

#define MOST_ROWS (1 << 30)

enum { V1, V2, MESSAGE };

typedef struct {
    const char *text; /* NULL: empty */
    Py_ssize_t size;
    double code;
} entry;

typedef struct {
    entry *entries;
    uint32_t mask;
} table;

typedef struct {
    PyObject_HEAD
    program *plan;
    PyObject *names, *labels, *texts, *packed, *head, *datatype, *name, *version; /* what tables and answers point into */
    table by_name;
    table *by_text; /* per input */
    double *low, *high;
    int probabilities, predictions;
} bodies;

typedef struct {
    const char *at, *end;
} reader;

/* A request while it is read. Cell of row r and column c: cells[c * stride + r]. */
typedef struct {
    int form;
    reader in;
    double *cells, *made;
    uint32_t *seen;
    char *outside;
    Py_ssize_t stride, rows;
    const char *id;
    Py_ssize_t id_size;
} request;

/* The entry of a text, or the empty one where it would be. */
HIDDEN entry *table_find(const table *in, const char *text, Py_ssize_t size);

/* Read a body into `asked`; 1, or 0 where it is left to the slower path. Need no lock. */
HIDDEN int read_v1(const bodies *self, request *asked);
HIDDEN int read_v2(const bodies *self, request *asked);

/* The same for a message of gRPC, with `room` of `message_room` bytes. */
HIDDEN size_t message_room(const program *plan);
HIDDEN int read_message(const bodies *self, request *asked, void *room);
HIDDEN char *put_message(const bodies *self, const request *asked, char *to);

/* A request's answer, how many rows it has, and the names of columns with a value outside their rules. See answers.c. */
HIDDEN PyObject *told(const bodies *self, const request *asked);

#endif
