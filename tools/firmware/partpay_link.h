/*
 * The terminal link, version 1, for the firmware of a payment terminal: both dialects, all rules of the
 * terminal's side; those of the authenticated link with -DPP_AUTHENTICATED_LINK=1. Portable C99, no allocation, no input or output, no clock, no locale, no recursion.
 *
 * Theory of operation
 * - One pp_terminal is one terminal on one line. All memory is in it; its size is fixed at compile time.
 * - Bytes that come in are given to pp_receive, time to pp_tick; what a person keys to pp_sale and its
 *   neighbours. What it wants done comes out through the five functions of a pp_port.
 * - `now` is in milliseconds, of any counter that never goes back while the power is on; it may wrap.
 * - Written before said: what must outlive a power cut is given to `save` before the message that rests
 *   on it goes out. A terminal whose storage fails says nothing more: see PP_EVENT_STOPPED.
 * - It never decides whether money was taken. Only OUTCOME, and the REFUSED that the link names, end a sale.
 * - Not for use from two threads or from an interrupt: collect bytes there, and call from one loop.
 *
 * The rules are those of docs/terminal-link.md; numbers in comments (4.9) are its sections.
 */
#ifndef PARTPAY_LINK_H
#define PARTPAY_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Sizes, to be changed by -D --------------------------------------------------------------------- */

/* The longest body that is taken (DF13), 640 to 4092 bytes. Longer ones make pictures come quicker. */
#ifndef PP_BODY_MAX
#define PP_BODY_MAX 1024
#endif

/* Transactions that can be open at once: one TENDER, the others REFUNDs. */
#ifndef PP_OPEN_MAX
#define PP_OPEN_MAX 4
#endif

/* Messages that wait to be sent. What does not fit is said again by its own timer, or asked for again. */
#ifndef PP_WAITING_MAX
#define PP_WAITING_MAX 16
#endif

/* Counters of nobody's that are being cancelled (4.8). */
#ifndef PP_STRANGERS_MAX
#define PP_STRANGERS_MAX 4
#endif

/* 1: the authenticated link (section 6), for a terminal that can do X25519 and SHA-256. */
#ifndef PP_AUTHENTICATED_LINK
#define PP_AUTHENTICATED_LINK 0
#endif

#define PP_OUTCOMES_KEPT 8 /* A terminal remembers its last eight counters (4.12). */

#if PP_BODY_MAX < 640 || PP_BODY_MAX > 4092
#error "PP_BODY_MAX is 640 to 4092 (link, section 2)"
#endif
#if PP_OPEN_MAX < 1 || PP_OPEN_MAX > 16
#error "PP_OPEN_MAX is 1 to 16"
#endif

/* The longest body that a terminal sends, in either dialect: a TENDER or HELLO with all it can have. */
#define PP_SENT_BODY_MAX 288
/* Each of its bytes may be sent twice. */
#define PP_FRAME_MAX (2 * PP_SENT_BODY_MAX + 6)

#define PP_MERCHANT_MAX 36
#define PP_REFERENCE_MAX 64
#define PP_OPERATOR_MAX 32
#define PP_COUNTER_MAX 99999999u
#define PP_AMOUNT_MAX UINT64_C(999999999999)

#define PP_NEVER UINT32_MAX

/* ---- Words: the data dictionary (section 3) --------------------------------------------------------- */

typedef enum {
    PP_NATIVE, /* dle-crc16, tlv */
    PP_CLASSIC /* stx-lrc, fs */
} pp_dialect;

