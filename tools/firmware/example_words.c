/* Commands as words, events as lines, the panel as text: see example_words.h. */
#include "example_words.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char COMMANDS[] = "  sale AMOUNT [REFERENCE]   begin a sale: sale 12.50 INV-1\n"
                        "  cancel                    end the open sale\n"
                        "  refund COUNTER AMOUNT     give back an amount of that sale\n"
                        "  query [COUNTER]           ask what became of it, or of the last one\n"
                        "  decide COUNTER yes|no     say whether the bridge's sale is this one\n"
                        "  end COUNTER               end what the bridge does not know\n"
#if PP_AUTHENTICATED_LINK
                        "  pair                      open pairing; then yes or no to the six digits\n"
                        "  yes, no                   the six digits are the bridge's, or not\n"
                        "  forget-keys               remove the keys of a pairing\n"
#endif
                        "  status                    what is open\n"
                        "  quit\n";

/* ---- The panel --------------------------------------------------------------------------------------------- */

#define QUIET_MODULES 4
#define PACKED 0x80
#define ROWS 0x01
#define MODULES 0x10

/* The bytes that a picture has before it is packed; 0: this panel cannot show it. */
static size_t unpacked_size(const panel *shown, const pp_image *image)
{
    size_t side = image->width;
    size_t room = shown->width < shown->height ? shown->width : shown->height;
    size_t least = shown->height <= 64 ? 1 : 2; /* pixels a module (link, section 5) */
    size_t size;
    if ((image->format & ~PACKED) == MODULES) {
        if ((side + 2 * QUIET_MODULES) * least > room) {
            return 0;
        }
        size = 1 + (side * side + 7) / 8;
    } else {
        size = (size_t)(image->width + 7) / 8 * image->height;
    }
    return size <= sizeof shown->pixels ? size : 0;
}

static bool unpack(panel *shown, const pp_image *image, size_t wanted)
{
    pp_unpacker unpacker = {0, false};
    size_t made = 0;
    size_t place = 0;
    if ((image->format & PACKED) == 0) {
        memcpy(shown->pixels, shown->data, shown->size);
        return shown->size == wanted;
    }
    while (place < shown->size && made < wanted) {
        size_t used;
        made += pp_unpack(
            &unpacker, shown->data + place, shown->size - place, &used, shown->pixels + made, wanted - made);
        place += used;
    }
    return made == wanted && place == shown->size;
}

static bool is_dark(const uint8_t *bits, size_t bit)
{
    return (bits[bit / 8] >> (7 - bit % 8) & 1) != 0;
}

static void print_panel(const panel *shown, const pp_image *image)
{
    bool modules = (image->format & ~PACKED) == MODULES;
    size_t stride = modules ? image->width : (size_t)(image->width + 7) / 8 * 8;
    const uint8_t *bits = modules ? shown->pixels + 1 : shown->pixels;
    size_t row;
    size_t column;
    for (row = 0; row < image->height; row++) {
        fputs("panel ", shown->out);
        for (column = 0; column < image->width; column++) {
            fputc(is_dark(bits, row * stride + column) ? '#' : '.', shown->out);
        }
        fputc('\n', shown->out);
    }
    fputs("image", shown->out);
    if (image->counter != 0) {
        fprintf(shown->out, " counter=%" PRIu32, image->counter);
    }
    fprintf(
        shown->out, " format=%u width=%u height=%u bytes=%" PRIu32 "\n", (unsigned)image->format,
        (unsigned)image->width, (unsigned)image->height, image->length);
}

pp_shown panel_step(panel *shown, const pp_image *image)
{
    size_t wanted;
    switch (image->step) {
    case PP_IMAGE_BEGIN:
        shown->size = 0;
        if (unpacked_size(shown, image) == 0) {
            return PP_UNKNOWN_FORMAT;
        }
        return image->length <= sizeof shown->data ? PP_SHOWN : PP_OUT_OF_MEMORY;
    case PP_IMAGE_PIECE:
        if (image->size > 0) {
            memcpy(shown->data + image->offset, image->data, image->size);
        }
        shown->size += image->size;
        return PP_SHOWN;
    case PP_IMAGE_READY:
        wanted = unpacked_size(shown, image);
        if (wanted == 0 || !unpack(shown, image, wanted)) {
            return PP_UNKNOWN_FORMAT;
        }
        if ((image->format & ~PACKED) == MODULES && shown->pixels[0] != image->width) {
            return PP_UNKNOWN_FORMAT;
        }
        print_panel(shown, image);
        return PP_SHOWN;
    case PP_IMAGE_LEFT:
        return PP_SHOWN;
    case PP_IMAGE_AWAY:
        fputs("image-gone\n", shown->out);
        return PP_SHOWN;
    }
    return PP_UNKNOWN_FORMAT;
}

