/* Bodies: requests of V1 and V2, as JSON or as gRPC's messages, straight into a plan's inputs, and its answers back.
 *
 * See requests.c and messages.c for what is taken. All else is answered with None, and the Python codec of `serving/fast.py` has it:
 * each answer is the one that it would give.
 */
#include "bodies.h"

#include <stdlib.h>
#include <string.h>

enum { V1, V2, MESSAGE };

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

/* ---- answers --------------------------------------------------------------------------------------------------- */

/* Score what was read; 1, or 0 where scikit-learn would refuse a row. */
static int score(const program *plan, request *asked, double *w, int32_t size, void *scratch)
{
    for (Py_ssize_t start = 0; start < asked->rows; start += size) {
        int32_t count = (int32_t)(asked->rows - start < size ? asked->rows - start : size);
        for (int32_t column = 0; column < plan->inputs; column++)
            memcpy(w + (Py_ssize_t)column * size, asked->cells + column * asked->stride + start, sizeof(double) * (size_t)count);
        if (plan_run(plan, w, size, count, scratch) >= 0) return 0;
        for (int32_t r = 0; r < count; r++)
            for (int32_t j = 0; j < plan->width; j++)
                asked->made[(start + r) * plan->width + j] = w[(Py_ssize_t)plan->result[j] * size + r];
    }
    return 1;
}

static char *put(char *to, const char *text, Py_ssize_t size)
{
    memcpy(to, text, (size_t)size);
    return to + size;
}

static char *put_bytes(char *to, PyObject *text) { return put(to, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)); }
static char *put_text(char *to, const char *text) { return put(to, text, (Py_ssize_t)strlen(text)); }

/* The class of each row's largest share, the first one on a tie. */
static char *put_labels(const request *asked, int32_t width, PyObject *labels, char *to)
{
    for (Py_ssize_t row = 0; row < asked->rows; row++) {
        const double *at = asked->made + row * width;
        int32_t best = 0;
        for (int32_t j = 1; j < width; j++)
            if (at[j] > at[best]) best = j;
        if (row) *to++ = ',';
        to = put_bytes(to, PyTuple_GET_ITEM(labels, best));
    }
    return to;
}

/* All values in a row, or each row's in brackets; NULL: no memory. */
static char *put_values(const request *asked, int32_t width, int nested, char *to)
{
    for (Py_ssize_t row = 0; row < asked->rows; row++)
        for (int32_t j = 0; j < width; j++) {
            if (row || j) *to++ = ',';
            if (nested && !j) *to++ = '[';
            if (!(to = write_float(asked->made[row * width + j], to))) return NULL;
            if (nested && j == width - 1) *to++ = ']';
        }
    return to;
}

static char *put_v1(const bodies *self, const request *asked, char *to)
{
    int32_t width = self->plan->width;
    to = put_text(to, "{\"predictions\":[");
    if (!PyTuple_GET_SIZE(self->labels))
        to = put_values(asked, width, 0, to);
    else {
        to = put_labels(asked, width, self->labels, to);
        if (self->probabilities) to = put_values(asked, width, 1, put_text(to, "],\"probabilities\":["));
    }
    return to ? put_text(to, "]}") : NULL;
}

static char *put_tensor(char *to, const char *name, const char *type, Py_ssize_t rows, int32_t width)
{
    to = put_text(put_text(put_text(to, "{\"name\":\""), name), "\",\"datatype\":\"");
    to = put_text(put_text(to, type), "\",\"shape\":[");
    return to + (width ? sprintf(to, "%zd,%d],\"data\":[", rows, (int)width) : sprintf(to, "%zd],\"data\":[", rows));
}

static char *put_v2(const bodies *self, const request *asked, char *to)
{
    int32_t width = self->plan->width;
    int regression = !PyTuple_GET_SIZE(self->labels);
    to = put_text(put_bytes(to, self->head), ",\"outputs\":[");
    if (regression || self->predictions) {
        to = put_tensor(to, "predictions", PyBytes_AS_STRING(self->datatype), asked->rows, 0);
        to = regression ? put_values(asked, width, 0, to) : put_labels(asked, width, self->texts, to);
        if (!to) return NULL;
        to = put_text(to, "]}");
    }
    if (!regression && self->probabilities) {
        if (self->predictions) *to++ = ',';
        to = put_values(asked, width, 0, put_tensor(to, "probabilities", "FP64", asked->rows, width));
        if (!to) return NULL;
        to = put_text(to, "]}");
    }
    *to++ = ']';
    if (asked->id) {
        to = put(put_text(to, ",\"id\":\""), asked->id, asked->id_size);
        *to++ = '"';
    }
    *to++ = '}';
    return to;
}

