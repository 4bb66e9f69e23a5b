/*
 * An example terminal on POSIX: a serial port or a pseudo-terminal, a keypad that is standard input, a display
 * that is standard output. It keeps its storage in a file, as a vendor keeps it in flash: two places written in
 * turn, so that a power cut in the middle of one leaves the other.
 *
 * It is what a port of partpay_link.c has to bring, and no more: open the line, give bytes and time, five
 * functions. Fixed buffers, no allocation of its own.
 */
#define _XOPEN_SOURCE 600

#include "example_crypto.h"
#include "example_words.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define REOPEN_MS 100
#define FORMATS_MAX 16

typedef struct {
    int port;
    int storage;
    uint32_t saved; /* times */
    panel display;
    pp_terminal terminal;
} machine;

static uint32_t now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint32_t)time.tv_sec * 1000u + (uint32_t)(time.tv_nsec / 1000000);
}

/* ---- Storage: two places in one file, the newer whole one counts --------------------------------------------- */

typedef struct {
    uint32_t mark; /* "PPK1" */
    uint32_t saved;
    uint32_t check;
    pp_kept kept;
} stored;

#define STORED_MARK 0x314B5050u

static bool read_place(int file, int place, stored *found)
{
    if (pread(file, found, sizeof *found, place * (off_t)sizeof *found) != (ssize_t)sizeof *found) {
        return false;
    }
    return found->mark == STORED_MARK && found->kept.layout == PP_KEPT_LAYOUT
           && found->check == pp_crc32(found->saved, (const uint8_t *)&found->kept, sizeof found->kept);
}

static bool load(void *context, pp_kept *kept)
{
    machine *m = context;
    static stored found;
    bool any = false;
    int place;
    for (place = 0; place < 2; place++) {
        if (read_place(m->storage, place, &found) && (!any || (int32_t)(found.saved - m->saved) > 0)) {
            any = true;
            m->saved = found.saved;
            *kept = found.kept;
        }
    }
    return any;
}

static bool save(void *context, const pp_kept *kept)
{
    machine *m = context;
    static stored next;
    memset(&next, 0, sizeof next);
    next.mark = STORED_MARK;
    next.saved = m->saved + 1;
    next.kept = *kept;
    next.check = pp_crc32(next.saved, (const uint8_t *)&next.kept, sizeof next.kept);
    if (pwrite(m->storage, &next, sizeof next, (off_t)(next.saved & 1) * (off_t)sizeof next) != (ssize_t)sizeof next
        || fsync(m->storage) != 0) {
        return false;
    }
    m->saved = next.saved;
    return true;
}

/* ---- The line ------------------------------------------------------------------------------------------------- */

static speed_t speed_of(long baud)
{
    switch (baud) {
    case 9600:
        return B9600;
    case 19200:
        return B19200;
    case 38400:
        return B38400;
#ifdef B57600
    case 57600:
        return B57600;
#endif
#ifdef B115200
    case 115200:
        return B115200;
#endif
#ifdef B230400
    case 230400:
        return B230400;
#endif
#ifdef B460800
    case 460800:
        return B460800;
#endif
#ifdef B921600
    case 921600:
        return B921600;
#endif
    default:
        return B0;
    }
}

/* 8 data bits, no parity, 1 stop bit, nothing done to the bytes (link, section 1). */
static int open_port(const char *path, speed_t speed)
{
    struct termios settings;
    int port = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (port < 0) {
        return -1;
    }
    if (tcgetattr(port, &settings) != 0) {
        close(port);
        return -1;
    }
    settings.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | IGNBRK | IGNCR | INLCR | INPCK | ISTRIP | IXOFF | IXON | PARMRK);
    settings.c_oflag &= ~(tcflag_t)OPOST;
    settings.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
    settings.c_cflag &= ~(tcflag_t)(CSIZE | PARENB | CSTOPB);
    settings.c_cflag |= CS8 | CREAD | CLOCAL;
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
    cfsetispeed(&settings, speed);
    cfsetospeed(&settings, speed);
    if (tcsetattr(port, TCSANOW, &settings) != 0) {
        close(port);
        return -1;
    }
    tcflush(port, TCIOFLUSH);
    return port;
}

/* A frame is short: this waits until it has left. A device with an interrupt or DMA starts it here, and calls
 * pp_sent when that is done. */
