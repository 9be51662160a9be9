/* How long the messages took. */
#include "load.h"

#define SUB_BITS 6 /* of a bucket: 1.6 % */

static long histogram[64 << SUB_BITS];

void record(int64_t ns) {
    uint64_t v = ns < 1 ? 1 : ns;
    int top = 63 - __builtin_clzll(v), shift = top > SUB_BITS ? top - SUB_BITS : 0;
    histogram[(shift << SUB_BITS) + (v >> shift)]++;
}

double percentile(double share) {
    long total = 0, seen = 0;
    for (int i = 0; i < 64 << SUB_BITS; i++) total += histogram[i];
    for (int i = 0; i < 64 << SUB_BITS; i++)
        if ((seen += histogram[i]) > 0 && seen >= total * share) {
            int shift = i >> SUB_BITS;
            if (shift) shift--; /* values of 2^SUB_BITS to 2^(SUB_BITS+1) stand unshifted too */
            return (double)((uint64_t)(i - (shift << SUB_BITS)) << shift) / 1e6;
        }
    return 0;
}