/* ---- Events ------------------------------------------------------------------------------------------------- */

static void print_quoted(FILE *out, const char *name, const char *text, size_t size)
{
    size_t place;
    if (text == NULL) {
        return;
    }
    fprintf(out, " %s=\"", name);
    for (place = 0; place < size; place++) {
        if (text[place] == '\n') {
            fputs("\\n", out);
            continue;
        }
        if (text[place] == '"' || text[place] == '\\') {
            fputc('\\', out);
        }
        fputc(text[place], out);
    }
    fputc('"', out);
}

static const char *ending_name(pp_ending ending)
{
    static const char *const names[] = {
        "", "approved", "not-approved", "unbooked", "refused", "never-taken", "by-person"};
    return names[ending];
}

static const char *matter_name(pp_matter matter)
{
    static const char *const names[] = {
        "",         "not-paired",      "no-welcome",      "other-journal", "other-amount", "other-code",
        "unbooked", "unknown-outcome", "not-known-there", "decide"};
    return names[matter];
}

void print_event(FILE *out, const pp_event *event)
{
    switch (event->kind) {
    case PP_EVENT_READY:
        fprintf(out, "ready paired=%s", event->paired ? "true" : "false");
        break;
    case PP_EVENT_PROGRESS:
        fprintf(
            out, "progress counter=%" PRIu32 " amount_minor=%" PRIu64 " seconds_left=%u", event->counter,
            event->amount, (unsigned)event->seconds_left);
        break;
    case PP_EVENT_TEXT:
        fputs("text", out);
        print_quoted(out, "text", event->text, event->text_size);
        break;
    case PP_EVENT_CLOSED:
        fprintf(
            out, "closed counter=%" PRIu32 " kind=%s ending=%s amount_minor=%" PRIu64, event->counter,
            event->of == PP_KIND_REFUND ? "refund" : "tender", ending_name(event->ending), event->amount);
        if (event->response_code[0] != '\0') {
            fprintf(out, " response_code=\"%s\"", event->response_code);
        }
        if (event->reason != 0) {
            fprintf(out, " reason=%u", (unsigned)event->reason);
        }
        print_quoted(out, "text", event->text, event->text_size);
        print_quoted(out, "order_number", event->order_number, event->order_number_size);
        print_quoted(out, "order_id", event->order_id, event->order_id_size);
        break;
    case PP_EVENT_NEW_COUNTER:
        fprintf(out, "new-counter old=%" PRIu32 " new=%" PRIu32, event->old_counter, event->counter);
        break;
    case PP_EVENT_PERSON:
        fprintf(
            out, "person matter=%s counter=%" PRIu32 " amount_minor=%" PRIu64, matter_name(event->matter),
            event->counter, event->amount);
        break;
    case PP_EVENT_DIGITS:
        fprintf(out, "digits digits=%06" PRIu32, event->digits);
        break;
    case PP_EVENT_PAIRED:
        fprintf(out, "pairing-ended why=%s", event->paired ? "paired" : "ended");
        break;
    case PP_EVENT_STOPPED:
        fputs("failed why=\"the storage cannot be written\"", out);
        break;
    }
    fputc('\n', out);
}

/* ---- Commands ----------------------------------------------------------------------------------------------- */

static bool read_number(const char *word, uint32_t *number)
{
    char *end;
    unsigned long value = strtoul(word, &end, 10);
    *number = (uint32_t)value;
    return word[0] >= '0' && word[0] <= '9' && *end == '\0' && value <= PP_COUNTER_MAX;
}

