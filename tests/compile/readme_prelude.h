/* What the examples of README.md take for granted (see tests/readme.sh): types, and names of things
 * that are explained by what is done with them. */
#include "restate.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include "order.pb.h"

extern restate_handler_fn add, get, put, greet;
extern restate_closure charge, reserve;
extern const restate_service service;

extern const restate_codec total_codec;
extern Total total;
extern cJSON *tree;
restate_status csv_encode(const restate_codec *self, restate_ctx *ctx, const void *value,
                          restate_bytes *out);
restate_status csv_decode(const restate_codec *self, restate_ctx *ctx, restate_bytes in,
                          void *value);

extern restate_target target;
extern restate_bytes value;
extern restate_future *future, *futures[3];
extern restate_selector *selector;
extern restate_status s;
extern const char *id, *name, *payment, *const *keys;
extern const restate_pair *headers;
extern int count;
extern size_t index;

void to_syslog(void *user, const restate_log_record *record);
