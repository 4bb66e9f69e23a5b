/*
 * The terminal link, version 1: see partpay_link.h for what this does and how it is used.
 *
 * Rules of this file
 * - In the order of the layers: checks, words, bodies, frames, acknowledgement, images, the terminal's rules.
 * - Nothing above a layer is known in it; each is tried by itself with the published vectors.
 * - A change that must outlive a power cut is made in `kept`, then `keep` is called; where that fails the
 *   function returns at once, and the terminal says nothing more.
 * - What is said again lies in timers (pp_work). Nothing is sent from the place where it is decided: `say`
 *   puts it in the queue, and its content is taken from `kept` when its turn comes.
 */
#include "partpay_link.h"

#include <string.h>

#define PROTOCOL_VERSION 1
#define CURRENCY_NZD 554

/* Section 2, in milliseconds */
#define BYTE_GAP_MS 500
#define ANSWER_MS 1000
#define SENT_TIMES 3
#define NAK_PAUSE_MS 50
#define NAK_PAUSE_LATER_MS 250
#define LATE_ANSWERS_MS 250
/* How much later than it happens pp_sent may be called: an answer less than this before is none too early. */
#define LEFT_TOLD_LATE_MS 50

/* Section 4 */
#define HELLO_AGAIN_MS 5000
#define HELLO_UNPAIRED_MS 60000
#define SAY_AGAIN_MS 3000
#define PATIENCE_MS 60000
#define SLOWLY_MS 60000
#define SILENCE_MS 15000
#define PING_MS 60000
#define NO_WELCOME_MS 60000

static bool due(uint32_t now, uint32_t at)
{
    return (int32_t)(now - at) >= 0;
}

/* ---- Checks ------------------------------------------------------------------------------------------ */

uint16_t pp_crc16(uint16_t crc, const uint8_t *data, size_t size)
{
    /* Half a byte at a time: sixteen words instead of 256, and still less time than the line takes. */
    static const uint16_t table[16] = {0x0000, 0x1081, 0x2102, 0x3183, 0x4204, 0x5285, 0x6306, 0x7387,
                                       0x8408, 0x9489, 0xA50A, 0xB58B, 0xC60C, 0xD68D, 0xE70E, 0xF78F};
    while (size-- > 0) {
        crc = (uint16_t)((crc >> 4) ^ table[(crc ^ *data) & 0x0F]);
        crc = (uint16_t)((crc >> 4) ^ table[(crc ^ (*data >> 4)) & 0x0F]);
        data++;
    }
    return crc;
}

uint32_t pp_crc32(uint32_t crc, const uint8_t *data, size_t size)
{
    static const uint32_t table[16] = {0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
                                       0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
                                       0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};
    crc = ~crc;
    while (size-- > 0) {
        crc = (crc >> 4) ^ table[(crc ^ *data) & 0x0F];
        crc = (crc >> 4) ^ table[(crc ^ (*data >> 4)) & 0x0F];
        data++;
    }
    return ~crc;
}

/* ---- Words ------------------------------------------------------------------------------------------- */

typedef enum { FORMAT_N, FORMAT_U, FORMAT_AN, FORMAT_ANS, FORMAT_B } object_format;

typedef struct {
    uint16_t tag;
    uint16_t most;
    uint8_t least;
    uint8_t format;
} object_row;

static const object_row DICTIONARY[PP_OBJECTS] = {
#define PP_ROW(name, tag, format, least, most) {tag, most, least, FORMAT_##format},
    PP_DICTIONARY(PP_ROW)
#undef PP_ROW
};

#define BIT(object) (UINT64_C(1) << (object))

typedef struct {
    uint8_t type;
    uint64_t needs;
} message_row;

static const message_row MESSAGES[] = {
    {PP_HELLO,
     BIT(PP_TERMINAL_ID) | BIT(PP_SERIAL_NUMBER) | BIT(PP_VERSION) | BIT(PP_MODEL) | BIT(PP_FIRMWARE)
         | BIT(PP_PANEL_WIDTH) | BIT(PP_PANEL_HEIGHT) | BIT(PP_FORMATS) | BIT(PP_MAX_BODY)},
    {PP_PAIR_KEY, BIT(PP_PUBLIC_KEY) | BIT(PP_PAIRING_NONCE)},
    {PP_PAIR_CONFIRM, BIT(PP_CONFIRMATION)},
    {PP_TENDER, BIT(PP_TERMINAL_ID) | BIT(PP_COUNTER) | BIT(PP_AMOUNT) | BIT(PP_CURRENCY)},
    {PP_CANCEL, BIT(PP_TERMINAL_ID) | BIT(PP_COUNTER)},
    {PP_QUERY, BIT(PP_TERMINAL_ID)},
    {PP_REFUND, BIT(PP_TERMINAL_ID) | BIT(PP_COUNTER) | BIT(PP_ORIGINAL_COUNTER) | BIT(PP_AMOUNT)},
    {PP_STORED, BIT(PP_TERMINAL_ID) | BIT(PP_COUNTER) | BIT(PP_RESPONSE_CODE)},
    {PP_IMAGE_STATUS, BIT(PP_IMAGE_ID) | BIT(PP_STATUS)},
    {PP_PING, 0},
    {PP_IDENTIFY, 0},
    {PP_WELCOME, BIT(PP_VERSION) | BIT(PP_JOURNAL_ID) | BIT(PP_PAIRED) | BIT(PP_DATE) | BIT(PP_TIME)},
    {PP_PAIR_OPEN, BIT(PP_COMMITMENT)},
    {PP_PAIR_REVEAL, BIT(PP_PUBLIC_KEY) | BIT(PP_PAIRING_NONCE)},
    {PP_PAIR_DONE, BIT(PP_CONFIRMATION)},
    {PP_ACCEPTED,
     BIT(PP_TERMINAL_ID) | BIT(PP_COUNTER) | BIT(PP_AMOUNT) | BIT(PP_CURRENCY) | BIT(PP_SECONDS_LEFT)},
    {PP_PROGRESS,
     BIT(PP_TERMINAL_ID) | BIT(PP_COUNTER) | BIT(PP_AMOUNT) | BIT(PP_TEXT) | BIT(PP_SECONDS_LEFT)},
    {PP_OUTCOME,
     BIT(PP_TERMINAL_ID) | BIT(PP_COUNTER) | BIT(PP_RESPONSE_CODE) | BIT(PP_AMOUNT) | BIT(PP_TEXT) | BIT(PP_DATE)
         | BIT(PP_TIME)},
    {PP_REFUSED, BIT(PP_REASON) | BIT(PP_WHAT_REFUSED) | BIT(PP_TEXT)},
    {PP_IMAGE_OPEN,
     BIT(PP_IMAGE_ID) | BIT(PP_IMAGE_FORMAT) | BIT(PP_IMAGE_WIDTH) | BIT(PP_IMAGE_HEIGHT) | BIT(PP_IMAGE_LENGTH)
         | BIT(PP_IMAGE_CRC)},
    {PP_IMAGE_DATA, BIT(PP_IMAGE_ID) | BIT(PP_OFFSET) | BIT(PP_DATA)},
    {PP_IMAGE_SHOW, BIT(PP_IMAGE_ID)},
    {PP_DISPLAY_CLEAR, 0},
    {PP_DISPLAY_TEXT, BIT(PP_TEXT)},
    {PP_PONG, 0},
};

/* What 8A can be (section 3); a message with another one is not understood. */
static const char RESPONSE_CODES[][3] = {"00", "05", "17", "54", "91", "96"};

static int object_of(uint16_t tag)
{
    int object;
    for (object = 0; object < PP_OBJECTS; object++) {
        if (DICTIONARY[object].tag == tag) {
            return object;
        }
    }
    return -1;
}

bool pp_has(const pp_message *message, pp_object object)
{
    return (message->has & BIT(object)) != 0;
}

uint64_t pp_number(const pp_message *message, pp_object object)
{
    return pp_has(message, object) ? message->value[object].number : 0;
}

const uint8_t *pp_data(const pp_message *message, pp_object object, size_t *size)
{
    if (!pp_has(message, object)) {
        *size = 0;
        return NULL;
    }
    *size = message->value[object].data.size;
    return message->body + message->value[object].data.at;
}

/* How many bytes the character at `at` has; 0 where it is no UTF-8. */
static size_t character(const uint8_t *at, size_t size)
{
    uint8_t first = at[0];
    uint8_t least = 0x80;
    uint8_t most = 0xBF;
    size_t length;
    size_t place;
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xC2 && first <= 0xDF) {
        length = 2;
    } else if (first >= 0xE0 && first <= 0xEF) {
        length = 3;
    } else if (first >= 0xF0 && first <= 0xF4) {
        length = 4;
    } else {
        return 0;
    }
    /* Forms that are longer than they need be, halves of pairs, and what is beyond the last character */
    switch (first) {
    case 0xE0:
        least = 0xA0;
        break;
    case 0xED:
        most = 0x9F;
        break;
    case 0xF0:
        least = 0x90;
        break;
    case 0xF4:
        most = 0x8F;
        break;
    default:
        break;
    }
    if (length > size || at[1] < least || at[1] > most) {
        return 0;
    }
    for (place = 2; place < length; place++) {
        if ((at[place] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return length;
}

static bool is_text(const uint8_t *at, size_t size, bool line_breaks)
{
    size_t place = 0;
    while (place < size) {
        size_t length = character(at + place, size - place);
        uint8_t byte = at[place];
        if (length == 0) {
            return false;
        }
        if ((byte < 0x20 && !(line_breaks && byte == '\n')) || byte == 0x7F) {
            return false;
        }
        place += length;
    }
    return true;
}

/* ---- Reading bodies ---------------------------------------------------------------------------------- */

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static int hex_digit(uint8_t byte, bool lower_too)
{
    if (is_digit(byte)) {
        return byte - '0';
    }
    if (byte >= 'A' && byte <= 'F') {
        return byte - 'A' + 10;
    }
    if (lower_too && byte >= 'a' && byte <= 'f') {
        return byte - 'a' + 10;
    }
    return -1;
}

static uint64_t largest(const object_row *row)
{
    return row->most >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * row->most)) - 1;
}

/* A text or bytes object, in its binary form: what is common to both encodings. */
static bool take_data(pp_message *message, int object, size_t at, size_t size)
{
    const object_row *row = &DICTIONARY[object];
    const uint8_t *value = message->body + at;
    size_t code;
    if (size < row->least || size > row->most) {
        return false;
    }
    if (row->format != FORMAT_B) {
        if (!is_text(value, size, object == PP_TEXT)) {
            return false;
        }
        if (row->format == FORMAT_AN) {
            while (size > 0 && value[size - 1] == ' ') {
                size--;
            }
        }
    }
    if (object == PP_RESPONSE_CODE) {
        for (code = 0; code < sizeof RESPONSE_CODES / sizeof RESPONSE_CODES[0]; code++) {
            if (size == 2 && memcmp(value, RESPONSE_CODES[code], 2) == 0) {
                break;
            }
        }
        if (code == sizeof RESPONSE_CODES / sizeof RESPONSE_CODES[0]) {
            return false;
        }
    }
    message->value[object].number = 0;
    message->value[object].data.at = (uint16_t)at;
    message->value[object].data.size = (uint16_t)size;
    return true;
}

static bool take_tlv(pp_message *message, int object, size_t at, size_t size)
{
    const object_row *row = &DICTIONARY[object];
    const uint8_t *value = message->body + at;
    uint64_t number = 0;
    size_t place;
    if (row->format != FORMAT_N && row->format != FORMAT_U) {
        return take_data(message, object, at, size);
    }
    if (size != row->most) {
        return false;
    }
    for (place = 0; place < size; place++) {
        if (row->format == FORMAT_U) {
            number = number << 8 | value[place];
            continue;
        }
        if (value[place] >> 4 > 9 || (value[place] & 0x0F) > 9) {
            return false;
        }
        number = number * 100 + (uint64_t)(value[place] >> 4) * 10 + (value[place] & 0x0F);
    }
    message->value[object].number = number;
    return true;
}

/* One object of a body: where it stands, and where the next one begins. */
typedef struct {
    uint16_t tag;
    size_t at;
    size_t size;
    size_t next;
} object_place;

static bool next_tlv(const uint8_t *body, size_t size, size_t place, object_place *found)
{
    size_t length;
    found->tag = body[place++];
    if (found->tag == 0) {
        return false;
    }
    if ((found->tag & 0x1F) == 0x1F) {
        if (place >= size || (body[place] & 0x80) != 0) {
            return false;
        }
        found->tag = (uint16_t)(found->tag << 8 | body[place++]);
    }
    if (place >= size) {
        return false;
    }
    length = body[place++];
    if (length == 0x81) {
        if (place + 1 > size || body[place] < 0x80) {
            return false;
        }
        length = body[place++];
    } else if (length == 0x82) {
        if (place + 2 > size || body[place] == 0) {
            return false;
        }
        length = (size_t)body[place] << 8 | body[place + 1];
        place += 2;
    } else if (length > 0x7F) {
        return false;
    }
    found->at = place;
    found->size = length;
    found->next = place + length;
    return length <= size - place;
}

static bool decode_tlv(const uint8_t *body, size_t size, pp_message *message)
{
    object_place found;
    size_t place;
    bool ended = false;
    for (place = 2; place < size; place = found.next) {
        int object;
        if (ended || !next_tlv(body, size, place, &found)) {
            return false;
        }
        object = object_of(found.tag);
        if (object >= 0) {
            if (pp_has(message, (pp_object)object) || !take_tlv(message, object, found.at, found.size)) {
                return false;
            }
            message->has |= BIT(object);
            ended = object == PP_CODE;
        }
    }
    return true;
}

static int base64_digit(uint8_t byte)
{
    if (byte >= 'A' && byte <= 'Z') {
        return byte - 'A';
    }
    if (byte >= 'a' && byte <= 'z') {
        return byte - 'a' + 26;
    }
    if (is_digit(byte)) {
        return byte - '0' + 52;
    }
    return byte == '+' ? 62 : byte == '/' ? 63 : -1;
}