/* name, tag, format, least and most bytes (as in tlv) */
#define PP_DICTIONARY(ROW)                 \
    ROW(AMOUNT, 0x9F02, N, 6, 6)           \
    ROW(CURRENCY, 0x5F2A, N, 2, 2)         \
    ROW(COUNTER, 0x9F41, N, 4, 4)          \
    ROW(TERMINAL_ID, 0x9F1C, AN, 8, 8)     \
    ROW(SERIAL_NUMBER, 0x9F1E, AN, 8, 8)   \
    ROW(MERCHANT, 0x9F16, ANS, 0, 36)      \
    ROW(RESPONSE_CODE, 0x8A, AN, 2, 2)     \
    ROW(DATE, 0x9A, N, 3, 3)               \
    ROW(TIME, 0x9F21, N, 3, 3)             \
    ROW(VERSION, 0xDF01, U, 1, 1)          \
    ROW(REFERENCE, 0xDF02, ANS, 0, 64)     \
    ROW(ORDER_NUMBER, 0xDF03, ANS, 0, 32)  \
    ROW(ORDER_ID, 0xDF04, ANS, 0, 36)      \
    ROW(TEXT, 0xDF05, ANS, 0, 160)         \
    ROW(SECONDS_LEFT, 0xDF06, U, 2, 2)     \
    ROW(OPERATOR, 0xDF07, ANS, 0, 32)      \
    ROW(FIRMWARE, 0xDF08, ANS, 0, 32)      \
    ROW(REASON, 0xDF09, U, 1, 1)           \
    ROW(MODEL, 0xDF0A, ANS, 0, 32)         \
    ROW(ORIGINAL_COUNTER, 0xDF0B, N, 4, 4) \
    ROW(WHAT_REFUSED, 0xDF0C, B, 2, 2)     \
    ROW(JOURNAL_ID, 0xDF0D, B, 8, 8)       \
    ROW(PANEL_WIDTH, 0xDF10, U, 2, 2)      \
    ROW(PANEL_HEIGHT, 0xDF11, U, 2, 2)     \
    ROW(FORMATS, 0xDF12, B, 0, 16)         \
    ROW(MAX_BODY, 0xDF13, U, 2, 2)         \
    ROW(IMAGE_ID, 0xDF14, U, 1, 1)         \
    ROW(IMAGE_FORMAT, 0xDF15, U, 1, 1)     \
    ROW(IMAGE_WIDTH, 0xDF16, U, 2, 2)      \
    ROW(IMAGE_HEIGHT, 0xDF17, U, 2, 2)     \
    ROW(IMAGE_LENGTH, 0xDF18, U, 4, 4)     \
    ROW(OFFSET, 0xDF19, U, 4, 4)           \
    ROW(DATA, 0xDF1A, B, 0, 4092)          \
    ROW(IMAGE_CRC, 0xDF1B, U, 4, 4)        \
    ROW(STATUS, 0xDF1C, U, 1, 1)           \
    ROW(PAIRED, 0xDF1D, U, 1, 1)           \
    ROW(LARGEST_IMAGE, 0xDF1E, U, 4, 4)    \
    ROW(TEXT_SIZE, 0xDF1F, B, 2, 2)        \
    ROW(CAN_AUTHENTICATE, 0xDF20, U, 1, 1) \
    ROW(COMMITMENT, 0xDF21, B, 32, 32)     \
    ROW(PUBLIC_KEY, 0xDF22, B, 32, 32)     \
    ROW(PAIRING_NONCE, 0xDF23, B, 16, 16)  \
    ROW(CONFIRMATION, 0xDF24, B, 8, 8)     \
    ROW(SESSION_NONCE, 0xDF25, B, 8, 8)    \
    ROW(MESSAGE_COUNTER, 0xDF26, U, 4, 4)  \
    ROW(KEY_ID, 0xDF27, B, 4, 4)           \
    ROW(TEXT_CHECK, 0xDF7E, B, 2, 2)       \
    ROW(CODE, 0xDF7F, B, 8, 8)

typedef enum {
#define PP_ROW(name, tag, format, least, most) PP_##name,
    PP_DICTIONARY(PP_ROW)
#undef PP_ROW
    PP_OBJECTS
} pp_object;

typedef enum {
    PP_HELLO = 0x01,
    PP_PAIR_KEY = 0x02,
    PP_PAIR_CONFIRM = 0x03,
    PP_TENDER = 0x10,
    PP_CANCEL = 0x11,
    PP_QUERY = 0x12,
    PP_REFUND = 0x13,
    PP_STORED = 0x14,
    PP_IMAGE_STATUS = 0x20,
    PP_PING = 0x7F,
    PP_IDENTIFY = 0x80,
    PP_WELCOME = 0x81,
    PP_PAIR_OPEN = 0x82,
    PP_PAIR_REVEAL = 0x83,
    PP_PAIR_DONE = 0x84,
    PP_ACCEPTED = 0x90,
    PP_PROGRESS = 0x91,
    PP_OUTCOME = 0x92,
    PP_REFUSED = 0x93,
    PP_IMAGE_OPEN = 0xA0,
    PP_IMAGE_DATA = 0xA1,
    PP_IMAGE_SHOW = 0xA2,
    PP_DISPLAY_CLEAR = 0xA3,
    PP_DISPLAY_TEXT = 0xA4,
    PP_PONG = 0xFF
} pp_type;

