/*
 * Runs what pytest asks for through the layers below the terminal, one question a line, one answer a line:
 *   dictionary                          the rows of the data dictionary
 *   decode DIALECT HEX                  ok TYPE SEQ TAG=n:12 TAG=x:4142, or no TYPE SEQ
 *   encode DIALECT TYPE SEQ TAG=…       BODY FRAME, in hex, or no
 *   stream DIALECT LIMIT HEX            what a receiver makes of bytes
 *   crc16 HEX, crc32 HEX                in hex
 *   sha256 HEX HEX …, x25519 SCALAR POINT   of the example's cryptography
 *   unpack PIECE LIMIT HEX              PackBits, in pieces of so many bytes in and LIMIT bytes out
 */
#include "example_crypto.h"
#include "partpay_link.h"
#include "test_line_input.h"

#include <inttypes.h>

static const struct {
    uint16_t tag;
    const char *format;
    unsigned least;
    unsigned most;
} ROWS[PP_OBJECTS] = {
#define PP_ROW(name, tag, format, least, most) {tag, #format, least, most},
    PP_DICTIONARY(PP_ROW)
#undef PP_ROW
};

static bool is_number(int object)
{
    return strcmp(ROWS[object].format, "N") == 0 || strcmp(ROWS[object].format, "U") == 0;
}

static pp_dialect read_dialect(const char *word)
{
    return strcmp(word, "classic") == 0 ? PP_CLASSIC : PP_NATIVE;
}

static const char *word(void)
{
    const char *found = strtok(NULL, " ");
    return found == NULL ? "-" : found;
}

static void decode(void)
{
    pp_dialect dialect = read_dialect(word());
    size_t size = read_hex(word());
    /* A copy of its own size, so that a sanitizer sees every byte that is read beyond it. */
    uint8_t *body = malloc(size > 0 ? size : 1);
    pp_message message;
    int object;
    if (body == NULL) {
        exit(2);
    }
    memcpy(body, bytes, size);
    if (!pp_decode(dialect, body, size, &message)) {
        printf("no %02x %02x", message.type, message.sequence);
    } else {
        printf("ok %02x %02x", message.type, message.sequence);
        for (object = 0; object < PP_OBJECTS; object++) {
            size_t length;
            const uint8_t *data;
            if (!pp_has(&message, (pp_object)object)) {
                continue;
            }
            if (is_number(object)) {
                printf(" %X=n:%" PRIu64, ROWS[object].tag, pp_number(&message, (pp_object)object));
            } else {
                data = pp_data(&message, (pp_object)object, &length);
                printf(" %X=x:", ROWS[object].tag);
                print_hex(data, length);
            }
        }
    }
    putchar('\n');
    free(body);
}

static int object_of(const char *tag_word)
{
    unsigned long tag = strtoul(tag_word, NULL, 16);
    int object;
    for (object = 0; object < PP_OBJECTS; object++) {
        if (ROWS[object].tag == tag) {
            return object;
        }
    }
    fprintf(stderr, "no tag: %s\n", tag_word);
    exit(2);
}

static void encode(void)
{
    static uint8_t body[4092];
    static uint8_t frame[2 * 4092 + 6];
    pp_dialect dialect = read_dialect(word());
    uint8_t type = (uint8_t)strtoul(word(), NULL, 16);
    uint8_t sequence = (uint8_t)strtoul(word(), NULL, 16);
    const char *value;
    pp_writer writer;
    pp_begin(&writer, dialect, body, sizeof body, type, sequence);
    for (value = word(); strcmp(value, "-") != 0; value = word()) {
        int object = object_of(value);
        value = strchr(value, '=') + 1;
        if (value[0] == 'n') {
            pp_put_number(&writer, (pp_object)object, strtoull(value + 2, NULL, 10));
        } else {
            size_t size = read_hex(value + 2);
            pp_put_data(&writer, (pp_object)object, bytes, size);
        }
    }
    pp_end(&writer);
    if (writer.failed) {
        puts("no");
        return;
    }
    print_hex(body, writer.size);
    putchar(' ');
    print_hex(frame, pp_frame(dialect, body, writer.size, frame, sizeof frame));
    putchar('\n');
}

