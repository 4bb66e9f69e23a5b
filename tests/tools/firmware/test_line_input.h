/* Lines of words and hex on standard input, for the test programs beside this file. */
#ifndef TEST_LINE_INPUT_H
#define TEST_LINE_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 40000
#define HEX_MAX_BYTES 16384

static char line[LINE_MAX_BYTES];
static uint8_t bytes[HEX_MAX_BYTES];

/* The next line, without its end; NULL at the end of input. */
static char *next_line(void)
{
    if (fgets(line, sizeof line, stdin) == NULL) {
        return NULL;
    }
    line[strcspn(line, "\n")] = '\0';
    return line;
}

/* The bytes of a hex word, into `bytes`; exits where it is none. */
static size_t read_hex(const char *word)
{
    size_t size = 0;
    while (word[0] != '\0' && word[0] != '-') {
        char digits[3] = {word[0], word[1], '\0'};
        char *end;
        unsigned long value = strtoul(digits, &end, 16);
        if (end != digits + 2 || size == sizeof bytes) {
            fprintf(stderr, "no hex, or too much: %s\n", word);
            exit(2);
        }
        bytes[size++] = (uint8_t)value;
        word += 2;
    }
    return size;
}

static void print_hex(const uint8_t *data, size_t size)
{
    size_t place;
    for (place = 0; place < size; place++) {
        printf("%02x", data[place]);
    }
}

#endif