/* Base64 into bytes where it stands; -1: it is none. One form only: padded, no loose bits. */
static long unpack_base64(uint8_t *at, size_t size)
{
    size_t place;
    size_t made = 0;
    if (size % 4 != 0) {
        return -1;
    }
    for (place = 0; place < size; place += 4) {
        int digits[4];
        int padding = 0;
        int digit;
        uint32_t bits;
        if (place + 4 == size) {
            padding = at[place + 3] != '=' ? 0 : at[place + 2] != '=' ? 1 : 2;
        }
        for (digit = 0; digit < 4; digit++) {
            digits[digit] = digit >= 4 - padding ? 0 : base64_digit(at[place + (size_t)digit]);
            if (digits[digit] < 0) {
                return -1;
            }
        }
        if ((padding == 1 && (digits[2] & 0x03) != 0) || (padding == 2 && (digits[1] & 0x0F) != 0)) {
            return -1;
        }
        bits = (uint32_t)digits[0] << 18 | (uint32_t)digits[1] << 12 | (uint32_t)digits[2] << 6 | (uint32_t)digits[3];
        at[made++] = (uint8_t)(bits >> 16);
        if (padding < 2) {
            at[made++] = (uint8_t)(bits >> 8);
        }
        if (padding < 1) {
            at[made++] = (uint8_t)bits;
        }
    }
    return (long)made;
}

/* \n and \\ into what they mean, where they stand; -1: another escape. */
static long unpack_escapes(uint8_t *at, size_t size)
{
    size_t place;
    size_t made = 0;
    for (place = 0; place < size; place++) {
        uint8_t byte = at[place];
        if (byte == '\n') {
            return -1;
        }
        if (byte == '\\') {
            place++;
            if (place == size || (at[place] != '\\' && at[place] != 'n')) {
                return -1;
            }
            byte = at[place] == 'n' ? '\n' : '\\';
        }
        at[made++] = byte;
    }
    return (long)made;
}

static bool take_fs(pp_message *message, uint8_t *body, int object, size_t at, size_t size)
{
    const object_row *row = &DICTIONARY[object];
    uint64_t number = 0;
    size_t place;
    long unpacked;
    switch (row->format) {
    case FORMAT_N:
    case FORMAT_U:
        if (size == 0 || (row->format == FORMAT_N && size != 2u * row->most)) {
            return false;
        }
        for (place = 0; place < size; place++) {
            if (!is_digit(body[at + place])) {
                return false;
            }
            number = number * 10 + (uint64_t)(body[at + place] - '0');
            if (row->format == FORMAT_U && number > largest(row)) {
                return false;
            }
        }
        message->value[object].number = number;
        return true;
    case FORMAT_B:
        unpacked = unpack_base64(body + at, size);
        return unpacked >= 0 && take_data(message, object, at, (size_t)unpacked);
    default:
        if (object == PP_TEXT) {
            unpacked = unpack_escapes(body + at, size);
            return unpacked >= 0 && take_data(message, object, at, (size_t)unpacked);
        }
        return take_data(message, object, at, size);
    }
}

/* A tag of one or two bytes in upper-case hex; -1: it is none. */
static long read_tag(const uint8_t *at, size_t size)
{
    uint32_t tag = 0;
    size_t place;
    if (size != 2 && size != 4) {
        return -1;
    }
    for (place = 0; place < size; place++) {
        int digit = hex_digit(at[place], false);
        if (digit < 0) {
            return -1;
        }
        tag = tag << 4 | (uint32_t)digit;
    }
    if (size == 2) {
        return (tag & 0x1F) == 0x1F ? -1 : (long)tag;
    }
    return (tag & 0x1F00) == 0x1F00 && (tag & 0x80) == 0 ? (long)tag : -1;
}

#define FS 0x1C
#define TEXT_CHECK_HEAD "\x1c" "DF7E="
#define TEXT_CHECK_SIZE (sizeof TEXT_CHECK_HEAD - 1 + 4)

/* The size of the body before a right DF7E; 0: it is wrong or missing. */
static size_t checked_text(const uint8_t *body, size_t size)
{
    size_t text = size - TEXT_CHECK_SIZE;
    uint16_t check = 0;
    size_t place;
    if (size < TEXT_CHECK_SIZE + 4 || memcmp(body + text, TEXT_CHECK_HEAD, sizeof TEXT_CHECK_HEAD - 1) != 0) {
        return 0;
    }
    for (place = size - 4; place < size; place++) {
        int digit = hex_digit(body[place], false);
        if (digit < 0) {
            return 0;
        }
        check = (uint16_t)(check << 4 | digit);
    }
    return check == pp_crc16(0, body, text) ? text : 0;
}

static bool next_fs(const uint8_t *body, size_t size, size_t place, object_place *found)
{
    size_t start = place + 1;
    size_t equals = start;
    long tag;
    if (body[place] != FS) {
        return false;
    }
    for (found->next = start; found->next < size && body[found->next] != FS; found->next++) {
    }
    while (equals < found->next && body[equals] != '=') {
        equals++;
    }
    if (equals == found->next) {
        return false;
    }
    tag = read_tag(body + start, equals - start);
    found->tag = (uint16_t)tag;
    found->at = equals + 1;
    found->size = found->next - found->at;
    return tag >= 0;
}

static bool decode_fs(uint8_t *body, size_t size, pp_message *message)
{
    object_place found;
    size_t place;
    bool ended = false;
    size = checked_text(body, size);
    if (size == 0) {
        return false;
    }
    message->has |= BIT(PP_TEXT_CHECK); /* it has stood, at the end: another one is one too many */
    for (place = 4; place < size; place = found.next) {
        int object;
        if (ended || !next_fs(body, size, place, &found)) {
            return false;
        }
        object = object_of(found.tag);
        if (object >= 0) {
            if (pp_has(message, (pp_object)object) || !take_fs(message, body, object, found.at, found.size)) {
                return false;
            }
            message->has |= BIT(object);
            ended = object == PP_CODE;
        }
    }
    message->has &= ~BIT(PP_TEXT_CHECK);
    return true;
}

static bool is_complete(const pp_message *message)
{
    size_t row;
    if (message->sequence == 0) {
        return false;
    }
    for (row = 0; row < sizeof MESSAGES / sizeof MESSAGES[0]; row++) {
        if (MESSAGES[row].type == message->type) {
            break;
        }
    }
    if (row == sizeof MESSAGES / sizeof MESSAGES[0]) {
        return false;
    }
    if (message->type == PP_IMAGE_OPEN && pp_has(message, PP_TERMINAL_ID) != pp_has(message, PP_COUNTER)) {
        return false;
    }
    return (MESSAGES[row].needs & ~message->has) == 0;
}

bool pp_decode(pp_dialect dialect, uint8_t *body, size_t size, pp_message *message)
{
    int digits[4];
    size_t place;
    memset(message, 0, sizeof *message);
    message->body = body;
    if (dialect == PP_NATIVE) {
        if (size < 2) {
            return false;
        }
        message->type = body[0];
        message->sequence = body[1];
        return decode_tlv(body, size, message) && is_complete(message);
    }
    if (size < 4) {
        return false;
    }
    for (place = 0; place < 4; place++) {
        digits[place] = hex_digit(body[place], true);
        if (digits[place] < 0) {
            return false;
        }
    }
    message->type = (uint8_t)(digits[0] << 4 | digits[1]);
    message->sequence = (uint8_t)(digits[2] << 4 | digits[3]);
    return decode_fs(body, size, message) && is_complete(message);
}

/* ---- Writing bodies ---------------------------------------------------------------------------------- */

static void put(pp_writer *writer, const void *data, size_t size)
{
    if (writer->failed || size > writer->limit - writer->size) {
        writer->failed = true;
        return;
    }
    if (size > 0) {
        memcpy(writer->body + writer->size, data, size);
    }
    writer->size += size;
}

static void put_byte(pp_writer *writer, unsigned byte)
{
    uint8_t value = (uint8_t)byte;
    put(writer, &value, 1);
}

static void put_hex(pp_writer *writer, uint32_t number, int digits)
{
    static const char hex[] = "0123456789ABCDEF";
    while (digits-- > 0) {
        put_byte(writer, (unsigned)hex[number >> (4 * digits) & 0x0F]);
    }
}

/* Decimal, with so many digits at least. */
static void put_decimal(pp_writer *writer, uint64_t number, int digits)
{
    uint8_t text[20];
    size_t place = sizeof text;
    while (number > 0 || digits > 0) {
        text[--place] = (uint8_t)('0' + number % 10);
        number /= 10;
        digits--;
    }
    put(writer, text + place, sizeof text - place);
}

void pp_begin(pp_writer *writer, pp_dialect dialect, uint8_t *body, size_t limit, uint8_t type, uint8_t sequence)
{
    writer->body = body;
    writer->size = 0;
    writer->limit = limit;
    writer->dialect = dialect;
    writer->failed = sequence == 0;
    if (dialect == PP_NATIVE) {
        put_byte(writer, type);
        put_byte(writer, sequence);
    } else {
        put_hex(writer, (uint32_t)type << 8 | sequence, 4);
    }
}

static void put_tag(pp_writer *writer, pp_object object)
{
    uint16_t tag = DICTIONARY[object].tag;
    if (writer->dialect == PP_CLASSIC) {
        put_byte(writer, FS);
        put_hex(writer, tag, tag > 0xFF ? 4 : 2);
        put_byte(writer, '=');
        return;
    }
    if (tag > 0xFF) {
        put_byte(writer, tag >> 8);
    }
    put_byte(writer, tag & 0xFF);
}

static void put_length(pp_writer *writer, size_t size)
{
    if (writer->dialect == PP_CLASSIC) {
        return;
    }
    if (size > 0xFF) {
        put_byte(writer, 0x82);
        put_byte(writer, (unsigned)(size >> 8));
    } else if (size > 0x7F) {
        put_byte(writer, 0x81);
    }
    put_byte(writer, (unsigned)(size & 0xFF));
}

void pp_put_number(pp_writer *writer, pp_object object, uint64_t number)
{
    const object_row *row = &DICTIONARY[object];
    uint64_t limit = 1;
    int place;
    if (row->format == FORMAT_N) {
        for (place = 0; place < 2 * row->most; place++) {
            limit *= 10;
        }
        limit -= 1;
    } else {
        limit = largest(row);
    }
    if ((row->format != FORMAT_N && row->format != FORMAT_U) || number > limit) {
        writer->failed = true;
        return;
    }
    put_tag(writer, object);
    put_length(writer, row->most);
    if (writer->dialect == PP_CLASSIC) {
        put_decimal(writer, number, row->format == FORMAT_N ? 2 * row->most : 1);
        return;
    }
    for (place = row->most - 1; place >= 0; place--) {
        uint64_t rest = number;
        int step;
        if (row->format == FORMAT_U) {
            put_byte(writer, (unsigned)(number >> (8 * place) & 0xFF));
            continue;
        }
        for (step = 0; step < place; step++) {
            rest /= 100;
        }
        rest %= 100;
        put_byte(writer, (unsigned)(rest / 10 << 4 | rest % 10));
    }
}

static void put_base64(pp_writer *writer, const uint8_t *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t place;
    for (place = 0; place < size; place += 3) {
        size_t count = size - place < 3 ? size - place : 3;
        uint32_t bits = (uint32_t)data[place] << 16;
        bits |= count > 1 ? (uint32_t)data[place + 1] << 8 : 0;
        bits |= count > 2 ? (uint32_t)data[place + 2] : 0;
        put_byte(writer, (unsigned)digits[bits >> 18 & 0x3F]);
        put_byte(writer, (unsigned)digits[bits >> 12 & 0x3F]);
        put_byte(writer, count > 1 ? (unsigned)digits[bits >> 6 & 0x3F] : '=');
        put_byte(writer, count > 2 ? (unsigned)digits[bits & 0x3F] : '=');
    }
}

void pp_put_data(pp_writer *writer, pp_object object, const void *data, size_t size)
{
    const object_row *row = &DICTIONARY[object];
    const uint8_t *bytes = data;
    bool text = row->format == FORMAT_AN || row->format == FORMAT_ANS;
    size_t place;
    if (size > row->most || (row->format == FORMAT_B && size < row->least) || (!text && row->format != FORMAT_B)
        || (text && !is_text(bytes, size, object == PP_TEXT))) {
        writer->failed = true;
        return;
    }
    put_tag(writer, object);
    put_length(writer, row->format == FORMAT_AN ? row->most : size);
    if (!text && writer->dialect == PP_CLASSIC) {
        put_base64(writer, bytes, size);
        return;
    }
    if (object != PP_TEXT || writer->dialect == PP_NATIVE) {
        put(writer, bytes, size);
    } else {
        for (place = 0; place < size; place++) {
            if (bytes[place] == '\\' || bytes[place] == '\n') {
                put_byte(writer, '\\');
            }
            put_byte(writer, bytes[place] == '\n' ? 'n' : bytes[place]);
        }
    }
    while (row->format == FORMAT_AN && size++ < row->most) {
        put_byte(writer, ' ');
    }
}

void pp_put_text(pp_writer *writer, pp_object object, const char *text)
{
    pp_put_data(writer, object, text, strlen(text));
}

void pp_end(pp_writer *writer)
{
    if (writer->dialect == PP_CLASSIC) {
        uint16_t check = pp_crc16(0, writer->body, writer->size);
        put_tag(writer, PP_TEXT_CHECK);
        put_hex(writer, check, 4);
    }
}

/* ---- Frames ------------------------------------------------------------------------------------------ */

#define STX 0x02
#define ETX 0x03
#define BYTE_ACK 0x06
#define DLE 0x10
#define BYTE_NAK 0x15

size_t pp_frame(pp_dialect dialect, const uint8_t *body, size_t size, uint8_t *frame, size_t limit)
{
    static const uint8_t etx = ETX;
    size_t made = 0;
    size_t place;
    uint16_t check;
    uint8_t lrc = ETX;
    if (size < 2 || size > 4092 || body[0] == 0) {
        return 0;
    }
    if (dialect == PP_CLASSIC) {
        if (size + 3 > limit) {
            return 0;
        }
        frame[made++] = STX;
        for (place = 0; place < size; place++) {
            lrc = (uint8_t)(lrc ^ body[place]);
            frame[made++] = body[place];
        }
        frame[made++] = ETX;
        frame[made++] = lrc;
        return made;
    }
    if (limit < 6) {
        return 0;
    }
    frame[made++] = DLE;
    frame[made++] = STX;
    for (place = 0; place < size; place++) {
        /* Room for this byte twice, and for the end. */
        if (made + 2 + 4 > limit) {
            return 0;
        }
        frame[made++] = body[place];
        if (body[place] == DLE) {
            frame[made++] = DLE;
        }
    }
    check = pp_crc16(pp_crc16(0, body, size), &etx, 1);
    frame[made++] = DLE;
    frame[made++] = ETX;
    frame[made++] = (uint8_t)(check & 0xFF);
    frame[made++] = (uint8_t)(check >> 8);
    return made;
}

enum { BETWEEN, BETWEEN_DLE, INSIDE, INSIDE_DLE, CHECK, CHECK_HIGH };

