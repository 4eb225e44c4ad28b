/* Forests: rows to ranks, ranks to leaves, leaves to sums; what `forest.py` does in NumPy, with the same bits.
 *
 * One row walks down all trees. Many rows together do not: where trees are small, each test of a tree is put to a whole
 * block of rows, one after the other in memory, and strikes out the leaves that those on its right can no longer reach;
 * the first leaf that is left is a row's own (QuickScorer: Lucchese et al., SIGIR 2015, turned from one row to many).
 */
#include "native.h"

#include <stdlib.h>
#include <string.h>

#define LANES 12  /* walks that are under way at once, to hide the wait for memory */
#define LEVELS 4  /* that they go down before it is looked which of them have ended */
#define WINDOW 256 /* trees whose leaves are kept before they are summed */
#define MISSING 0xFFFF
#define NO_CATEGORY 256
#define SET_WORDS 9

#define GROUP 16       /* leaves that are struck out at once */
#define GROUPS 4       /* of a tree at most */
#define MOST_LEAVES 64 /* of a tree that is small */
#define TOGETHER 8     /* rows from which on it is faster not to walk */
#define BY_TREE 48     /* rows from which on it is faster to go down tree by tree than row by row */

#define RANK(w) ((w) & 0xFFFF)
#define FEATURE(w) ((w) >> 16 & 0x3FFF)

struct test {
    uint16_t rank, feature, strike; /* of a group's leaves, those on the left */
    uint8_t missing, category;
};

struct ends {
    int32_t tests[GROUPS], leaves;
};

/* ---- small trees ----------------------------------------------------------------------------------------------- */

typedef struct {
    int32_t leaves, inner;
    int32_t leaf[MOST_LEAVES], node[MOST_LEAVES];
    uint64_t left[MOST_LEAVES]; /* the leaves on the left of each node */
} outline;

/* 0 where there are too many leaves. What was checked may still have a node that is the child of two. */
static int draw(const node *nodes, int32_t at, int depth, outline *to)
{
    if (nodes[at].left == at) {
        if (to->leaves == MOST_LEAVES) return 0;
        to->leaf[to->leaves++] = at;
        return 1;
    }
    int32_t first = to->leaves;
    if (depth == MOST_LEAVES || !draw(nodes, nodes[at].left, depth + 1, to)) return 0;
    uint64_t left = (~(uint64_t)0 >> (64 - (to->leaves - first))) << first;
    if (!draw(nodes, nodes[at].left + 1, depth + 1, to)) return 0;
    to->node[to->inner] = at;
    to->left[to->inner++] = left;
    return 1;
}

static int grow(void **array, size_t item, int32_t needed, int32_t *room)
{
    if (needed <= *room) return 1;
    void *found = realloc(*array, item * 2 * (size_t)needed);
    if (!found) return 0;
    *array = found;
    *room = 2 * needed;
    return 1;
}

typedef struct {
    int32_t tests, leaves, tests_room, leaves_room;
} filled;

/* 0: no memory. */
static int add_tree(forest *f, int32_t tree, const outline *drawn, filled *so_far)
{
    int32_t most_tests = so_far->tests + drawn->inner * GROUPS, leaves = so_far->leaves + drawn->leaves;
    if (!grow((void **)&f->tests, sizeof(test), most_tests, &so_far->tests_room) ||
        !grow((void **)&f->leaves, sizeof(int32_t), leaves, &so_far->leaves_room))
        return 0;
    memcpy(f->leaves + so_far->leaves, drawn->leaf, sizeof(int32_t) * (size_t)drawn->leaves);
    so_far->leaves = leaves;
    for (int group = 0; group < GROUPS; group++) {
        for (int32_t i = 0; i < drawn->inner; i++) {
            uint32_t word = f->nodes[drawn->node[i]].word;
            uint16_t strike = (uint16_t)(drawn->left[i] >> (GROUP * group));
            if (strike)
                f->tests[so_far->tests++] = (test){.rank = RANK(word), .feature = FEATURE(word), .strike = strike,
                                                   .missing = word >> 30 & 1, .category = word >> 31};
        }
        f->ends[tree].tests[group] = so_far->tests;
    }
    f->ends[tree].leaves = leaves;
    return 1;
}

/* Fill the tables of small trees, or leave none; 0: no memory. */
static int open_small(forest *f, int32_t nodes)
{
    if (nodes > (int64_t)f->trees * 2 * MOST_LEAVES) return 1;
    f->ends = malloc(sizeof(ends) * (size_t)f->trees);
    if (!f->ends) return 0;
    filled so_far = {0};
    for (int32_t tree = 0; tree < f->trees; tree++) {
        outline drawn;
        drawn.leaves = drawn.inner = 0;
        if (!draw(f->nodes, f->roots[tree], 0, &drawn)) {
            forest_close(f);
            return 1;
        }
        if (!add_tree(f, tree, &drawn, &so_far)) return 0;
    }
    return 1;
}

