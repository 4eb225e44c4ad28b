/* The compiled evaluator of a scoring plan: what `operations.py` and `forest.py` do in NumPy, with the same bits.
 *
 * Nothing here checks a plan: `check.check_plan` did, and a Program is only made from one that passed. Every rounding is
 * that of one IEEE operation (-ffp-contract=off, no -ffast-math), in the order that the twin has.
 *
 * Rows are worked on in blocks. A slot of a block is a run of doubles, one per row: slot s of row r is w[s * size + r].
 */
#include "native.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_BLOCK 16
#define LARGE_BLOCK 2048
#define LARGE_FOREST 32768 /* nodes beyond which trees no longer stay in the cache between blocks */
#define MOST_DOUBLES (1 << 20) /* of a block's slots */
#define DAY_S 86400.0

/* In the order of `operations.STEPS`; the module's `codes` lets a test compare them. */
#define EACH_CODE(X) \
    X(fill) X(subtract) X(divide) X(multiply) X(add) X(clip) X(missing) X(onehot) X(lookup) X(pair) X(code) X(product) \
    X(dates) X(days) X(linear) X(forest) X(gauss) X(above) X(exp) X(relu) X(tanh) X(logistic) X(two) X(softmax) \
    X(normalise) X(mean) X(median) X(finite) X(interpolate) X(shares) X(log)
#define AS_ENUM(name) code_##name,
#define AS_TEXT(name) #name,
enum { EACH_CODE(AS_ENUM) CODES };
static const char *const code_names[] = {EACH_CODE(AS_TEXT)};

/* ---- functions ------------------------------------------------------------------------------------------------- */

#define LOG2_E 1.4426950408889634
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define HIGHEST 709.782712893384
#define LOWEST (-745.1332191019412)
#define SQRT_HALF 0.7071067811865476

static const double taylor[] = {
    1.0 / 1.0,      1.0 / 1.0,       1.0 / 2.0,        1.0 / 6.0,         1.0 / 24.0,
    1.0 / 120.0,    1.0 / 720.0,     1.0 / 5040.0,     1.0 / 40320.0,     1.0 / 362880.0,
    1.0 / 3628800.0, 1.0 / 39916800.0, 1.0 / 479001600.0, 1.0 / 6227020800.0};
static const double odd[] = {1.0 / 3.0,  1.0 / 5.0,  1.0 / 7.0,  1.0 / 9.0,  1.0 / 11.0, 1.0 / 13.0,
                             1.0 / 15.0, 1.0 / 17.0, 1.0 / 19.0, 1.0 / 21.0, 1.0 / 23.0, 1.0 / 25.0};

static double exponential(double x)
{
    if (x > HIGHEST) return INFINITY;
    if (x < LOWEST) return 0.0;
    if (x != x) return x;
    double power = rint(x * LOG2_E);
    double rest = (x - power * LN2_HIGH) - power * LN2_LOW;
    double value = taylor[13];
    for (int i = 12; i >= 0; i--) value = value * rest + taylor[i];
    int k = (int)power;
    if (k < -1021 || k > 1023) return ldexp(value, k);
    uint64_t bits = (uint64_t)(k + 1023) << 52;
    double factor;
    memcpy(&factor, &bits, sizeof factor);
    return value * factor;
}

static double logarithm(double x)
{
    int power;
    double part = frexp(x, &power);
    if (part < SQRT_HALF) {
        part *= 2.0;
        power -= 1;
    }
    double exponent = power, shift = part - 1.0;
    double ratio = shift / (2.0 + shift), square = ratio * ratio, series = odd[11];
    for (int i = 10; i >= 0; i--) series = series * square + odd[i];
    double twice = ratio + ratio;
    return exponent * LN2_HIGH + (twice + (twice * (square * series) + exponent * LN2_LOW));
}

static double logistic(double x) { return 1.0 / (1.0 + exponential(-x)); }

static double hyperbolic(double x)
{
    double small = exponential(-2.0 * fabs(x));
    return copysign((1.0 - small) / (1.0 + small), x);
}