void pp_decoder_start(pp_decoder *decoder, pp_dialect dialect, uint8_t *body, uint16_t limit)
{
    memset(decoder, 0, sizeof *decoder);
    decoder->body = body;
    decoder->limit = limit;
    decoder->dialect = dialect;
}

bool pp_decoder_inside(const pp_decoder *decoder)
{
    return decoder->state >= INSIDE;
}

void pp_decoder_drop(pp_decoder *decoder)
{
    decoder->state = BETWEEN;
}

static void begin_body(pp_decoder *decoder)
{
    decoder->state = INSIDE;
    decoder->size = 0;
    decoder->damaged = false;
}

static void take_byte(pp_decoder *decoder, uint8_t byte)
{
    if (decoder->size == decoder->limit) {
        decoder->damaged = true; /* too long: read on to its end */
        return;
    }
    decoder->body[decoder->size++] = byte;
}

static pp_heard end_body(pp_decoder *decoder, bool check_is_right)
{
    decoder->state = BETWEEN;
    if (decoder->damaged || !check_is_right || decoder->size < 2 || decoder->body[0] == 0) {
        return PP_BAD_FRAME;
    }
    return PP_FRAME;
}

static pp_heard take_native(pp_decoder *decoder, uint8_t byte)
{
    static const uint8_t etx = ETX;
    uint16_t right;
    switch (decoder->state) {
    case BETWEEN_DLE:
        if (byte == STX) {
            begin_body(decoder);
            return PP_NOTHING_YET;
        }
        decoder->state = BETWEEN; /* a stray 10: this byte is looked at afresh */
        /* fall through */
    case BETWEEN:
        if (byte == DLE) {
            decoder->state = BETWEEN_DLE;
        }
        return byte == BYTE_ACK ? PP_ACK : byte == BYTE_NAK ? PP_NAK : PP_NOTHING_YET;
    case INSIDE:
        if (byte == DLE) {
            decoder->state = INSIDE_DLE;
        } else {
            take_byte(decoder, byte);
        }
        return PP_NOTHING_YET;
    case INSIDE_DLE:
        decoder->state = INSIDE;
        if (byte == DLE) {
            take_byte(decoder, byte);
        } else if (byte == STX) {
            begin_body(decoder);
        } else if (byte == ETX) {
            decoder->state = CHECK;
        } else {
            decoder->damaged = true;
        }
        return PP_NOTHING_YET;
    case CHECK:
        decoder->check = byte;
        decoder->state = CHECK_HIGH;
        return PP_NOTHING_YET;
    default:
        right = pp_crc16(pp_crc16(0, decoder->body, decoder->size), &etx, 1);
        return end_body(decoder, (decoder->check | byte << 8) == right);
    }
}

static pp_heard take_classic(pp_decoder *decoder, uint8_t byte)
{
    uint8_t lrc = ETX;
    uint16_t place;
    switch (decoder->state) {
    case BETWEEN:
        if (byte == STX) {
            begin_body(decoder);
        }
        return byte == BYTE_ACK ? PP_ACK : byte == BYTE_NAK ? PP_NAK : PP_NOTHING_YET;
    case INSIDE:
        if (byte == STX) {
            begin_body(decoder);
        } else if (byte == ETX) {
            decoder->state = CHECK;
        } else if ((byte < 0x20 && byte != FS) || byte == 0x7F) {
            decoder->damaged = true;
        } else {
            take_byte(decoder, byte);
        }
        return PP_NOTHING_YET;
    default:
        for (place = 0; place < decoder->size; place++) {
            lrc = (uint8_t)(lrc ^ decoder->body[place]);
        }
        return end_body(decoder, byte == lrc);
    }
}

pp_heard pp_decoder_take(pp_decoder *decoder, uint8_t byte)
{
    return decoder->dialect == PP_NATIVE ? take_native(decoder, byte) : take_classic(decoder, byte);
}

/* ---- PackBits ---------------------------------------------------------------------------------------- */

size_t pp_unpack(pp_unpacker *unpacker, const uint8_t *data, size_t size, size_t *used, uint8_t *out, size_t limit)
{
    size_t made = 0;
    *used = 0;
    while (*used < size) {
        if (unpacker->count == 0) {
            uint8_t head = data[(*used)++];
            unpacker->repeats = head > 128;
            /* 0 to 127: so many and one more as they are; 129 to 255: 257 less it, of the next byte */
            unpacker->count = (uint8_t)(head == 128 ? 0 : head < 128 ? head + 1 : 257 - head);
            continue;
        }
        if (made == limit) {
            break;
        }
        out[made++] = data[*used];
        unpacker->count--;
        if (!unpacker->repeats || unpacker->count == 0) {
            (*used)++;
        }
    }
    return made;
}

/* ---- The terminal: its states, and what it tells ------------------------------------------------------ */

enum { UNPLUGGED, GREETING, UNPAIRED, READY };

static void flush(pp_terminal *t, uint32_t now);

static void tell(pp_terminal *t, const pp_event *event)
{
    t->port.tell(t->port.context, event);
}

static pp_event event_of(pp_event_kind kind)
{
    pp_event event;
    memset(&event, 0, sizeof event);
    event.kind = kind;
    return event;
}

static void tell_person(pp_terminal *t, pp_matter matter, uint32_t counter, uint64_t amount)
{
    pp_event event = event_of(PP_EVENT_PERSON);
    event.matter = matter;
    event.counter = counter;
    event.amount = amount;
    tell(t, &event);
}

static void set_text(const char **text, size_t *size, const pp_message *message, pp_object object)
{
    *text = (const char *)pp_data(message, object, size);
}

static void show_text(pp_terminal *t, const pp_message *message)
{
    pp_event event = event_of(PP_EVENT_TEXT);
    event.text = "";
    if (message != NULL) {
        set_text(&event.text, &event.text_size, message, PP_TEXT);
    }
    tell(t, &event);
}

/* True once it is durable. After false nothing may be said that rests on it, and nothing is. */
static bool keep(pp_terminal *t)
{
    pp_event event;
    if (t->stopped) {
        return false;
    }
    if (t->port.save(t->port.context, &t->kept)) {
        return true;
    }
    t->stopped = true;
    event = event_of(PP_EVENT_STOPPED);
    tell(t, &event);
    return false;
}

static pp_shown image_step(pp_terminal *t, pp_image_step step, const pp_message *piece)
{
    pp_image image;
    memset(&image, 0, sizeof image);
    image.step = step;
    image.format = t->intake.format;
    image.width = t->intake.width;
    image.height = t->intake.height;
    image.length = t->intake.length;
    image.counter = t->intake.for_tender ? t->intake.counter : 0;
    if (piece != NULL) {
        image.offset = (uint32_t)pp_number(piece, PP_OFFSET);
        image.data = pp_data(piece, PP_DATA, &image.size);
    }
    return t->port.image(t->port.context, &image);
}

static void take_picture_away(pp_terminal *t)
{
    if (t->picture) {
        t->picture = false;
        image_step(t, PP_IMAGE_AWAY, NULL);
    }
}

static void drop_intake(pp_terminal *t)
{
    if (t->intake.open) {
        t->intake.open = false;
        image_step(t, PP_IMAGE_LEFT, NULL);
    }
}

/* ---- What waits to be sent ---------------------------------------------------------------------------- */

static bool room_for(const pp_terminal *t)
{
    return t->waiting_count < PP_WAITING_MAX;
}

/* Where there is no room it is not said: its timer, or the bridge, brings it again. */
static bool say(pp_terminal *t, uint8_t type, uint32_t counter, uint8_t first, uint8_t second, uint32_t now)
{
    pp_said *said;
    if (!room_for(t)) {
        return false;
    }
    said = &t->waiting[t->waiting_count++];
    memset(said, 0, sizeof *said);
    said->type = type;
    said->counter = counter;
    said->value[0] = first;
    said->value[1] = second;
    t->said_at = now;
    return true;
}

static void say_stored(pp_terminal *t, const pp_outcome *outcome, uint32_t now)
{
    say(t, PP_STORED, outcome->counter, (uint8_t)outcome->response_code[0], (uint8_t)outcome->response_code[1], now);
}

/* Two of a kind and counter need not wait at once: the second would say the same. */
static bool waits(const pp_terminal *t, uint8_t type, uint32_t counter)
{
    uint8_t place;
    for (place = 0; place < t->waiting_count; place++) {
        if (t->waiting[place].type == type && t->waiting[place].counter == counter) {
            return true;
        }
    }
    return false;
}

static bool is_free(const pp_transaction *part)
{
    return part->counter == 0;
}

/* The place of an open transaction; -1: it is not open. */
static int open_place(const pp_terminal *t, uint32_t counter)
{
    int place;
    for (place = 0; place < PP_OPEN_MAX; place++) {
        if (counter != 0 && t->kept.open[place].counter == counter) {
            return place;
        }
    }
    return -1;
}

static int tender_place(const pp_terminal *t)
{
    int place;
    for (place = 0; place < PP_OPEN_MAX; place++) {
        if (!is_free(&t->kept.open[place]) && t->kept.open[place].kind == PP_KIND_TENDER) {
            return place;
        }
    }
    return -1;
}

const pp_transaction *pp_open_sale(const pp_terminal *terminal)
{
    int place = tender_place(terminal);
    return place < 0 ? NULL : &terminal->kept.open[place];
}

/* ---- The authenticated link: codes (section 6) -------------------------------------------------------- */

#if PP_AUTHENTICATED_LINK

#define CODE_BYTES 8
#define NONCE_BYTES 8
#define KEY_ID_BYTES 4
#define HASH_BYTES 32
#define MAC_PARTS_MAX 4
#define MAC_BLOCK_BYTES 64

/* In a time that does not tell how much of it is equal. */
static bool is_equal(const uint8_t *one, const uint8_t *other, size_t size)
{
    uint8_t difference = 0;
    while (size-- > 0) {
        difference = (uint8_t)(difference | (one[size] ^ other[size]));
    }
    return difference == 0;
}

static pp_part part_of(const void *data, size_t size)
{
    pp_part part;
    part.data = data;
    part.size = size;
    return part;
}

static pp_part part_of_text(const char *text)
{
    return part_of(text, strlen(text));
}

/* HMAC-SHA256 with a key of 32 bytes. */
static void mac(const pp_crypto *crypto, const uint8_t key[32], const pp_part *parts, size_t count, uint8_t out[32])
{
    uint8_t block[MAC_BLOCK_BYTES];
    pp_part all[MAC_PARTS_MAX + 1];
    size_t place;
    for (place = 0; place < sizeof block; place++) {
        block[place] = (uint8_t)(0x36 ^ (place < 32 ? key[place] : 0));
    }
    all[0] = part_of(block, sizeof block);
    for (place = 0; place < count; place++) {
        all[place + 1] = parts[place];
    }
    crypto->sha256(crypto->context, all, count + 1, out);
    for (place = 0; place < sizeof block; place++) {
        block[place] = (uint8_t)(0x5C ^ (place < 32 ? key[place] : 0));
    }
    all[1] = part_of(out, HASH_BYTES);
    crypto->sha256(crypto->context, all, 2, out);
}

/* DF7F of a body up to it; `hash` is that of the HELLO for a WELCOME, else NULL. */
static void code_of(
    const pp_crypto *crypto, const uint8_t key[32], const uint8_t nonces[2 * NONCE_BYTES], const uint8_t *hash,
    const uint8_t *body, size_t size, uint8_t code[HASH_BYTES])
{
    pp_part parts[3];
    size_t count = 0;
    parts[count++] = part_of(nonces, 2 * NONCE_BYTES);
    if (hash != NULL) {
        parts[count++] = part_of(hash, HASH_BYTES);
    }
    parts[count++] = part_of(body, size);
    mac(crypto, key, parts, count, code);
}

/* The size of a body without DF7E, which may be wrong; 0: it has none where the dialect wants one. */
static size_t without_check(pp_dialect dialect, const uint8_t *body, size_t size)
{
    size_t text = size - TEXT_CHECK_SIZE;
    if (dialect == PP_NATIVE) {
        return size;
    }
    if (size < TEXT_CHECK_SIZE || memcmp(body + text, TEXT_CHECK_HEAD, sizeof TEXT_CHECK_HEAD - 1) != 0) {
        return 0;
    }
    return text;
}

#define CODE_HEAD_TEXT "\x1c" "DF7F="
#define CODE_TEXT_SIZE (sizeof CODE_HEAD_TEXT - 1 + 12)

/* What a code covers, and the code, by their place alone; 0: the body does not end with one. */
static size_t find_code(pp_dialect dialect, const uint8_t *body, size_t size, uint8_t code[12])
{
    static const uint8_t head[3] = {0xDF, 0x7F, CODE_BYTES};
    size_t start;
    size = without_check(dialect, body, size);
    if (dialect == PP_NATIVE) {
        start = size - sizeof head - CODE_BYTES;
        if (size < 2 + sizeof head + CODE_BYTES || memcmp(body + start, head, sizeof head) != 0) {
            return 0;
        }
        memcpy(code, body + start + sizeof head, CODE_BYTES);
        return start;
    }
    start = size - CODE_TEXT_SIZE;
    if (size < 4 + CODE_TEXT_SIZE || memcmp(body + start, CODE_HEAD_TEXT, sizeof CODE_HEAD_TEXT - 1) != 0) {
        return 0;
    }
    memcpy(code, body + start + sizeof CODE_HEAD_TEXT - 1, 12);
    return unpack_base64(code, 12) == CODE_BYTES ? start : 0;
}

/* DF25 of a WELCOME, before its body is read. */
static bool find_nonce(pp_dialect dialect, const uint8_t *body, size_t size, uint8_t nonce[12])
{
    object_place found;
    size_t place;
    size = without_check(dialect, body, size);
    for (place = dialect == PP_NATIVE ? 2 : 4; place < size; place = found.next) {
        if (!(dialect == PP_NATIVE ? next_tlv(body, size, place, &found) : next_fs(body, size, place, &found))) {
            return false;
        }
        if (found.tag == DICTIONARY[PP_SESSION_NONCE].tag) {
            if (dialect == PP_NATIVE) {
                memcpy(nonce, body + found.at, found.size == NONCE_BYTES ? NONCE_BYTES : 0);
                return found.size == NONCE_BYTES;
            }
            memcpy(nonce, body + found.at, found.size == 12 ? 12 : 0);
            return found.size == 12 && unpack_base64(nonce, 12) == NONCE_BYTES;
        }
    }
    return false;
}

/* What can be said of a body's code before it is read: reading changes it. */
typedef struct {
    bool right;
    uint8_t nonces[2 * NONCE_BYTES]; /* of the session that a WELCOME begins */
} code_check;

