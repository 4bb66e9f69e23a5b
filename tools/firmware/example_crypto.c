/* SHA-256 (FIPS 180-4) and X25519 (RFC 7748): see example_crypto.h. */
#include "example_crypto.h"

#if PP_AUTHENTICATED_LINK

#include <string.h>

/* ---- SHA-256 ------------------------------------------------------------------------------------------------ */

static const uint32_t ROUND[64] = {
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5, 0xD807AA98,
    0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174, 0xE49B69C1, 0xEFBE4786,
    0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA, 0x983E5152, 0xA831C66D, 0xB00327C8,
    0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967, 0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13,
    0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85, 0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819,
    0xD6990624, 0xF40E3585, 0x106AA070, 0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A,
    0x5B9CCA4F, 0x682E6FF3, 0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7,
    0xC67178F2};

typedef struct {
    uint32_t state[8];
    uint64_t size;
    uint8_t block[64];
} sha256;

static uint32_t turned(uint32_t word, int bits)
{
    return word >> bits | word << (32 - bits);
}

static void mix_block(sha256 *h)
{
    uint32_t w[64];
    uint32_t v[8];
    int i;
    for (i = 0; i < 16; i++) {
        const uint8_t *at = h->block + 4 * i;
        w[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    }
    for (i = 16; i < 64; i++) {
        uint32_t one = turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t two = turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + one + w[i - 7] + two;
    }
    memcpy(v, h->state, sizeof v);
    for (i = 0; i < 64; i++) {
        uint32_t one = turned(v[4], 6) ^ turned(v[4], 11) ^ turned(v[4], 25);
        uint32_t two = turned(v[0], 2) ^ turned(v[0], 13) ^ turned(v[0], 22);
        uint32_t first = v[7] + one + ((v[4] & v[5]) ^ (~v[4] & v[6])) + ROUND[i] + w[i];
        uint32_t second = two + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += first;
        v[0] = first + second;
    }
    for (i = 0; i < 8; i++) {
        h->state[i] += v[i];
    }
}

static void add(sha256 *h, const uint8_t *data, size_t size)
{
    while (size-- > 0) {
        h->block[h->size++ % sizeof h->block] = *data++;
        if (h->size % sizeof h->block == 0) {
            mix_block(h);
        }
    }
}

void example_sha256(void *context, const pp_part *parts, size_t count, uint8_t hash[32])
{
    static const uint8_t one = 0x80;
    static const uint8_t zero = 0;
    sha256 h = {
        {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19}, 0, {0}};
    uint8_t length[8];
    uint64_t bits;
    size_t i;
    (void)context;
    for (i = 0; i < count; i++) {
        add(&h, parts[i].data, parts[i].size);
    }
    bits = h.size * 8;
    add(&h, &one, 1);
    while (h.size % sizeof h.block != sizeof h.block - sizeof length) {
        add(&h, &zero, 1);
    }
    for (i = 0; i < sizeof length; i++) {
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    }
    add(&h, length, sizeof length);
    for (i = 0; i < 32; i++) {
        hash[i] = (uint8_t)(h.state[i / 4] >> (24 - 8 * (i % 4)));
    }
}

/* ---- X25519: a number modulo 2^255 - 19 is 16 limbs of 16 bits, the lowest first ------------------------------ */

typedef int64_t number[16];

/* Divided by 2^16, rounded down: shifting a negative number is not portable. */
static int64_t upper(int64_t limb)
{
    return limb >= 0 ? limb >> 16 : -((65535 - limb) >> 16);
}

static void carry(number n)
{
    int i;
    for (i = 0; i < 16; i++) {
        int64_t over = upper(n[i]);
        n[i] -= over * 65536;
        n[(i + 1) % 16] += i < 15 ? over : 38 * over; /* 2^256 is 38 */
    }
}

static void multiply(number out, const number a, const number b)
{
    int64_t product[31] = {0};
    int i;
    int j;
    for (i = 0; i < 16; i++) {
        for (j = 0; j < 16; j++) {
            product[i + j] += a[i] * b[j];
        }
    }
    for (i = 0; i < 15; i++) {
        product[i] += 38 * product[i + 16];
    }
    memcpy(out, product, sizeof(number));
    carry(out);
    carry(out);
}

static void sum(number out, const number a, const number b)
{
    int i;
    for (i = 0; i < 16; i++) {
        out[i] = a[i] + b[i];
    }
}

static void difference(number out, const number a, const number b)
{
    int i;
    for (i = 0; i < 16; i++) {
        out[i] = a[i] - b[i];
    }
}

/* Changes places where `swap` is 1, in the same time where it is 0. */
static void change(number a, number b, int64_t swap)
{
    int i;
    for (i = 0; i < 16; i++) {
        int64_t both = swap * (a[i] - b[i]);
        a[i] -= both;
        b[i] += both;
    }
}

/* To the power of 2^255 - 21: by Fermat, one divided by it. */
static void invert(number out, const number a)
{
    number power;
    int i;
    memcpy(power, a, sizeof power);
    for (i = 253; i >= 0; i--) {
        multiply(power, power, power);
        if (i != 2 && i != 4) {
            multiply(power, power, a);
        }
    }
    memcpy(out, power, sizeof power);
}

static void pack(uint8_t out[32], number n)
{
    int round;
    int i;
    carry(n);
    carry(n);
    carry(n);
    /* Less the modulus, twice at most, where that leaves something. */
    for (round = 0; round < 2; round++) {
        number less;
        less[0] = n[0] - 0xFFED;
        for (i = 1; i < 15; i++) {
            less[i] = n[i] - 0xFFFF + upper(less[i - 1]);
            less[i - 1] -= upper(less[i - 1]) * 65536;
        }
        less[15] = n[15] - 0x7FFF + upper(less[14]);
        less[14] -= upper(less[14]) * 65536;
        change(n, less, less[15] >= 0 ? 1 : 0);
    }
    for (i = 0; i < 16; i++) {
        out[2 * i] = (uint8_t)(n[i] & 0xFF);
        out[2 * i + 1] = (uint8_t)(n[i] >> 8 & 0xFF);
    }
}

void example_x25519(void *context, const uint8_t scalar[32], const uint8_t point[32], uint8_t result[32])
{
    static const number a24 = {0xDB41, 1};
    uint8_t bits[32];
    number x;
    number a = {1};
    number b;
    number c = {0};
    number d = {1};
    number e;
    number f;
    int i;
    (void)context;
    memcpy(bits, scalar, sizeof bits);
    bits[0] &= 0xF8;
    bits[31] = (uint8_t)((bits[31] & 0x7F) | 0x40);
    for (i = 0; i < 16; i++) {
        x[i] = point[2 * i] | (int64_t)point[2 * i + 1] << 8;
    }
    x[15] &= 0x7FFF;
    memcpy(b, x, sizeof b);
    for (i = 254; i >= 0; i--) {
        int64_t bit = bits[i / 8] >> (i % 8) & 1;
        change(a, b, bit);
        change(c, d, bit);
        sum(e, a, c);
        difference(a, a, c);
        sum(c, b, d);
        difference(b, b, d);
        multiply(d, e, e);
        multiply(f, a, a);
        multiply(a, c, a);
        multiply(c, b, e);
        sum(e, a, c);
        difference(a, a, c);
        multiply(b, a, a);
        difference(c, d, f);
        multiply(a, c, a24);
        sum(a, a, d);
        multiply(c, c, a);
        multiply(a, d, f);
        multiply(d, b, x);
        multiply(b, e, e);
        change(a, b, bit);
        change(c, d, bit);
    }
    invert(c, c);
    multiply(a, a, c);
    pack(result, a);
    memset(bits, 0, sizeof bits);
}

#endif