static void send_bytes(void *context, const uint8_t *data, size_t size)
{
    machine *m = context;
    while (size > 0) {
        ssize_t taken = write(m->port, data, size);
        if (taken > 0) {
            data += taken;
            size -= (size_t)taken;
        } else if (taken < 0 && errno == EAGAIN) {
            struct pollfd ready = {m->port, POLLOUT, 0};
            if (poll(&ready, 1, 1000) <= 0) {
                break; /* nobody takes bytes: they are lost, as on a wire */
            }
        } else if (taken < 0 && errno != EINTR) {
            break; /* the next read finds that the line is gone */
        }
    }
    tcdrain(m->port);
    pp_sent(&m->terminal, now_ms());
}

/* ---- Display --------------------------------------------------------------------------------------------------- */

static pp_shown show(void *context, const pp_image *image)
{
    machine *m = context;
    return panel_step(&m->display, image);
}

static void tell(void *context, const pp_event *event)
{
    (void)context;
    print_event(stdout, event);
}

/* ---- Cryptography -------------------------------------------------------------------------------------------------- */

#if PP_AUTHENTICATED_LINK
/* Without it nothing may go on: keys that can be foretold are none. */
static void random_bytes(void *context, uint8_t *bytes, size_t size)
{
    int source = open("/dev/urandom", O_RDONLY);
    (void)context;
    if (source < 0 || read(source, bytes, size) != (ssize_t)size) {
        fputs("example_terminal: /dev/urandom gives nothing\n", stderr);
        exit(1);
    }
    close(source);
}

static const pp_crypto CRYPTO = {NULL, example_sha256, example_x25519, random_bytes};
#endif

/* ---- The machine ------------------------------------------------------------------------------------------------ */

typedef struct {
    const char *path;
    const char *storage;
    speed_t speed;
    pp_device device;
    uint8_t formats[FORMATS_MAX];
} options;

static void line_is(machine *m, bool there, const char *why)
{
    printf("cable plugged=%s why=\"%s\"\n", there ? "true" : "false", why);
    if (there) {
        pp_line_up(&m->terminal, now_ms());
    } else {
        pp_line_down(&m->terminal, now_ms());
        close(m->port);
        m->port = -1;
    }
}

static void read_port(machine *m)
{
    uint8_t data[512];
    ssize_t size = read(m->port, data, sizeof data);
    if (size > 0) {
        pp_receive(&m->terminal, data, (size_t)size, now_ms());
    } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
        line_is(m, false, "the port is gone");
    }
}

/* Whole lines of standard input. False: it has ended, or says quit. */
static bool read_commands(machine *m)
{
    static char line[200];
    static size_t filled;
    char *end;
    ssize_t size = read(STDIN_FILENO, line + filled, sizeof line - 1 - filled);
    if (size <= 0) {
        return size < 0 && (errno == EAGAIN || errno == EINTR);
    }
    filled += (size_t)size;
    line[filled] = '\0';
    while ((end = strchr(line, '\n')) != NULL) {
        size_t rest = filled - (size_t)(end + 1 - line);
        *end = '\0';
        if (strcmp(line, "quit") == 0) {
            return false;
        }
        if (line[0] != '\0' && !run_command(&m->terminal, line, now_ms(), stdout)) {
            printf("answer command=\"?\" cannot=\"no such command; --help has them\"\n");
        }
        memmove(line, end + 1, rest);
        filled = rest;
        line[filled] = '\0';
    }
    if (filled == sizeof line - 1) {
        filled = 0; /* no command is as long as that */
    }
    return true;
}

/* Milliseconds for poll. */
static int wait_ms(const machine *m)
{
    uint32_t wait = pp_wait(&m->terminal, now_ms());
    if (m->port < 0) {
        return REOPEN_MS;
    }
    return wait > 60000 ? 60000 : (int)wait;
}

static int run(machine *m, const options *chosen)
{
    for (;;) {
        struct pollfd ready[2] = {{STDIN_FILENO, POLLIN, 0}, {-1, POLLIN, 0}};
        if (m->port < 0 && (m->port = open_port(chosen->path, chosen->speed)) >= 0) {
            line_is(m, true, "");
        }
        ready[1].fd = m->port;
        fflush(stdout);
        if (poll(ready, 2, wait_ms(m)) < 0 && errno != EINTR) {
            perror("poll");
            return 1;
        }
        if (ready[1].revents != 0) {
            read_port(m);
        }
        if (ready[0].revents != 0 && !read_commands(m)) {
            return 0;
        }
        pp_tick(&m->terminal, now_ms());
        if (m->terminal.stopped) {
            fflush(stdout);
            return 1; /* whoever watches over this starts it again */
        }
    }
}