static void check_code(const pp_terminal *t, const uint8_t *body, size_t size, code_check *check)
{
    const pp_seal *seal = &t->seal;
    uint8_t code[12];
    uint8_t right[HASH_BYTES];
    uint8_t nonce[12];
    const uint8_t *hash = NULL;
    size_t signed_size;
    bool welcome;
    memset(check, 0, sizeof *check);
    if (t->port.crypto == NULL || !seal->keyed || size < 4) {
        return;
    }
    signed_size = find_code(t->device.dialect, body, size, code);
    if (signed_size == 0) {
        return;
    }
    if (t->device.dialect == PP_NATIVE) {
        welcome = body[0] == PP_WELCOME;
    } else {
        welcome = body[0] == '8' && body[1] == '1';
    }
    if (welcome) {
        if (!seal->said_hello || !find_nonce(t->device.dialect, body, size, nonce)) {
            return;
        }
        memcpy(check->nonces, nonce, NONCE_BYTES);
        memcpy(check->nonces + NONCE_BYTES, seal->nonce, NONCE_BYTES);
        hash = seal->hello_hash;
    } else if (seal->session) {
        memcpy(check->nonces, seal->nonces, sizeof check->nonces);
    } else {
        return;
    }
    code_of(t->port.crypto, t->kept.keys.to_terminal, check->nonces, hash, body, signed_size, right);
    check->right = is_equal(code, right, CODE_BYTES);
}

static bool is_of_pairing(uint8_t type)
{
    return type == PP_PAIR_OPEN || type == PP_PAIR_KEY || type == PP_PAIR_REVEAL || type == PP_PAIR_CONFIRM
           || type == PP_PAIR_DONE;
}

typedef enum { VERDICT_TAKEN, VERDICT_NOT_AUTHENTIC, VERDICT_OLD } verdict;

static verdict take_number(pp_seal *seal, const pp_message *message)
{
    uint32_t number = (uint32_t)pp_number(message, PP_MESSAGE_COUNTER);
    if (!pp_has(message, PP_MESSAGE_COUNTER)) {
        return VERDICT_NOT_AUTHENTIC;
    }
    if (number <= seal->taken) {
        return VERDICT_OLD;
    }
    seal->taken = number;
    return VERDICT_TAKEN;
}

static verdict judge_welcome(pp_seal *seal, const pp_message *message, const code_check *check)
{
    verdict found;
    bool same = seal->session && memcmp(seal->nonces, check->nonces, sizeof seal->nonces) == 0
                && memcmp(seal->session_hash, seal->hello_hash, sizeof seal->session_hash) == 0;
    uint32_t taken = seal->taken;
    if (!check->right) {
        return VERDICT_NOT_AUTHENTIC;
    }
    if (!same) {
        seal->taken = 0;
    }
    found = take_number(seal, message);
    if (found != VERDICT_TAKEN) {
        seal->taken = taken;
        return found;
    }
    if (!same) {
        seal->session = true;
        seal->sent = 0;
        memcpy(seal->nonces, check->nonces, sizeof seal->nonces);
        memcpy(seal->session_hash, seal->hello_hash, sizeof seal->session_hash);
    }
    seal->welcomed = true;
    return VERDICT_TAKEN;
}

/* Whether what came may be taken. A terminal with keys takes nothing that is not authenticated, but PAIR_*,
 * IDENTIFY and REFUSED 9; between its HELLO and a right WELCOME it drops all else. */
static verdict judge(pp_terminal *t, const pp_message *message, bool understood, const code_check *check)
{
    pp_seal *seal = &t->seal;
    if (t->port.crypto == NULL || !seal->keyed || is_of_pairing(message->type)) {
        return VERDICT_TAKEN;
    }
    if (understood && message->type == PP_IDENTIFY) {
        return VERDICT_TAKEN;
    }
    if (understood && message->type == PP_REFUSED && pp_number(message, PP_REASON) == PP_NOT_AUTHENTICATED) {
        return VERDICT_TAKEN;
    }
    if (understood && message->type == PP_WELCOME) {
        return judge_welcome(seal, message, check);
    }
    if (seal->said_hello && !seal->welcomed) {
        return VERDICT_OLD;
    }
    if (!check->right) {
        return VERDICT_NOT_AUTHENTIC;
    }
    return understood ? take_number(seal, message) : VERDICT_TAKEN;
}

/* DF20, DF25 and, where there are keys, DF27. DF25 stays until a WELCOME for it is right. */
static void put_hello_seal(pp_terminal *t, pp_writer *writer)
{
    const pp_crypto *crypto = t->port.crypto;
    pp_part text = part_of_text("PTL1 key");
    uint8_t hash[HASH_BYTES];
    if (crypto == NULL) {
        return;
    }
    if (!t->seal.has_nonce) {
        t->seal.has_nonce = true;
        crypto->random(crypto->context, t->seal.nonce, sizeof t->seal.nonce);
    }
    pp_put_number(writer, PP_CAN_AUTHENTICATE, 1);
    pp_put_data(writer, PP_SESSION_NONCE, t->seal.nonce, sizeof t->seal.nonce);
    if (t->kept.has_keys) {
        mac(crypto, t->kept.keys.to_bridge, &text, 1, hash);
        pp_put_data(writer, PP_KEY_ID, hash, KEY_ID_BYTES);
    }
}

/* From here on this HELLO is the one that a WELCOME has to be for. */
static void seal_hello(pp_terminal *t, const uint8_t *body, size_t size)
{
    pp_seal *seal = &t->seal;
    pp_part part = part_of(body, without_check(t->device.dialect, body, size));
    if (t->port.crypto == NULL) {
        return;
    }
    seal->keyed = t->kept.has_keys;
    seal->said_hello = true;
    seal->welcomed = false;
    t->port.crypto->sha256(t->port.crypto->context, &part, 1, seal->hello_hash);
}

/* DF26 and DF7F, once a session has begun. */
static void put_code(pp_terminal *t, pp_writer *writer, uint8_t type)
{
    pp_seal *seal = &t->seal;
    uint8_t code[HASH_BYTES];
    if (t->port.crypto == NULL || !seal->session || type == PP_HELLO || is_of_pairing(type)) {
        return;
    }
    if (seal->sent == UINT32_MAX) {
        writer->failed = true; /* all numbers are used; the next HELLO begins a new session */
        return;
    }
    pp_put_number(writer, PP_MESSAGE_COUNTER, ++seal->sent);
    if (!writer->failed) {
        code_of(t->port.crypto, t->kept.keys.to_bridge, seal->nonces, NULL, writer->body, writer->size, code);
        pp_put_data(writer, PP_CODE, code, CODE_BYTES);
    }
}

static void seal_restart(pp_terminal *t)
{
    t->seal.keyed = t->kept.has_keys;
    t->seal.said_hello = false;
    t->seal.welcomed = false;
    t->seal.session = false;
}

#endif

/* ---- Writing the terminal's messages ------------------------------------------------------------------ */

static void put_some(pp_writer *writer, pp_object object, const char *text)
{
    if (text[0] != '\0') {
        pp_put_text(writer, object, text);
    }
}

static void put_hello(pp_writer *writer, const pp_device *device)
{
    uint8_t text_size[2];
    text_size[0] = device->text_columns;
    text_size[1] = device->text_rows;
    pp_put_text(writer, PP_TERMINAL_ID, device->terminal_id);
    pp_put_text(writer, PP_SERIAL_NUMBER, device->serial_number);
    pp_put_number(writer, PP_VERSION, PROTOCOL_VERSION);
    pp_put_text(writer, PP_MODEL, device->model);
    pp_put_text(writer, PP_FIRMWARE, device->firmware);
    pp_put_number(writer, PP_PANEL_WIDTH, device->panel_width);
    pp_put_number(writer, PP_PANEL_HEIGHT, device->panel_height);
    pp_put_data(writer, PP_FORMATS, device->formats, device->format_count);
    pp_put_number(writer, PP_MAX_BODY, PP_BODY_MAX);
    if (device->largest_image != 0) {
        pp_put_number(writer, PP_LARGEST_IMAGE, device->largest_image);
    }
    if (device->text_columns != 0) {
        pp_put_data(writer, PP_TEXT_SIZE, text_size, sizeof text_size);
    }
}

static void put_transaction(pp_writer *writer, const pp_transaction *part)
{
    pp_put_number(writer, PP_COUNTER, part->counter);
    if (part->kind == PP_KIND_REFUND) {
        pp_put_number(writer, PP_ORIGINAL_COUNTER, part->original_counter);
        pp_put_number(writer, PP_AMOUNT, part->amount);
    } else {
        pp_put_number(writer, PP_AMOUNT, part->amount);
        pp_put_number(writer, PP_CURRENCY, part->currency);
        put_some(writer, PP_MERCHANT, part->merchant);
        put_some(writer, PP_REFERENCE, part->reference);
    }
    put_some(writer, PP_OPERATOR, part->operator_name);
}

#if PP_AUTHENTICATED_LINK
static bool put_pairing(pp_terminal *t, pp_writer *writer, uint8_t type);
#endif

/* The frame of a message, into t->frame; false: it is not to be said any more. */
static bool frame_said(pp_terminal *t, const pp_said *said)
{
    uint8_t body[PP_SENT_BODY_MAX];
    pp_writer writer;
    int place = open_place(t, said->counter);
    pp_begin(&writer, t->device.dialect, body, sizeof body, said->type, said->sequence);
    if (said->type >= PP_TENDER && said->type <= PP_STORED) {
        pp_put_text(&writer, PP_TERMINAL_ID, t->device.terminal_id);
    }
    switch (said->type) {
    case PP_HELLO:
        put_hello(&writer, &t->device);
#if PP_AUTHENTICATED_LINK
        put_hello_seal(t, &writer);
#endif
        break;
#if PP_AUTHENTICATED_LINK
    case PP_PAIR_KEY:
    case PP_PAIR_CONFIRM:
        if (!put_pairing(t, &writer, said->type)) {
            return false;
        }
        break;
#endif
    case PP_TENDER:
    case PP_REFUND:
        /* It may have ended, or been cancelled or accepted, while it waited. */
        if (place < 0 || t->kept.open[place].cancelled || t->kept.open[place].phase != PP_PHASE_SAID) {
            return false;
        }
        put_transaction(&writer, &t->kept.open[place]);
        break;
    case PP_QUERY:
        if (said->counter != 0) {
            pp_put_number(&writer, PP_COUNTER, said->counter);
        }
        break;
    case PP_STORED:
        pp_put_number(&writer, PP_COUNTER, said->counter);
        pp_put_data(&writer, PP_RESPONSE_CODE, said->value, 2);
        break;
    case PP_CANCEL:
        pp_put_number(&writer, PP_COUNTER, said->counter);
        break;
    case PP_IMAGE_STATUS:
        pp_put_number(&writer, PP_IMAGE_ID, said->value[0]);
        pp_put_number(&writer, PP_STATUS, said->value[1]);
        break;
    default:
        break;
    }
#if PP_AUTHENTICATED_LINK
    put_code(t, &writer, said->type);
#endif
    pp_end(&writer);
    if (writer.failed) {
        return false;
    }
#if PP_AUTHENTICATED_LINK
    if (said->type == PP_HELLO) {
        seal_hello(t, body, writer.size);
    }
#endif
    t->session.frame_size = (uint16_t)pp_frame(t->device.dialect, body, writer.size, t->frame, sizeof t->frame);
    return t->session.frame_size > 0;
}

/* ---- Acknowledgement (section 2) ---------------------------------------------------------------------- */

enum { FREE, TO_SEND, LEAVING, WAITING, PAUSING };

static void given_up(pp_terminal *t, uint32_t now);
static void take_message(pp_terminal *t, uint32_t now);

static void answer(pp_terminal *t, uint8_t byte)
{
    pp_session *s = &t->session;
    if (s->answer_count < sizeof s->answers) {
        s->answers[s->answer_count++] = byte;
    }
}

/* The 1.0 s stands still while a frame is coming in; not for ever, bytes without end are no frame. */
static void count_or_stand_still(pp_session *s, uint32_t now)
{
    bool coming_in = pp_decoder_inside(&s->decoder) && s->bytes_inside <= 2u * PP_BODY_MAX + 16;
    if (s->stage != WAITING) {
        return;
    }
    if (coming_in && s->counting) {
        s->waited += now - s->counting_since;
        s->counting = false;
    } else if (!coming_in && !s->counting) {
        s->counting_since = now;
        s->counting = true;
    }
}

static void drop_after_gap(pp_session *s, uint32_t now)
{
    if (pp_decoder_inside(&s->decoder) && due(now, s->last_byte_at + BYTE_GAP_MS)) {
        pp_decoder_drop(&s->decoder);
        s->bytes_inside = 0;
        count_or_stand_still(s, s->last_byte_at + BYTE_GAP_MS);
    }
}

/* The frame that was out is done with, heard or given up. */
static void finish(pp_session *s, uint32_t now)
{
    if (s->times_sent > 1) {
        s->stage = PAUSING;
        s->ready_at = now + LATE_ANSWERS_MS;
    } else {
        s->stage = FREE;
    }
}

static void send_again(pp_terminal *t, uint32_t at, uint32_t now)
{
    pp_session *s = &t->session;
    if (s->times_sent >= SENT_TIMES) {
        finish(s, now);
        given_up(t, now);
        return;
    }
    s->stage = TO_SEND;
    s->ready_at = at;
}

static void heard_answer(pp_terminal *t, pp_heard heard, uint32_t now)
{
    pp_session *s = &t->session;
    if (heard == PP_ACK) {
        if (s->out.type == PP_HELLO) {
            t->hello_out = false;
        }
        finish(s, now);
    } else {
        send_again(t, now + (s->naks++ == 0 ? NAK_PAUSE_MS : NAK_PAUSE_LATER_MS), now);
    }
}

/* An answer came; it means something only while a frame waits for one. */
static void answer_came(pp_terminal *t, pp_heard heard, uint32_t now)
{
    pp_session *s = &t->session;
    if (s->stage == LEAVING) {
        s->early = (uint8_t)heard;
        s->early_at = now;
    } else if (s->stage == WAITING) {
        heard_answer(t, heard, now);
    }
}

static void left(pp_terminal *t, uint32_t now)
{
    pp_session *s = &t->session;
    s->sending = false;
    if (!s->sending_frame) {
        return;
    }
    s->sending_frame = false;
    s->stage = WAITING;
    s->waited = 0;
    s->counting = true;
    s->counting_since = now;
    count_or_stand_still(s, now);
    if (s->early != PP_NOTHING_YET && now - s->early_at <= LEFT_TOLD_LATE_MS) {
        heard_answer(t, (pp_heard)s->early, now);
    }
}