/* NumPy's order of a sum along a contiguous axis. */
static double pairwise(const double *x, int32_t size)
{
    if (size < 8) {
        double total = 0.0;
        for (int32_t i = 0; i < size; i++) total += x[i];
        return total;
    }
    if (size > 128) {
        int32_t half = size / 2;
        half -= half % 8;
        return pairwise(x, half) + pairwise(x + half, size - half);
    }
    double r[8];
    int32_t i, whole = size - size % 8;
    for (int j = 0; j < 8; j++) r[j] = x[j];
    for (i = 8; i < whole; i += 8)
        for (int j = 0; j < 8; j++) r[j] += x[i + j];
    double total = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (i = whole; i < size; i++) total += x[i];
    return total;
}

static int64_t floor_division(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }
static int64_t floor_rest(int64_t a, int64_t b) { return a - b * floor_division(a, b); }

/* Days since 1970 to year, month (0 to 11) and day (0 to 30), in the calendar of 400 years that begins in March. */
static int64_t civil(int64_t days, int64_t *month, int64_t *day)
{
    int64_t shifted = days + 719468, era = floor_division(shifted, 146097), of_era = shifted - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), from_march = (5 * of_year + 2) / 153;
    *day = of_year - (153 * from_march + 2) / 5;
    *month = (from_march + 2) % 12;
    return year + era * 400 + (*month < 2);
}

static int64_t january_first(int64_t year)
{
    int64_t y = year - 1, era = floor_division(y, 400), of_era = y - era * 400;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + 306 - 719468;
}

static double date_part(double seconds, int part)
{
    if (!(fabs(seconds) <= LATEST_S)) return NAN;
    int64_t whole = (int64_t)seconds, days = floor_division(whole, 86400), month, day;
    int64_t year = civil(days, &month, &day), weekday = floor_rest(days + 3, 7);
    switch (part) {
    case 0: return (double)year;
    case 1: return (double)(month / 3 + 1);
    case 2: return (double)(month + 1);
    case 3: {
        int64_t thursday = days + 3 - weekday, m, d, of = civil(thursday, &m, &d);
        return (double)((thursday - january_first(of)) / 7 + 1);
    }
    case 4: return (double)(day + 1);
    case 5: return (double)(days - january_first(year) + 1);
    case 6: return (double)weekday;
    case 7: return weekday >= 5;
    case 8: return (double)floor_rest(floor_division(whole, 3600), 24);
    case 9: return (double)floor_rest(floor_division(whole, 60), 60);
    default: return (double)days;
    }
}

/* NumPy's floor_divide: from the exact rest, not from a rounded quotient. */
static double day_of(double seconds)
{
    double rest = fmod(seconds, DAY_S), ratio = (seconds - rest) / DAY_S;
    if (rest < 0.0) ratio -= 1.0;
    double whole = floor(ratio);
    return ratio - whole > 0.5 ? whole + 1.0 : whole;
}

/* ---- operations ------------------------------------------------------------------------------------------------ */

static void run_linear(const operation *s, double *w, int32_t size, int32_t rows)
{
    double *out = w + (Py_ssize_t)s->out * size;
    const double *weights = s->floats + s->width;
    for (int32_t j = 0; j < s->width; j++) {
        double *sum = out + (Py_ssize_t)j * size;
        for (int32_t r = 0; r < rows; r++) sum[r] = 0.0;
        for (int32_t i = 0; i < s->reads; i++) {
            const double *x = w + (Py_ssize_t)s->read[i] * size;
            double weight = weights[(Py_ssize_t)i * s->width + j];
            for (int32_t r = 0; r < rows; r++) sum[r] += weight * x[r];
        }
        for (int32_t r = 0; r < rows; r++) sum[r] += s->floats[j];
    }
}

