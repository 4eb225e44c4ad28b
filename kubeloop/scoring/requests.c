/* Reading: V1 and V2 requests as JSON straight into a plan's inputs.
 *
 * What is taken is what `serving/fast.py` takes, and less: anything unusual (an escape, a key twice, an unknown text, a
 * whole number of more digits than a double has) is left to it. So nothing here explains a mistake.
 *
 * No read goes beyond `end`; a cell takes two bytes of a body at the least, which bounds the rows.
 */
#include "bodies.h"

#include <math.h>
#include <string.h>

enum { ANY, FLOATS, INTEGERS, BOOLEANS }; /* what a V2 datatype allows as cells; BYTES, and V1: any */

/* ---- tokens: each returns 1, or 0 where the request is left to the slower path ----------------------------------- */

static void space(reader *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\r' || *in->at == '\t')) in->at++;
}

static int take(reader *in, char wanted)
{
    space(in);
    if (in->at >= in->end || *in->at != wanted) return 0;
    in->at++;
    return 1;
}

/* The object ends here, and the body with it. */
static int closed(reader *in)
{
    if (!take(in, '}')) return 0;
    space(in);
    return in->at == in->end;
}

static int word(reader *in, const char *wanted)
{
    size_t size = strlen(wanted);
    if ((size_t)(in->end - in->at) < size || memcmp(in->at, wanted, size)) return 0;
    in->at += size;
    return 1;
}

/* A text without escapes. It may be no UTF-8: compare it with one that is, or see that it is `ascii`. */
static int string(reader *in, const char **text, Py_ssize_t *size, int *ascii)
{
    unsigned char all = 0;
    if (!take(in, '"')) return 0;
    for (*text = in->at; in->at < in->end; in->at++) {
        unsigned char c = (unsigned char)*in->at;
        if (c == '"') {
            *size = in->at++ - *text;
            *ascii = all < 0x80;
            return 1;
        }
        if (c == '\\' || c < 0x20) return 0;
        all |= c;
    }
    return 0;
}

static int is(const char *text, Py_ssize_t size, const char *wanted)
{
    return size == (Py_ssize_t)strlen(wanted) && !memcmp(text, wanted, (size_t)size);
}

static int number(reader *in, double *to, int *whole)
{
    const char *after = read_float(in->at, in->end, to, whole);
    if (after) in->at = after;
    return after != NULL;
}

/* `parameters` change nothing: an object of plain values is stepped over. */
static int parameters(reader *in)
{
    const char *text;
    Py_ssize_t size;
    int ascii, whole;
    double value;
    if (!take(in, '{')) return 0;
    if (take(in, '}')) return 1;
    do {
        if (!string(in, &text, &size, &ascii) || !ascii || !take(in, ':')) return 0;
        space(in);
        if (in->at < in->end && *in->at == '"') {
            if (!string(in, &text, &size, &ascii) || !ascii) return 0;
        } else if (!word(in, "true") && !word(in, "false") && !word(in, "null") && !number(in, &value, &whole))
            return 0;
    } while (take(in, ','));
    return take(in, '}');
}

/* ---- cells ----------------------------------------------------------------------------------------------------- */

static int category(const bodies *self, reader *in, int32_t column, int allowed, double *to)
{
    const char *text = in->at;
    Py_ssize_t size;
    int ascii, whole;
    double value;
    if (*in->at == '"') {
        if (allowed != ANY || !string(in, &text, &size, &ascii)) return 0;
    } else {
        /* A category that is a number is known by its digits. */
        if ((allowed != ANY && allowed != INTEGERS) || !number(in, &value, &whole) || !whole) return 0;
        if (*text == '-' && value == 0.0) return 0; /* JSON has it, and no category is written so */
        size = in->at - text;
    }
    entry *found = table_find(self->by_text + column, text, size);
    *to = found->code;
    return found->text != NULL;
}

