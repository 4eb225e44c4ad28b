/* Messages: ModelInfer of V2 over gRPC as the bytes of protocol buffers, read and written without objects.
 *
 * As in requests.c, what is not plainly right is left to the slower path: a field that is unknown or comes twice, numbers
 * that are not packed, a text that the schema does not list. Every length is held against what is left before it is used.
 */
#include "bodies.h"

#include <math.h>
#include <string.h>

#define VARINT 0
#define LENGTHS 2
#define MOST_WHOLE 9007199254740992LL /* up to which a double has every whole number */

/* Fields of ModelInferRequest, InferInputTensor and InferTensorContents. */
enum { MODEL_NAME = 1, MODEL_VERSION, REQUEST_ID, REQUEST_PARAMETERS, INPUTS, OUTPUTS, RAW };
enum { NAME = 1, DATATYPE, SHAPE, PARAMETERS, CONTENTS };
enum { BOOLS = 1, INTS, LONGS, UINTS, ULONGS, SINGLES, DOUBLES, TEXTS };

/* One input: its parts, and its values, of `size` bytes each where they have one size; 0: varints, -1: texts. */
typedef struct {
    reader name, datatype, values;
    Py_ssize_t rows, width;
    int field, raw;
} input;

static int varint(reader *in, uint64_t *to)
{
    *to = 0;
    for (int shift = 0; shift < 64 && in->at < in->end; shift += 7) {
        uint64_t byte = (unsigned char)*in->at++;
        *to |= (byte & 0x7f) << shift;
        if (byte < 0x80) return shift < 63 || byte < 2;
    }
    return 0;
}

/* The next field; those that have a length alone are taken. */
static int field(reader *in, int *number, reader *value)
{
    uint64_t tag, size;
    if (!varint(in, &tag) || (tag & 7) != LENGTHS || tag >> 3 > 15 || tag >> 3 < 1) return 0;
    if (!varint(in, &size) || size > (uint64_t)(in->end - in->at)) return 0;
    *number = (int)(tag >> 3);
    *value = (reader){in->at, in->at + size};
    in->at += size;
    return 1;
}

static int is_ascii(reader text)
{
    for (; text.at < text.end; text.at++)
        if ((unsigned char)*text.at >= 0x80) return 0;
    return 1;
}

static int same(reader text, const char *wanted, Py_ssize_t size)
{
    return text.end - text.at == size && !memcmp(text.at, wanted, (size_t)size);
}