/* DF09 */
typedef enum {
    PP_NOT_PAIRED = 1,
    PP_NO_SUCH_TRANSACTION = 2,
    PP_COUNTER_USED = 3,
    PP_BUSY_WITH_ANOTHER = 4,
    PP_BAD_AMOUNT = 5,
    PP_NOT_UNDERSTOOD = 6,
    PP_UNKNOWN_MERCHANT = 7,
    PP_NOT_REFUNDABLE = 8,
    PP_NOT_AUTHENTICATED = 9,
    PP_CANNOT_WRITE = 10,
    PP_SAY_HELLO = 11
} pp_reason;

/* DF1C */
typedef enum { PP_SHOWN = 0, PP_BAD_CHECK = 1, PP_OUT_OF_MEMORY = 2, PP_UNKNOWN_FORMAT = 3 } pp_shown;

/* ---- Bodies: a message as bytes, and back ----------------------------------------------------------- */

/* An object's value: a number (n, u), or where its bytes stand in the body (an, ans, b). */
typedef union {
    uint64_t number;
    struct {
        uint16_t at;
        uint16_t size;
    } data;
} pp_value;

/* A message that was read. `body` has to stay as it is for as long as this is used. */
typedef struct {
    const uint8_t *body;
    uint8_t type;
    uint8_t sequence;
    uint64_t has; /* a bit for each object: 1 << PP_AMOUNT … */
    pp_value value[PP_OBJECTS];
} pp_message;

/* Reads a body. False: it is not understood (section 3). Changes `body`: values of `fs` are put into their
 * binary form where they stand. Type and sequence number are set where they can be read, else 0. */
bool pp_decode(pp_dialect dialect, uint8_t *body, size_t size, pp_message *message);

bool pp_has(const pp_message *message, pp_object object);
uint64_t pp_number(const pp_message *message, pp_object object); /* 0 where it is missing */
const uint8_t *pp_data(const pp_message *message, pp_object object, size_t *size); /* NULL, 0: missing */

/* Writes a body into memory of the caller. What does not fit, or cannot be said, sets `failed`. */
typedef struct {
    uint8_t *body;
    size_t size;
    size_t limit;
    pp_dialect dialect;
    bool failed;
} pp_writer;

void pp_begin(pp_writer *writer, pp_dialect dialect, uint8_t *body, size_t limit, uint8_t type, uint8_t sequence);
void pp_put_number(pp_writer *writer, pp_object object, uint64_t number);
void pp_put_data(pp_writer *writer, pp_object object, const void *data, size_t size);
void pp_put_text(pp_writer *writer, pp_object object, const char *text);
void pp_end(pp_writer *writer); /* DF7E, where the dialect has it */

/* ---- Frames: a body on the line, and back (section 2) ----------------------------------------------- */

/* The frame around a body; its size, or 0 where it does not fit `limit`. */
size_t pp_frame(pp_dialect dialect, const uint8_t *body, size_t size, uint8_t *frame, size_t limit);

typedef enum { PP_NOTHING_YET, PP_FRAME, PP_BAD_FRAME, PP_ACK, PP_NAK } pp_heard;

typedef struct {
    uint8_t *body;
    uint16_t limit;
    uint16_t size;
    uint16_t check;
    uint8_t state;
    bool damaged;
    pp_dialect dialect;
} pp_decoder;

void pp_decoder_start(pp_decoder *decoder, pp_dialect dialect, uint8_t *body, uint16_t limit);
/* One byte. After PP_FRAME the body is in `decoder->body`, `decoder->size` bytes, until the next byte. */
pp_heard pp_decoder_take(pp_decoder *decoder, uint8_t byte);
bool pp_decoder_inside(const pp_decoder *decoder);
void pp_decoder_drop(pp_decoder *decoder);