static uint8_t next_number(pp_session *s)
{
    uint8_t number = s->next_sequence;
    s->next_sequence = number == 255 ? 1 : (uint8_t)(number + 1);
    return number;
}

/* The next message that waits becomes the frame that is out. */
static void take_waiting(pp_terminal *t, uint32_t now)
{
    pp_session *s = &t->session;
    while (s->stage == FREE && t->waiting_count > 0) {
        pp_said said = t->waiting[0];
        uint8_t place;
        t->waiting_count--;
        for (place = 0; place < t->waiting_count; place++) {
            t->waiting[place] = t->waiting[place + 1];
        }
        if (said.type == PP_HELLO) {
            /* HELLO starts the numbering afresh in both directions (3). */
            s->next_sequence = 1;
            s->took = false;
            memset(t->said, 0, sizeof t->said);
        }
        said.sequence = s->next_sequence;
        if (!frame_said(t, &said)) {
            continue;
        }
        next_number(s);
        t->said[t->said_next] = said;
        t->said_next = (uint8_t)((t->said_next + 1) % PP_WAITING_MAX);
        s->out = said;
        s->stage = TO_SEND;
        s->ready_at = now;
        s->times_sent = 0;
        s->naks = 0;
    }
}

/* Gives the port what can go out now: one thing at a time, an answer never inside a frame. */
static void flush(pp_terminal *t, uint32_t now)
{
    pp_session *s = &t->session;
    while (!s->sending && !s->in_send && !t->stopped && t->state != UNPLUGGED) {
        const uint8_t *data;
        size_t size;
        if (s->stage == PAUSING && due(now, s->ready_at)) {
            s->stage = FREE;
        }
        take_waiting(t, now);
        if (s->answer_count > 0) {
            memcpy(s->answers_out, s->answers, s->answer_count);
            data = s->answers_out;
            size = s->answer_count;
            s->answer_count = 0;
        } else if (s->stage == TO_SEND && due(now, s->ready_at)) {
            data = t->frame;
            size = s->frame_size;
            s->sending_frame = true;
            s->stage = LEAVING;
            s->early = PP_NOTHING_YET;
            s->times_sent++;
        } else {
            return;
        }
        s->sending = true;
        s->in_send = true;
        t->port.send(t->port.context, data, size);
        s->in_send = false;
        if (s->sent_inside) {
            s->sent_inside = false;
            left(t, now);
        }
    }
}

void pp_sent(pp_terminal *terminal, uint32_t now)
{
    pp_session *s = &terminal->session;
    if (s->in_send) {
        s->sent_inside = true;
        return;
    }
    if (s->sending) {
        drop_after_gap(s, now);
        left(terminal, now);
        flush(terminal, now);
    }
}

/* A body equal to the last one taken, by size, number and CRC-32 (3). */
static bool is_duplicate(pp_session *s, uint8_t sequence, uint16_t size, uint32_t crc)
{
    bool same = s->took && s->took_sequence == sequence && s->took_size == size && s->took_crc == crc;
    s->took = true;
    s->took_sequence = sequence;
    s->took_size = size;
    s->took_crc = crc;
    return same;
}

void pp_receive(pp_terminal *terminal, const uint8_t *data, size_t size, uint32_t now)
{
    pp_session *s = &terminal->session;
    size_t place;
    if (size == 0 || terminal->state == UNPLUGGED || terminal->stopped) {
        return;
    }
    drop_after_gap(s, now);
    for (place = 0; place < size; place++) {
        pp_heard heard = pp_decoder_take(&s->decoder, data[place]);
        s->bytes_inside = pp_decoder_inside(&s->decoder) ? s->bytes_inside + 1 : 0;
        switch (heard) {
        case PP_NOTHING_YET:
            break;
        case PP_FRAME:
            answer(terminal, BYTE_ACK);
            flush(terminal, now); /* before anything that takes time, like a write to a slow storage */
            take_message(terminal, now);
            break;
        case PP_BAD_FRAME:
            answer(terminal, BYTE_NAK);
            break;
        case PP_ACK:
        case PP_NAK:
            answer_came(terminal, heard, now);
            break;
        }
    }
    s->last_byte_at = now;
    count_or_stand_still(s, now);
    flush(terminal, now);
}

/* ---- HELLO (4.1 to 4.4) -------------------------------------------------------------------------------- */

static void hello(pp_terminal *t, uint32_t now)
{
    uint8_t kept = 0;
    uint8_t place;
    t->hello_at = now + HELLO_AGAIN_MS;
    if (t->hello_out) {
        return;
    }
    /* Between HELLO and WELCOME nothing else is said but the pairing dialogue (4.2). */
    for (place = 0; place < t->waiting_count; place++) {
        if (t->waiting[place].type == PP_PAIR_KEY || t->waiting[place].type == PP_PAIR_CONFIRM) {
            t->waiting[kept++] = t->waiting[place];
        }
    }
    t->waiting_count = kept;
    t->hello_out = say(t, PP_HELLO, 0, 0, 0, now);
    t->hello_said_at = now;
}

static void greet(pp_terminal *t, uint32_t now)
{
    if (t->state != GREETING) {
        t->state = GREETING;
        t->greeting_since = now;
    }
    t->asked_for_hello = false;
    drop_intake(t);
    hello(t, now);
}

/* Whoever asks is not proved to be the bridge: with keys, one HELLO in 5 s and no more (6). */
static void greet_when_asked(pp_terminal *t, uint32_t now)
{
#if PP_AUTHENTICATED_LINK
    if (t->kept.has_keys) {
        if (t->state != GREETING) {
            t->hello_at = t->hello_said_at + HELLO_AGAIN_MS;
            t->asked_for_hello = true;
        }
        return;
    }
#endif
    greet(t, now);
}

static void given_up(pp_terminal *t, uint32_t now)
{
    if (t->session.out.type == PP_HELLO) {
        t->hello_out = false;
    }
    if (t->state == READY || t->state == UNPAIRED) {
        greet(t, now);
    }
}

/* ---- A transaction's course ---------------------------------------------------------------------------- */

static void start_timer(pp_timer *timer, uint32_t now)
{
    timer->on = true;
    timer->at = now;
    timer->since = now;
}

/* When the same is said again: quickly for a minute, then slowly (4.8). */
static void said_now(pp_timer *timer, uint32_t now)
{
    timer->at = now + (now - timer->since < PATIENCE_MS ? SAY_AGAIN_MS : SLOWLY_MS);
}

/* It is over here: no timer, no picture. */
static void free_place(pp_terminal *t, int place)
{
    uint32_t counter = t->kept.open[place].counter;
    memset(&t->kept.open[place], 0, sizeof t->kept.open[place]);
    memset(&t->work[place], 0, sizeof t->work[place]);
    if (t->picture && t->picture_counter == counter) {
        take_picture_away(t);
    }
}

static void close_sale(pp_terminal *t, int place, pp_ending ending, const pp_message *by, uint32_t now)
{
    pp_transaction part = t->kept.open[place];
    pp_event event = event_of(PP_EVENT_CLOSED);
    (void)now;
    free_place(t, place);
    if (!keep(t)) {
        return;
    }
    event.counter = part.counter;
    event.of = (pp_kind)part.kind;
    event.amount = part.amount;
    event.ending = ending;
    if (by != NULL) {
        event.reason = (uint8_t)pp_number(by, PP_REASON);
        set_text(&event.text, &event.text_size, by, PP_TEXT);
    }
    tell(t, &event);
}

/* Its outcome is kept already, and the place is free. `by` is NULL where a person has decided later. */
static void close_by(pp_terminal *t, const pp_transaction *part, const pp_outcome *outcome, const pp_message *by)
{
    pp_event event = event_of(PP_EVENT_CLOSED);
    event.counter = part->counter;
    event.of = (pp_kind)part->kind;
    event.amount = part->amount;
    memcpy(event.response_code, outcome->response_code, sizeof event.response_code);
    if (strcmp(outcome->response_code, "00") != 0) {
        event.ending = PP_NOT_APPROVED;
    } else if (outcome->amount == part->amount) {
        event.ending = PP_APPROVED;
    } else {
        event.ending = PP_UNBOOKED;
    }
    if (by != NULL) {
        set_text(&event.text, &event.text_size, by, PP_TEXT);
        set_text(&event.order_number, &event.order_number_size, by, PP_ORDER_NUMBER);
        set_text(&event.order_id, &event.order_id_size, by, PP_ORDER_ID);
    }
    if (event.ending == PP_UNBOOKED) {
        tell_person(t, PP_MATTER_UNBOOKED, part->counter, outcome->amount);
    }
    tell(t, &event);
}

/* TENDER or REFUND. That it was said, and that it was said again, is written down before (4.5, 4.9). */
static void say_transaction(pp_terminal *t, int place, uint32_t now)
{
    pp_transaction *part = &t->kept.open[place];
    uint8_t type = part->kind == PP_KIND_TENDER ? PP_TENDER : PP_REFUND;
    t->work[place].say.on = true;
    t->work[place].say.at = now + SAY_AGAIN_MS;
    if (waits(t, type, part->counter)) {
        return;
    }
    if (part->times_said < 2) {
        part->times_said++;
        if (!keep(t)) {
            return;
        }
    }
    say(t, type, part->counter, 0, 0, now);
}

/* From here on the TENDER is not said any more (4.8). */
static void cancel_own(pp_terminal *t, int place, uint32_t now)
{
    pp_transaction *part = &t->kept.open[place];
    t->work[place].say.on = false;
    if (!part->cancelled) {
        part->cancelled = true;
        if (!keep(t)) {
            return;
        }
    }
    if (!t->work[place].cancel.on) {
        start_timer(&t->work[place].cancel, now);
    }
}

static int stranger_place(const pp_terminal *t, uint32_t counter)
{
    int place;
    for (place = 0; place < PP_STRANGERS_MAX; place++) {
        if (t->stranger_cancel[place].on && t->stranger[place] == counter) {
            return place;
        }
    }
    return -1;
}

/* CANCEL for a counter that is not open here (4.8). */
static void cancel_stranger(pp_terminal *t, uint32_t counter, uint32_t now)
{
    int place;
    if (stranger_place(t, counter) >= 0) {
        return;
    }
    for (place = 0; place < PP_STRANGERS_MAX; place++) {
        if (!t->stranger_cancel[place].on) {
            t->stranger[place] = counter;
            start_timer(&t->stranger_cancel[place], now);
            return;
        }
    }
}

static void stranger_answered(pp_terminal *t, uint32_t counter)
{
    int place = stranger_place(t, counter);
    if (place >= 0) {
        t->stranger_cancel[place].on = false;
    }
}

/* The counter was somebody else's; a sale that was cancelled meanwhile is over (4.9). */
static void another_counter(pp_terminal *t, int place, uint32_t now)
{
    pp_transaction part = t->kept.open[place];
    pp_event event = event_of(PP_EVENT_NEW_COUNTER);
    if (part.cancelled || t->kept.counter >= PP_COUNTER_MAX) {
        close_sale(t, place, PP_NEVER_TAKEN, NULL, now);
        return;
    }
    free_place(t, place);
    event.old_counter = part.counter;
    part.counter = ++t->kept.counter;
    part.phase = PP_PHASE_SAID;
    part.times_said = 0;
    part.stranger = false;
    t->kept.open[place] = part;
    if (!keep(t)) {
        return;
    }
    start_timer(&t->work[place].say, now);
    event.counter = part.counter;
    event.of = (pp_kind)part.kind;
    event.amount = part.amount;
    tell(t, &event);
}

static void other_amount(pp_terminal *t, int place, uint64_t amount, uint32_t now)
{
    t->work[place].life.on = false;
    if (!t->work[place].told_amount) {
        t->work[place].told_amount = true;
        tell_person(t, PP_MATTER_OTHER_AMOUNT, t->kept.open[place].counter, amount);
    }
    cancel_own(t, place, now);
}

/* ---- Outcomes that are kept ---------------------------------------------------------------------------- */

static pp_outcome *kept_outcome(pp_terminal *t, uint32_t counter)
{
    int place;
    for (place = 0; place < PP_OUTCOMES_KEPT; place++) {
        if (counter != 0 && t->kept.outcomes[place].counter == counter) {
            return &t->kept.outcomes[place];
        }
    }
    return NULL;
}

static void forget_outcome(pp_terminal *t, uint32_t counter)
{
    pp_outcome *outcome = kept_outcome(t, counter);
    if (outcome != NULL) {
        memset(outcome, 0, sizeof *outcome);
    }
}

/* The newest last; the oldest goes. One of a sale that still has to be decided about stays. */
static pp_outcome *add_outcome(pp_terminal *t, const pp_message *message)
{
    pp_outcome *outcomes = t->kept.outcomes;
    pp_outcome outcome;
    size_t size;
    int gone = 0;
    int place;
    memset(&outcome, 0, sizeof outcome);
    outcome.counter = (uint32_t)pp_number(message, PP_COUNTER);
    outcome.amount = pp_number(message, PP_AMOUNT);
    memcpy(outcome.response_code, pp_data(message, PP_RESPONSE_CODE, &size), 2);
    for (place = 0; place < PP_OUTCOMES_KEPT; place++) {
        if (outcomes[place].counter == 0) {
            gone = place;
            break;
        }
    }
    if (place == PP_OUTCOMES_KEPT) {
        while (gone < PP_OUTCOMES_KEPT - 1 && open_place(t, outcomes[gone].counter) >= 0) {
            gone++;
        }
    }
    for (place = gone; place < PP_OUTCOMES_KEPT - 1; place++) {
        outcomes[place] = outcomes[place + 1];
    }
    outcomes[PP_OUTCOMES_KEPT - 1] = outcome;
    return &outcomes[PP_OUTCOMES_KEPT - 1];
}

/* ---- What the bridge says ------------------------------------------------------------------------------ */

/* False where it names another terminal: it is dropped, and HELLO said (4.2). */
static bool names_me(pp_terminal *t, const pp_message *message, uint32_t now)
{
    size_t size;
    const uint8_t *name = pp_data(message, PP_TERMINAL_ID, &size);
    size_t own = strlen(t->device.terminal_id);
    if (name == NULL || (size == own && memcmp(name, t->device.terminal_id, size) == 0)) {
        return true;
    }
    greet(t, now);
    return false;
}

static bool is_used(const pp_transaction *part)
{
    return part->phase == PP_PHASE_USED_FIRST || part->phase == PP_PHASE_USED_AGAIN;
}

/* A QUERY for this counter, or for the last one, has its answer. */
static void answered(pp_terminal *t, uint32_t counter)
{
    int place = open_place(t, counter);
    if (place >= 0) {
        t->work[place].query.on = false;
    }
    if (t->asked.on && (t->asked_counter == 0 || t->asked_counter == counter)) {
        t->asked.on = false;
    }
}