static void run_gauss(const operation *s, double *w, int32_t size, int32_t rows, double *terms)
{
    const double *priors = s->floats, *constants = priors + s->width, *means = constants + s->width;
    const double *variances = means + (Py_ssize_t)s->width * s->reads;
    for (int32_t r = 0; r < rows; r++)
        for (int32_t j = 0; j < s->width; j++) {
            for (int32_t i = 0; i < s->reads; i++) {
                double apart = w[(Py_ssize_t)s->read[i] * size + r] - means[(Py_ssize_t)j * s->reads + i];
                terms[i] = apart * apart / variances[(Py_ssize_t)j * s->reads + i];
            }
            w[(Py_ssize_t)(s->out + j) * size + r] = priors[j] + (constants[j] - 0.5 * pairwise(terms, s->reads));
        }
}

static void run_softmax(const operation *s, double *w, int32_t size, int32_t rows)
{
    double *out = w + (Py_ssize_t)s->out * size;
    for (int32_t r = 0; r < rows; r++) {
        double largest = w[(Py_ssize_t)s->read[0] * size + r], total = 0.0;
        for (int32_t j = 1; j < s->width; j++) {
            double x = w[(Py_ssize_t)s->read[j] * size + r];
            if (x > largest || x != x) largest = x;
        }
        for (int32_t j = 0; j < s->width; j++) {
            double power = exponential(w[(Py_ssize_t)s->read[j] * size + r] - largest);
            out[(Py_ssize_t)j * size + r] = power;
            total += power;
        }
        double whole = s->code == code_normalise ? largest + logarithm(total) : 0.0;
        for (int32_t j = 0; j < s->width; j++) {
            double *share = out + (Py_ssize_t)j * size + r;
            *share = s->code == code_softmax ? *share / total
                                             : exponential(w[(Py_ssize_t)s->read[j] * size + r] - whole);
        }
    }
}

static void run_interpolate(const operation *s, const double *x, double *out, int32_t rows)
{
    int32_t many = (int32_t)(s->floats_size / 2);
    const double *at = s->floats, *to = s->floats + many;
    for (int32_t r = 0; r < rows; r++) {
        if (many == 1) {
            out[r] = to[0];
            continue;
        }
        double held = x[r] < at[0] ? at[0] : x[r] > at[many - 1] ? at[many - 1] : x[r];
        int32_t above = below(at, many, held), low = above > 1 ? above - 1 : 0;
        out[r] = to[low] + (to[low + 1] - to[low]) * ((held - at[low]) / (at[low + 1] - at[low]));
    }
}

static void run_shares(const operation *s, double *w, int32_t size, int32_t rows)
{
    for (int32_t r = 0; r < rows; r++) {
        double total = 0.0;
        for (int32_t j = 0; j < s->width; j++) total += w[(Py_ssize_t)s->read[j] * size + r];
        for (int32_t j = 0; j < s->width; j++) {
            double part = w[(Py_ssize_t)s->read[j] * size + r];
            w[(Py_ssize_t)(s->out + j) * size + r] = total == 0.0 ? 1.0 / s->width : part / total;
        }
    }
}

static void run_mean(const operation *s, double *w, int32_t size, int32_t rows)
{
    int32_t runs = (int32_t)(s->floats_size - 1);
    for (int32_t j = 0; j < s->width; j++) {
        double *total = w + (Py_ssize_t)(s->out + j) * size;
        for (int32_t r = 0; r < rows; r++) total[r] = 0.0;
        for (int32_t i = 0; i < runs; i++) {
            const double *x = w + (Py_ssize_t)s->read[i * s->width + j] * size;
            for (int32_t r = 0; r < rows; r++) total[r] += x[r] * s->floats[i];
        }
        for (int32_t r = 0; r < rows; r++) total[r] /= s->floats[runs];
    }
}

static void run_median(const operation *s, double *w, int32_t size, int32_t rows, double *scratch)
{
    int32_t many = s->reads;
    double *values = scratch, *weights = scratch + many;
    for (int32_t r = 0; r < rows; r++) {
        for (int32_t i = 0; i < many; i++) {
            double x = w[(Py_ssize_t)s->read[i] * size + r], weight = s->floats[i];
            int32_t at = i;
            for (; at > 0 && values[at - 1] > x; at--) {
                values[at] = values[at - 1];
                weights[at] = weights[at - 1];
            }
            values[at] = x;
            weights[at] = weight;
        }
        for (int32_t i = 1; i < many; i++) weights[i] += weights[i - 1];
        int32_t first = 0;
        while (first < many - 1 && !(weights[first] >= 0.5 * weights[many - 1])) first++;
        w[(Py_ssize_t)s->out * size + r] = values[first];
    }
}

