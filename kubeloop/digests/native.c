/* SHA-256 of each row of a table: what `rows.py` does with Arrow and hashlib, without a Python object per row.
 *
 * The cells come as `cells.py` makes them, for this file and for its twin alike: numbers big-endian, -0.0 and NaN made
 * one, lengths before texts. So no rule of the encoding stands here but the order: tag, number, body; a null is one 0.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_SHA_NI
#include <cpuid.h>
#include <immintrin.h>
#endif

#define MOST_COLUMNS 100000
#define BLOCK 64
#define DIGEST 32

/* FIPS 180-4, 4.2.2 and 5.3.3. */
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
static const uint32_t START[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

typedef void (*compressor)(uint32_t *state, const uint8_t *data, size_t blocks);

static uint32_t turned(uint32_t x, int by) { return x >> by | x << (32 - by); }

static uint32_t read_word(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void write_word(uint8_t *p, uint32_t word)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(word >> (24 - 8 * i));
}

/* One round; that the letters move on by one is written at its use. */
#define ROUND(a, b, c, d, e, f, g, h, t) \
    do { \
        h += (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + (g ^ (e & (f ^ g))) + K[t] + w[t]; \
        d += h; \
        h += (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) | (c & (a | b))); \
    } while (0)

/* FIPS 180-4, 6.2.2. */
static void compress_portably(uint32_t *state, const uint8_t *data, size_t blocks)
{
    for (; blocks; blocks--, data += BLOCK) {
        uint32_t w[64];
        for (int t = 0; t < 16; t++) w[t] = read_word(data + 4 * t);
        for (int t = 16; t < 64; t++) {
            const uint32_t x = w[t - 15], y = w[t - 2];
            w[t] = w[t - 16] + (turned(x, 7) ^ turned(x, 18) ^ x >> 3) + w[t - 7] +
                   (turned(y, 17) ^ turned(y, 19) ^ y >> 10);
        }
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int t = 0; t < 64; t += 8) {
            ROUND(a, b, c, d, e, f, g, h, t);
            ROUND(h, a, b, c, d, e, f, g, t + 1);
            ROUND(g, h, a, b, c, d, e, f, t + 2);
            ROUND(f, g, h, a, b, c, d, e, t + 3);
            ROUND(e, f, g, h, a, b, c, d, t + 4);
            ROUND(d, e, f, g, h, a, b, c, t + 5);
            ROUND(c, d, e, f, g, h, a, b, t + 6);
            ROUND(b, c, d, e, f, g, h, a, t + 7);
        }
        const uint32_t more[8] = {a, b, c, d, e, f, g, h};
        for (int i = 0; i < 8; i++) state[i] += more[i];
    }
}

#ifdef HAS_SHA_NI
/* The processor keeps the state as (a b e f) and (c d g h), and does two rounds at once; four words of the message, and
 * so four rounds, are one vector. */
__attribute__((target("sha,sse4.1"))) static void compress_by_processor(uint32_t *state, const uint8_t *data,
                                                                        size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xB1);
    __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(badc, hgfe, 8), cdgh = _mm_blend_epi16(hgfe, badc, 0xF0);
    for (; blocks; blocks--, data += BLOCK) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w[4];
#pragma GCC unroll 16
        for (int group = 0; group < 16; group++) {
            __m128i *now = w + group % 4;
            if (group < 4)
                *now = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data + 16 * group)), swap);
            else {
                const __m128i last = w[(group + 3) % 4];
                const __m128i seventh = _mm_alignr_epi8(last, w[(group + 2) % 4], 4);
                *now = _mm_sha256msg2_epu32(
                    _mm_add_epi32(_mm_sha256msg1_epu32(*now, w[(group + 1) % 4]), seventh), last);
            }
            __m128i sum = _mm_add_epi32(*now, _mm_loadu_si128((const __m128i *)(K + 4 * group)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

static int processor_hashes(void)
{
    unsigned a, b, c, d;
    const unsigned ssse3 = 1u << 9, sse41 = 1u << 19, sha = 1u << 29;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & ssse3) || !(c & sse41)) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & sha);
}
#endif

static compressor fastest(void)
{
#ifdef HAS_SHA_NI
    if (processor_hashes()) return compress_by_processor;
#endif
    return compress_portably;
}

/* `row` holds `size` bytes, and room for a block and its padding behind them. */
static void hash_row(compressor compress, uint8_t *row, size_t size, uint8_t *out)
{
    const size_t blocks = (size + 8) / BLOCK + 1;
    const uint64_t bits = (uint64_t)size * 8;
    uint32_t state[8];
    memcpy(state, START, sizeof state);
    row[size] = 0x80;
    memset(row + size + 1, 0, blocks * BLOCK - size - 1);
    write_word(row + blocks * BLOCK - 8, (uint32_t)(bits >> 32));
    write_word(row + blocks * BLOCK - 4, (uint32_t)bits);
    compress(state, row, blocks);
    for (int i = 0; i < 8; i++) write_word(out + 4 * i, state[i]);
}

/* One column: any of the buffers may be missing (buf == NULL). */
typedef struct {
    uint8_t tag;
    size_t width; /* bytes of a number; 0 without numbers, and then without a tag */
    Py_buffer numbers, valid, offsets, body;
} cells;

static int fits(const cells *column, Py_ssize_t rows)
{
    const Py_buffer *offsets = &column->offsets;
    if (column->numbers.buf && column->numbers.len != rows * (Py_ssize_t)column->width) return 0;
    if (column->valid.buf && column->valid.len != rows) return 0;
    if (!offsets->buf) return 1;
    if (offsets->len != (rows + 1) * 8 || !column->body.buf) return 0;
    int64_t before = 0, next;
    for (Py_ssize_t row = 0; row <= rows; row++, before = next) {
        memcpy(&next, (const uint8_t *)offsets->buf + 8 * row, 8);
        if (next < before || next > column->body.len) return 0;
    }
    return 1;
}