/* After REFUSED 3 the bridge has told what it knows by that counter (4.9). */
static void found_used(pp_terminal *t, int place, bool own, const pp_message *by, uint32_t now)
{
    pp_transaction part = t->kept.open[place];
    pp_outcome *outcome = kept_outcome(t, part.counter);
    t->work[place].query.on = false;
    if (!own) {
        another_counter(t, place, now);
    } else if (part.phase == PP_PHASE_USED_FIRST) {
        t->kept.open[place].phase = PP_PHASE_PERSON;
        t->work[place].cancel.on = false;
        if (keep(t)) {
            tell_person(t, PP_MATTER_DECIDE, part.counter, part.amount);
        }
    } else if (outcome != NULL) {
        free_place(t, place);
        if (keep(t)) {
            close_by(t, &part, outcome, by);
        }
    } else {
        t->kept.open[place].phase = PP_PHASE_ACCEPTED;
        if (t->kept.highest_accepted < part.counter) {
            t->kept.highest_accepted = part.counter;
        }
        keep(t);
    }
}

/* After a WELCOME: what this transaction says, at once (4.8, 4.9). */
static void take_up(pp_terminal *t, int place, uint32_t told, uint32_t now)
{
    pp_transaction *part = &t->kept.open[place];
    pp_work *work = &t->work[place];
    work->say.on = false;
    if (part->stranger && !work->told_stranger) {
        work->told_stranger = true;
        tell_person(t, PP_MATTER_OTHER_JOURNAL, part->counter, part->amount);
    }
    if (part->cancelled && part->phase != PP_PHASE_PERSON) {
        start_timer(&work->cancel, now);
    }
    if (part->phase == PP_PHASE_SAID) {
        if (part->times_said == 0 && part->counter <= told) {
            another_counter(t, place, now);
        } else if (!part->cancelled && !part->stranger) {
            start_timer(&work->say, now);
        }
    } else if (is_used(part)) {
        start_timer(&work->query, now);
    }
}

static void on_welcome(pp_terminal *t, const pp_message *message, uint32_t now)
{
    pp_kept *kept = &t->kept;
    bool paired = pp_number(message, PP_PAIRED) == 1;
    uint32_t told = (uint32_t)pp_number(message, PP_COUNTER);
    size_t size;
    const uint8_t *journal = pp_data(message, PP_JOURNAL_ID, &size);
    bool changed = !kept->knows_journal;
    bool other = kept->knows_journal
                 && (memcmp(kept->journal_id, journal, sizeof kept->journal_id) != 0
                     || (paired && told < kept->highest_accepted));
    pp_event event = event_of(PP_EVENT_READY);
    int place;
    if (other) {
        for (place = 0; place < PP_OPEN_MAX; place++) {
            if (!is_free(&kept->open[place]) && kept->open[place].times_said > 0) {
                kept->open[place].stranger = true;
            }
        }
        if (told < kept->highest_accepted) {
            kept->highest_accepted = told;
        }
        changed = true;
    }
    if (paired && told > kept->counter) {
        kept->counter = told;
        changed = true;
    }
    if (changed) {
        kept->knows_journal = true;
        memcpy(kept->journal_id, journal, sizeof kept->journal_id);
        if (!keep(t)) {
            return;
        }
    }
    t->told_no_welcome = false;
    t->asked_for_hello = false;
#if PP_AUTHENTICATED_LINK
    t->seal.has_nonce = false;
#endif
    t->paired_known = true;
    t->paired = paired;
    event.paired = paired;
    tell(t, &event);
    if (!paired) {
        t->state = UNPAIRED;
        t->hello_at = now + HELLO_UNPAIRED_MS;
        if (!t->told_not_paired) {
            t->told_not_paired = true;
            tell_person(t, PP_MATTER_NOT_PAIRED, 0, 0);
        }
        return;
    }
    t->told_not_paired = false;
    t->state = READY;
#if PP_AUTHENTICATED_LINK
    if (kept->has_keys) {
        /* Only after this the bridge knows which line is ours, and tells what is open (4.1). */
        say(t, PP_PING, 0, 0, 0, now);
    }
#endif
    for (place = 0; place < PP_STRANGERS_MAX; place++) {
        if (t->stranger_cancel[place].on) {
            start_timer(&t->stranger_cancel[place], now);
        }
    }
    for (place = 0; place < PP_OPEN_MAX; place++) {
        if (!is_free(&kept->open[place])) {
            take_up(t, place, told, now);
        }
    }
}

static void tell_progress(pp_terminal *t, const pp_message *message)
{
    pp_event event = event_of(PP_EVENT_PROGRESS);
    event.counter = (uint32_t)pp_number(message, PP_COUNTER);
    event.amount = pp_number(message, PP_AMOUNT);
    event.seconds_left = (uint16_t)pp_number(message, PP_SECONDS_LEFT);
    tell(t, &event);
}

static void set_life(pp_work *work, const pp_message *message, uint32_t now)
{
    work->life.on = true;
    work->life.at = now + (uint32_t)pp_number(message, PP_SECONDS_LEFT) * 1000;
}

static void on_accepted(pp_terminal *t, const pp_message *message, uint32_t now)
{
    uint32_t counter = (uint32_t)pp_number(message, PP_COUNTER);
    uint64_t amount = pp_number(message, PP_AMOUNT);
    int place = open_place(t, counter);
    pp_transaction *part;
    bool own;
    if (place < 0) {
        cancel_stranger(t, counter, now);
        return;
    }
    part = &t->kept.open[place];
    own = amount == part->amount
          && (part->kind == PP_KIND_REFUND || pp_number(message, PP_CURRENCY) == part->currency);
    if (is_used(part)) {
        found_used(t, place, own, NULL, now);
        return;
    }
    if (part->phase == PP_PHASE_PERSON) {
        return;
    }
    t->work[place].say.on = false;
    if (part->phase == PP_PHASE_SAID || t->kept.highest_accepted < counter) {
        part->phase = PP_PHASE_ACCEPTED;
        if (t->kept.highest_accepted < counter) {
            t->kept.highest_accepted = counter;
        }
        if (!keep(t)) {
            return;
        }
    }
    if (own) {
        set_life(&t->work[place], message, now);
        tell_progress(t, message);
    } else {
        other_amount(t, place, amount, now);
    }
}

static void on_progress(pp_terminal *t, const pp_message *message, uint32_t now)
{
    uint32_t counter = (uint32_t)pp_number(message, PP_COUNTER);
    uint64_t amount = pp_number(message, PP_AMOUNT);
    int place = open_place(t, counter);
    pp_transaction *part;
    answered(t, counter);
    show_text(t, message);
    if (place < 0) {
        cancel_stranger(t, counter, now);
        return;
    }
    part = &t->kept.open[place];
    if (is_used(part)) {
        found_used(t, place, amount == part->amount, NULL, now);
    } else if (part->phase == PP_PHASE_PERSON) {
        return;
    } else if (amount != part->amount) {
        other_amount(t, place, amount, now);
    } else if (t->work[place].life.on) {
        set_life(&t->work[place], message, now);
        tell_progress(t, message);
    }
}

static void on_outcome(pp_terminal *t, const pp_message *message, uint32_t now)
{
    uint32_t counter = (uint32_t)pp_number(message, PP_COUNTER);
    int place = open_place(t, counter);
    pp_outcome *outcome = kept_outcome(t, counter);
    pp_transaction part;
    size_t size;
    const uint8_t *code = pp_data(message, PP_RESPONSE_CODE, &size);
    answered(t, counter);
    stranger_answered(t, counter);
    show_text(t, message);
    if (outcome != NULL) {
        if (memcmp(outcome->response_code, code, 2) != 0) {
            tell_person(t, PP_MATTER_OTHER_CODE, counter, outcome->amount);
        }
        if (place >= 0) {
            t->work[place].cancel.on = false;
        }
        say_stored(t, outcome, now);
        /* Power went between keeping the outcome and taking up the sale that had asked about its counter. */
        if (place >= 0 && is_used(&t->kept.open[place])) {
            found_used(t, place, outcome->amount == t->kept.open[place].amount, message, now);
        }
        return;
    }
    outcome = add_outcome(t, message);
    if (place < 0) {
        if (keep(t)) {
            say_stored(t, outcome, now);
            tell_person(t, PP_MATTER_UNKNOWN_OUTCOME, counter, outcome->amount);
        }
        return;
    }
    part = t->kept.open[place];
    if (is_used(&part) || part.phase == PP_PHASE_PERSON) {
        if (keep(t)) {
            say_stored(t, outcome, now);
            if (is_used(&part)) {
                found_used(t, place, outcome->amount == part.amount, message, now);
            }
        }
        return;
    }
    free_place(t, place);
    if (keep(t)) {
        say_stored(t, outcome, now);
        close_by(t, &part, outcome, message);
    }
}

/* ---- REFUSED (4.9) -------------------------------------------------------------------------------------- */

/* Which message DF0C means: its counter, 0 where it has none; false where that is not known. What was refused
 * must be known for sure: on it a sale may end. */
static bool refused_counter(const pp_terminal *t, const pp_message *message, uint8_t type, uint32_t *counter)
{
    size_t size;
    const uint8_t *what = pp_data(message, PP_WHAT_REFUSED, &size);
    bool names_counter = pp_has(message, PP_COUNTER);
    uint8_t place;
    for (place = 0; place < PP_WAITING_MAX; place++) {
        if (t->said[place].type == type && t->said[place].sequence == what[1]) {
            *counter = t->said[place].counter;
            return !names_counter || *counter == pp_number(message, PP_COUNTER);
        }
    }
    *counter = (uint32_t)pp_number(message, PP_COUNTER);
    return names_counter;
}

static bool ends_sale(uint8_t kind, uint64_t reason)
{
    switch (reason) {
    case PP_NOT_PAIRED:
    case PP_BUSY_WITH_ANOTHER:
    case PP_BAD_AMOUNT:
    case PP_UNKNOWN_MERCHANT:
    case PP_CANNOT_WRITE:
        return true;
    case PP_NO_SUCH_TRANSACTION:
    case PP_NOT_REFUNDABLE:
        return kind == PP_KIND_REFUND;
    default:
        return false;
    }
}

static void not_known_there(pp_terminal *t, int place)
{
    tell_person(t, PP_MATTER_NOT_KNOWN_THERE, t->kept.open[place].counter, t->kept.open[place].amount);
}

static void query_refused(pp_terminal *t, uint64_t reason, uint32_t counter, uint32_t now)
{
    int place = open_place(t, counter);
    if (reason != PP_NO_SUCH_TRANSACTION) {
        /* Not understood, or not now: it is said again, but only where something rests on it. */
        if (place < 0) {
            answered(t, counter);
        }
        return;
    }
    answered(t, counter);
    if (place < 0) {
        return;
    }
    if (is_used(&t->kept.open[place])) {
        another_counter(t, place, now);
    } else {
        not_known_there(t, place);
    }
}

static void cancel_refused(pp_terminal *t, uint32_t counter, const pp_message *message, uint32_t now)
{
    int place = open_place(t, counter);
    pp_transaction *part;
    stranger_answered(t, counter);
    if (place < 0) {
        return;
    }
    part = &t->kept.open[place];
    t->work[place].cancel.on = false;
    if (part->stranger || !(part->phase == PP_PHASE_SAID || is_used(part))) {
        not_known_there(t, place);
    } else {
        close_sale(t, place, PP_NEVER_TAKEN, message, now);
    }
}

static void on_refused(pp_terminal *t, const pp_message *message, uint32_t now)
{
    size_t size;
    uint8_t type = pp_data(message, PP_WHAT_REFUSED, &size)[0];
    uint64_t reason = pp_number(message, PP_REASON);
    uint32_t counter;
    int place;
    pp_transaction *part;
    if (!refused_counter(t, message, type, &counter)) {
        return;
    }
    if (type == PP_QUERY) {
        query_refused(t, reason, counter, now);
        return;
    }
    if (type == PP_CANCEL && reason == PP_NO_SUCH_TRANSACTION) {
        cancel_refused(t, counter, message, now);
        return;
    }
    place = open_place(t, counter);
    if (place < 0 || type != (t->kept.open[place].kind == PP_KIND_TENDER ? PP_TENDER : PP_REFUND)) {
        return;
    }
    part = &t->kept.open[place];
    if (reason == PP_COUNTER_USED) {
        t->work[place].say.on = false;
        if (part->phase == PP_PHASE_SAID) {
            part->phase = part->times_said <= 1 ? PP_PHASE_USED_FIRST : PP_PHASE_USED_AGAIN;
            if (!keep(t)) {
                return;
            }
        }
        start_timer(&t->work[place].query, now);
    } else if (part->phase == PP_PHASE_SAID && ends_sale(part->kind, reason)) {
        close_sale(t, place, PP_REFUSED_IT, message, now);
        show_text(t, message);
    }
}

/* ---- Images (section 5) ---------------------------------------------------------------------------------- */

static void say_status(pp_terminal *t, uint8_t id, uint8_t status, uint32_t now)
{
    t->intake.answered = true;
    t->intake.answered_id = id;
    t->intake.answered_status = status;
    say(t, PP_IMAGE_STATUS, 0, id, status, now);
}

static bool takes_format(const pp_device *device, uint8_t format)
{
    uint8_t place;
    for (place = 0; place < device->format_count; place++) {
        if (device->formats[place] == format) {
            return true;
        }
    }
    return false;
}

static bool fits(const pp_device *device, const pp_intake *intake)
{
    if ((intake->format & 0x7F) == 0x10) {
        return intake->width == intake->height && intake->width > 0; /* modules: the terminal scales them */
    }
    return intake->width > 0 && intake->width <= device->panel_width && intake->height > 0
           && intake->height <= device->panel_height;
}

static void on_image_open(pp_terminal *t, const pp_message *message, uint32_t now)
{
    pp_intake *intake = &t->intake;
    uint8_t status;
    drop_intake(t);
    memset(intake, 0, sizeof *intake);
    intake->id = (uint8_t)pp_number(message, PP_IMAGE_ID);
    intake->format = (uint8_t)pp_number(message, PP_IMAGE_FORMAT);
    intake->width = (uint16_t)pp_number(message, PP_IMAGE_WIDTH);
    intake->height = (uint16_t)pp_number(message, PP_IMAGE_HEIGHT);
    intake->length = (uint32_t)pp_number(message, PP_IMAGE_LENGTH);
    intake->wanted_crc = (uint32_t)pp_number(message, PP_IMAGE_CRC);
    intake->for_tender = pp_has(message, PP_COUNTER);
    intake->counter = (uint32_t)pp_number(message, PP_COUNTER);
    if (!takes_format(&t->device, intake->format) || !fits(&t->device, intake)) {
        status = PP_UNKNOWN_FORMAT;
    } else if (t->device.largest_image != 0 && intake->length > t->device.largest_image) {
        status = PP_OUT_OF_MEMORY;
    } else {
        status = (uint8_t)image_step(t, PP_IMAGE_BEGIN, NULL);
    }
    if (status == PP_SHOWN) {
        intake->open = true;
    } else {
        say_status(t, intake->id, status, now);
    }
}