/* -1, or the first row that has a number which the learner refuses. */
static int32_t refused(const operation *s, const double *w, int32_t size, int32_t rows)
{
    double limit = s->floats[0];
    int gaps = s->ints[0] != 0;
    int32_t first = rows;
    for (int32_t i = 0; i < s->reads; i++) {
        const double *x = w + (Py_ssize_t)s->read[i] * size;
        for (int32_t r = 0; r < first; r++)
            if (!(fabs(x[r]) <= limit) && !(gaps && x[r] != x[r])) first = r;
    }
    return first == rows ? -1 : first;
}

#define EACH(expression) \
    for (int32_t i = 0; i < s->width; i++) { \
        const double *from = w + (Py_ssize_t)s->read[i] * size; \
        double *to = out + (Py_ssize_t)i * size; \
        for (int32_t r = 0; r < rows; r++) { \
            double x = from[r]; \
            to[r] = (expression); \
        } \
    } \
    break

/* Runs all operations on a block; -1, or the row that scikit-learn has to look at. */
int32_t plan_run(const program *self, double *w, int32_t size, int32_t rows, void *scratch)
{
    for (Py_ssize_t place = 0; place < self->count; place++) {
        const operation *s = self->steps + place;
        double *out = w + (Py_ssize_t)s->out * size;
        const double *first = s->reads ? w + (Py_ssize_t)s->read[0] * size : w;
        const double *f = s->floats;
        switch (s->code) {
        case code_fill: EACH(x != x ? f[i] : x);
        case code_subtract: EACH(x - f[i]);
        case code_divide: EACH(x / f[i]);
        case code_multiply: EACH(x * f[i]);
        case code_add: EACH(x + f[i]);
        case code_clip: EACH(x < f[i] ? f[i] : x > f[s->width + i] ? f[s->width + i] : x);
        case code_missing: EACH(x != x ? 1.0 : 0.0);
        case code_above: EACH(x > f[i] ? 1.0 : 0.0);
        case code_exp: EACH(exponential(x));
        case code_log: EACH(logarithm(x));
        case code_relu: EACH(x > 0.0 ? x : 0.0);
        case code_tanh: EACH(hyperbolic(x));
        case code_logistic: EACH(logistic(x));
        case code_onehot:
            for (int32_t i = 0; i < s->width; i++) memset(out + (Py_ssize_t)i * size, 0, sizeof(double) * rows);
            for (int32_t r = 0; r < rows; r++) {
                int32_t hot = s->ints[(int32_t)first[r]];
                if (hot >= 0) out[(Py_ssize_t)hot * size + r] = 1.0;
            }
            break;
        case code_lookup: {
            Py_ssize_t many = s->floats_size / (s->width ? s->width : 1);
            for (int32_t i = 0; i < s->width; i++)
                for (int32_t r = 0; r < rows; r++) out[(Py_ssize_t)i * size + r] = f[i * many + (int32_t)first[r]];
            break;
        }
        case code_pair:
            for (int32_t r = 0; r < rows; r++) out[r] = first[r] * f[0] + w[(Py_ssize_t)s->read[1] * size + r];
            break;
        case code_product:
            for (int32_t r = 0; r < rows; r++) out[r] = first[r] * w[(Py_ssize_t)s->read[1] * size + r];
            break;
        case code_code:
            for (int32_t r = 0; r < rows; r++) {
                int32_t many = (int32_t)s->floats_size, at = below(f, many, first[r]);
                out[r] = first[r] != first[r] ? many + 1 : at < many && f[at] == first[r] ? at : many;
            }
            break;
        case code_dates:
            for (int32_t i = 0; i < s->width; i++)
                for (int32_t r = 0; r < rows; r++) out[(Py_ssize_t)i * size + r] = date_part(first[r], s->ints[i]);
            break;
        case code_days:
            for (int32_t r = 0; r < rows; r++) {
                double day = isfinite(first[r]) ? day_of(first[r]) : NAN;
                int32_t many = (int32_t)s->floats_size, at = below(f, many, day);
                out[r] = at < many && f[at] == day;
            }
            break;
        case code_two:
            for (int32_t r = 0; r < rows; r++) {
                out[size + r] = first[r];
                out[r] = 1.0 - first[r];
            }
            break;
        case code_linear: run_linear(s, w, size, rows); break;
        case code_forest: forest_run(s, w, size, rows, scratch); break;
        case code_gauss: run_gauss(s, w, size, rows, scratch); break;
        case code_softmax:
        case code_normalise: run_softmax(s, w, size, rows); break;
        case code_interpolate: run_interpolate(s, first, out, rows); break;
        case code_shares: run_shares(s, w, size, rows); break;
        case code_mean: run_mean(s, w, size, rows); break;
        case code_median: run_median(s, w, size, rows, scratch); break;
        case code_finite: {
            int32_t bad = refused(s, w, size, rows);
            if (bad >= 0) return bad;
            break;
        }
        }
    }
    for (int32_t r = 0; r < rows; r++)
        for (int32_t j = 0; j < self->width; j++)
            if (!isfinite(w[(Py_ssize_t)self->result[j] * size + r])) return r;
    return -1;
}

