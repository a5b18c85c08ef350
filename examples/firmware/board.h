/* What the firmware needs of its board. */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The UART to the relay. */
bool board_get(uint8_t *byte);              /* false: none has arrived */
void board_put(uint8_t byte);               /* waits until there is room */
void board_wait(void);                      /* sleeps until a byte is there, or for a millisecond */

/* Milliseconds: since 1970, as far as board_set_time() has said; else since the start. */
uint64_t board_ms(int wall);
void board_set_time(uint64_t wall_ms);

void board_say(const char *text);           /* to the console */
uint16_t board_adc(void);                   /* what the sensor measures: 12 bits */

/* Of the heap: bytes that were ever taken. */
size_t board_heap_taken(void);

/* Stacks are painted, so that the bytes of them that were ever used can be counted. */
void board_paint(void *low, void *high);
size_t board_unpainted(const void *low, const void *high);
extern uint32_t board_stack_low[], board_stack_top[];

#endif
