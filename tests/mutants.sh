#!/bin/sh
# Breaks one rule of restate.h after the other, in all of its sections but C++, and tells which test notices. A rule
# that can be broken unnoticed makes this fail.
#
#   tests/mutants.sh [PART]           those with PART in "SECTION: RULE": 'json: ', 'limit', ...
#   tests/mutants.sh --made           only makes them: 2 if the code of one has changed meanwhile
#
# A mutant is a line below: function | what is in it once | what it becomes | the rule that is broken. Before \| it
# is no separator, and a backslash of the code is two. Each is tried in a copy of the sources, in build/mutants, with
# the unit tests of its section, until one fails. clang compiles them, if it is there and CC is not set: it takes a
# third of the time of gcc.
set -eu
cd "$(dirname "$0")/.."

# The unit tests that judge a function. Those that are quick come first.
units_of() { # SECTION FUNCTION
    case $1-$2 in
        bytes-restate__due_*) echo unit_test unit_client ;;
        bytes-*) echo unit_wire unit_identity unit_log unit_context_calls unit_context_state unit_endpoint ;;
        memory-*) echo unit_wire unit_context_payloads unit_stream unit_memory ;;
        clock-*) echo unit_clock unit_log ;;
        log-*) echo unit_log unit_endpoint unit_server_limits ;;
        wire-*) echo unit_wire unit_journal unit_journal_errors unit_context_failures unit_context_payloads ;;
        execution-*) echo unit_execution unit_execution_canary unit_execution_crash unit_context_stop unit_context_runs ;;
        context-*) (cd tests && printf '%s\n' unit_context*.c | sed 's/\.c$//') ;;
        json-restate__codec_* | json-restate_*code) echo unit_context_payloads unit_rpc ;;
        json-*) echo unit_json unit_context_payloads ;;
        endpoint-restate__exchange_[isu]*) echo unit_identity unit_endpoint unit_stream unit_server_stop ;;
        endpoint-*) echo unit_endpoint unit_stream unit_server ;;
        http2-*) echo unit_stream unit_server unit_server_limits unit_server_stop ;;
        tls-*client* | tls-*host) echo unit_client_tls ;;
        tls-* | server-*tls*) echo unit_server_tls ;;
        server-*) echo unit_server unit_server_limits unit_server_stop ;;
        client-*) echo unit_client_context unit_client_closures unit_client_faults unit_client ;;
        record-*) echo unit_record unit_record_check ;;
        test-*) echo unit_test unit_test_explore ;;
        journal-*) (cd tests && printf '%s\n' unit_journal*.c unit_context*.c | sed -e '/_growth/d' -e 's/\.c$//') ;;
        *) echo "unit_$1" ;;
    esac
}
mutants() {
    cat <<'LIST'
restate__journal_page|j->last = j->last->next = p;|p->next = j->none.next; j->none.next = j->last = p;|notifications are delivered in the order of the journal
restate__vm_init|vm->next_completion = 1;|vm->next_completion = 0;|completion ids are counted from 1
restate__vm_completes|vm->next_completion++|vm->next_completion|each answered command takes a completion id
restate__vm_call_invocation|vm->next_completion + 1|vm->next_completion + 2|a call takes two ids, its invocation's first
restate__vm_init|vm->next_signal = RESTATE__SIGNAL_FIRST;|vm->next_signal = RESTATE__SIGNAL_FIRST - 1;|awakeables have the signals from 17 on
restate__state_clear_all|s->partial = false;|s->partial = s->partial;|state is complete after clear_all
restate__state_clear_all|s->entries = NULL;||nothing is left after clear_all
restate__state_change|e->value = restate__arena_copy(arena, value);|e->value = e->value;|a value that was written is read
restate__vm_await|if (with_cancel && vm->cancel_delivered) return|if (with_cancel && vm->cancel_delivered && root->state == RESTATE__PENDING) return|a cancellation that came first is told first
restate__vm_cancelled|vm->cancel_delivered--;||a cancellation is told once
restate__vm_deliver_any|vm->cancel_delivered++;|vm->cancel_delivered = 1;|each cancellation is told
restate__vm_arrived|if (slot->entry) {|if (false) {|the first result of a number wins
restate__vm_on_ack|if (slot->entry) return true;||protocol 7: a result that came before the acknowledgement wins
restate__vm_cancel_calls|vm->tracked = vm->cancelling = NULL;|vm->cancelling = NULL;|calls are cancelled once
restate__vm_track|*vm->tracked_end = t;|t->next = vm->tracked; vm->tracked = t; if (!t->next)|calls are cancelled in the order of their issue
restate__vm_cancelled|restate__wait w = restate__vm_cancel_calls(vm);|restate__wait w = restate__vm_wait(vm, RESTATE__READY);|a cancellation reaches the calls
restate__vm_propose_result|run->run = RESTATE__RUN_PROPOSED;|run->run = RESTATE__RUN_PROPOSED; restate__vm_settle(vm, run, keep);|protocol 7: a result counts when it is acknowledged
restate__vm_deliver_confirmed|run->of.closure.proposed|\&run->value|protocol 7: the acknowledged value is the proposed one
restate__vm_propose_result|v7 ? RESTATE__WIRE_ACK : 0|0|protocol 7: an acknowledgement is asked for
restate__vm_propose_retry|uint32_t count = known ? vm->retry_count : 0;|uint32_t count = vm->retry_count;|tries of earlier attempts count for the run they were of
restate__vm_propose_retry|p->max_attempts <= count|p->max_attempts < count|the first try counts
restate__vm_backoff|count > 1|count > 0|the first delay is the initial one
restate__vm_on_entry|vm->journal.entries == vm->journal.known|vm->journal.entries + 1 == vm->journal.known|the handler runs once the known journal is there
restate__vm_take|vm->phase = RESTATE__PROCESSING;|vm->phase = vm->phase;|processing begins with the last recorded command
restate__vm_command|if (recorded->type != kind->type)|if (false)|another command than the recorded one is a mismatch
restate__vm_compare|if (!*lines) return|if (*lines) return|a command that differs is a mismatch
restate__vm_end|if (vm->phase == RESTATE__REPLAYING)|if (false)|commands left over at the end are an error
restate__vm_patched|vm->phase != RESTATE__REPLAYING \|\| ||a patch is taken where nothing is recorded yet
restate__vm_marked|restate__b_is(item.bytes, marker)|item.bytes.len|a patch is taken by the marker of its name only
restate__vm_mark|vm->next_completion++;||a marker takes a completion id
restate__vm_patch_done|return !restate__vm_marked(vm, marker) \|\| |return |a patch that is done records nothing
restate__issue_patched|if (!p) {|if (true) {|the first call with the name of a patch decides
restate__vm_take_name|vm->naming = restate__b_none();||a name is for one operation
restate__vm_run|if (slot->entry) return true;||a run with a result is not executed again
restate__vm_propose|!slot \|\| slot->entry|!slot|a closure whose result came meanwhile proposes nothing
restate__vm_may_suspend|&& !vm->graph.executing||no suspension while a closure executes
restate__vm_suspend|vm->options.version < 7|vm->options.version < 8|protocol 7 says the whole tree
restate__node_child_settled|(last \|\| child->state == RESTATE__SUCCEEDED)|true|any goes on after a failure
restate__node_child_settled|} else if (last) {|} else {|all waits for all
restate__node_earlier|x->order < y->order|x->order > y->order|of settled children the first one decides
restate__vm_claim_by|name->delivered = signal->next;|name->delivered = 0;|a signal of a name is not lost to the one before
restate__vm_seed|vm->options.version >= 6 ? vm->random_seed : restate__vm_sha256_64(vm->id)|vm->random_seed|protocol 5: random numbers come from the id
restate__vm_random|sum << 23 \| sum >> 41|sum << 24 \| sum >> 40|random numbers are those of xoshiro256++
restate__vm_fail_run|vm->failing = true;|restate__vm_put_error(vm);|the error of a run waits for closures that execute
restate__vm_fail_run|pause = error->behavior == RESTATE__PAUSE|pause = false|of two errors of runs a pause is told
restate__graph_take_back|restate__graph_rewind(run);||a closure that left the queue is found by the next await
restate__graph_losers|restate__graph_wanted(g, c)|false|a closure has lost when all that it is part of is decided
restate__graph_decided|if (!g->executing \|\| n->listed) return;|if (n->kind) return;|what is decided tells closures that they have lost
restate__vm_failure_valid|RESTATE__METADATA, 6|RESTATE__METADATA, 5|metadata needs protocol 6
restate__map_add|restate__b_compare(key, (*at)->key) < 0|restate__b_compare(key, (*at)->key) > 0|state keys are kept in order
restate__vm_by_number|(x > y) - (x < y)|(x < y) - (x > y)|named signals come in the order of the journal
restate__edge_order|x->index > y->index|x->index < y->index|a future that is in a list twice is told by its places
restate__tree_note|n->mark = t->mark + 1;||what several combinators have is said beside the tree
restate__client_judge|!r->repeatable \|\| ||a refused request is repeated only if that does no harm
restate__client_judge|if (by_invocation) {|if (false) {|what an invocation says is final
restate__client_may_pass|status == 408|status == 404|only what may pass is tried again
restate__client_may_pass|status >= 500|status > 500|an error of the server may pass
restate__client_again|if (delay < least_ms) delay = least_ms;||a server that says when is asked no earlier
restate__client_again|r->tries >= p->max_attempts|r->tries > p->max_attempts|the client tries as often as it is told
restate__record_judge|!vm->journal.commands.left|true|a journal of which commands are left does not fit
restate__record_worse|than == RESTATE_FITS ? fit != RESTATE_FITS|than == RESTATE_FITS ? fit == RESTATE_DIFFERS|what cannot be told is worse than what fits
restate__record_check_seeds|!c->reader.record.restarted_from.len|true|random numbers after a restart: cannot tell
restate__record_route|*fit = RESTATE_DIFFERS;||a handler that is gone is a difference
restate__record_fault|if (damaged)|if (false)|an entry that cannot be decoded: cannot tell
restate__record_command|!number--|!--number|a difference names its entry
restate__test_enter|o->holder && o->holder != v|false|one exclusive handler of a key at a time
restate__test_leave|if (next->status == RESTATE__TEST_QUEUED)|if (false)|who waits for the key gets it
restate__test_kill|if (child->by == v && child->called)|if (false)|killing takes the children along
restate__due_before|a->at_ms < b->at_ms|a->at_ms > b->at_ms|timers come in the order of their times
restate__test_forgotten|v->party.server->now_ms - v->done_ms >= kept_ms|false|what is past its retention is forgotten
restate__test_look_up|order->idempotency_key.ptr|false|of two calls with one idempotency key the second finds the first
restate__test_retry|++v->policy_retries >= most|++v->policy_retries > most|the server tries as often as the policy says
restate__test_is_open|\|\| restate__test_is_marker(e)||nobody waits for the marker of a patch
restate__test_complete_promise|if (promise->result.tag)|if (false)|a promise is completed once
restate__test_breaks|t->places++;|t->places += 2;|the explorer breaks at every place
restate__test_breaks|v->broken = true;||an attempt that breaks is lost
restate__test_wrong|if (t->mismatch) return t->mismatch;||the explorer tells of another path
restate__test_judge|: restate__b_equal(e->outcome, outcome)|: true|the explorer compares outcomes
restate__test_put_outcome|paused ? " is paused" : " is open"|" -> "|what never finishes is in the outcome
restate__test_run_ways|i < 3|i < 1|the explorer suspends at every wait, too
LIST
}

# `from` becomes `to` in a function, where it has to stand exactly once.
mutate() { # FUNCTION FROM TO <SOURCE >MUTANT
    awk -v name="$1" -v from="$2" -v to="$3" '
        /^(static|RESTATE__PRIVATE|RESTATE_API)/ && !within { head = ""; within = "head" }
        within == "head" { head = head $0 }
        within == "body" && $0 == "}" {
            at = index(body, from)
            if (!at || index(substr(body, at + 1), from)) exit 1
            printf "%s", substr(body, 1, at - 1) to substr(body, at + length(from))
            within = "rest"
        }
        within == "body" { body = body $0 "\n" }
        within != "body" { print }
        within == "head" && /[;{]/ { within = head ~ "[ *]" name "\\([^;{]*\\) \\{$" ? "body" : "" }
        END { exit within != "rest" }'
}

# The section of each function, by the banners.
sections() { # <SOURCE
    awk '
        /^\/\/ >>/ { section = substr($2, 3) }
        /^(static|RESTATE__PRIVATE|RESTATE_API)/ { head = ""; within = 1 }
        within { head = head $0 }
        within && /[;{]/ {
            within = 0
            if (head !~ /\) \{$/) next
            sub(/\(.*/, "", head)
            sub(/.*[ *]/, "", head)
            print head, section
        }'
}

build=build/mutants
[ "${1-}" != --made ] || build=build/mutants-made
rm -rf "$build"
mkdir -p "$build"
cp -r Makefile restate_wire.h tests examples proto "$build/"
mutants >"$build/list"
sections <restate.h >"$build/sections"
log=$build/log
[ -n "${CC-}" ] || ! command -v clang >/dev/null || export CC=clang

# The first unit whose tests notice, and the first of these; or the one at which it ended.
noticed_by() { # SECTION FUNCTION
    for unit in $(units_of "$1" "$2"); do
        program=build/mutants/$unit
        ${MAKE:-make} -s -C "$build" "$program" CFLAGS= ${CC:+"CC=$CC"} >"$log" 2>&1 || { echo "does not compile"; return; }
        if timeout 60 "$build/$program" -v -1 >"$log" 2>&1; then continue; fi
        test=$(sed -n 's/^FAILED [a-z_]* //p' "$log" | head -n 1)
        [ -n "$test" ] || test="$(grep -x '[a-z0-9_]*' "$log" | tail -n 1), by signal or time"
        echo "$unit: $test"
        return
    done
}

made=false part=${1-} caught=0 missed=0
if [ "$part" = --made ]; then made=true part=; fi
while IFS= read -r line; do
    rule=${line##*|}
    function=${line%%|*}
    section=$(sed -n "s/^$function //p" "$build/sections" | tail -n 1)
    case "$section: $rule" in *"$part"*) ;; *) continue ;; esac
    line=$(printf '%s\n' "${line%|*}" | sed 's/\\|/\a/g')
    line=${line#*|}
    from=$(printf '%s' "${line%%|*}" | tr '\a' '|') to=$(printf '%s' "${line#*|}" | sed 's/\\&/\&/g' | tr '\a' '|')
    # shellcheck disable=SC2094
    if ! mutate "$function" "$from" "$to" <restate.h >"$build/restate.h"; then
        echo "mutants: $function has not exactly one \"$from\" any more" >&2
        $made || exit 2
        missed=$((missed + 1))
    fi
    $made && continue
    by=$(noticed_by "$section" "$function")
    case $by in
        "") missed=$((missed + 1)); echo "NOT NOTICED  $section: $rule" ;;
        "does not compile") echo "mutants: $function: \"$to\" does not compile" >&2; cat "$log" >&2; exit 2 ;;
        *) caught=$((caught + 1)); printf '%-84s %s\n' "$section: $rule" "$by" ;;
    esac
done <"$build/list"
$made || echo "mutants: $caught noticed, $missed not"
[ "$missed" = 0 ] || exit 2