double *plan_room(const program *self, int32_t size, void **scratch)
{
    size_t slots = sizeof(double) * (size_t)self->slots * size;
    size_t ranks = sizeof(uint16_t) * (size_t)self->most_reads * size, terms = sizeof(double) * 2 * self->most_reads;
    char *found = malloc(slots + (ranks > terms ? ranks : terms) + sizeof(double));
    *scratch = found ? found + slots : NULL;
    return (double *)found;
}

/* ---- cells ----------------------------------------------------------------------------------------------------- */

static int leave(const program *self, Py_ssize_t row)
{
    PyObject *place = PyLong_FromSsize_t(row);
    if (place) PyErr_SetObject(self->unscorable, place);
    Py_XDECREF(place);
    return -1;
}

/* What the schema's own, slower rule makes of a cell that is not plainly of its column's type. */
static int resolved(const program *self, int32_t column, PyObject *cell, Py_ssize_t row, double *to)
{
    PyObject *found = PyObject_CallFunction(self->resolve, "iO", (int)column, cell);
    if (found) *to = PyFloat_AsDouble(found);
    Py_XDECREF(found);
    if (!PyErr_Occurred()) return 0;
    if (!PyErr_ExceptionMatches(self->unscorable)) return -1;
    PyErr_Clear();
    return leave(self, row);
}

static int category(const program *self, int32_t column, PyObject *cell, Py_ssize_t row, double *to)
{
    PyObject *table = PyTuple_GET_ITEM(self->tables, column), *text = NULL;
    if (PyUnicode_CheckExact(cell))
        text = Py_NewRef(cell);
    else if (PyLong_CheckExact(cell))
        text = PyObject_Str(cell);
    else
        return resolved(self, column, cell, row, to);
    if (!text) {
        PyErr_Clear(); /* an integer of too many digits */
        return resolved(self, column, cell, row, to);
    }
    PyObject *code = PyDict_GetItemWithError(table, text);
    Py_DECREF(text);
    if (code) {
        *to = PyFloat_AS_DOUBLE(code);
        return 0;
    }
    return PyErr_Occurred() ? -1 : resolved(self, column, cell, row, to);
}

static int encode(const program *self, int32_t column, PyObject *cell, Py_ssize_t row, double *to)
{
    char kind = self->kinds[column];
    if (cell == Py_None) {
        if (!self->nullable[column]) return leave(self, row);
        *to = NAN;
        return kind == 'c' ? resolved(self, column, cell, row, to) : 0;
    }
    if (kind == 'c') return category(self, column, cell, row, to);
    if (kind == 'b') {
        if (cell != Py_True && cell != Py_False) return resolved(self, column, cell, row, to);
        *to = cell == Py_True;
        return 0;
    }
    if (PyFloat_CheckExact(cell))
        *to = PyFloat_AS_DOUBLE(cell);
    else if (PyLong_CheckExact(cell)) {
        *to = PyLong_AsDouble(cell);
        if (*to == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            return leave(self, row);
        }
    } else
        return resolved(self, column, cell, row, to);
    if (*to != *to ? !self->nullable[column] : !(fabs(*to) <= (kind == 't' ? LATEST_S : 1.7976931348623157e308)))
        return leave(self, row);
    return 0;
}