static int column_from(PyObject *item, cells *column, Py_ssize_t rows)
{
    int tag;
    PyObject *parts[4];
    Py_buffer *const buffers[] = {&column->numbers, &column->valid, &column->offsets, &column->body};
    if (!PyArg_ParseTuple(item, "iOOOO", &tag, parts, parts + 1, parts + 2, parts + 3)) return 0;
    for (int i = 0; i < 4; i++)
        if (parts[i] != Py_None && PyObject_GetBuffer(parts[i], buffers[i], PyBUF_C_CONTIGUOUS) < 0) return 0;
    column->tag = (uint8_t)tag;
    column->width = column->numbers.buf ? (size_t)column->numbers.itemsize : 0;
    if (fits(column, rows)) return 1;
    PyErr_SetString(PyExc_ValueError, "the cells of a column do not fit the number of rows");
    return 0;
}

static void columns_free(cells *columns, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        PyBuffer_Release(&columns[i].numbers);
        PyBuffer_Release(&columns[i].valid);
        PyBuffer_Release(&columns[i].offsets);
        PyBuffer_Release(&columns[i].body);
    }
    PyMem_RawFree(columns);
}

static int64_t offset_at(const cells *column, Py_ssize_t row)
{
    int64_t found;
    memcpy(&found, (const uint8_t *)column->offsets.buf + 8 * row, 8);
    return found;
}

/* The longest that any row can be: more than that is never written. */
static size_t longest(const cells *columns, Py_ssize_t count, Py_ssize_t rows)
{
    size_t most = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        size_t body = 0;
        for (Py_ssize_t row = 0; columns[i].offsets.buf && row < rows; row++) {
            const size_t length = (size_t)(offset_at(columns + i, row + 1) - offset_at(columns + i, row));
            if (length > body) body = length;
        }
        most += 1 + columns[i].width + body;
    }
    return most;
}

static size_t write_row(const cells *columns, Py_ssize_t count, Py_ssize_t row, uint8_t *out)
{
    uint8_t *at = out;
    for (const cells *column = columns; column < columns + count; column++) {
        if (column->valid.buf && !((const uint8_t *)column->valid.buf)[row]) {
            *at++ = 0;
            continue;
        }
        if (column->width) {
            const uint8_t *from = (const uint8_t *)column->numbers.buf + (size_t)row * column->width;
            *at++ = column->tag;
            switch (column->width) { /* of a known size, a copy is one instruction */
            case 8: memcpy(at, from, 8); break;
            case 4: memcpy(at, from, 4); break;
            default: memcpy(at, from, column->width);
            }
            at += column->width;
        }
        if (column->offsets.buf) {
            const int64_t start = offset_at(column, row), end = offset_at(column, row + 1);
            memcpy(at, (const uint8_t *)column->body.buf + start, (size_t)(end - start));
            at += end - start;
        }
    }
    return (size_t)(at - out);
}

static int hash_rows(const cells *columns, Py_ssize_t count, Py_ssize_t rows, const Py_buffer *salt, int portable,
                     uint8_t *out)
{
    const compressor compress = portable ? compress_portably : fastest();
    const size_t before = (size_t)salt->len;
    uint8_t *row = PyMem_RawMalloc(before + longest(columns, count, rows) + 2 * BLOCK);
    if (!row) return 0;
    memcpy(row, salt->buf, before);
    for (Py_ssize_t place = 0; place < rows; place++, out += DIGEST)
        hash_row(compress, row, before + write_row(columns, count, place, row + before), out);
    PyMem_RawFree(row);
    return 1;
}

static PyObject *digests(PyObject *self, PyObject *args)
{
    Py_ssize_t rows, made = 0;
    int portable = 0, done = 0;
    PyObject *listed, *found = NULL;
    Py_buffer salt;
    if (!PyArg_ParseTuple(args, "nO!y*|p", &rows, &PyTuple_Type, &listed, &salt, &portable)) return NULL;
    const Py_ssize_t count = PyTuple_GET_SIZE(listed);
    cells *columns = NULL;
    if (rows < 0 || rows > PY_SSIZE_T_MAX / DIGEST || count > MOST_COLUMNS)
        PyErr_SetString(PyExc_ValueError, "no such number of rows and columns");
    else if (!(columns = PyMem_RawCalloc((size_t)count + 1, sizeof *columns)))
        PyErr_NoMemory();
    while (columns && made < count && column_from(PyTuple_GET_ITEM(listed, made), columns + made, rows)) made++;
    if (columns && made == count && (found = PyBytes_FromStringAndSize(NULL, rows * DIGEST))) {
        Py_BEGIN_ALLOW_THREADS
        done = hash_rows(columns, count, rows, &salt, portable, (uint8_t *)PyBytes_AS_STRING(found));
        Py_END_ALLOW_THREADS
        if (!done) {
            Py_CLEAR(found);
            PyErr_NoMemory();
        }
    }
    if (columns) columns_free(columns, count);
    PyBuffer_Release(&salt);
    return found;
}

static PyMethodDef methods[] = {
    {"digests", digests, METH_VARARGS,
     "Rows, columns as (tag, numbers, valid, offsets, body), salt: 32 bytes a row; portable=True as on any processor."},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_native", "SHA-256 of each row of a table.", -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&module); }