/* ---- Checks and packing ------------------------------------------------------------------------------ */

uint16_t pp_crc16(uint16_t crc, const uint8_t *data, size_t size); /* CRC-16/KERMIT; begin with 0 */
uint32_t pp_crc32(uint32_t crc, const uint8_t *data, size_t size); /* IEEE 802.3; begin with 0 */

/* PackBits of formats 81 to 84, 90 and B0, in pieces of any size. */
typedef struct {
    uint8_t count;
    bool repeats;
} pp_unpacker; /* begin with {0, false} */

/* Unpacks from `data` on to `out`. *used says how many bytes it took; the result how many it made. Call again
 * until all is used. */
size_t pp_unpack(pp_unpacker *unpacker, const uint8_t *data, size_t size, size_t *used, uint8_t *out, size_t limit);

/* ---- Cryptography, for the authenticated link --------------------------------------------------------- */

#if PP_AUTHENTICATED_LINK
typedef struct {
    const uint8_t *data;
    size_t size;
} pp_part;

/* What a terminal that authenticates has to bring: mostly there already, in its secure element or library. */
typedef struct {
    void *context;
    /* SHA-256 of the parts, one after the other. */
    void (*sha256)(void *context, const pp_part *parts, size_t count, uint8_t hash[32]);
    /* X25519 (RFC 7748): the scalar is made valid there. */
    void (*x25519)(void *context, const uint8_t scalar[32], const uint8_t point[32], uint8_t result[32]);
    /* Bytes that nobody can foretell, never the same again. */
    void (*random)(void *context, uint8_t *bytes, size_t size);
} pp_crypto;

typedef struct {
    uint8_t to_bridge[32];
    uint8_t to_terminal[32];
} pp_keys;
#endif

/* ---- What a terminal keeps --------------------------------------------------------------------------- */

typedef enum { PP_KIND_TENDER = 1, PP_KIND_REFUND = 2 } pp_kind;

typedef enum {
    PP_PHASE_SAID = 1,       /* neither accepted nor refused: it is said again until it is */
    PP_PHASE_USED_FIRST = 2, /* REFUSED 3 to its first TENDER: QUERY, then a person or another counter */
    PP_PHASE_USED_AGAIN = 3, /* REFUSED 3 to a repeated TENDER: QUERY, then it is ours, or another counter */
    PP_PHASE_PERSON = 4,     /* a person says whether the bridge's sale is this one */
    PP_PHASE_ACCEPTED = 5
} pp_phase;

typedef struct {
    uint64_t amount;
    uint32_t counter; /* 0: this place is free */
    uint32_t original_counter;
    uint16_t currency;
    uint8_t kind;
    uint8_t phase;
    uint8_t times_said; /* 0, 1, or 2 for more than once */
    bool cancelled;
    bool stranger; /* said to another journal than the one spoken to now (4.4) */
    char merchant[PP_MERCHANT_MAX + 1];
    char reference[PP_REFERENCE_MAX + 1];
    char operator_name[PP_OPERATOR_MAX + 1];
} pp_transaction;

typedef struct {
    uint64_t amount;
    uint32_t counter; /* 0: this place is free */
    char response_code[3];
} pp_outcome;

#define PP_KEPT_LAYOUT (1 + PP_AUTHENTICATED_LINK)

/* All that must outlive a power cut. Saved whole; the layout number changes when this struct does. */
typedef struct {
    uint16_t layout;
    bool knows_journal;
    uint8_t journal_id[8];
    uint32_t counter;          /* the last one used, or the highest one told in a WELCOME */
    uint32_t highest_accepted; /* the highest one that this journal has accepted */
    pp_transaction open[PP_OPEN_MAX];
    pp_outcome outcomes[PP_OUTCOMES_KEPT]; /* the oldest first */
#if PP_AUTHENTICATED_LINK
    bool has_keys;
    pp_keys keys; /* to be kept where nobody else can read them */
#endif
} pp_kept;

/* ---- What comes out of a terminal -------------------------------------------------------------------- */