/* ---- the type -------------------------------------------------------------------------------------------------- */

static PyObject *answers(const program *self, const double *w, int32_t size, int32_t row)
{
    PyObject *made = PyList_New(self->width);
    for (int32_t j = 0; made && j < self->width; j++) {
        PyObject *value = PyFloat_FromDouble(w[(Py_ssize_t)self->result[j] * size + row]);
        if (!value) {
            Py_CLEAR(made);
            break;
        }
        PyList_SET_ITEM(made, j, value);
    }
    return made;
}

static int encode_row(const program *self, PyObject *row, Py_ssize_t place, double *w, int32_t size)
{
    /* A tuple of its own: nothing that resolving runs can change what is read. */
    PyObject *cells = PyList_Check(row) || PyTuple_Check(row) ? PySequence_Tuple(row) : NULL;
    if (!cells) return PyErr_Occurred() ? -1 : leave(self, place);
    int failed = PyTuple_GET_SIZE(cells) != self->inputs ? leave(self, place) : 0;
    for (int32_t column = 0; !failed && column < self->inputs; column++)
        failed = encode(self, column, PyTuple_GET_ITEM(cells, column), place, w + (Py_ssize_t)column * size);
    Py_DECREF(cells);
    return failed;
}

static PyObject *program_rows(program *self, PyObject *given)
{
    PyObject *rows = PySequence_Tuple(given);
    if (!rows) return NULL;
    Py_ssize_t many = PyTuple_GET_SIZE(rows);
    int32_t size = many < self->block ? (int32_t)many : self->block;
    void *scratch;
    double *w = plan_room(self, size ? size : 1, &scratch);
    PyObject *made = w ? PyList_New(many) : PyErr_NoMemory();
    for (Py_ssize_t start = 0; made && start < many; start += size) {
        int32_t count = (int32_t)(many - start < size ? many - start : size);
        int failed = 0;
        for (int32_t r = 0; !failed && r < count; r++)
            failed = encode_row(self, PyTuple_GET_ITEM(rows, start + r), start + r, w + r, size);
        if (!failed) {
            int32_t bad;
            if (count > 1) {
                Py_BEGIN_ALLOW_THREADS
                bad = plan_run(self, w, size, count, scratch);
                Py_END_ALLOW_THREADS
            } else
                bad = plan_run(self, w, size, count, scratch);
            if (bad >= 0) failed = leave(self, start + bad);
        }
        for (int32_t r = 0; !failed && r < count; r++) {
            PyObject *answer = answers(self, w, size, r);
            if (answer)
                PyList_SET_ITEM(made, start + r, answer);
            else
                failed = -1;
        }
        if (failed) Py_CLEAR(made);
    }
    free(w);
    Py_DECREF(rows);
    return made;
}

/* column(place, cells, out): the cells of one column into a buffer of doubles. */
static PyObject *program_column(program *self, PyObject *args)
{
    int column, failed = 0;
    PyObject *given;
    Py_buffer out;
    if (!PyArg_ParseTuple(args, "iOw*", &column, &given, &out)) return NULL;
    PyObject *cells = PySequence_Tuple(given);
    if (cells && (column < 0 || column >= self->inputs || out.len != PyTuple_GET_SIZE(cells) * (Py_ssize_t)sizeof(double))) {
        PyErr_SetString(PyExc_ValueError, "a column of the plan and room for its cells were expected");
        failed = -1;
    }
    for (Py_ssize_t row = 0; cells && !failed && row < PyTuple_GET_SIZE(cells); row++)
        failed = encode(self, column, PyTuple_GET_ITEM(cells, row), row, (double *)out.buf + row);
    PyBuffer_Release(&out);
    Py_XDECREF(cells);
    if (!cells || failed) return NULL;
    Py_RETURN_NONE;
}

