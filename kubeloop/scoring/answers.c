/* Answers of V1 and V2 as JSON: what `serving/fast.py` writes, byte for byte. See messages.c for gRPC's. */
#include "bodies.h"

#include <string.h>

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

static PyObject *answer_of(const bodies *self, const request *asked)
{
    PyObject *made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)bound(self, asked));
    if (!made) return NULL;
    char *from = PyBytes_AS_STRING(made);
    char *to = (asked->form == V1 ? put_v1 : asked->form == V2 ? put_v2 : put_message)(self, asked, from);
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

PyObject *told(const bodies *self, const request *asked)
{
    PyObject *text = answer_of(self, asked), *outside = text ? outside_of(self, asked) : NULL;
    if (outside) return Py_BuildValue("(NnN)", text, asked->rows, outside);
    Py_XDECREF(text);
    return NULL;
}
