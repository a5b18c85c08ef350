/* Money from one PostgreSQL database to another, exactly once, without a distributed transaction.
 *
 * Build, in the directory of restate.h (Debian: libpq-dev):
 *     cc -I. examples/postgres.c -o postgres $(pkg-config --cflags --libs libpq) \
 *         -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Two databases, which EAST and WEST name as for psql ("dbname=east" and "dbname=west" if unset).
 * This makes the tables, with 1,000 euro on east/ada and on west/bob:
 *     createdb east && createdb west && ./postgres setup
 * Run it (on port 9080, or on the one that the environment variable PORT names):
 *     ./postgres
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Call it through the server. The second call is undone, as west has no such account:
 *     curl localhost:8080/Transfers/transfer --json '{"from": "east/ada", "to": "west/bob", "cents": 1500}'
 *     curl localhost:8080/Transfers/transfer --json '{"from": "east/ada", "to": "west/nobody", "cents": 1500}'
 *     psql west -c 'table account' -c 'table entry'
 * With -H 'idempotency-key: ...' a client may repeat a call whose answer it did not get.
 *
 * A transfer is two transactions, a debit and a credit, each a step. A step may be executed again:
 * nobody knows whether a COMMIT that got no answer took effect. So each transaction writes an entry
 * whose primary key belongs to the step, and changes the balance only if the entry is new.
 *
 *   This dies                 and then
 *   the program, kill -9      PostgreSQL rolls back what was not committed; the transfer goes on
 *                             once a program is there again, with the step that was under way
 *   a database                steps are retried until it is back, with growing pauses; after many
 *                             attempts the server pauses the transfer for an operator
 *   the Restate server        the transfer goes on when it is back, with the step whose result it
 *                             had not stored
 *
 * Between debit and credit the money is in neither of the two accounts: others can see that. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECTIONS = 16 };                  /* to each bank: as many as threads that use them */

/* ---- Banks: a database each, with connections that wait for the next step ---------------------- */

typedef struct bank {
    const char *name, *setting, *otherwise; /* of the environment */
    pthread_mutex_t lock;                   /* of the rest */
    PGconn *idle[CONNECTIONS];
    int count;
} bank;

static bank banks[] = {
    { .name = "east", .setting = "EAST", .otherwise = "dbname=east", .lock = PTHREAD_MUTEX_INITIALIZER },
    { .name = "west", .setting = "WEST", .otherwise = "dbname=west", .lock = PTHREAD_MUTEX_INITIALIZER } };

/* Nothing may hang for ever: neither a host that has gone, nor a row that somebody has locked. What
 * EAST or WEST say comes last, and so it counts. */
static PGconn *connect_to(const bank *b) {
    static const char *const names[] = { "connect_timeout", "keepalives_idle", "keepalives_interval",
                                         "keepalives_count", "options", "dbname", NULL };
    const char *from = getenv(b->setting);
    const char *const values[] = { "5", "10", "5", "3", "-c statement_timeout=60s",
                                   from ? from : b->otherwise, NULL };
    return PQconnectdbParams(names, values, 1);
}

static PGconn *take(bank *b) {
    PGconn *db = NULL;
    pthread_mutex_lock(&b->lock);
    if (b->count > 0) db = b->idle[--b->count];
    pthread_mutex_unlock(&b->lock);
    return db ? db : connect_to(b);
}

/* How many rows a statement has changed; -1: it failed. */
static int execute(PGconn *db, const char *sql, int count, const char *const *values) {
    PGresult *result = PQexecParams(db, sql, count, NULL, values, NULL, NULL, 0);
    int rows = PQresultStatus(result) == PGRES_COMMAND_OK ? atoi(PQcmdTuples(result)) : -1;
    PQclear(result);
    return rows;
}

/* Whatever was not committed is rolled back. If this connection has failed nobody knows why, and the
 * others may have, too: the database was restarted, say. */
static void give(bank *b, PGconn *db, bool failed) {
    if (!failed && PQtransactionStatus(db) != PQTRANS_IDLE) failed = execute(db, "ROLLBACK", 0, NULL) < 0;
    pthread_mutex_lock(&b->lock);
    while (failed && b->count > 0) PQfinish(b->idle[--b->count]);
    if (!failed) b->idle[b->count++] = db;
    pthread_mutex_unlock(&b->lock);
    if (failed) PQfinish(db);
}

/* ---- The step: one transaction ---------------------------------------------------------------- */

typedef struct entry {
    bank *at;
    const char *key;                        /* of the step: the same in every attempt */
    const char *account;
    long long cents;                        /* negative: a debit */
    bool has_to_succeed;                    /* there is nobody to tell that it was refused */
} entry;

typedef enum outcome { BOOKED, BOOKED_BEFORE, REFUSED, UNKNOWN } outcome;

/* A second transaction with the same key waits in its INSERT until the first one has ended, so this
 * is right even if an earlier try of the step is still under way in another process. */