static int cell(const bodies *self, request *asked, int32_t column, int allowed, double *to)
{
    const program *plan = self->plan;
    reader *in = &asked->in;
    char kind = plan->kinds[column];
    int whole;
    space(in);
    if (in->at >= in->end) return 0;
    if (*in->at == 'n') {
        *to = kind == 'c' ? plan->codes[column] - 1 : NAN;
        return plan->nullable[column] && word(in, "null");
    }
    if (kind == 'c') return category(self, in, column, allowed, to);
    if (kind == 'b') {
        if (allowed != ANY && allowed != BOOLEANS) return 0;
        *to = *in->at == 't';
        if (!word(in, *to ? "true" : "false")) return 0;
    } else {
        if (allowed == BOOLEANS || !number(in, to, &whole) || (allowed == INTEGERS && !whole)) return 0;
        if (kind == 't' && !(fabs(*to) <= LATEST_S)) return 0;
    }
    if (!(self->low[column] <= *to && *to <= self->high[column])) asked->outside[column] = 1;
    return 1;
}

/* ---- V1 -------------------------------------------------------------------------------------------------------- */

static int listed(const bodies *self, request *asked)
{
    for (int32_t column = 0; column < self->plan->inputs; column++) {
        if (column && !take(&asked->in, ',')) return 0;
        if (!cell(self, asked, column, ANY, asked->cells + column * asked->stride + asked->rows)) return 0;
    }
    return take(&asked->in, ']');
}

static int named(const bodies *self, request *asked)
{
    uint32_t round = (uint32_t)asked->rows + 1;
    for (int32_t count = 0; count < self->plan->inputs; count++) {
        const char *text;
        Py_ssize_t size;
        int ascii;
        if ((count && !take(&asked->in, ',')) || !string(&asked->in, &text, &size, &ascii)) return 0;
        entry *found = table_find(&self->by_name, text, size);
        int32_t column = (int32_t)found->code;
        if (!found->text || asked->seen[column] == round || !take(&asked->in, ':')) return 0;
        asked->seen[column] = round;
        if (!cell(self, asked, column, ANY, asked->cells + column * asked->stride + asked->rows)) return 0;
    }
    return take(&asked->in, '}');
}

int read_v1(const bodies *self, request *asked)
{
    const char *text;
    Py_ssize_t size;
    int ascii, kind = 0;
    reader *in = &asked->in;
    if (!take(in, '{') || !string(in, &text, &size, &ascii) || !is(text, size, "instances")) return 0;
    if (!take(in, ':') || !take(in, '[')) return 0;
    do {
        space(in);
        if (in->at >= in->end || asked->rows >= asked->stride || (kind && *in->at != kind)) return 0;
        kind = *in->at++;
        if (kind == '[' ? !listed(self, asked) : kind == '{' ? !named(self, asked) : 1) return 0;
        asked->rows++;
    } while (take(in, ','));
    return take(in, ']') && closed(in);
}

/* ---- V2 -------------------------------------------------------------------------------------------------------- */

static int datatype(const char *text, Py_ssize_t size)
{
    if (is(text, size, "FP64") || is(text, size, "FP32")) return FLOATS;
    if (is(text, size, "INT64") || is(text, size, "INT32")) return INTEGERS;
    if (is(text, size, "BYTES")) return ANY;
    return is(text, size, "BOOL") ? BOOLEANS : -1;
}

/* [n] or [n, width]; `*width` is 0 for the former. */
static int shape(reader *in, Py_ssize_t *rows, Py_ssize_t *width)
{
    double value[2] = {0, 0};
    int whole, size = 0;
    if (!take(in, '[')) return 0;
    do {
        space(in);
        if (size == 2 || !number(in, value + size, &whole) || !whole || value[size] < 1 || value[size] > MOST_ROWS) return 0;
        size++;
    } while (take(in, ','));
    *rows = (Py_ssize_t)value[0];
    *width = (Py_ssize_t)value[1];
    return take(in, ']');
}

