/* Bodies: requests of V1 and V2, as JSON or as gRPC's messages, straight into a plan's inputs, and its answers back.
 *
 * See requests.c and messages.c for what is taken, and answers.c for what is written. All else is answered with None, and
 * the Python codec of `serving/fast.py` has it: each answer is the one that it would give.
 */
#include "bodies.h"

#include <stdlib.h>
#include <string.h>

#define LARGE (64 * 1024) /* bytes of a body that is read and scored without the interpreter's lock */

/* ---- tables ---------------------------------------------------------------------------------------------------- */

entry *table_find(const table *in, const char *text, Py_ssize_t size)
{
    uint32_t hash = 2166136261u;
    for (Py_ssize_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    for (;; hash++) {
        entry *at = in->entries + (hash & in->mask);
        if (!at->text || (at->size == size && !memcmp(at->text, text, (size_t)size))) return at;
    }
}

/* At most half full: a search for what is not there ends. */
static int table_open(table *made, Py_ssize_t size)
{
    uint32_t room = 4;
    while (room < 2 * (size_t)size) room *= 2;
    made->entries = calloc(room, sizeof(entry));
    made->mask = room - 1;
    if (!made->entries) PyErr_NoMemory();
    return made->entries ? 0 : -1;
}

static int table_add(table *to, PyObject *text, double code)
{
    Py_ssize_t size;
    const char *plain = PyUnicode_AsUTF8AndSize(text, &size);
    if (!plain) return -1;
    *table_find(to, plain, size) = (entry){plain, size, code};
    return 0;
}

/* ---- scores ---------------------------------------------------------------------------------------------------- */

/* Score what was read; 1, or 0 where scikit-learn would refuse a row. */
static int score(const program *plan, request *asked, double *w, int32_t size, void *scratch)
{
    for (Py_ssize_t start = 0; start < asked->rows; start += size) {
        int32_t count = (int32_t)(asked->rows - start < size ? asked->rows - start : size);
        for (int32_t column = 0; column < plan->inputs; column++)
            memcpy(w + (Py_ssize_t)column * size, asked->cells + column * asked->stride + start,
                   sizeof(double) * (size_t)count);
        if (plan_run(plan, w, size, count, scratch) >= 0) return 0;
        for (int32_t r = 0; r < count; r++) plan_scores(plan, w, size, r, asked->made + (start + r) * plan->width);
    }
    return 1;
}

/* The most rows that a body can have; a cell is at least so many bytes. */
static Py_ssize_t most_rows(const bodies *self, PyObject *body, int least)
{
    return PyBytes_GET_SIZE(body) / (least * (Py_ssize_t)self->plan->inputs) + 1;
}

static size_t doubles(const bodies *self, Py_ssize_t rows)
{
    return (size_t)rows * (size_t)(self->plan->inputs + self->plan->width);
}

static size_t flags(const bodies *self)
{
    size_t bytes = (size_t)self->plan->inputs * (sizeof(uint32_t) + 1);
    return (bytes + sizeof(uint32_t) - 1) / sizeof(uint32_t) * sizeof(uint32_t);
}

/* `cells` has room for `doubles`, `room`, all zero, for `flags`. */
static request ask(const bodies *self, int form, PyObject *body, Py_ssize_t most, double *cells, char *room)
{
    const char *text = PyBytes_AS_STRING(body);
    Py_ssize_t columns = self->plan->inputs;
    return (request){.form = form,
                     .in = {text, text + PyBytes_GET_SIZE(body)},
                     .stride = most,
                     .cells = cells,
                     .made = cells + most * columns,
                     .seen = (uint32_t *)room,
                     .outside = room + columns * (Py_ssize_t)sizeof(uint32_t)};
}

static int score_alone(const bodies *self, request *asked)
{
    void *scratch;
    int32_t size = asked->rows < self->plan->block ? (int32_t)asked->rows : self->plan->block;
    double *w = plan_room(self->plan, size, &scratch);
    int scored = w && score(self->plan, asked, w, size, scratch);
    free(w);
    return scored;
}

/* 1, or 0 where it is left to the slower path. */
static int read_body(const bodies *self, request *asked, void *room)
{
    return asked->form == V1   ? read_v1(self, asked)
           : asked->form == V2 ? read_v2(self, asked)
                               : read_message(self, asked, room);
}

static int work(const bodies *self, request *asked, void *room)
{
    return read_body(self, asked, room) && score_alone(self, asked);
}

/* None: the slower path has to look. */
static PyObject *answered(const bodies *self, int form, PyObject *body)
{
    Py_ssize_t most = most_rows(self, body, form == MESSAGE ? 1 : 2);
    size_t inputs = form == MESSAGE ? message_room(self->plan) : 0;
    char *room = calloc(1, inputs + flags(self));
    double *cells = malloc(sizeof(double) * doubles(self, most));
    PyObject *made = NULL;
    if (room && cells) {
        int scored;
        request asked = ask(self, form, body, most, cells, room + inputs);
        if (PyBytes_GET_SIZE(body) > LARGE) {
            Py_BEGIN_ALLOW_THREADS
            scored = work(self, &asked, room);
            Py_END_ALLOW_THREADS
        } else
            scored = work(self, &asked, room);
        made = scored ? told(self, &asked) : Py_NewRef(Py_None);
    } else
        PyErr_NoMemory();
    free(cells);
    free(room);
    return made;
}

/* Score the rows of several requests as one block; 0 where they are too many, or scikit-learn would refuse one. */
static int score_together(const program *plan, request *asked, Py_ssize_t many)
{
    Py_ssize_t rows = 0;
    for (Py_ssize_t i = 0; i < many; i++) rows += asked[i].rows;
    if (!rows || rows > plan->block) return 0;
    void *scratch;
    double *w = plan_room(plan, (int32_t)rows, &scratch), *to = w;
    int scored = 0;
    if (w) {
        for (int32_t column = 0; column < plan->inputs; column++)
            for (Py_ssize_t i = 0; i < many; i++) {
                const double *from = asked[i].cells + column * asked[i].stride;
                for (Py_ssize_t r = 0; r < asked[i].rows; r++) *to++ = from[r];
            }
        scored = plan_run(plan, w, (int32_t)rows, (int32_t)rows, scratch) < 0;
        int32_t row = 0;
        for (Py_ssize_t i = 0; scored && i < many; i++)
            for (Py_ssize_t r = 0; r < asked[i].rows; r++)
                plan_scores(plan, w, (int32_t)rows, row++, asked[i].made + r * plan->width);
    }
    free(w);
    return scored;
}

/* V2 or V1, and the body; NULL: it is no request. */
static PyObject *body_of(PyObject *item, int *form)
{
    if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) < 2) return NULL;
    PyObject *v2 = PyTuple_GET_ITEM(item, 0), *body = PyTuple_GET_ITEM(item, 1);
    *form = v2 == Py_True ? V2 : V1;
    return PyBool_Check(v2) && PyBytes_CheckExact(body) ? body : NULL;
}