/* Which field of the contents a datatype's values are in; 0: it is left to the slower path. */
static int field_of(reader datatype)
{
    static const struct {
        const char *name;
        int field;
    } known[] = {{"FP64", DOUBLES}, {"BYTES", TEXTS}, {"FP32", SINGLES}, {"INT64", LONGS}, {"INT32", INTS}, {"BOOL", BOOLS}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (same(datatype, known[i].name, (Py_ssize_t)strlen(known[i].name))) return known[i].field;
    return 0;
}

static int dimensions(reader in, Py_ssize_t *rows, Py_ssize_t *width)
{
    uint64_t first, second = 0;
    if (!varint(&in, &first) || first < 1 || first > MOST_ROWS) return 0;
    if (in.at < in.end && (!varint(&in, &second) || second < 1 || second > MOST_ROWS)) return 0;
    *rows = (Py_ssize_t)first;
    *width = (Py_ssize_t)second;
    return in.at == in.end;
}

static int tensor(reader in, input *to)
{
    int number, seen = 0;
    reader value, contents = {NULL, NULL};
    memset(to, 0, sizeof *to);
    while (in.at < in.end) {
        if (!field(&in, &number, &value) || number > CONTENTS || (number != PARAMETERS && seen & 1 << number)) return 0;
        seen |= 1 << number;
        if (number == NAME) to->name = value;
        if (number == DATATYPE) to->datatype = value;
        if (number == SHAPE && !dimensions(value, &to->rows, &to->width)) return 0;
        if (number == CONTENTS) contents = value;
    }
    to->field = field_of(to->datatype);
    if (!to->field || !to->rows) return 0;
    if (!contents.at) return to->raw = 1; /* they are to come */
    to->values = contents;
    if (to->field == TEXTS) return 1;
    return field(&contents, &number, &to->values) && number == to->field && contents.at == contents.end;
}

/* The next of a tensor's values as a column's input. */
static int value(const bodies *self, request *asked, int32_t column, const input *from, reader *in, double *to)
{
    const program *plan = self->plan;
    char kind = plan->kinds[column];
    if (from->field == TEXTS) {
        int number = TEXTS;
        reader text;
        if (kind != 'c') return 0;
        if (from->raw) {
            uint32_t size;
            if (in->end - in->at < 4) return 0;
            memcpy(&size, in->at, sizeof size);
            in->at += 4;
            if (size > (uint64_t)(in->end - in->at)) return 0;
            text = (reader){in->at, in->at + size};
            in->at += size;
        } else if (!field(in, &number, &text) || number != TEXTS)
            return 0;
        entry *found = table_find(self->by_text + column, text.at, text.end - text.at);
        *to = found->code;
        return found->text != NULL;
    }
    if (kind == 'c' || (kind == 'b') != (from->field == BOOLS)) return 0;
    if (from->field == DOUBLES || from->field == SINGLES) {
        float single;
        size_t size = from->field == DOUBLES ? sizeof *to : sizeof single;
        if ((size_t)(in->end - in->at) < size) return 0;
        if (from->field == DOUBLES)
            memcpy(to, in->at, size);
        else {
            memcpy(&single, in->at, size);
            *to = single;
        }
        in->at += size;
        if (*to != *to) return plan->nullable[column]; /* NaN is a missing value */
        if (isinf(*to)) return 0;
    } else if (from->raw) {
        int64_t whole = 0;
        int32_t half;
        size_t size = from->field == LONGS ? 8 : from->field == INTS ? 4 : 1;
        if ((size_t)(in->end - in->at) < size) return 0;
        if (size == 8) memcpy(&whole, in->at, size);
        if (size == 4) memcpy(&half, in->at, size), whole = half;
        if (size == 1) whole = *in->at != 0;
        in->at += size;
        if (whole > MOST_WHOLE || whole < -MOST_WHOLE) return 0;
        *to = (double)whole;
    } else {
        uint64_t found;
        if (!varint(in, &found) || (from->field == BOOLS && found > 1)) return 0;
        int64_t whole = (int64_t)found;
        if (whole > MOST_WHOLE || whole < -MOST_WHOLE) return 0;
        if (from->field == INTS && (whole > INT32_MAX || whole < INT32_MIN)) return 0;
        *to = (double)whole;
    }
    if (kind == 't' && !(fabs(*to) <= LATEST_S)) return 0;
    if (!(self->low[column] <= *to && *to <= self->high[column])) asked->outside[column] = 1;
    return 1;
}

/* The cells of one input: how many columns it has, or 0. */
static int32_t cells(const bodies *self, request *asked, const input *from)
{
    reader in = from->values;
    int32_t inputs = self->plan->inputs;
    if (from->rows > asked->stride || (asked->rows && asked->rows != from->rows)) return 0;
    asked->rows = from->rows;
    if (from->width > 1) {
        if (from->width != inputs || !is_ascii(from->name)) return 0;
        for (Py_ssize_t row = 0; row < from->rows; row++)
            for (int32_t column = 0; column < inputs; column++)
                if (!value(self, asked, column, from, &in, asked->cells + column * asked->stride + row)) return 0;
        return in.at == in.end ? inputs : 0;
    }
    entry *found = table_find(&self->by_name, from->name.at, from->name.end - from->name.at);
    int32_t column = (int32_t)found->code;
    if (!found->text || asked->seen[column]++) return 0;
    for (Py_ssize_t row = 0; row < from->rows; row++)
        if (!value(self, asked, column, from, &in, asked->cells + column * asked->stride + row)) return 0;
    return in.at == in.end;
}

/* The values that came behind the inputs, in their order: none, or one for each. */
static int raw_values(reader in, input *inputs, Py_ssize_t count)
{
    int number, coming = 0;
    reader value;
    Py_ssize_t at = 0;
    for (Py_ssize_t i = 0; i < count; i++) coming += inputs[i].raw;
    while (in.at < in.end) {
        if (!field(&in, &number, &value)) return 0;
        if (number != RAW) continue;
        if (at == count || !inputs[at].raw) return 0;
        inputs[at++].values = value;
    }
    return coming == at && (at == 0 || at == count);
}

int read_message(const bodies *self, request *asked, void *room)
{
    reader in = {asked->in.at, asked->in.end}, found;
    input *inputs = room;
    Py_ssize_t count = 0;
    int number, seen = 0;
    int32_t columns = 0;
    while (in.at < in.end) {
        if (!field(&in, &number, &found) || number == OUTPUTS || number > RAW) return 0;
        if (number <= REQUEST_ID && seen & 1 << number) return 0;
        seen |= 1 << number;
        if (number == MODEL_NAME && !same(found, PyBytes_AS_STRING(self->name), PyBytes_GET_SIZE(self->name))) return 0;
        if (number == MODEL_VERSION && found.at < found.end) {
            if (!same(found, PyBytes_AS_STRING(self->version), PyBytes_GET_SIZE(self->version))) return 0;
        }
        if (number == REQUEST_ID) {
            asked->id = found.at;
            asked->id_size = found.end - found.at;
            if (!is_ascii(found)) return 0; /* it may be no UTF-8 */
        }
        if (number == INPUTS && (count == self->plan->inputs || !tensor(found, inputs + count++))) return 0;
    }
    if (!(seen & 1 << MODEL_NAME) || !raw_values((reader){asked->in.at, asked->in.end}, inputs, count)) return 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        int32_t more = cells(self, asked, inputs + i);
        if (!more || (columns += more) > self->plan->inputs) return 0;
    }
    return columns == self->plan->inputs;
}

