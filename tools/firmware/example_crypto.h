/*
 * SHA-256 and X25519 in plain C, so that the example terminal can pair. Right, but not hardened: it takes its time,
 * and a device that an attacker can hold in his hands brings its secure element's own (pp_crypto).
 */
#ifndef EXAMPLE_CRYPTO_H
#define EXAMPLE_CRYPTO_H

#include "partpay_link.h"

#if PP_AUTHENTICATED_LINK
void example_sha256(void *context, const pp_part *parts, size_t count, uint8_t hash[32]);
void example_x25519(void *context, const uint8_t scalar[32], const uint8_t point[32], uint8_t result[32]);
#endif

#endif