static void on_image_data(pp_terminal *t, const pp_message *message)
{
    pp_intake *intake = &t->intake;
    size_t size;
    const uint8_t *data = pp_data(message, PP_DATA, &size);
    if (!intake->open || pp_number(message, PP_IMAGE_ID) != intake->id) {
        return;
    }
    if (pp_number(message, PP_OFFSET) != intake->size || size > intake->length - intake->size) {
        intake->broken = true;
    }
    if (intake->broken) {
        return;
    }
    intake->crc = pp_crc32(intake->crc, data, size);
    image_step(t, PP_IMAGE_PIECE, message);
    intake->size += (uint32_t)size;
}

/* No picture of a tender before a matching ACCEPTED, nor after its life; no test picture in a sale's way. */
static bool may_show(const pp_terminal *t, uint32_t now)
{
    int place;
    if (!t->intake.for_tender) {
        return tender_place(t) < 0;
    }
    place = open_place(t, t->intake.counter);
    return place >= 0 && t->work[place].life.on && !due(now, t->work[place].life.at);
}

static void on_image_show(pp_terminal *t, const pp_message *message, uint32_t now)
{
    pp_intake *intake = &t->intake;
    uint8_t id = (uint8_t)pp_number(message, PP_IMAGE_ID);
    uint8_t status = PP_BAD_CHECK;
    if (intake->answered && intake->answered_id == id) {
        say_status(t, id, intake->answered_status, now);
        return;
    }
    if (intake->open && intake->id == id) {
        bool whole = !intake->broken && intake->size == intake->length && intake->crc == intake->wanted_crc;
        if (whole && may_show(t, now)) {
            status = (uint8_t)image_step(t, PP_IMAGE_READY, NULL);
        }
        if (status == PP_SHOWN) {
            intake->open = false;
            t->picture = true;
            t->picture_counter = intake->for_tender ? intake->counter : 0;
        } else {
            drop_intake(t);
        }
    }
    say_status(t, id, status, now);
}

/* ---- The authenticated link: pairing by six digits (section 6) --------------------------------------------- */

#if PP_AUTHENTICATED_LINK

#define PAIRING_MS 120000

enum { CLOSED, OPENED, KEY_SENT, COMPARING, CONFIRMED };

static void confirmation(const pp_terminal *t, const uint8_t key[32], uint8_t hash[HASH_BYTES])
{
    pp_part text = part_of_text("PTL1 confirm");
    mac(t->port.crypto, key, &text, 1, hash);
}

static bool put_pairing(pp_terminal *t, pp_writer *writer, uint8_t type)
{
    uint8_t hash[HASH_BYTES];
    if (t->pairing.state < KEY_SENT || (type == PP_PAIR_CONFIRM && t->pairing.state != CONFIRMED)) {
        return false;
    }
    if (type == PP_PAIR_KEY) {
        pp_put_data(writer, PP_PUBLIC_KEY, t->pairing.public_key, sizeof t->pairing.public_key);
        pp_put_data(writer, PP_PAIRING_NONCE, t->pairing.nonce, sizeof t->pairing.nonce);
    } else {
        confirmation(t, t->pairing.keys.to_bridge, hash);
        pp_put_data(writer, PP_CONFIRMATION, hash, 8);
    }
    return true;
}

/* Nothing of it is left. */
static void end_pairing(pp_terminal *t, bool paired)
{
    pp_event event = event_of(PP_EVENT_PAIRED);
    memset(&t->pairing, 0, sizeof t->pairing);
    event.paired = paired;
    tell(t, &event);
}

static void on_pair_open(pp_terminal *t, const pp_message *message, uint32_t now)
{
    size_t size;
    const uint8_t *commitment = pp_data(message, PP_COMMITMENT, &size);
    if (t->pairing.state == OPENED) {
        t->pairing.state = KEY_SENT;
        memcpy(t->pairing.commitment, commitment, size);
    } else if (t->pairing.state == CLOSED) {
        return;
    } else if (memcmp(t->pairing.commitment, commitment, size) != 0) {
        end_pairing(t, false); /* the bridge has begun again: so must a person here */
        return;
    }
    if (t->pairing.state == KEY_SENT) {
        say(t, PP_PAIR_KEY, 0, 0, 0, now);
    }
}

/* HKDF-SHA256 (RFC 5869) for 32 bytes. */
static void derive(const pp_crypto *crypto, const uint8_t prk[32], const char *info, uint8_t key[32])
{
    static const uint8_t one = 1;
    pp_part parts[2];
    parts[0] = part_of_text(info);
    parts[1] = part_of(&one, 1);
    mac(crypto, prk, parts, 2, key);
}