/* 12 or 12.50, in cents. No floating point near money. */
static bool read_amount(const char *word, uint64_t *amount)
{
    uint64_t value = 0;
    size_t digits = 0;
    while (*word >= '0' && *word <= '9' && digits < 10) {
        value = value * 10 + (uint64_t)(*word++ - '0');
        digits++;
    }
    *amount = value * 100;
    if (digits == 0 || *word == '\0') {
        return digits > 0;
    }
    if (word[0] != '.' || word[1] < '0' || word[1] > '9' || word[2] < '0' || word[2] > '9' || word[3] != '\0') {
        return false;
    }
    *amount += (uint64_t)(word[1] - '0') * 10 + (uint64_t)(word[2] - '0');
    return true;
}

static const char *result_name(pp_result result)
{
    static const char *const names[] = {
        "", "no WELCOME yet, or not paired", "a sale is open", "it cannot be said", "it is not open",
        "the storage failed"};
    return names[result];
}

static void print_answer(FILE *out, const char *line, pp_result result, uint32_t counter)
{
    fputs("answer", out);
    print_quoted(out, "command", line, strlen(line));
    if (result != PP_OK) {
        print_quoted(out, "cannot", result_name(result), strlen(result_name(result)));
    } else if (counter != 0) {
        fprintf(out, " counter=%" PRIu32, counter);
    }
    fputc('\n', out);
}

static void print_status(FILE *out, const pp_terminal *terminal)
{
    int place;
    for (place = 0; place < PP_OPEN_MAX; place++) {
        const pp_transaction *part = &terminal->kept.open[place];
        if (part->counter != 0) {
            fprintf(
                out, "open counter=%" PRIu32 " kind=%s amount_minor=%" PRIu64 " phase=%u\n", part->counter,
                part->kind == PP_KIND_REFUND ? "refund" : "tender", part->amount, (unsigned)part->phase);
        }
    }
}

#define WORDS_MAX 3

bool run_command(pp_terminal *terminal, const char *line, uint32_t now, FILE *out)
{
    char copy[160];
    char *word[WORDS_MAX] = {NULL, NULL, NULL};
    size_t count = 0;
    char *next;
    uint32_t counter = 0;
    uint32_t asked = 0;
    uint64_t amount;
    pp_sale_content sale;
    pp_result result;
    if (strlen(line) >= sizeof copy) {
        return false;
    }
    strcpy(copy, line);
    for (next = strtok(copy, " "); next != NULL && count < WORDS_MAX; next = strtok(NULL, " ")) {
        word[count++] = next;
    }
    if (count == 0 || next != NULL) {
        return false;
    }
    if (strcmp(word[0], "sale") == 0 && count >= 2 && read_amount(word[1], &amount)) {
        memset(&sale, 0, sizeof sale);
        sale.amount = amount;
        sale.reference = word[2];
        result = pp_sale(terminal, &sale, now, &counter);
    } else if (
        strcmp(word[0], "refund") == 0 && count == 3 && read_number(word[1], &asked)
        && read_amount(word[2], &amount)) {
        result = pp_refund(terminal, asked, amount, NULL, now, &counter);
    } else if (strcmp(word[0], "cancel") == 0 && count == 1) {
        result = pp_cancel(terminal, now);
    } else if (strcmp(word[0], "query") == 0 && (count == 1 || (count == 2 && read_number(word[1], &asked)))) {
        result = pp_query(terminal, asked, now);
    } else if (
        strcmp(word[0], "decide") == 0 && count == 3 && read_number(word[1], &asked)
        && (strcmp(word[2], "yes") == 0 || strcmp(word[2], "no") == 0)) {
        result = pp_decide(terminal, asked, strcmp(word[2], "yes") == 0, now);
    } else if (strcmp(word[0], "end") == 0 && count == 2 && read_number(word[1], &asked)) {
        result = pp_end_by_person(terminal, asked, now);
#if PP_AUTHENTICATED_LINK
    } else if (strcmp(word[0], "pair") == 0 && count == 1) {
        result = pp_pair(terminal, now);
    } else if ((strcmp(word[0], "yes") == 0 || strcmp(word[0], "no") == 0) && count == 1) {
        result = pp_compared(terminal, strcmp(word[0], "yes") == 0, now);
    } else if (strcmp(word[0], "forget-keys") == 0 && count == 1) {
        result = pp_forget_keys(terminal, now);
#endif
    } else if (strcmp(word[0], "status") == 0 && count == 1) {
        print_status(out, terminal);
        result = PP_OK;
    } else {
        return false;
    }
    print_answer(out, line, result, counter);
    return true;
}