typedef enum {
    PP_IMAGE_BEGIN, /* a picture comes: memory for it, or PP_OUT_OF_MEMORY, PP_UNKNOWN_FORMAT */
    PP_IMAGE_PIECE, /* `size` bytes at `offset`, in order, without gaps */
    PP_IMAGE_READY, /* all came, and its check is right: show it now; PP_SHOWN, or why not */
    PP_IMAGE_LEFT,  /* forget the one that was coming */
    PP_IMAGE_AWAY   /* take away the one that is shown */
} pp_image_step;

typedef struct {
    pp_image_step step;
    uint8_t format; /* DF15 */
    uint16_t width;
    uint16_t height;
    uint32_t length;
    uint32_t counter; /* 0: a test picture */
    uint32_t offset;
    const uint8_t *data;
    size_t size;
} pp_image;

typedef enum {
    PP_EVENT_READY = 1,   /* WELCOME: `paired` */
    PP_EVENT_PROGRESS,    /* `counter` is accepted and open; `seconds_left` */
    PP_EVENT_TEXT,        /* show this beside the picture; empty: nothing */
    PP_EVENT_CLOSED,      /* a sale or refund has ended here: `counter`, `ending` and all that is known */
    PP_EVENT_NEW_COUNTER, /* a sale goes on under `counter`; it was `old_counter` */
    PP_EVENT_PERSON,      /* a person has to see this: `matter`, `counter` */
    PP_EVENT_DIGITS,      /* `digits`: show six, with leading zeros, and ask whether the bridge shows the same */
    PP_EVENT_PAIRED,      /* `paired`: there are new keys; or pairing has ended without */
    PP_EVENT_STOPPED      /* the storage failed: nothing more is said. Restart, as after a power cut */
} pp_event_kind;

typedef enum {
    PP_APPROVED = 1, /* OUTCOME 00 with its own amount: book it */
    PP_NOT_APPROVED, /* OUTCOME with another code: no money is taken */
    PP_UNBOOKED,     /* OUTCOME 00 with another amount: a person must look */
    PP_REFUSED_IT,   /* REFUSED before any ACCEPTED; `reason` */
    PP_NEVER_TAKEN,  /* cancelled, and the bridge has never had it */
    PP_BY_PERSON     /* ended by pp_end_by_person */
} pp_ending;

typedef enum {
    PP_MATTER_NOT_PAIRED = 1, /* call the technician */
    PP_MATTER_NO_WELCOME,     /* the bridge has not answered for a minute */
    PP_MATTER_OTHER_JOURNAL,  /* the bridge does not know `counter`: find out, then pp_end_by_person */
    PP_MATTER_OTHER_AMOUNT,   /* the bridge has another amount for `counter`; it is being cancelled */
    PP_MATTER_OTHER_CODE,     /* another outcome was told for `counter` than the one that is kept */
    PP_MATTER_UNBOOKED,       /* `counter` was approved for `amount`, not for what was keyed */
    PP_MATTER_UNKNOWN_OUTCOME, /* an outcome for `counter`, which is not open here */
    PP_MATTER_NOT_KNOWN_THERE, /* the bridge says that it does not know `counter`: call support */
    PP_MATTER_DECIDE          /* is the bridge's sale of `counter` this one? pp_decide */
} pp_matter;

typedef struct {
    pp_event_kind kind;
    pp_matter matter;
    pp_ending ending;
    pp_kind of;
    bool paired;
    uint32_t counter;
    uint32_t old_counter;
    uint64_t amount;
    uint16_t seconds_left;
    uint8_t reason;
    uint32_t digits;
    char response_code[3]; /* "" where there is none */
    /* UTF-8, not terminated, gone after the call; NULL where there is none. */
    const char *text;
    size_t text_size;
    const char *order_number;
    size_t order_number_size;
    const char *order_id;
    size_t order_id_size;
} pp_event;