/* encoded(inputs, out): inputs column by column, answers row by row, both buffers of doubles. */
static PyObject *program_encoded(program *self, PyObject *args)
{
    Py_buffer in, out;
    if (!PyArg_ParseTuple(args, "y*w*", &in, &out)) return NULL;
    Py_ssize_t many = in.len / ((Py_ssize_t)sizeof(double) * self->inputs), bad = -1;
    void *scratch = NULL;
    double *w = NULL;
    int strange = 0;
    if (in.len != many * (Py_ssize_t)sizeof(double) * self->inputs ||
        out.len != many * (Py_ssize_t)sizeof(double) * self->width)
        PyErr_SetString(PyExc_ValueError, "inputs and room for as many answers were expected");
    else if (!(w = plan_room(self, self->block, &scratch)))
        PyErr_NoMemory();
    else {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t start = 0; bad < 0 && start < many; start += self->block) {
            int32_t count = (int32_t)(many - start < self->block ? many - start : self->block);
            for (int32_t column = 0; column < self->inputs; column++) {
                const double *cells = (double *)in.buf + column * many + start;
                memcpy(w + (Py_ssize_t)column * self->block, cells, sizeof(double) * count);
                for (int32_t r = 0; self->codes[column] && r < count; r++)
                    if (!(cells[r] >= 0 && cells[r] < self->codes[column])) strange = 1;
            }
            if (strange) break;
            int32_t found = plan_run(self, w, self->block, count, scratch);
            if (found >= 0) bad = start + found;
            for (int32_t r = 0; r < count; r++)
                plan_scores(self, w, self->block, r, (double *)out.buf + (start + r) * self->width);
        }
        Py_END_ALLOW_THREADS
        if (strange) PyErr_SetString(PyExc_ValueError, "a code of a category was expected");
        else if (bad >= 0) leave(self, bad);
    }
    free(w);
    PyBuffer_Release(&in);
    PyBuffer_Release(&out);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

static int open_step(program *self, operation *s, PyObject *found)
{
    PyObject *read, *floats, *ints;
    if (!PyArg_ParseTuple(found, "iOiiOO", &s->code, &read, &s->out, &s->width, &floats, &ints)) return -1;
    if (PyObject_GetBuffer(read, &s->read_buffer, PyBUF_SIMPLE)) return -1;
    if (PyObject_GetBuffer(floats, &s->floats_buffer, PyBUF_SIMPLE)) {
        PyBuffer_Release(&s->read_buffer);
        return -1;
    }
    if (PyObject_GetBuffer(ints, &s->ints_buffer, PyBUF_SIMPLE)) {
        PyBuffer_Release(&s->read_buffer);
        PyBuffer_Release(&s->floats_buffer);
        return -1;
    }
    self->held++;
    s->read = s->read_buffer.buf;
    s->reads = (int32_t)(s->read_buffer.len / (Py_ssize_t)sizeof(int32_t));
    s->floats = s->floats_buffer.buf;
    s->floats_size = s->floats_buffer.len / (Py_ssize_t)sizeof(double);
    s->ints = s->ints_buffer.buf;
    s->ints_size = s->ints_buffer.len / (Py_ssize_t)sizeof(int32_t);
    if (s->reads > self->most_reads) self->most_reads = s->reads;
    if (s->code == code_forest) {
        if (!forest_open(s)) {
            PyErr_NoMemory();
            return -1;
        }
        if (s->ints[1] > LARGE_FOREST) self->block = LARGE_BLOCK;
    }
    return 0;
}