int forest_open(operation *s)
{
    const int32_t *at = s->ints;
    forest *f = &s->trees;
    int32_t nodes = at[1];
    f->trees = at[0];
    f->single = at[2];
    f->leaf = at[3];
    f->sets = at[4];
    f->roots = at + 5;
    f->outs = f->roots + f->trees;
    f->starts = f->outs + 2 * f->trees; /* between them each tree's depth */
    f->kinds = f->starts + s->reads + 1;
    f->nodes = (const node *)(f->kinds + s->reads);
    f->bits = (const uint32_t *)(f->nodes + nodes);
    f->base = s->floats;
    f->divisor = s->floats[s->width];
    f->edges = s->floats + s->width + 1;
    f->values = f->edges + f->starts[s->reads];
    return open_small(f, nodes);
}

void forest_close(forest *f)
{
    free(f->ends);
    free(f->tests);
    free(f->leaves);
    f->ends = NULL;
    f->tests = NULL;
    f->leaves = NULL;
}

/* ---- rows to ranks --------------------------------------------------------------------------------------------- */

static int inside(const uint32_t *set, uint16_t rank) { return set[rank >> 5] >> (rank & 31) & 1; }

/* The rank of column p of row r goes to ranks[r * row + p * column]. */
static void rank_rows(const operation *s, const double *w, int32_t size, int32_t rows, uint16_t *ranks, int32_t row,
                      int32_t column)
{
    const forest *f = &s->trees;
    for (int32_t p = 0; p < s->reads; p++) {
        const double *x = w + (Py_ssize_t)s->read[p] * size;
        const double *edges = f->edges + f->starts[p];
        int32_t many = f->starts[p + 1] - f->starts[p];
        const uint32_t *known = f->kinds[p] ? f->bits + (f->kinds[p] - 1) * SET_WORDS : NULL;
        for (int32_t r = 0; r < rows; r++) {
            uint16_t *rank = ranks + (Py_ssize_t)r * row + (Py_ssize_t)p * column;
            double value = f->single ? (double)(float)x[r] : x[r];
            if (known) {
                uint16_t code = value >= 0 && value < NO_CATEGORY ? (uint16_t)value : NO_CATEGORY;
                *rank = inside(known, code) ? code : NO_CATEGORY;
            } else {
                *rank = value != value ? MISSING : (uint16_t)below(edges, many, value);
            }
        }
    }
}

static void add_leaf(const forest *f, int32_t width, int32_t tree, int32_t leaf, double *total, int32_t size)
{
    const double *value = f->values + (Py_ssize_t)leaf * f->leaf;
    if (f->leaf == width)
        for (int32_t j = 0; j < width; j++) total[(Py_ssize_t)j * size] += value[j];
    else
        total[(Py_ssize_t)f->outs[tree] * size] += value[0];
}

/* ---- walks ----------------------------------------------------------------------------------------------------- */

static inline int32_t next(const forest *f, int32_t at, const uint16_t *ranks, int sets)
{
    uint32_t word = f->nodes[at].word;
    uint16_t rank = ranks[FEATURE(word)];
    if (sets && word >> 31) return f->nodes[at].left + !inside(f->bits + RANK(word) * SET_WORDS, rank);
    return f->nodes[at].left + ((uint16_t)(rank + (word >> 30 & 1)) > RANK(word));
}

#define INLINED static inline __attribute__((always_inline))

/* The leaves that `many` walks end on, the i-th from roots[i * root] by ranks + i * rank. One that has ended makes room
 * for the next. */
INLINED void walk_by(const forest *f, const int32_t *roots, int32_t root, const uint16_t *ranks, int32_t rank,
                     int32_t many, int32_t *leaf, int sets)
{
    int32_t at[LANES], item[LANES], taken = many < LANES ? many : LANES, moved = 1;
    for (int lane = 0; lane < LANES; lane++) {
        item[lane] = lane < taken ? lane : taken - 1;
        at[lane] = roots[item[lane] * root];
    }
    while (taken < many) {
        for (int level = 0; level < LEVELS; level++)
            for (int lane = 0; lane < LANES; lane++)
                at[lane] = next(f, at[lane], ranks + (Py_ssize_t)item[lane] * rank, sets);
        for (int lane = 0; lane < LANES; lane++)
            if (f->nodes[at[lane]].left == at[lane] && taken < many) {
                leaf[item[lane]] = at[lane];
                at[lane] = roots[taken * root];
                item[lane] = taken++;
            }
    }
    while (moved) {
        moved = 0;
        for (int level = 0; level < LEVELS; level++)
            for (int lane = 0; lane < LANES; lane++) {
                int32_t old = at[lane];
                at[lane] = next(f, old, ranks + (Py_ssize_t)item[lane] * rank, sets);
                moved |= at[lane] ^ old;
            }
    }
    for (int lane = 0; lane < LANES; lane++) leaf[item[lane]] = at[lane];
}

