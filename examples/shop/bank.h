/* Stands for the bank: a file of payments, named by the environment variable BANK (bank.txt).
 * As with a real bank, whoever sends the same payment again, because the answer to the first one
 * was lost, pays once. */
#ifndef BANK_H
#define BANK_H

typedef enum bank_answer { BANK_DONE, BANK_DECLINED, BANK_DOWN } bank_answer;

/* Moves `cents` from the card to the shop. Cards that are called "empty..." are declined, and so is
 * a payment that was taken back. */
bank_answer bank_pay(const char *payment, const char *card, long long cents);

/* Takes a payment back, once. It may never have come. */
bank_answer bank_take_back(const char *payment);

#endif