static void program_dealloc(program *self)
{
    for (Py_ssize_t i = 0; i < self->held; i++) {
        forest_close(&self->steps[i].trees);
        PyBuffer_Release(&self->steps[i].read_buffer);
        PyBuffer_Release(&self->steps[i].floats_buffer);
        PyBuffer_Release(&self->steps[i].ints_buffer);
    }
    free(self->steps);
    free(self->result);
    free(self->kinds);
    free(self->nullable);
    free(self->codes);
    Py_XDECREF(self->tables);
    Py_XDECREF(self->resolve);
    Py_XDECREF(self->unscorable);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static char *copy(const void *from, Py_ssize_t size)
{
    char *made = malloc(size ? (size_t)size : 1);
    if (made) memcpy(made, from, (size_t)size);
    return made;
}

/* Program(steps, slots, result, kinds, nullable, codes, tables, resolve, unscorable), from a plan that was checked. */
static PyObject *program_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(words))
{
    PyObject *steps, *tables, *resolve, *unscorable;
    int slots;
    const char *result, *kinds, *nullable, *codes;
    Py_ssize_t result_size, inputs, nullable_size, codes_size;
    if (!PyArg_ParseTuple(args, "O!iy#y#y#y#O!OO", &PyTuple_Type, &steps, &slots, &result, &result_size, &kinds, &inputs,
                          &nullable, &nullable_size, &codes, &codes_size, &PyTuple_Type, &tables, &resolve, &unscorable))
        return NULL;
    if (nullable_size != inputs || codes_size != inputs * (Py_ssize_t)sizeof(int32_t) ||
        PyTuple_GET_SIZE(tables) != inputs || inputs < 1) {
        PyErr_SetString(PyExc_ValueError, "as many kinds, flags, codes and tables as inputs were expected");
        return NULL;
    }
    program *self = (program *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->block = BLOCK;
    self->inputs = (int32_t)inputs;
    self->slots = slots;
    self->width = (int32_t)(result_size / (Py_ssize_t)sizeof(int32_t));
    self->result = (int32_t *)copy(result, result_size);
    self->kinds = copy(kinds, inputs);
    self->nullable = copy(nullable, nullable_size);
    self->codes = (int32_t *)copy(codes, codes_size);
    self->tables = Py_NewRef(tables);
    self->resolve = Py_NewRef(resolve);
    self->unscorable = Py_NewRef(unscorable);
    self->count = PyTuple_GET_SIZE(steps);
    self->steps = calloc((size_t)self->count + 1, sizeof(operation));
    if (!self->result || !self->kinds || !self->nullable || !self->codes || !self->steps) PyErr_NoMemory();
    for (Py_ssize_t i = 0; !PyErr_Occurred() && i < self->count; i++)
        open_step(self, self->steps + i, PyTuple_GET_ITEM(steps, i));
    while (self->block > LEAST_BLOCK && (int64_t)self->block * self->slots > MOST_DOUBLES) self->block /= 2;
    if (PyErr_Occurred()) Py_CLEAR(self);
    return (PyObject *)self;
}

static PyMethodDef program_methods[] = {
    {"rows", (PyCFunction)program_rows, METH_O, "Rows of cells to lists of answers."},
    {"column", (PyCFunction)program_column, METH_VARARGS, "The cells of one column into a buffer."},
    {"encoded", (PyCFunction)program_encoded, METH_VARARGS, "Encoded columns to answers."},
    {NULL, NULL, 0, NULL}};

PyTypeObject program_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "kubeloop.scoring._native.Program",
    .tp_basicsize = sizeof(program),
    .tp_dealloc = (destructor)program_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "A checked plan, ready to run.",
    .tp_methods = program_methods,
    .tp_new = program_new,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_native", "The compiled evaluator of a scoring plan.", -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void)
{
    if (PyType_Ready(&program_type) || PyType_Ready(&bodies_type)) return NULL;
    if (floats_open()) return PyErr_NoMemory();
    PyObject *made = PyModule_Create(&module), *codes = PyTuple_New(CODES);
    for (int i = 0; made && codes && i < CODES; i++) PyTuple_SET_ITEM(codes, i, PyUnicode_FromString(code_names[i]));
    if (!made || !codes || PyErr_Occurred() || PyModule_AddObject(made, "codes", codes) ||
        PyModule_AddObject(made, "Program", Py_NewRef((PyObject *)&program_type)) ||
        PyModule_AddObject(made, "Bodies", Py_NewRef((PyObject *)&bodies_type)))
        return NULL;
    return made;
}