/* Forests without sets, which are most, do not ask each node for one. */
INLINED void walk(const forest *f, const int32_t *roots, int32_t root, const uint16_t *ranks, int32_t rank,
                  int32_t many, int32_t *leaf)
{
    if (f->sets)
        walk_by(f, roots, root, ranks, rank, many, leaf, 1);
    else
        walk_by(f, roots, root, ranks, rank, many, leaf, 0);
}

static void run_row(const operation *s, const uint16_t *ranks, double *total, int32_t size)
{
    const forest *f = &s->trees;
    int32_t leaf[WINDOW];
    for (int32_t start = 0; start < f->trees; start += WINDOW) {
        int32_t many = f->trees - start < WINDOW ? f->trees - start : WINDOW;
        walk(f, f->roots + start, 1, ranks, 0, many, leaf);
        for (int32_t i = 0; i < many; i++) add_leaf(f, s->width, start + i, leaf[i], total, size);
    }
}

static void run_tree(const operation *s, int32_t tree, const uint16_t *ranks, int32_t rows, double *out, int32_t size)
{
    const forest *f = &s->trees;
    int32_t leaf[WINDOW];
    for (int32_t start = 0; start < rows; start += WINDOW) {
        int32_t many = rows - start < WINDOW ? rows - start : WINDOW;
        walk(f, f->roots + tree, 0, ranks + (Py_ssize_t)start * s->reads, s->reads, many, leaf);
        for (int32_t i = 0; i < many; i++) add_leaf(f, s->width, tree, leaf[i], out + start + i, size);
    }
}

/* ---- tests of many rows ---------------------------------------------------------------------------------------- */

static void strike_out(const forest *f, const test *from, const test *end, const uint16_t *ranks, int32_t rows,
                       uint16_t *restrict struck)
{
    memset(struck, 0, sizeof(uint16_t) * (size_t)rows);
    for (; from < end; from++) {
        const uint16_t *rank = ranks + (Py_ssize_t)from->feature * rows;
        uint16_t edge = from->rank, missing = from->missing, strike = from->strike;
        if (from->category)
            for (int32_t r = 0; r < rows; r++)
                struck[r] |= inside(f->bits + edge * SET_WORDS, rank[r]) ? 0 : strike;
        else
            for (int32_t r = 0; r < rows; r++) struck[r] |= (uint16_t)(rank[r] + missing) > edge ? strike : 0;
    }
}

static void run_together(const operation *s, const uint16_t *ranks, int32_t rows, double *out, int32_t size)
{
    const forest *f = &s->trees;
    uint16_t struck[GROUPS][BLOCK];
    const test *from = f->tests;
    const int32_t *leaves = f->leaves;
    for (int32_t tree = 0; tree < f->trees; tree++) {
        for (int group = 0; group < GROUPS; group++) {
            const test *end = f->tests + f->ends[tree].tests[group];
            strike_out(f, from, end, ranks, rows, struck[group]);
            from = end;
        }
        for (int32_t r = 0; r < rows; r++) {
            uint32_t low = struck[0][r] | (uint32_t)struck[1][r] << GROUP;
            uint32_t high = struck[2][r] | (uint32_t)struck[3][r] << GROUP;
            int first = __builtin_ctzll(~(low | (uint64_t)high << 2 * GROUP));
            add_leaf(f, s->width, tree, leaves[first], out + r, size);
        }
        leaves = f->leaves + f->ends[tree].leaves;
    }
}

void forest_run(const operation *s, double *w, int32_t size, int32_t rows, uint16_t *ranks)
{
    const forest *f = &s->trees;
    double *out = w + (Py_ssize_t)s->out * size;
    for (int32_t j = 0; j < s->width; j++)
        for (int32_t r = 0; r < rows; r++) out[(Py_ssize_t)j * size + r] = f->base[j];
    if (f->ends && rows >= TOGETHER)
        for (int32_t start = 0; start < rows; start += BLOCK) {
            int32_t many = rows - start < BLOCK ? rows - start : BLOCK;
            rank_rows(s, w + start, size, many, ranks, 1, many);
            run_together(s, ranks, many, out + start, size);
        }
    else {
        rank_rows(s, w, size, rows, ranks, s->reads, 1);
        if (rows < BY_TREE)
            for (int32_t r = 0; r < rows; r++) run_row(s, ranks + (Py_ssize_t)r * s->reads, out + r, size);
        else
            for (int32_t tree = 0; tree < f->trees; tree++) run_tree(s, tree, ranks, rows, out, size);
    }
    for (int32_t j = 0; j < s->width; j++)
        for (int32_t r = 0; r < rows; r++) out[(Py_ssize_t)j * size + r] /= f->divisor;
}