static outcome book(PGconn *db, const entry *e) {
    char cents[24];
    const char *const values[] = { e->key, e->account, cents };
    int rows;
    snprintf(cents, sizeof cents, "%lld", e->cents);
    if (PQstatus(db) != CONNECTION_OK || execute(db, "BEGIN", 0, NULL) < 0) return UNKNOWN;
    rows = execute(db, "INSERT INTO entry (key, account, cents) VALUES ($1, $2, $3) "
                       "ON CONFLICT DO NOTHING", 3, values);
    if (rows < 1) return rows == 0 ? BOOKED_BEFORE : UNKNOWN;
    rows = execute(db, "UPDATE account SET cents = cents + $2 WHERE name = $1 AND cents + $2 >= 0",
                   2, values + 1);
    if (rows < 1) return rows == 0 ? REFUSED : UNKNOWN;
    return execute(db, "COMMIT", 0, NULL) < 0 ? UNKNOWN : BOOKED;
}

/* Blocks, so it is a closure: it executes on a thread of the endpoint's pool. Only an answer of the
 * database is a result: whatever else goes wrong, the next try finds out whether it was booked. */
static restate_status apply(restate_ctx *run, void *arg) {
    const entry *e = arg;
    PGconn *db = take(e->at);
    outcome was = book(db, e);
    const char *why = restate_text(run, "%s: %s", e->at->name, PQerrorMessage(db));
    give(e->at, db, was == UNKNOWN);
    if (was == BOOKED || was == BOOKED_BEFORE) return RESTATE_OK;
    if (was == UNKNOWN) return restate_retry(run, NULL, "%s", why);
    why = restate_text(run, "%s: there is no account %s, or not enough on it", e->at->name, e->account);
    return e->has_to_succeed ? restate_retry(run, NULL, "%s", why) : restate_fail(run, 409, "%s", why);
}

/* ---- Transfers --------------------------------------------------------------------------------- */

/* "east/ada": a bank and an account there. */
static restate_status read_place(restate_ctx *ctx, restate_bytes input, const char *member, entry *e) {
    const char *place = "";
    RESTATE_TRY(restate_json_string(ctx, input, member, &place));
    for (size_t i = 0; i < sizeof banks / sizeof banks[0]; i++) {
        size_t len = strlen(banks[i].name);
        if (strncmp(place, banks[i].name, len) != 0 || place[len] != '/') continue;
        e->at = &banks[i];
        e->account = place + len + 1;
        return RESTATE_OK;
    }
    return restate_fail(ctx, 400, "%s is '%s', not BANK/ACCOUNT", member, place);
}

static restate_status transfer(restate_ctx *ctx, restate_bytes input) {
    const char *id = restate_uuid(ctx);     /* derived from the invocation, not drawn anew */
    entry debit = { .key = restate_text(ctx, "%s/debit", id) };
    entry credit = { .key = restate_text(ctx, "%s/credit", id) }, refund;
    const restate_failure *why;
    restate_status s;
    RESTATE_TRY(read_place(ctx, input, "from", &debit));
    RESTATE_TRY(read_place(ctx, input, "to", &credit));
    RESTATE_TRY(restate_json_int(ctx, input, "cents", &credit.cents));
    if (credit.cents <= 0) return restate_fail(ctx, 400, "cents is %lld", credit.cents);
    debit.cents = -credit.cents;

    RESTATE_TRY(restate_run(ctx, "debit", apply, &debit, NULL, NULL));  /* refused: that was all */
    s = restate_run(ctx, "credit", apply, &credit, NULL, NULL);
    if (s == RESTATE_OK) return restate_reply(ctx, restate_json(ctx, "{'transfer': %s}", id));
    if (s != RESTATE_TERMINAL) return s;    /* the attempt is over; another one goes on from here */

    why = restate_failed(ctx);              /* the bank said no, and nothing was booked there */
    refund = debit;
    refund.key = restate_text(ctx, "%s/refund", id);
    refund.cents = credit.cents;
    refund.has_to_succeed = true;
    RESTATE_TRY(restate_run(ctx, "refund", apply, &refund, NULL, NULL));
    return restate_fail_with(ctx, why);
}

/* No limit of attempts: a credit that "failed" by running out of them may have been booked, and a
 * refund would make money. For the same reason a cancellation does not interrupt a transfer. */
static const restate_service transfers = { .name = "Transfers", .handlers = RESTATE_HANDLERS(
    { .name = "transfer", .fn = transfer, .options = { .explicit_cancellation = RESTATE_ON } }) };

/* ---- The program ------------------------------------------------------------------------------- */

static int set_up(const bank *b, const char *account) {
    static const char tables[] =
        "CREATE TABLE account (name text PRIMARY KEY, cents bigint NOT NULL CHECK (cents >= 0));"
        "CREATE TABLE entry (key text PRIMARY KEY, account text NOT NULL, cents bigint NOT NULL,"
        "                    at timestamptz NOT NULL DEFAULT now());";
    PGconn *db = connect_to(b);
    PGresult *made = PQexec(db, tables);
    bool ok = PQresultStatus(made) == PGRES_COMMAND_OK &&
              execute(db, "INSERT INTO account VALUES ($1, 100000)", 1, &account) == 1;
    if (!ok) fprintf(stderr, "%s: %s", b->name, PQerrorMessage(db));
    PQclear(made);
    PQfinish(db);
    return ok ? 0 : 1;
}

int main(int argc, char **argv) {
    const char *port = getenv("PORT");
    if (argc > 1 && strcmp(argv[1], "setup") == 0)
        return set_up(&banks[0], "ada") || set_up(&banks[1], "bob");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&transfers), .pool_threads = CONNECTIONS,
        .stop_on_signals = RESTATE_ON, .port = (uint16_t)(port ? atoi(port) : 9080) });
}
