/* Doubles to the shortest text that reads back as them, and text to the nearest double.
 *
 * Both are exact: what integer arithmetic of 128 bits or one IEEE operation cannot settle is left to Python's own
 * conversion, or to the C library's in the C locale.
 */
#include "native.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

#define LONGEST_NUMBER 64 /* characters; a longer one is nobody's measurement */
#define MOST_EXPONENT 9999

static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const double tenths[] = {1e0, 1e-1, 1e-2, 1e-3, 1e-4};

static locale_t plain;

int floats_open(void)
{
    if (!plain) plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return plain ? 0 : -1;
}

static int is_digit(const char *at, const char *end) { return at < end && *at >= '0' && *at <= '9'; }

/* The number that begins at `from`, by JSON's grammar; where it ends, or NULL for what is no finite number. A whole one
 * (`*whole`: neither point nor exponent) is taken up to 15 digits, with which it is exact. */
const char *read_float(const char *from, const char *end, double *to, int *whole)
{
    const char *at = from;
    int negative = at < end && *at == '-', digits = 0, scale = 0;
    uint64_t number = 0;
    at += negative;
    if (!is_digit(at, end) || (*at == '0' && is_digit(at + 1, end))) return NULL;
    for (; is_digit(at, end); at++, digits += number > 0) number = digits < 19 ? number * 10 + (uint64_t)(*at - '0') : 1;
    *whole = !(at < end && (*at == '.' || *at == 'e' || *at == 'E'));
    if (*whole) {
        *to = negative && number ? -(double)number : (double)number;
        return digits <= 15 ? at : NULL;
    }
    if (*at == '.') {
        if (!is_digit(++at, end)) return NULL;
        for (; is_digit(at, end); at++, scale--, digits += number > 0)
            number = digits < 19 ? number * 10 + (uint64_t)(*at - '0') : 1;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        int down = 0, exponent = 0;
        at++;
        if (at < end && (*at == '+' || *at == '-')) down = *at++ == '-';
        if (!is_digit(at, end)) return NULL;
        for (; is_digit(at, end); at++)
            if (exponent < MOST_EXPONENT) exponent = exponent * 10 + (*at - '0');
        scale += down ? -exponent : exponent;
    }
    /* Both are exact, so their product or quotient is rounded once. */
    if (FLT_EVAL_METHOD == 0 && digits <= 19 && number <= (1ULL << DBL_MANT_DIG) && scale >= -22 && scale <= 22) {
        double value = scale < 0 ? (double)number / tens[-scale] : (double)number * tens[scale];
        *to = negative ? -value : value;
        return at;
    }
    char copied[LONGEST_NUMBER];
    size_t size = (size_t)(at - from);
    if (size >= sizeof copied) return NULL;
    memcpy(copied, from, size);
    copied[size] = 0;
    *to = strtod_l(copied, NULL, plain);
    return isfinite(*to) ? at : NULL;
}

#ifdef __SIZEOF_INT128__
typedef unsigned __int128 wide;

static char *write_whole(uint64_t number, char *to)
{
    char reversed[20];
    int size = 0;
    do reversed[size++] = (char)('0' + number % 10);
    while (number /= 10);
    while (size) *to++ = reversed[--size];
    return to;
}

/* number / 10^places, without zeros at the end. */
static char *write_decimal(uint64_t number, int places, char *to)
{
    while (places && number % 10 == 0) {
        number /= 10;
        places--;
    }
    char digits[20];
    int size = (int)(write_whole(number, digits) - digits), before = size - places;
    if (before <= 0) {
        *to++ = '0';
        *to++ = '.';
        for (; before < 0; before++) *to++ = '0';
        memcpy(to, digits, (size_t)size);
        return to + size;
    }
    memcpy(to, digits, (size_t)before);
    to += before;
    *to++ = '.';
    if (!places) *to++ = '0';
    memcpy(to, digits + before, (size_t)places);
    return to + places;
}

/* The shortest text of 1e-5 <= x < 1e15 in plain notation; NULL where two are as near.
 *
 * x = m / 2^e. A decimal d / 10^n reads back as x where |d 2^e - m 10^n| is below half of 10^n, which is half a unit in
 * the last place of x; of the decimals of 15 digits at most one does, so the first count of digits that has one has the
 * shortest. All products are below 2^128. */
static char *write_short(double x, char *to)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int e = 1075 - (int)(bits >> 52), size = 1;
    wide m = (bits & ((1ULL << 52) - 1)) | (1ULL << 52);
    while (size < 16 && x >= tens[size]) size++;
    while (size <= 1 && size > -4 && x < tenths[1 - size]) size--;
    for (int digits = 15; digits <= 17; digits++) {
        int places = digits - size;
        wide scale = (wide)(uint64_t)tens[places > 19 ? 19 : places];
        for (int i = 19; i < places; i++) scale *= 10;
        wide product = m * scale, d = product >> e, rest = product - (d << e), half = (wide)1 << (e - 1);
        wide off = rest > half ? ((wide)1 << e) - rest : rest;
        if (rest == half || 2 * off == scale || (off && m == (wide)1 << 52)) return NULL;
        if (2 * off < scale) return write_decimal((uint64_t)(d + (rest > half)), places, to);
    }
    return NULL;
}
#endif

/* The shortest text of a finite x as JSON; at most FLOAT_ROOM characters. Where it ends, or NULL: no memory. */
char *write_float(double x, char *to)
{
#ifdef __SIZEOF_INT128__
    double size = fabs(x);
    if (size >= 1e-5 && size < 1e15) {
        char *from = to, *end;
        if (x < 0) *to++ = '-';
        end = write_short(size, to);
        if (end) return end;
        to = from;
    }
#endif
    char *found = PyOS_double_to_string(x, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (!found) return NULL;
    for (const char *at = found; *at; at++) {
        if (*at == '0' && at > found + 1 && at[-1] == '-' && at[-2] == 'e') continue; /* 1e-07 is 1e-7 elsewhere */
        *to++ = *at;
    }
    PyMem_Free(found);
    return to;
}