/* The most bytes that an answer can have. */
static size_t bound(const bodies *self, const request *asked)
{
    size_t label = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->labels); i++) {
        size_t v1 = (size_t)PyBytes_GET_SIZE(PyTuple_GET_ITEM(self->labels, i));
        size_t v2 = (size_t)PyBytes_GET_SIZE(PyTuple_GET_ITEM(self->texts, i));
        label = v1 > label ? v1 : label;
        size_t packed = (size_t)PyBytes_GET_SIZE(PyTuple_GET_ITEM(self->packed, i));
        label = v2 > label ? v2 : label;
        label = packed > label ? packed : label;
    }
    size_t row = label + 3 + (size_t)self->plan->width * (FLOAT_ROOM + 1);
    size_t around = (size_t)PyBytes_GET_SIZE(self->head) + (size_t)PyBytes_GET_SIZE(self->datatype) + 512;
    around += (size_t)PyBytes_GET_SIZE(self->name) + (size_t)PyBytes_GET_SIZE(self->version);
    return around + (size_t)asked->id_size + (size_t)asked->rows * row;
}

static PyObject *answer_of(const bodies *self, const request *asked, int form)
{
    PyObject *made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)bound(self, asked));
    if (!made) return NULL;
    char *from = PyBytes_AS_STRING(made);
    char *to = (form == V1 ? put_v1 : form == V2 ? put_v2 : put_message)(self, asked, from);
    if (to)
        _PyBytes_Resize(&made, to - from);
    else
        Py_CLEAR(made);
    return made;
}

/* The names of the columns with a value outside their rules. */
static PyObject *outside_of(const bodies *self, const request *asked)
{
    Py_ssize_t count = 0;
    for (int32_t column = 0; column < self->plan->inputs; column++) count += asked->outside[column];
    PyObject *made = PyTuple_New(count);
    for (int32_t column = 0; made && count; column++)
        if (asked->outside[column])
            PyTuple_SET_ITEM(made, PyTuple_GET_SIZE(made) - count--, Py_NewRef(PyTuple_GET_ITEM(self->names, column)));
    return made;
}

static int work(const bodies *self, request *asked, int form, void *room)
{
    void *scratch;
    int taken = form == V1 ? read_v1(self, asked) : form == V2 ? read_v2(self, asked) : read_message(self, asked, room);
    if (!taken) return 0;
    int32_t size = asked->rows < self->plan->block ? (int32_t)asked->rows : self->plan->block;
    double *w = plan_room(self->plan, size, &scratch);
    int scored = w && score(self->plan, asked, w, size, scratch);
    free(w);
    return scored;
}

/* A request's answer, how many rows it has, and the names of columns with a value outside their rules; or None, where the
 * slower path has to look. */
static PyObject *answered(const bodies *self, int form, PyObject *given)
{
    const char *body = PyBytes_AS_STRING(given);
    int scored, least = form == MESSAGE ? 1 : 2; /* bytes of a cell */
    Py_ssize_t length = PyBytes_GET_SIZE(given), columns = self->plan->inputs, most = length / (least * columns) + 1;
    request asked = {.in = {body, body + length}, .stride = most};
    size_t inputs = form == MESSAGE ? message_room(self->plan) : 0;
    char *room = calloc(1, inputs + (size_t)columns * (sizeof(uint32_t) + 1));
    asked.cells = malloc(sizeof(double) * (size_t)most * (size_t)(columns + self->plan->width));
    PyObject *made = NULL, *text, *outside;
    if (!room || !asked.cells) {
        PyErr_NoMemory();
        goto end;
    }
    asked.made = asked.cells + most * columns;
    asked.seen = (uint32_t *)(room + inputs);
    asked.outside = room + inputs + (size_t)columns * sizeof(uint32_t);
    if (length > LARGE) {
        Py_BEGIN_ALLOW_THREADS
        scored = work(self, &asked, form, room);
        Py_END_ALLOW_THREADS
    } else
        scored = work(self, &asked, form, room);
    if (!scored) {
        made = Py_NewRef(Py_None);
        goto end;
    }
    text = answer_of(self, &asked, form);
    outside = text ? outside_of(self, &asked) : NULL;
    if (outside)
        made = Py_BuildValue("(NnN)", text, asked.rows, outside);
    else
        Py_XDECREF(text);
end:
    free(asked.cells);
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