size_t message_room(const program *plan) { return sizeof(input) * (size_t)plan->inputs; }

/* ---- answers --------------------------------------------------------------------------------------------------- */

static size_t varint_size(uint64_t number)
{
    size_t size = 1;
    while (number >>= 7) size++;
    return size;
}

static char *put_varint(char *to, uint64_t number)
{
    for (; number >= 0x80; number >>= 7) *to++ = (char)(number | 0x80);
    *to++ = (char)number;
    return to;
}

static char *put_field(char *to, int number, uint64_t size) { return put_varint(put_varint(to, (uint64_t)number << 3 | LENGTHS), size); }

static char *put_string(char *to, int number, const char *text, Py_ssize_t size)
{
    to = put_field(to, number, (uint64_t)size);
    memcpy(to, text, (size_t)size);
    return to + size;
}

static int32_t label_of(const request *asked, int32_t width, Py_ssize_t row)
{
    const double *at = asked->made + row * width;
    int32_t best = 0;
    for (int32_t j = 1; j < width; j++)
        if (at[j] > at[best]) best = j;
    return best;
}

/* Bytes of the rows' labels, each as it stands in its field: with tag and length where it is a text. */
static size_t labels_size(const bodies *self, const request *asked)
{
    size_t size = 0;
    for (Py_ssize_t row = 0; row < asked->rows; row++)
        size += (size_t)PyBytes_GET_SIZE(PyTuple_GET_ITEM(self->packed, label_of(asked, self->plan->width, row)));
    return size;
}

/* A tensor's beginning, up to the values, of which `size` bytes come; packed where they have a field number. */
static char *put_head(char *to, const char *name, const char *type, Py_ssize_t rows, int32_t width, int packed, size_t size)
{
    size_t shape = varint_size((uint64_t)rows) + (width ? varint_size((uint64_t)width) : 0), names = strlen(name), types = strlen(type);
    size_t contents = packed ? size + 1 + varint_size(size) : size;
    size_t all = 2 + names + 2 + types + 2 + shape + 1 + varint_size(contents) + contents;
    to = put_field(to, INPUTS, all); /* the same number as the outputs of an answer */
    to = put_string(to, NAME, name, (Py_ssize_t)names);
    to = put_string(to, DATATYPE, type, (Py_ssize_t)types);
    to = put_varint(put_field(to, SHAPE, shape), (uint64_t)rows);
    if (width) to = put_varint(to, (uint64_t)width);
    to = put_field(to, CONTENTS, contents);
    return packed ? put_field(to, packed, size) : to;
}

static char *put_doubles(char *to, const bodies *self, const request *asked, const char *name, int32_t width)
{
    size_t size = sizeof(double) * (size_t)asked->rows * (size_t)self->plan->width;
    to = put_head(to, name, "FP64", asked->rows, width, DOUBLES, size);
    memcpy(to, asked->made, size);
    return to + size;
}

char *put_message(const bodies *self, const request *asked, char *to)
{
    int32_t width = self->plan->width;
    to = put_string(to, MODEL_NAME, PyBytes_AS_STRING(self->name), PyBytes_GET_SIZE(self->name));
    to = put_string(to, MODEL_VERSION, PyBytes_AS_STRING(self->version), PyBytes_GET_SIZE(self->version));
    if (asked->id_size) to = put_string(to, REQUEST_ID, asked->id, asked->id_size);
    if (!PyTuple_GET_SIZE(self->labels)) return put_doubles(to, self, asked, "predictions", 0);
    if (self->predictions) {
        const char *type = PyBytes_AS_STRING(self->datatype);
        int number = field_of((reader){type, type + PyBytes_GET_SIZE(self->datatype)});
        to = put_head(to, "predictions", type, asked->rows, 0, number == TEXTS ? 0 : number, labels_size(self, asked));
        for (Py_ssize_t row = 0; row < asked->rows; row++) {
            PyObject *label = PyTuple_GET_ITEM(self->packed, label_of(asked, width, row));
            memcpy(to, PyBytes_AS_STRING(label), (size_t)PyBytes_GET_SIZE(label));
            to += PyBytes_GET_SIZE(label);
        }
    }
    return self->probabilities ? put_doubles(to, self, asked, "probabilities", width) : to;
}