static int usage(FILE *out)
{
    fputs(
        "example_terminal PORT --terminal-id T --serial S --storage FILE\n"
        "  [--dialect native|classic] [--baud N] [--panel WxH] [--formats HEX,...]\n"
        "PORT is a serial port or a pseudo-terminal. Events come as lines on standard output.\n"
        "Commands, one a line, on standard input:\n",
        out);
    fputs(COMMANDS, out);
    return 2;
}

static bool read_formats(options *chosen, const char *text)
{
    chosen->device.format_count = 0;
    while (chosen->device.format_count < FORMATS_MAX) {
        char *end;
        unsigned long code = strtoul(text, &end, 16);
        if (end == text || code > 0xFF) {
            return false;
        }
        chosen->formats[chosen->device.format_count++] = (uint8_t)code;
        if (*end == '\0') {
            return true;
        }
        text = end + 1;
    }
    return false;
}

static bool read_panel(options *chosen, const char *text)
{
    unsigned width;
    unsigned height;
    if (sscanf(text, "%ux%u", &width, &height) != 2 || width == 0 || width > 4096 || height == 0 || height > 4096) {
        return false;
    }
    chosen->device.panel_width = (uint16_t)width;
    chosen->device.panel_height = (uint16_t)height;
    return true;
}

static bool read_options(int count, char **words, options *chosen)
{
    int place;
    memset(chosen, 0, sizeof *chosen);
    chosen->speed = speed_of(115200);
    chosen->device.terminal_id = "";
    chosen->device.serial_number = "";
    chosen->device.model = "Example";
    chosen->device.firmware = "1.0";
    chosen->device.largest_image = PANEL_BYTES_MAX;
    if (!read_panel(chosen, "240x320") || !read_formats(chosen, "10,90,81,01")) {
        return false;
    }
    for (place = 1; place < count; place++) {
        const char *word = words[place];
        const char *value = place + 1 < count ? words[place + 1] : "";
        bool right = true;
        if (word[0] != '-') {
            chosen->path = word;
            continue;
        }
        place++;
        if (strcmp(word, "--terminal-id") == 0) {
            chosen->device.terminal_id = value;
        } else if (strcmp(word, "--serial") == 0) {
            chosen->device.serial_number = value;
        } else if (strcmp(word, "--storage") == 0) {
            chosen->storage = value;
        } else if (strcmp(word, "--dialect") == 0) {
            right = strcmp(value, "native") == 0 || strcmp(value, "classic") == 0;
            chosen->device.dialect = strcmp(value, "classic") == 0 ? PP_CLASSIC : PP_NATIVE;
        } else if (strcmp(word, "--baud") == 0) {
            chosen->speed = speed_of(strtol(value, NULL, 10));
            right = chosen->speed != B0;
        } else if (strcmp(word, "--panel") == 0) {
            right = read_panel(chosen, value);
        } else if (strcmp(word, "--formats") == 0) {
            right = read_formats(chosen, value);
        } else {
            right = false;
        }
        if (!right) {
            fprintf(stderr, "example_terminal: %s %s cannot be\n", word, value);
            return false;
        }
    }
    chosen->device.formats = chosen->formats;
    return chosen->path != NULL && chosen->storage != NULL;
}

int main(int count, char **words)
{
    static machine m;
    static options chosen;
    pp_port port;
    if (count == 2 && strcmp(words[1], "--help") == 0) {
        usage(stdout);
        return 0;
    }
    if (!read_options(count, words, &chosen)) {
        return usage(stderr);
    }
    m.port = -1;
    m.storage = open(chosen.storage, O_RDWR | O_CREAT, S_IRUSR | S_IWUSR);
    if (m.storage < 0) {
        fprintf(stderr, "example_terminal: %s: %s\n", chosen.storage, strerror(errno));
        return 2;
    }
    m.display.width = chosen.device.panel_width;
    m.display.height = chosen.device.panel_height;
    m.display.out = stdout;
    port.context = &m;
    port.send = send_bytes;
    port.load = load;
    port.save = save;
    port.image = show;
    port.tell = tell;
#if PP_AUTHENTICATED_LINK
    port.crypto = &CRYPTO;
#endif
    if (!pp_start(&m.terminal, &chosen.device, &port, now_ms())) {
        fputs("example_terminal: terminal id or serial number is missing, or too long\n", stderr);
        return 2;
    }
    return run(&m, &chosen);
}