/* What a port of this code has to bring. None of them may call back into the terminal, but for pp_sent. */
typedef struct {
    void *context;
    /* Send these bytes; they stay where they are until pp_sent is called, which says that the last one has
     * left, or was lost. Nothing else is sent before that: it has to be called each time. */
    void (*send)(void *context, const uint8_t *data, size_t size);
    /* What was saved last; false where nothing ever was. */
    bool (*load)(void *context, pp_kept *kept);
    /* Keep this, whole or not at all; true once a power cut cannot take it away. */
    bool (*save)(void *context, const pp_kept *kept);
    /* A picture; see pp_image_step. What is returned counts for PP_IMAGE_BEGIN and PP_IMAGE_READY. */
    pp_shown (*image)(void *context, const pp_image *image);
    /* Something that a person, or the till, has to know. */
    void (*tell)(void *context, const pp_event *event);
#if PP_AUTHENTICATED_LINK
    const pp_crypto *crypto; /* NULL: this terminal does not authenticate */
#endif
} pp_port;

/* What HELLO says of the device. Strings are UTF-8, and stay where they are. */
typedef struct {
    pp_dialect dialect;
    const char *terminal_id;   /* 1 to 8 characters */
    const char *serial_number; /* 1 to 8 characters */
    const char *model;         /* to 32 */
    const char *firmware;      /* to 32 */
    uint16_t panel_width;
    uint16_t panel_height;
    const uint8_t *formats; /* DF12, best first */
    uint8_t format_count;   /* to 16 */
    uint32_t largest_image; /* DF1E; 0: not said, and what `image` refuses */
    uint8_t text_columns;   /* DF1F; 0: not said */
    uint8_t text_rows;
} pp_device;

/* ---- The terminal ------------------------------------------------------------------------------------- */

/* What is inside is nobody's business but the source file's; it is here so that you can have one. */

typedef struct {
    bool on;
    uint32_t at;
    uint32_t since;
} pp_timer;

typedef struct {
    pp_timer say;    /* TENDER or REFUND, until it is accepted or refused */
    pp_timer cancel; /* CANCEL, until OUTCOME or REFUSED 2 */
    pp_timer query;  /* QUERY, until it is answered */
    pp_timer life;   /* a matching ACCEPTED has come; its picture goes when this ends */
    bool told_stranger;
    bool told_amount;
} pp_work;

typedef struct {
    uint8_t type;
    uint8_t sequence;
    uint8_t value[2]; /* 8A; or image id and status */
    uint32_t counter;
} pp_said;

typedef struct {
    pp_decoder decoder;
    uint32_t last_byte_at;
    uint32_t bytes_inside;
    bool took;
    uint8_t took_sequence;
    uint16_t took_size;
    uint32_t took_crc;

    uint8_t stage;
    uint8_t times_sent;
    uint8_t naks;
    uint8_t early; /* a pp_heard that came before pp_sent was called */
    bool counting;
    uint32_t early_at;
    uint32_t ready_at;
    uint32_t waited;
    uint32_t counting_since;
    uint16_t frame_size;
    uint8_t next_sequence;
    pp_said out;

    bool sending;
    bool sending_frame;
    bool in_send;
    bool sent_inside;
    uint8_t answer_count;
    uint8_t answers[8];
    uint8_t answers_out[8];
} pp_session;

typedef struct {
    bool open;
    bool for_tender;
    bool broken;
    bool answered;
    uint8_t id;
    uint8_t answered_id;
    uint8_t answered_status;
    uint8_t format;
    uint16_t width;
    uint16_t height;
    uint32_t counter;
    uint32_t length;
    uint32_t size;
    uint32_t crc;
    uint32_t wanted_crc;
} pp_intake;

#if PP_AUTHENTICATED_LINK
typedef struct {
    bool has_nonce; /* DF25 of the HELLO that no right WELCOME has answered */
    bool keyed;     /* the last HELLO had DF27 */
    bool said_hello;
    bool welcomed;
    bool session;
    uint8_t nonce[8];
    uint8_t hello_hash[32];
    uint8_t nonces[16]; /* of the session: the bridge's, the terminal's */
    uint8_t session_hash[32];
    uint32_t sent;
    uint32_t taken;
} pp_seal;

typedef struct {
    uint8_t state;
    uint32_t ends_at;
    uint8_t secret[32];
    uint8_t nonce[16];
    uint8_t public_key[32];
    uint8_t commitment[32];
    pp_keys keys;
} pp_pairing;
#endif

