/*
 * The firmware's terminal without a line and without a clock: both come as lines on standard input, so that a
 * minute of silence takes no time. What it sends and tells comes as lines, the last of each turn `wait N`: how
 * many milliseconds until it wants to be woken, or `wait never`.
 *   rx NOW HEX · tick NOW · do NOW COMMAND · power-off · power-on NOW · unplug NOW · plug NOW · storage ok|broken
 * Its storage is this program's memory: it stays when the power goes.
 *
 * Arguments: DIALECT TERMINAL SERIAL WIDTH HEIGHT FORMATS START, START being what is added to every NOW.
 */
#include "example_crypto.h"
#include "example_words.h"
#include "test_line_input.h"

static pp_terminal terminal;
static pp_device device;
static panel display;
static pp_kept stored;
static bool has_stored;
static bool broken;
static bool under_power;
static bool to_tell_sent;

static void send_bytes(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    fputs("tx ", stdout);
    print_hex(data, size);
    putchar('\n');
    to_tell_sent = true;
}

static bool load(void *context, pp_kept *kept)
{
    (void)context;
    *kept = stored;
    return has_stored;
}

static bool save(void *context, const pp_kept *kept)
{
    (void)context;
    if (broken) {
        return false;
    }
    stored = *kept;
    has_stored = true;
    return true;
}

static pp_shown show(void *context, const pp_image *image)
{
    (void)context;
    return panel_step(&display, image);
}

static void tell(void *context, const pp_event *event)
{
    (void)context;
    print_event(stdout, event);
}

#if PP_AUTHENTICATED_LINK
/* Foretold by everybody, and different each time: for tests alone. */
static void random_bytes(void *context, uint8_t *out, size_t size)
{
    static uint32_t state = 2463534242u;
    (void)context;
    while (size-- > 0) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        *out++ = (uint8_t)state;
    }
}

static const pp_crypto crypto = {NULL, example_sha256, example_x25519, random_bytes};
#endif

static void power_on(uint32_t now)
{
    pp_port port;
    memset(&port, 0, sizeof port);
    port.send = send_bytes;
    port.load = load;
    port.save = save;
    port.image = show;
    port.tell = tell;
#if PP_AUTHENTICATED_LINK
    port.crypto = &crypto;
#endif
    if (!pp_start(&terminal, &device, &port, now)) {
        exit(2);
    }
    under_power = true;
    puts("power on=true");
    pp_line_up(&terminal, now);
}

int main(int count, char **words)
{
    static uint8_t formats[16];
    uint32_t start;
    if (count != 8) {
        return 2;
    }
    device.dialect = strcmp(words[1], "classic") == 0 ? PP_CLASSIC : PP_NATIVE;
    device.terminal_id = words[2];
    device.serial_number = words[3];
    device.model = "Stepped";
    device.firmware = "1.0";
    device.panel_width = display.width = (uint16_t)strtoul(words[4], NULL, 10);
    device.panel_height = display.height = (uint16_t)strtoul(words[5], NULL, 10);
    device.format_count = (uint8_t)read_hex(words[6]);
    memcpy(formats, bytes, device.format_count);
    device.formats = formats;
    device.largest_image = PANEL_BYTES_MAX;
    start = (uint32_t)strtoul(words[7], NULL, 10);
    display.out = stdout;
    while (next_line() != NULL) {
        char *question = strtok(line, " ");
        char *when = strtok(NULL, " ");
        char *rest = strtok(NULL, "");
        uint32_t now = start + (uint32_t)(when == NULL ? 0 : strtoul(when, NULL, 10));
        if (question == NULL) {
            return 2;
        }
        if (strcmp(question, "storage") == 0) {
            broken = when != NULL && strcmp(when, "broken") == 0;
        } else if (strcmp(question, "power-on") == 0) {
            power_on(now);
        } else if (strcmp(question, "power-off") == 0) {
            under_power = false;
            puts("power on=false");
        } else if (!under_power) {
            /* nothing happens */
        } else if (strcmp(question, "rx") == 0) {
            size_t size = read_hex(rest == NULL ? "" : rest);
            pp_receive(&terminal, bytes, size, now);
        } else if (strcmp(question, "tick") == 0) {
            pp_tick(&terminal, now);
        } else if (strcmp(question, "unplug") == 0) {
            pp_line_down(&terminal, now);
        } else if (strcmp(question, "plug") == 0) {
            pp_line_up(&terminal, now);
        } else if (strcmp(question, "do") != 0 || rest == NULL || !run_command(&terminal, rest, now, stdout)) {
            return 2;
        }
        while (to_tell_sent) {
            to_tell_sent = false;
            pp_sent(&terminal, now);
        }
        if (under_power && pp_wait(&terminal, now) != PP_NEVER) {
            printf("wait %lu\n", (unsigned long)pp_wait(&terminal, now));
        } else {
            puts("wait never");
        }
        fflush(stdout);
    }
    return 0;
}