static PyObject *answers_of(const bodies *self, request *asked, Py_ssize_t many)
{
    int together = score_together(self->plan, asked, many);
    PyObject *made = PyList_New(many);
    for (Py_ssize_t i = 0; made && i < many; i++) {
        int scored = asked[i].rows && (together || score_alone(self, asked + i));
        PyObject *each = scored ? told(self, asked + i) : Py_NewRef(Py_None);
        if (each)
            PyList_SET_ITEM(made, i, each);
        else
            Py_CLEAR(made);
    }
    return made;
}

/* answers(requests): each a tuple that begins with whether it is V2, and the body. */
static PyObject *bodies_answers(bodies *self, PyObject *given)
{
    int form;
    size_t needed = 0;
    Py_ssize_t many = PyList_CheckExact(given) ? PyList_GET_SIZE(given) : -1;
    for (Py_ssize_t i = 0; i < many; i++) {
        PyObject *body = body_of(PyList_GET_ITEM(given, i), &form);
        if (!body)
            many = -1;
        else
            needed += doubles(self, most_rows(self, body, 2));
    }
    if (many < 0) {
        PyErr_SetString(PyExc_TypeError,
                        "a list of tuples that begin with whether it is V2, and the body as bytes, was expected");
        return NULL;
    }
    char *room = calloc((size_t)many + 1, sizeof(request) + flags(self));
    double *cells = malloc(sizeof(double) * (needed + 1)), *free_cells = cells;
    PyObject *made = NULL;
    if (room && cells) {
        request *asked = (request *)room;
        char *free_room = room + sizeof(request) * (size_t)many;
        for (Py_ssize_t i = 0; i < many; i++) {
            PyObject *body = body_of(PyList_GET_ITEM(given, i), &form);
            Py_ssize_t most = most_rows(self, body, 2);
            asked[i] = ask(self, form, body, most, free_cells, free_room);
            if (!read_body(self, asked + i, NULL)) asked[i].rows = 0;
            free_cells += doubles(self, most);
            free_room += flags(self);
        }
        made = answers_of(self, asked, many);
    } else
        PyErr_NoMemory();
    free(cells);
    free(room);
    return made;
}

/* answer(v2, body) */
static PyObject *bodies_answer(bodies *self, PyObject *const *given, Py_ssize_t count)
{
    if (count == 2 && PyBool_Check(given[0]) && PyBytes_CheckExact(given[1]))
        return answered(self, given[0] == Py_True ? V2 : V1, given[1]);
    PyErr_SetString(PyExc_TypeError, "whether it is V2, and the body as bytes, were expected");
    return NULL;
}

/* message(body) */
static PyObject *bodies_message(bodies *self, PyObject *given)
{
    if (PyBytes_CheckExact(given)) return answered(self, MESSAGE, given);
    PyErr_SetString(PyExc_TypeError, "a ModelInferRequest as bytes was expected");
    return NULL;
}

/* ---- the type -------------------------------------------------------------------------------------------------- */