typedef struct {
    pp_device device;
    pp_port port;
    uint8_t state;
    bool stopped;
    bool hello_out;
    bool asked_for_hello;
    bool paired_known;
    bool paired;
    bool picture; /* one is shown */
    bool told_no_welcome;
    bool told_not_paired;
    uint32_t picture_counter;
    uint32_t hello_at;
    uint32_t hello_said_at;
    uint32_t greeting_since;
    uint32_t heard_at;
    uint32_t said_at;
    pp_session session;
    pp_intake intake;
    pp_timer asked; /* a QUERY that a person wants, of what is not open */
    uint32_t asked_counter;
    pp_work work[PP_OPEN_MAX];
    uint32_t stranger[PP_STRANGERS_MAX];
    pp_timer stranger_cancel[PP_STRANGERS_MAX];
    pp_said waiting[PP_WAITING_MAX];
    uint8_t waiting_count;
    pp_said said[PP_WAITING_MAX]; /* the last ones that went out, for DF0C */
    uint8_t said_next;
    pp_kept kept;
#if PP_AUTHENTICATED_LINK
    pp_seal seal;
    pp_pairing pairing;
#endif
    uint8_t body[PP_BODY_MAX];
    uint8_t frame[PP_FRAME_MAX];
} pp_terminal;

typedef enum {
    PP_OK = 0,
    PP_NOT_READY,  /* no WELCOME yet, or not paired, or no line */
    PP_BUSY,       /* a sale is open already, or too many refunds */
    PP_BAD_VALUE,  /* an amount of 0 or too large, a text too long or no UTF-8 */
    PP_NOT_OPEN,   /* no such transaction, or not in a state for that */
    PP_CANNOT_SAVE /* the storage failed; the terminal is stopped */
} pp_result;

typedef struct {
    uint64_t amount;   /* in cents */
    uint16_t currency; /* 0: 554 */
    /* NULL where there is none. */
    const char *merchant;
    const char *reference;
    const char *operator_name;
} pp_sale_content;

/* Begins, as at power-up; the line is not there yet. False where the device cannot be said in a HELLO. */
bool pp_start(pp_terminal *terminal, const pp_device *device, const pp_port *port, uint32_t now);

/* The line is there (say it after pp_start too), or gone. A wire that nobody can see pulled is always there. */
void pp_line_up(pp_terminal *terminal, uint32_t now);
void pp_line_down(pp_terminal *terminal, uint32_t now);

void pp_receive(pp_terminal *terminal, const uint8_t *data, size_t size, uint32_t now);

/* The bytes that were given to `send` have left. May be called out of `send` itself. */
void pp_sent(pp_terminal *terminal, uint32_t now);

/* Time has passed; call it at least when pp_wait says, or every 10 ms or so. */
void pp_tick(pp_terminal *terminal, uint32_t now);

/* Milliseconds until pp_tick has something to do; PP_NEVER: not before something comes. */
uint32_t pp_wait(const pp_terminal *terminal, uint32_t now);

/* A person at the terminal. *counter is that of the sale or refund. */
pp_result pp_sale(pp_terminal *terminal, const pp_sale_content *content, uint32_t now, uint32_t *counter);
pp_result pp_refund(
    pp_terminal *terminal, uint32_t original_counter, uint64_t amount, const char *operator_name, uint32_t now,
    uint32_t *counter);
pp_result pp_cancel(pp_terminal *terminal, uint32_t now);
pp_result pp_query(pp_terminal *terminal, uint32_t counter, uint32_t now); /* 0: the last one */
pp_result pp_decide(pp_terminal *terminal, uint32_t counter, bool is_mine, uint32_t now);
pp_result pp_end_by_person(pp_terminal *terminal, uint32_t counter, uint32_t now);

#if PP_AUTHENTICATED_LINK
/* The terminal's own menu: pairing is open for 120 s, and waits for the bridge; whether the six digits are the
 * bridge's; removing the keys. */
pp_result pp_pair(pp_terminal *terminal, uint32_t now);
pp_result pp_compared(pp_terminal *terminal, bool same, uint32_t now);
pp_result pp_forget_keys(pp_terminal *terminal, uint32_t now);
#endif

/* The open TENDER; NULL where there is none. */
const pp_transaction *pp_open_sale(const pp_terminal *terminal);

#ifdef __cplusplus
}
#endif

#endif