static void on_pair_reveal(pp_terminal *t, const pp_message *message)
{
    const pp_crypto *crypto = t->port.crypto;
    pp_pairing *pairing = &t->pairing;
    pp_event event = event_of(PP_EVENT_DIGITS);
    uint8_t hash[HASH_BYTES];
    uint8_t secret[32];
    uint8_t salt[32];
    uint8_t name[8];
    pp_part parts[4];
    size_t size;
    const uint8_t *key = pp_data(message, PP_PUBLIC_KEY, &size);
    const uint8_t *nonce = pp_data(message, PP_PAIRING_NONCE, &size);
    static const uint8_t zeros[32];
    if (pairing->state != KEY_SENT) {
        return;
    }
    parts[0] = part_of(key, 32);
    parts[1] = part_of(nonce, 16);
    crypto->sha256(crypto->context, parts, 2, hash);
    crypto->x25519(crypto->context, pairing->secret, key, secret);
    if (!is_equal(hash, pairing->commitment, sizeof hash) || is_equal(secret, zeros, sizeof secret)) {
        end_pairing(t, false);
        return;
    }
    memcpy(salt, nonce, 16);
    memcpy(salt + 16, pairing->nonce, 16);
    parts[0] = part_of(secret, sizeof secret);
    mac(crypto, salt, parts, 1, hash);
    derive(crypto, hash, "PTL1 to bridge", pairing->keys.to_bridge);
    derive(crypto, hash, "PTL1 to terminal", pairing->keys.to_terminal);
    memset(secret, 0, sizeof secret);
    memset(name, ' ', sizeof name);
    memcpy(name, t->device.terminal_id, strlen(t->device.terminal_id));
    parts[0] = part_of_text("PTL1 code");
    parts[1] = part_of(key, 32);
    parts[2] = part_of(pairing->public_key, 32);
    parts[3] = part_of(name, sizeof name);
    mac(crypto, salt, parts, 4, hash);
    pairing->state = COMPARING;
    event.digits = ((uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 | hash[3]) % 1000000u;
    tell(t, &event);
}

static void on_pair_done(pp_terminal *t, const pp_message *message, uint32_t now)
{
    uint8_t hash[HASH_BYTES];
    size_t size;
    if (t->pairing.state != CONFIRMED) {
        return;
    }
    confirmation(t, t->pairing.keys.to_terminal, hash);
    if (!is_equal(hash, pp_data(message, PP_CONFIRMATION, &size), 8)) {
        end_pairing(t, false);
        return;
    }
    t->kept.keys = t->pairing.keys;
    t->kept.has_keys = true;
    if (keep(t)) {
        end_pairing(t, true);
        greet(t, now);
    }
}

/* A REFUSED that names PAIR_KEY or PAIR_CONFIRM: 9 ends pairing, after 6 it is said again. */
static void pairing_refused(pp_terminal *t, const pp_message *message, uint32_t now)
{
    size_t size;
    uint8_t type = pp_data(message, PP_WHAT_REFUSED, &size)[0];
    uint64_t reason = pp_number(message, PP_REASON);
    if (t->pairing.state == CLOSED || (type != PP_PAIR_KEY && type != PP_PAIR_CONFIRM)) {
        return;
    }
    if (reason == PP_NOT_AUTHENTICATED) {
        end_pairing(t, false);
    } else if (reason == PP_NOT_UNDERSTOOD && type == PP_PAIR_KEY && t->pairing.state == KEY_SENT) {
        say(t, PP_PAIR_KEY, 0, 0, 0, now);
    } else if (reason == PP_NOT_UNDERSTOOD && type == PP_PAIR_CONFIRM && t->pairing.state == CONFIRMED) {
        say(t, PP_PAIR_CONFIRM, 0, 0, 0, now);
    }
}

#endif

/* ---- Messages come, time passes --------------------------------------------------------------------------- */

static void do_what_is_due(pp_terminal *t, uint32_t now);

static void handle(pp_terminal *t, const pp_message *message, uint32_t now)
{
    uint64_t reason = pp_number(message, PP_REASON);
    t->heard_at = now;
    switch (message->type) {
    case PP_IDENTIFY:
        greet_when_asked(t, now);
        return;
#if PP_AUTHENTICATED_LINK
    case PP_PAIR_OPEN:
        on_pair_open(t, message, now);
        return;
    case PP_PAIR_REVEAL:
        on_pair_reveal(t, message);
        return;
    case PP_PAIR_DONE:
        on_pair_done(t, message, now);
        return;
#endif
    case PP_WELCOME:
        on_welcome(t, message, now);
        return;
    case PP_DISPLAY_CLEAR:
        if (t->state != GREETING) {
            drop_intake(t);
            take_picture_away(t);
            show_text(t, NULL);
        }
        return;
    case PP_DISPLAY_TEXT:
        if (t->state != GREETING) {
            show_text(t, message);
        }
        return;
    case PP_REFUSED:
#if PP_AUTHENTICATED_LINK
        pairing_refused(t, message, now);
#endif
        if (reason == PP_NOT_AUTHENTICATED || reason == PP_SAY_HELLO) {
            /* While greeting it is about something said before: HELLO is on its way. */
            if (t->state != GREETING && names_me(t, message, now)) {
                greet_when_asked(t, now);
            }
            return;
        }
        break;
    default:
        break;
    }
    if (t->state != READY) {
        return;
    }
    switch (message->type) {
    case PP_ACCEPTED:
        if (names_me(t, message, now)) {
            on_accepted(t, message, now);
        }
        break;
    case PP_PROGRESS:
        if (names_me(t, message, now)) {
            on_progress(t, message, now);
        }
        break;
    case PP_OUTCOME:
        if (names_me(t, message, now)) {
            on_outcome(t, message, now);
        }
        break;
    case PP_REFUSED:
        if (names_me(t, message, now)) {
            on_refused(t, message, now);
        }
        break;
    case PP_IMAGE_OPEN:
        if (names_me(t, message, now)) {
            on_image_open(t, message, now);
        }
        break;
    case PP_IMAGE_DATA:
        on_image_data(t, message);
        break;
    case PP_IMAGE_SHOW:
        on_image_show(t, message, now);
        break;
    default:
        break;
    }
}

static void take_message(pp_terminal *t, uint32_t now)
{
    pp_session *s = &t->session;
    uint16_t size = s->decoder.size;
    uint32_t crc = pp_crc32(0, t->body, size);
    pp_message message;
    bool understood;
    bool again;
#if PP_AUTHENTICATED_LINK
    code_check check;
    check_code(t, t->body, size, &check);
#endif
    understood = pp_decode(t->device.dialect, t->body, size, &message);
    again = is_duplicate(s, message.sequence, size, crc);
    if (again && message.type != PP_IDENTIFY) {
        return;
    }
#if PP_AUTHENTICATED_LINK
    switch (judge(t, &message, understood, &check)) {
    case VERDICT_TAKEN:
        break;
    case VERDICT_NOT_AUTHENTIC:
        if (t->state == READY || t->state == UNPAIRED) {
            greet_when_asked(t, now);
            do_what_is_due(t, now);
        }
        return;
    case VERDICT_OLD:
        return;
    }
#endif
    if (!understood) {
        return;
    }
    handle(t, &message, now);
    do_what_is_due(t, now);
}

static bool is_silent(const pp_work *work)
{
    return !work->say.on && !work->cancel.on && !work->query.on;
}

/* A TENDER that is cancelled, used or to be decided about is not said; QUERY asks for the silent ones. */
static void say_what_is_due(pp_terminal *t, uint32_t now)
{
    bool quiet = now - t->heard_at >= SILENCE_MS;
    bool open = false;
    int place;
    for (place = 0; place < PP_OPEN_MAX; place++) {
        pp_work *work = &t->work[place];
        uint32_t counter = t->kept.open[place].counter;
        if (counter == 0) {
            continue;
        }
        open = true;
        if (work->say.on && due(now, work->say.at)) {
            say_transaction(t, place, now);
        }
        if (work->cancel.on && due(now, work->cancel.at)) {
            said_now(&work->cancel, now);
            if (!waits(t, PP_CANCEL, counter)) {
                say(t, PP_CANCEL, counter, 0, 0, now);
            }
        }
        if (quiet && is_silent(work)) {
            start_timer(&work->query, now);
        }
        if (work->query.on && due(now, work->query.at)) {
            said_now(&work->query, now);
            if (!waits(t, PP_QUERY, counter)) {
                say(t, PP_QUERY, counter, 0, 0, now);
            }
        }
    }
    for (place = 0; place < PP_STRANGERS_MAX; place++) {
        if (t->stranger_cancel[place].on && due(now, t->stranger_cancel[place].at)) {
            said_now(&t->stranger_cancel[place], now);
            if (!waits(t, PP_CANCEL, t->stranger[place])) {
                say(t, PP_CANCEL, t->stranger[place], 0, 0, now);
            }
        }
    }
    if (t->asked.on && due(now, t->asked.at)) {
        said_now(&t->asked, now);
        if (!waits(t, PP_QUERY, t->asked_counter)) {
            say(t, PP_QUERY, t->asked_counter, 0, 0, now);
        }
    }
    if (!open && now - t->heard_at >= PING_MS && now - t->said_at >= PING_MS) {
        say(t, PP_PING, 0, 0, 0, now);
    }
}

static bool life_is_over(const pp_terminal *t, uint32_t now)
{
    int place = open_place(t, t->picture_counter);
    return place < 0 || !t->work[place].life.on || due(now, t->work[place].life.at);
}

static void do_what_is_due(pp_terminal *t, uint32_t now)
{
    if (t->stopped) {
        return;
    }
    if (t->picture && t->picture_counter != 0 && life_is_over(t, now)) {
        take_picture_away(t);
    }
#if PP_AUTHENTICATED_LINK
    if (t->pairing.state != CLOSED && due(now, t->pairing.ends_at)) {
        end_pairing(t, false);
    }
#endif
    if (t->asked_for_hello && due(now, t->hello_at)) {
        greet(t, now);
    }
    switch (t->state) {
    case GREETING:
        if (due(now, t->hello_at)) {
            hello(t, now);
        }
        if (!t->told_no_welcome && now - t->greeting_since >= NO_WELCOME_MS) {
            t->told_no_welcome = true;
            tell_person(t, PP_MATTER_NO_WELCOME, 0, 0);
        }
        break;
    case UNPAIRED:
        if (due(now, t->hello_at)) {
            greet(t, now);
        }
        break;
    case READY:
        say_what_is_due(t, now);
        break;
    default:
        break;
    }
}

void pp_tick(pp_terminal *terminal, uint32_t now)
{
    pp_session *s = &terminal->session;
    if (terminal->state == UNPLUGGED || terminal->stopped) {
        return;
    }
    drop_after_gap(s, now);
    if (s->stage == WAITING && s->counting && s->waited + (now - s->counting_since) >= ANSWER_MS) {
        send_again(terminal, now, now);
    }
    do_what_is_due(terminal, now);
    flush(terminal, now);
}

/* The least of `wait` and the time until `at`. */
static uint32_t sooner(uint32_t wait, uint32_t now, uint32_t at)
{
    uint32_t left = due(now, at) ? 0 : at - now;
    return left < wait ? left : wait;
}

static uint32_t sooner_timer(uint32_t wait, uint32_t now, const pp_timer *timer)
{
    return timer->on ? sooner(wait, now, timer->at) : wait;
}

static uint32_t wait_ready(const pp_terminal *t, uint32_t wait, uint32_t now)
{
    bool open = false;
    int place;
    for (place = 0; place < PP_OPEN_MAX; place++) {
        const pp_work *work = &t->work[place];
        if (is_free(&t->kept.open[place])) {
            continue;
        }
        open = true;
        wait = sooner_timer(wait, now, &work->say);
        wait = sooner_timer(wait, now, &work->cancel);
        wait = sooner_timer(wait, now, &work->query);
        if (is_silent(work)) {
            wait = sooner(wait, now, t->heard_at + SILENCE_MS);
        }
    }
    for (place = 0; place < PP_STRANGERS_MAX; place++) {
        wait = sooner_timer(wait, now, &t->stranger_cancel[place]);
    }
    wait = sooner_timer(wait, now, &t->asked);
    if (!open) {
        uint32_t last = due(t->heard_at, t->said_at) ? t->heard_at : t->said_at;
        wait = sooner(wait, now, last + PING_MS);
    }
    return wait;
}

uint32_t pp_wait(const pp_terminal *terminal, uint32_t now)
{
    const pp_session *s = &terminal->session;
    uint32_t wait = PP_NEVER;
    if (terminal->state == UNPLUGGED || terminal->stopped) {
        return wait;
    }
    if (pp_decoder_inside(&s->decoder)) {
        wait = sooner(wait, now, s->last_byte_at + BYTE_GAP_MS);
    }
    if (s->stage == WAITING && s->counting) {
        wait = sooner(wait, now, s->counting_since + (s->waited < ANSWER_MS ? ANSWER_MS - s->waited : 0));
    }
    if (!s->sending && (s->stage == TO_SEND || (s->stage == PAUSING && terminal->waiting_count > 0))) {
        wait = sooner(wait, now, s->ready_at);
    }
    if (terminal->picture && terminal->picture_counter != 0) {
        int place = open_place(terminal, terminal->picture_counter);
        wait = place < 0 ? 0 : sooner_timer(wait, now, &terminal->work[place].life);
    }
#if PP_AUTHENTICATED_LINK
    if (terminal->pairing.state != CLOSED) {
        wait = sooner(wait, now, terminal->pairing.ends_at);
    }
#endif
    if (terminal->asked_for_hello) {
        wait = sooner(wait, now, terminal->hello_at);
    }
    switch (terminal->state) {
    case GREETING:
        wait = sooner(wait, now, terminal->hello_at);
        if (!terminal->told_no_welcome) {
            wait = sooner(wait, now, terminal->greeting_since + NO_WELCOME_MS);
        }
        break;
    case UNPAIRED:
        wait = sooner(wait, now, terminal->hello_at);
        break;
    case READY:
        wait = wait_ready(terminal, wait, now);
        break;
    default:
        break;
    }
    return wait;
}

/* ---- Power, cable, and the person at the terminal ----------------------------------------------------------- */

bool pp_start(pp_terminal *terminal, const pp_device *device, const pp_port *port, uint32_t now)
{
    pp_said said;
    memset(terminal, 0, sizeof *terminal);
    terminal->device = *device;
    terminal->port = *port;
    terminal->state = UNPLUGGED;
    terminal->heard_at = now;
    terminal->said_at = now;
    terminal->session.next_sequence = 1;
    pp_decoder_start(&terminal->session.decoder, device->dialect, terminal->body, PP_BODY_MAX);
    if (!port->load(port->context, &terminal->kept)) {
        memset(&terminal->kept, 0, sizeof terminal->kept);
    }
    terminal->kept.layout = PP_KEPT_LAYOUT;
    memset(&said, 0, sizeof said);
    said.type = PP_HELLO;
    said.sequence = 1;
    if (device->terminal_id[0] == '\0' || device->serial_number[0] == '\0' || !frame_said(terminal, &said)) {
        return false;
    }
#if PP_AUTHENTICATED_LINK
    seal_restart(terminal);
#endif
    return true;
}

void pp_line_up(pp_terminal *terminal, uint32_t now)
{
    pp_session *s = &terminal->session;
    pp_decoder_drop(&s->decoder);
    s->took = false;
    s->stage = FREE;
    s->sending = false;
    s->sending_frame = false;
    s->answer_count = 0;
    terminal->waiting_count = 0;
    terminal->hello_out = false;
    terminal->state = UNPLUGGED;
#if PP_AUTHENTICATED_LINK
    seal_restart(terminal);
#endif
    greet(terminal, now);
    flush(terminal, now);
}

void pp_line_down(pp_terminal *terminal, uint32_t now)
{
    (void)now;
    drop_intake(terminal);
    terminal->state = UNPLUGGED;
}

static bool copy_text(char *to, size_t limit, const char *from)
{
    size_t size = from == NULL ? 0 : strlen(from);
    if (size > limit || !is_text((const uint8_t *)from, size, false)) {
        return false;
    }
    if (size > 0) {
        memcpy(to, from, size);
    }
    to[size] = '\0';
    return true;
}

static bool is_amount(uint64_t amount)
{
    return amount > 0 && amount <= PP_AMOUNT_MAX;
}

static int free_open_place(const pp_terminal *t, bool keep_one_for_tender)
{
    int place;
    int found = -1;
    int count = 0;
    for (place = 0; place < PP_OPEN_MAX; place++) {
        if (is_free(&t->kept.open[place])) {
            found = place;
            count++;
        }
    }
    if (keep_one_for_tender && tender_place(t) < 0 && count < 2) {
        return -1;
    }
    return found;
}

static pp_result begin(pp_terminal *t, int place, pp_transaction *part, uint32_t now, uint32_t *counter)
{
    if (t->stopped) {
        return PP_CANNOT_SAVE;
    }
    if (t->state != READY || t->kept.counter >= PP_COUNTER_MAX) {
        return PP_NOT_READY;
    }
    if (place < 0) {
        return PP_BUSY;
    }
    if (part->kind == PP_KIND_TENDER) {
        take_picture_away(t);
    }
    part->counter = ++t->kept.counter;
    part->phase = PP_PHASE_SAID;
    part->times_said = 0;
    t->kept.open[place] = *part;
    memset(&t->work[place], 0, sizeof t->work[place]);
    /* Only where the storage was tampered with: an old outcome is not this sale's. */
    forget_outcome(t, part->counter);
    *counter = part->counter;
    say_transaction(t, place, now);
    if (t->stopped) {
        return PP_CANNOT_SAVE;
    }
    flush(t, now);
    return PP_OK;
}

pp_result pp_sale(pp_terminal *terminal, const pp_sale_content *content, uint32_t now, uint32_t *counter)
{
    pp_transaction part;
    memset(&part, 0, sizeof part);
    part.kind = PP_KIND_TENDER;
    part.amount = content->amount;
    part.currency = content->currency == 0 ? CURRENCY_NZD : content->currency;
    if (!is_amount(part.amount) || part.currency > 9999
        || !copy_text(part.merchant, PP_MERCHANT_MAX, content->merchant)
        || !copy_text(part.reference, PP_REFERENCE_MAX, content->reference)
        || !copy_text(part.operator_name, PP_OPERATOR_MAX, content->operator_name)) {
        return PP_BAD_VALUE;
    }
    if (tender_place(terminal) >= 0) {
        return PP_BUSY;
    }
    return begin(terminal, free_open_place(terminal, false), &part, now, counter);
}

pp_result pp_refund(
    pp_terminal *terminal, uint32_t original_counter, uint64_t amount, const char *operator_name, uint32_t now,
    uint32_t *counter)
{
    pp_transaction part;
    memset(&part, 0, sizeof part);
    part.kind = PP_KIND_REFUND;
    part.amount = amount;
    part.original_counter = original_counter;
    if (!is_amount(amount) || original_counter > PP_COUNTER_MAX
        || !copy_text(part.operator_name, PP_OPERATOR_MAX, operator_name)) {
        return PP_BAD_VALUE;
    }
    return begin(terminal, free_open_place(terminal, true), &part, now, counter);
}

/* What a person has done is done: say what is due because of it. */
static pp_result done(pp_terminal *t, uint32_t now)
{
    do_what_is_due(t, now);
    flush(t, now);
    return t->stopped ? PP_CANNOT_SAVE : PP_OK;
}

pp_result pp_cancel(pp_terminal *terminal, uint32_t now)
{
    int place = tender_place(terminal);
    if (terminal->stopped) {
        return PP_CANNOT_SAVE;
    }
    if (place < 0 || terminal->kept.open[place].phase == PP_PHASE_PERSON) {
        return PP_NOT_OPEN;
    }
    cancel_own(terminal, place, now);
    return done(terminal, now);
}

pp_result pp_query(pp_terminal *terminal, uint32_t counter, uint32_t now)
{
    int place;
    if (terminal->stopped) {
        return PP_CANNOT_SAVE;
    }
    if (terminal->state != READY) {
        return PP_NOT_READY;
    }
    if (counter > PP_COUNTER_MAX) {
        return PP_BAD_VALUE;
    }
    place = counter == 0 ? tender_place(terminal) : open_place(terminal, counter);
    if (place >= 0) {
        /* Without ACCEPTED a TENDER is said again rather than asked about (4.8). */
        start_timer(terminal->work[place].say.on ? &terminal->work[place].say : &terminal->work[place].query, now);
    } else {
        start_timer(&terminal->asked, now);
        terminal->asked_counter = counter;
    }
    return done(terminal, now);
}

pp_result pp_decide(pp_terminal *terminal, uint32_t counter, bool is_mine, uint32_t now)
{
    int place = open_place(terminal, counter);
    pp_transaction part;
    pp_outcome *outcome;
    if (terminal->stopped) {
        return PP_CANNOT_SAVE;
    }
    if (place < 0 || terminal->kept.open[place].phase != PP_PHASE_PERSON) {
        return PP_NOT_OPEN;
    }
    part = terminal->kept.open[place];
    outcome = kept_outcome(terminal, counter);
    if (!is_mine) {
        another_counter(terminal, place, now);
    } else if (outcome != NULL) {
        free_place(terminal, place);
        if (keep(terminal)) {
            close_by(terminal, &part, outcome, NULL);
        }
    } else {
        terminal->kept.open[place].phase = PP_PHASE_ACCEPTED;
        if (keep(terminal) && part.cancelled) {
            start_timer(&terminal->work[place].cancel, now);
        }
    }
    return done(terminal, now);
}

pp_result pp_end_by_person(pp_terminal *terminal, uint32_t counter, uint32_t now)
{
    int place = open_place(terminal, counter);
    bool unpaired = terminal->paired_known && !terminal->paired;
    if (terminal->stopped) {
        return PP_CANNOT_SAVE;
    }
    /* What the bridge knows, the bridge alone can end: pp_cancel asks it to. */
    if (place < 0 || (!terminal->kept.open[place].stranger && !unpaired)) {
        return PP_NOT_OPEN;
    }
    close_sale(terminal, place, PP_BY_PERSON, NULL, now);
    return done(terminal, now);
}

#if PP_AUTHENTICATED_LINK

pp_result pp_pair(pp_terminal *terminal, uint32_t now)
{
    static const uint8_t base[32] = {9};
    const pp_crypto *crypto = terminal->port.crypto;
    pp_pairing *pairing = &terminal->pairing;
    if (terminal->stopped) {
        return PP_CANNOT_SAVE;
    }
    if (crypto == NULL || terminal->state == UNPLUGGED) {
        return PP_NOT_READY;
    }
    if (pairing->state != CLOSED) {
        return PP_BUSY;
    }
    crypto->random(crypto->context, pairing->secret, sizeof pairing->secret);
    crypto->random(crypto->context, pairing->nonce, sizeof pairing->nonce);
    crypto->x25519(crypto->context, pairing->secret, base, pairing->public_key);
    pairing->state = OPENED;
    pairing->ends_at = now + PAIRING_MS;
    return PP_OK;
}

pp_result pp_compared(pp_terminal *terminal, bool same, uint32_t now)
{
    pp_pairing *pairing = &terminal->pairing;
    if (terminal->stopped) {
        return PP_CANNOT_SAVE;
    }
    if (pairing->state == CLOSED || (same && pairing->state != COMPARING)) {
        return PP_NOT_OPEN;
    }
    if (same) {
        pairing->state = CONFIRMED;
        say(terminal, PP_PAIR_CONFIRM, 0, 0, 0, now);
    } else {
        end_pairing(terminal, false);
    }
    return done(terminal, now);
}

pp_result pp_forget_keys(pp_terminal *terminal, uint32_t now)
{
    terminal->kept.has_keys = false;
    memset(&terminal->kept.keys, 0, sizeof terminal->kept.keys);
    if (!keep(terminal)) {
        return PP_CANNOT_SAVE;
    }
    seal_restart(terminal); /* nothing is checked with keys that are none */
    if (terminal->state != UNPLUGGED) {
        greet(terminal, now);
    }
    return done(terminal, now);
}

#endif
