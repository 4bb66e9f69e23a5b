/*
 * What the example terminal has in place of a keypad and a display: commands as words, events as lines,
 * the panel as text. A vendor writes this anew for his device; it is no part of the link.
 */
#ifndef EXAMPLE_WORDS_H
#define EXAMPLE_WORDS_H

#include "partpay_link.h"

#include <stdio.h>

#define PANEL_BYTES_MAX 16384

/* A panel that keeps one picture, as it was sent. */
typedef struct {
    uint16_t width; /* in pixels, as HELLO says it */
    uint16_t height;
    size_t size;
    uint8_t data[PANEL_BYTES_MAX];
    uint8_t pixels[PANEL_BYTES_MAX]; /* the same, unpacked */
    FILE *out;
} panel;

/* What `image` of a pp_port does. Formats 10, 90, 01 and 81. */
pp_shown panel_step(panel *shown, const pp_image *image);

/* One line for one event: its name, then key=value; texts are quoted, with \n, \" and \\. */
void print_event(FILE *out, const pp_event *event);

/* Carries out one line, and prints an `answer` line. False: these words are none. */
bool run_command(pp_terminal *terminal, const char *line, uint32_t now, FILE *out);

/* The commands, for --help. */
extern const char COMMANDS[];

#endif
