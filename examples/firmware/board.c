/* An ARM MPS2 with a Cortex-M4 (QEMU's mps2-an386), without an operating system: start, clock,
 * UART, heap, and a console by semihosting. On another board this file and board.ld
 * change. */
#include "board.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLOCK_HZ 25000000u

/* ---- Registers ------------------------------------------------------------------------------- */

typedef struct uart {
    volatile uint32_t data, state, control, interrupts, divider;
} uart;
#define UART0 ((uart *)0x40004000u)
enum { UART_TX_FULL = 1, UART_RX_FULL = 2 };                            /* state */
enum { UART_TX_ON = 1, UART_RX_ON = 2, UART_RX_INTERRUPTS = 8 };        /* control */
enum { UART_RX_INTERRUPT = 2 };                                         /* interrupts */

#define SYSTICK_CONTROL (*(volatile uint32_t *)0xE000E010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xE000E014u)
#define SYSTICK_VALUE (*(volatile uint32_t *)0xE000E018u)
#define NVIC_ENABLE (*(volatile uint32_t *)0xE000E100u)

static void interrupts_off(void) { __asm__ volatile("cpsid i" ::: "memory"); }
static void interrupts_on(void) { __asm__ volatile("cpsie i" ::: "memory"); }

/* ---- Semihosting: the console, and the end of the emulator ----------------------------------- */

static int semihost(int operation, const void *arg) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arg;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void board_say(const char *text) { semihost(0x04, text); }

/* The words that the emulator was started with: -semihosting-config arg=...,arg=... */
static int words(char **argv, int most) {
    static char line[256];
    const uint32_t block[2] = { (uint32_t)(uintptr_t)line, sizeof line };
    int n = 0;
    if (semihost(0x15, block) != 0) line[0] = 0;
    for (char *word = strtok(line, " "); word && n < most; word = strtok(NULL, " "))
        argv[n++] = word;
    argv[n] = NULL;
    return n;
}

void _exit(int status) {
    const uint32_t why[2] = { 0x20026, (uint32_t)status };      /* the application has ended */
    for (;;) semihost(0x20, why);
}

static void fault(void) {
    board_say("board: fault\n");
    _exit(125);
}

/* ---- Clock ----------------------------------------------------------------------------------- */

static volatile uint64_t ticks;
static uint64_t started;                    /* wall time of tick 0 */

static void on_tick(void) { ticks = ticks + 1; }

uint64_t board_ms(int wall) {
    interrupts_off();                       /* 64 bits are not read at once */
    uint64_t now = ticks;
    interrupts_on();
    return wall ? started + now : now;
}

void board_set_time(uint64_t wall_ms) { started = wall_ms - board_ms(0); }

/* ---- UART ------------------------------------------------------------------------------------ */

/* A full ring leaves the next byte in the UART, which then stops the sender (RTS). */
static volatile uint8_t ring[256];
static volatile uint8_t ring_in, ring_out;

static void on_byte(void) {
    UART0->interrupts = UART_RX_INTERRUPT;
    while ((UART0->state & UART_RX_FULL) && (uint8_t)(ring_in + 1) != ring_out) {
        ring[ring_in] = (uint8_t)UART0->data;
        ring_in = (uint8_t)(ring_in + 1);
    }
}

bool board_get(uint8_t *byte) {
    if (ring_out == ring_in) return false;
    *byte = ring[ring_out];
    interrupts_off();
    ring_out = (uint8_t)(ring_out + 1);
    on_byte();                              /* one may have had no room */
    interrupts_on();
    return true;
}

void board_put(uint8_t byte) {
    while (UART0->state & UART_TX_FULL) continue;
    UART0->data = byte;
}

void board_wait(void) {
    interrupts_off();
    if (ring_out == ring_in) __asm__ volatile("wfi");   /* wakes at once if an interrupt waits */
    interrupts_on();
}

/* ---- Sensor: a number that changes, as there is none ----------------------------------------- */

uint16_t board_adc(void) {
    static uint32_t noise = 1;
    noise = noise * 1664525u + 1013904223u;
    return (uint16_t)(2048u + (noise >> 28));
}

/* ---- Stacks ---------------------------------------------------------------------------------- */

#define PAINT 0xA5u

void board_paint(void *low, void *high) {
    memset(low, PAINT, (size_t)((char *)high - (char *)low));
}

size_t board_unpainted(const void *low, const void *high) {
    const uint8_t *at = low;
    while (at != high && *at == PAINT) at++;
    return (size_t)((const uint8_t *)high - at);
}

/* ---- Start ----------------------------------------------------------------------------------- */

extern uint32_t board_data_rom[], board_data[], board_data_end[], board_bss[], board_bss_end[];
extern int main(int argc, char **argv);

void board_start(void);
void board_start(void) {
    char *argv[9], *here = __builtin_frame_address(0);
    memcpy(board_data, board_data_rom, (size_t)((char *)board_data_end - (char *)board_data));
    memset(board_bss, 0, (size_t)((char *)board_bss_end - (char *)board_bss));
    board_paint(board_stack_low, here - 64);
    SYSTICK_RELOAD = CLOCK_HZ / 1000u - 1u;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7;                    /* on, interrupts, the processor's clock */
    UART0->divider = CLOCK_HZ / 115200u;
    UART0->control = UART_TX_ON | UART_RX_ON | UART_RX_INTERRUPTS;
    NVIC_ENABLE = 1;                        /* interrupt 0: UART 0 has received */
    exit(main(words(argv, 8), argv));
}

typedef void (*vector)(void);
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    vector system[15], devices[32];
} vectors = {
    board_stack_top,
    { [0] = board_start, [1] = fault, [2] = fault, [3] = fault, [4] = fault, [5] = fault,
      [14] = on_tick },
    { [0] = on_byte },
};

/* ---- What newlib asks for -------------------------------------------------------------------- */

extern char board_heap[], board_heap_end[];
static char *heap_top = board_heap;

size_t board_heap_taken(void) { return (size_t)(heap_top - board_heap); }

/* newlib's own refuses to grow beyond the stack pointer; stacks of tasks lie in the heap. */
void *_sbrk(ptrdiff_t bytes);
void *_sbrk(ptrdiff_t bytes) {
    char *at = heap_top;
    if (bytes > board_heap_end - at) {
        errno = ENOMEM;
        return (void *)-1;
    }
    heap_top += bytes;
    return at;
}

int _write(int file, const void *data, size_t size);
int _write(int file, const void *data, size_t size) {
    char text[65];
    for (size_t n, at = 0; at < size; at += n) {
        n = size - at < sizeof text - 1 ? size - at : sizeof text - 1;
        memcpy(text, (const char *)data + at, n);
        text[n] = 0;
        board_say(text);
    }
    (void)file;
    return (int)size;
}

int _read(int file, void *data, size_t size);
int _read(int file, void *data, size_t size) { (void)file, (void)data, (void)size; return 0; }
int _close(int file);
int _close(int file) { (void)file; return -1; }
int _lseek(int file, int offset, int from);
int _lseek(int file, int offset, int from) { (void)file, (void)offset, (void)from; return 0; }
int _isatty(int file);
int _isatty(int file) { (void)file; return 1; }
int _fstat(int file, struct stat *st);
int _fstat(int file, struct stat *st) { (void)file; st->st_mode = S_IFCHR; return 0; }
int _getpid(void);
int _getpid(void) { return 1; }
int _kill(int pid, int signal);
int _kill(int pid, int signal) { (void)pid; _exit(128 + signal); }