static void bodies_dealloc(bodies *self)
{
    for (int32_t i = 0; self->by_text && i < self->plan->inputs; i++) free(self->by_text[i].entries);
    free(self->by_text);
    free(self->by_name.entries);
    free(self->low);
    Py_XDECREF(self->plan);
    Py_XDECREF(self->names);
    Py_XDECREF(self->labels);
    Py_XDECREF(self->texts);
    Py_XDECREF(self->packed);
    Py_XDECREF(self->name);
    Py_XDECREF(self->version);
    Py_XDECREF(self->head);
    Py_XDECREF(self->datatype);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int all_bytes(PyObject *texts)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(texts); i++)
        if (!PyBytes_CheckExact(PyTuple_GET_ITEM(texts, i))) return 0;
    return 1;
}

/* The tables of column names and of each column's texts. */
static int open_tables(bodies *self)
{
    int32_t columns = self->plan->inputs;
    self->by_text = calloc((size_t)columns, sizeof(table));
    if (!self->by_text) {
        PyErr_NoMemory();
        return -1;
    }
    if (table_open(&self->by_name, columns)) return -1;
    for (int32_t i = 0; i < columns; i++) {
        PyObject *known = PyTuple_GET_ITEM(self->plan->tables, i), *text, *code;
        Py_ssize_t at = 0;
        if (table_add(&self->by_name, PyTuple_GET_ITEM(self->names, i), i)) return -1;
        if (table_open(self->by_text + i, PyDict_Check(known) ? PyDict_GET_SIZE(known) : 0)) return -1;
        while (PyDict_Check(known) && PyDict_Next(known, &at, &text, &code))
            if (table_add(self->by_text + i, text, PyFloat_AsDouble(code))) return -1;
    }
    return 0;
}

/* Bodies(program, names, low, high, labels, texts, packed, head, datatype, name, version, predictions, probabilities)
 *
 * low, high: buffers of a double per column. labels, texts, packed: each class as JSON in V1 and V2, and as it stands in
 * gRPC's contents; empty in regression. head: how a V2 answer begins. datatype: of V2's predictions. */
static PyObject *bodies_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(words))
{
    PyObject *plan, *names, *labels, *texts, *packed, *head, *datatype, *name, *version;
    const char *low, *high;
    Py_ssize_t low_size, high_size;
    int predictions, probabilities;
    if (!PyArg_ParseTuple(args, "O!O!y#y#O!O!O!SSSSpp", &program_type, &plan, &PyTuple_Type, &names, &low, &low_size, &high,
                          &high_size, &PyTuple_Type, &labels, &PyTuple_Type, &texts, &PyTuple_Type, &packed,
                          &head, &datatype, &name, &version, &predictions, &probabilities))
        return NULL;
    Py_ssize_t columns = ((program *)plan)->inputs, classes = PyTuple_GET_SIZE(labels), limits = columns * (Py_ssize_t)sizeof(double);
    if (PyTuple_GET_SIZE(names) != columns || low_size != limits || high_size != limits ||
        (classes && classes != ((program *)plan)->width) || PyTuple_GET_SIZE(texts) != classes ||
        PyTuple_GET_SIZE(packed) != classes || !all_bytes(labels) || !all_bytes(texts) || !all_bytes(packed)) {
        PyErr_SetString(PyExc_ValueError, "as many names and limits as columns, as many labels as answers were expected");
        return NULL;
    }
    bodies *self = (bodies *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->plan = (program *)Py_NewRef(plan);
    self->names = Py_NewRef(names);
    self->labels = Py_NewRef(labels);
    self->texts = Py_NewRef(texts);
    self->packed = Py_NewRef(packed);
    self->name = Py_NewRef(name);
    self->version = Py_NewRef(version);
    self->head = Py_NewRef(head);
    self->datatype = Py_NewRef(datatype);
    self->predictions = predictions;
    self->probabilities = probabilities;
    self->low = malloc(2 * (size_t)limits);
    if (!self->low) PyErr_NoMemory();
    if (self->low) {
        self->high = self->low + columns;
        memcpy(self->low, low, (size_t)limits);
        memcpy(self->high, high, (size_t)limits);
    }
    if (!self->low || open_tables(self)) Py_CLEAR(self);
    return (PyObject *)self;
}

static PyMethodDef bodies_methods[] = {
    {"answer", (PyCFunction)(void (*)(void))bodies_answer, METH_FASTCALL, "A request's JSON to its answer's."},
    {"answers", (PyCFunction)bodies_answers, METH_O, "Several requests' JSON to their answers'."},
    {"message", (PyCFunction)bodies_message, METH_O, "A ModelInferRequest to its ModelInferResponse."},
    {NULL, NULL, 0, NULL}};

PyTypeObject bodies_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "kubeloop.scoring._native.Bodies",
    .tp_basicsize = sizeof(bodies),
    .tp_dealloc = (destructor)bodies_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "A plan behind V1 and V2.",
    .tp_methods = bodies_methods,
    .tp_new = bodies_new,
};