/* One tensor of all columns, flat or row by row. */
static int all_columns(const bodies *self, request *asked, int allowed)
{
    reader *in = &asked->in;
    if (!take(in, '[')) return 0;
    space(in);
    int nested = in->at < in->end && *in->at == '[';
    for (Py_ssize_t row = 0; row < asked->rows; row++) {
        if (row && !take(in, ',')) return 0;
        if (nested && !take(in, '[')) return 0;
        for (int32_t column = 0; column < self->plan->inputs; column++) {
            if (column && !take(in, ',')) return 0;
            if (!cell(self, asked, column, allowed, asked->cells + column * asked->stride + row)) return 0;
        }
        if (nested && !take(in, ']')) return 0;
    }
    return take(in, ']');
}

static int one_column(const bodies *self, request *asked, int32_t column, int allowed)
{
    if (asked->seen[column]++ || !take(&asked->in, '[')) return 0;
    for (Py_ssize_t row = 0; row < asked->rows; row++) {
        if (row && !take(&asked->in, ',')) return 0;
        if (!cell(self, asked, column, allowed, asked->cells + column * asked->stride + row)) return 0;
    }
    return take(&asked->in, ']');
}

/* One of the inputs: how many columns it has, or 0. Its name, shape and datatype have to come before its data. */
static int32_t tensor(const bodies *self, request *asked)
{
    const char *text, *name = NULL;
    Py_ssize_t size, name_size = 0, rows = 0, width = 0;
    int ascii, plain = 0, allowed = -1, noted = 0;
    int32_t columns = 0;
    reader *in = &asked->in;
    if (!take(in, '{')) return 0;
    do {
        if (!string(in, &text, &size, &ascii) || !take(in, ':')) return 0;
        if (is(text, size, "name")) {
            if (name || !string(in, &name, &name_size, &plain)) return 0;
        } else if (is(text, size, "shape")) {
            if (rows || !shape(in, &rows, &width)) return 0;
        } else if (is(text, size, "datatype")) {
            if (allowed >= 0 || !string(in, &text, &size, &ascii) || (allowed = datatype(text, size)) < 0) return 0;
        } else if (is(text, size, "parameters")) {
            if (noted++ || !parameters(in)) return 0;
        } else if (is(text, size, "data")) {
            if (columns || !name || !rows || allowed < 0 || rows > asked->stride) return 0;
            if (asked->rows && asked->rows != rows) return 0;
            asked->rows = rows;
            if (width > 1) {
                if (width != self->plan->inputs || !plain || !all_columns(self, asked, allowed)) return 0;
                columns = self->plan->inputs;
            } else {
                entry *found = table_find(&self->by_name, name, name_size);
                if (!found->text || !one_column(self, asked, (int32_t)found->code, allowed)) return 0;
                columns = 1;
            }
        } else
            return 0;
    } while (take(in, ','));
    return take(in, '}') ? columns : 0;
}

static int inputs(const bodies *self, request *asked)
{
    int32_t columns = 0;
    if (!take(&asked->in, '[')) return 0;
    do {
        int32_t more = tensor(self, asked);
        if (!more || (columns += more) > self->plan->inputs) return 0;
    } while (take(&asked->in, ','));
    return columns == self->plan->inputs && take(&asked->in, ']');
}

int read_v2(const bodies *self, request *asked)
{
    const char *text;
    Py_ssize_t size;
    int ascii, noted = 0;
    reader *in = &asked->in;
    if (!take(in, '{')) return 0;
    do {
        if (!string(in, &text, &size, &ascii) || !take(in, ':')) return 0;
        if (is(text, size, "inputs")) {
            if (asked->rows || !inputs(self, asked)) return 0;
        } else if (is(text, size, "id")) {
            if (asked->id || !string(in, &asked->id, &asked->id_size, &ascii) || !ascii) return 0;
        } else if (!is(text, size, "parameters") || noted++ || !parameters(in))
            return 0;
    } while (take(in, ','));
    return asked->rows && closed(in);
}