static void stream(void)
{
    static uint8_t body[4092];
    pp_dialect dialect = read_dialect(word());
    uint16_t limit = (uint16_t)strtoul(word(), NULL, 10);
    size_t size = read_hex(word());
    size_t place;
    pp_decoder decoder;
    pp_decoder_start(&decoder, dialect, body, limit);
    for (place = 0; place < size; place++) {
        switch (pp_decoder_take(&decoder, bytes[place])) {
        case PP_FRAME:
            fputs("frame ", stdout);
            print_hex(body, decoder.size);
            fputs(";", stdout);
            break;
        case PP_BAD_FRAME:
            fputs("bad;", stdout);
            break;
        case PP_ACK:
            fputs("ack;", stdout);
            break;
        case PP_NAK:
            fputs("nak;", stdout);
            break;
        case PP_NOTHING_YET:
            break;
        }
    }
    puts(pp_decoder_inside(&decoder) ? "inside" : "between");
}

static void unpack(void)
{
    static uint8_t out[HEX_MAX_BYTES];
    pp_unpacker unpacker = {0, false};
    size_t piece = strtoul(word(), NULL, 10);
    size_t limit = strtoul(word(), NULL, 10);
    size_t size = read_hex(word());
    size_t made = 0;
    size_t place = 0;
    while (place < size) {
        size_t used;
        size_t given = size - place < piece ? size - place : piece;
        size_t room = sizeof out - made < limit ? sizeof out - made : limit;
        made += pp_unpack(&unpacker, bytes + place, given, &used, out + made, room);
        place += used;
        if (room == 0) {
            break;
        }
    }
    print_hex(out, made);
    putchar('\n');
}

#if PP_AUTHENTICATED_LINK
static void sha256(void)
{
    static uint8_t data[4][HEX_MAX_BYTES];
    pp_part parts[4];
    uint8_t hash[32];
    size_t count = 0;
    const char *hex;
    for (hex = word(); strcmp(hex, "-") != 0 && count < 4; hex = word()) {
        parts[count].size = read_hex(strcmp(hex, "empty") == 0 ? "" : hex);
        memcpy(data[count], bytes, parts[count].size);
        parts[count].data = data[count];
        count++;
    }
    example_sha256(NULL, parts, count, hash);
    print_hex(hash, sizeof hash);
    putchar('\n');
}

static void x25519(void)
{
    uint8_t scalar[32];
    uint8_t result[32];
    read_hex(word());
    memcpy(scalar, bytes, sizeof scalar);
    read_hex(word());
    example_x25519(NULL, scalar, bytes, result);
    print_hex(result, sizeof result);
    putchar('\n');
}
#endif

int main(void)
{
    int object;
    while (next_line() != NULL) {
        const char *question = strtok(line, " ");
        if (question == NULL) {
            continue;
        }
        if (strcmp(question, "dictionary") == 0) {
            for (object = 0; object < PP_OBJECTS; object++) {
                printf("%X %s %u %u;", ROWS[object].tag, ROWS[object].format, ROWS[object].least, ROWS[object].most);
            }
            putchar('\n');
        } else if (strcmp(question, "decode") == 0) {
            decode();
        } else if (strcmp(question, "encode") == 0) {
            encode();
        } else if (strcmp(question, "stream") == 0) {
            stream();
        } else if (strcmp(question, "crc16") == 0) {
            size_t size = read_hex(word());
            printf("%04x\n", pp_crc16(0, bytes, size));
        } else if (strcmp(question, "crc32") == 0) {
            size_t size = read_hex(word());
            printf("%08" PRIx32 "\n", pp_crc32(0, bytes, size));
#if PP_AUTHENTICATED_LINK
        } else if (strcmp(question, "sha256") == 0) {
            sha256();
        } else if (strcmp(question, "x25519") == 0) {
            x25519();
#endif
        } else if (strcmp(question, "unpack") == 0) {
            unpack();
        } else {
            return 2;
        }
    }
    return 0;
}
