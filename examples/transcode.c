/* ffmpeg as steps: a video is transcoded in segments, and goes on in the middle after kill -9.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/transcode.c -o transcode -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * It executes ffmpeg and ffprobe, or what the environment variables FFMPEG and FFPROBE name. Run it
 * (on port 9080, or on the one that PORT names):
 *     ./transcode
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Start the workflow through the server; "holiday" is its key, and it runs once per key:
 *     curl localhost:8080/Transcode/holiday/run/send --json '{"input": "/tmp/in.mov", "output": "/tmp/out.mp4"}'
 * How far it is; what came of it (waits for that); or stop it, by the invocationId of the first call:
 *     curl localhost:8080/Transcode/holiday/progress
 *     curl localhost:8080/restate/workflow/Transcode/holiday/attach
 *     curl -X PATCH localhost:9070/invocations/ID/cancel
 *
 * Each segment is a step, and a file in OUTPUT.parts, which has its name only when it is complete.
 *
 *   This happens              and then
 *   the program, kill -9      ffmpeg dies with it (Linux); once the program is there again, the
 *                             segment that was under way is begun anew, complete ones are kept
 *   the Restate server dies   ffmpeg is stopped; goes on when the server is back, in the same way
 *   a cancellation            ffmpeg is stopped at once, OUTPUT.parts is removed
 *   ffmpeg fails              the workflow fails with what it has printed, OUTPUT.parts is removed
 *   ffmpeg is killed          the segment is retried
 *
 * Programs on several machines need a file system that all of them have. */
#define _GNU_SOURCE                         /* pipe2() */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#  include <sys/prctl.h>
#endif

/* ---- Child processes ---------------------------------------------------------------------------- */

#define FFMPEG  (getenv("FFMPEG") ? getenv("FFMPEG") : "ffmpeg")
#define FFPROBE (getenv("FFPROBE") ? getenv("FFPROBE") : "ffprobe")
enum { SAID_MAX = 1000 };                   /* bytes that are kept of what a program prints: the first */

/* Between fork() and exec() of a program with threads: system calls only. */
static void become(char *const *words, int out, pid_t parent) {
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);       /* when the thread that has forked ends, which waits for us */
#endif
    if (getppid() != parent || dup2(out, 1) < 0 || dup2(out, 2) < 0) _exit(127);
    execvp(words[0], words);
    _exit(127);
}

/* Reads until the child closes its end, or until nobody wants the result: then it is killed. */
static void listen_to(restate_ctx *run, pid_t child, int from, char said[SAID_MAX + 1]) {
    struct pollfd fds[] = { { from, POLLIN, 0 }, { restate_stop_fd(run), POLLIN, 0 } };
    size_t len = 0;
    char more[512];
    ssize_t got = 1;
    while (got > 0) {
        if (poll(fds, 2, -1) < 0) continue; /* a signal */
        if (fds[1].revents) {
            kill(child, SIGKILL);
            break;
        }
        got = read(from, more, sizeof more);
        for (ssize_t i = 0; i < got && len < SAID_MAX; i++) said[len++] = more[i];
    }
    said[len] = 0;
}

/* Executes a program to its end. It fails for good if the program says so by its exit status. */
static restate_status execute(restate_ctx *run, const char *const *words, char said[SAID_MAX + 1]) {
    int ends[2], status;
    pid_t parent = getpid(), child;
    if (pipe2(ends, O_CLOEXEC) != 0) return restate_retry(run, NULL, "no pipe: %s", strerror(errno));
    child = fork();
    if (child == 0) become((char *const *)(uintptr_t)words, ends[1], parent);
    close(ends[1]);
    if (child > 0) listen_to(run, child, ends[0], said);
    close(ends[0]);
    if (child < 0) return restate_retry(run, NULL, "no process for %s", words[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (status == 0) return RESTATE_OK;
    if (restate_stop_requested(run)) return restate_retry(run, NULL, "%s was stopped", words[0]);
    if (WIFSIGNALED(status)) return restate_retry(run, NULL, "%s: signal %d", words[0], WTERMSIG(status));
    if (WEXITSTATUS(status) == 127) return restate_retry(run, NULL, "%s cannot be executed", words[0]);
    return restate_fail(run, 422, "%s: %s", words[0], said);
}

/* ---- Steps -------------------------------------------------------------------------------------- */

typedef struct job {
    const char *input, *output, *dir;       /* `dir` has the parts */
    double seconds;                         /* of a segment */
    long long number, count;                /* of segments */
} job;

/* How long the input is, in seconds. */
static restate_status probe(restate_ctx *run, void *arg) {
    const job *j = arg;
    const char *const words[] = { FFPROBE, "-v", "error", "-show_entries", "format=duration",
                                  "-of", "csv=p=0", j->input, NULL };
    char said[SAID_MAX + 1], *end;
    double seconds;
    RESTATE_TRY(execute(run, words, said));
    seconds = strtod(said, &end);
    if (end == said || !(seconds > 0)) return restate_fail(run, 422, "%s has no duration: %s", j->input, said);
    return restate_reply(run, restate_json(run, "%g", seconds));
}

/* Output goes to a file of a name that nobody else has: an earlier try of the step, in a program
 * that has lost its server, may still write to its own. NULL: the step is over. */
static const char *new_file(restate_ctx *run, const job *j) {
    char *path = restate_alloc(run, strlen(j->dir) + sizeof "/making-XXXXXX");
    int fd;
    if (!path) return NULL;
    sprintf(path, "%s/making-XXXXXX", j->dir);
    fd = mkdir(j->dir, 0777) == 0 || errno == EEXIST ? mkostemp(path, O_CLOEXEC) : -1;
    if (fd < 0) RESTATE_IGNORE(restate_retry(run, NULL, "%s: %s", path, strerror(errno)));
    else fchmod(fd, 0644), close(fd);
    return fd < 0 ? NULL : path;
}

/* Executes ffmpeg, which makes the new file, and gives that its name. */
static restate_status make_file(restate_ctx *run, const char *const *words, const char *new_path, const char *path) {
    char said[SAID_MAX + 1];
    restate_status s = execute(run, words, said);
    if (s == RESTATE_OK && rename(new_path, path) != 0)
        s = restate_retry(run, NULL, "%s: %s", path, strerror(errno));
    if (s != RESTATE_OK) unlink(new_path);
    return s;
}

/* `trim` compares the times of the input's frames, so each frame is in exactly one segment; -ss only
 * has ffmpeg begin to read near there. The last segment has no end: none is empty. */
static restate_status transcode_segment(restate_ctx *run, void *arg) {
    const job *j = arg;
    const char *path = restate_text(run, "%s/%05lld.ts", j->dir, j->number), *to, *from, *cut;
    double begin = (double)j->number * j->seconds, end = j->number == j->count - 1 ? 1e9 : begin + j->seconds;
    if (access(path, F_OK) == 0) return RESTATE_OK;     /* complete, only the server did not hear it */
    to = new_file(run, j);
    if (!to) return RESTATE_ENDED;
    from = restate_text(run, "%.6f", begin);
    cut = restate_text(run, "trim=start=%.6f:end=%.6f,setpts=PTS-STARTPTS", begin, end);
    const char *const words[] = { FFMPEG, "-nostdin", "-v", "error", "-y", "-copyts",
        "-start_at_zero", "-ss", from, "-i", j->input, "-map", "0:v:0", "-vf", cut, "-fps_mode", "passthrough",
        "-c:v", "libx264", "-crf", "23", "-f", "mpegts", to, NULL };
    return make_file(run, words, to, path);
}

/* Puts the segments behind each other, without another transcoding, and adds the sound. */
static restate_status join_segments(restate_ctx *run, void *arg) {
    const job *j = arg;
    const char *list = new_file(run, j), *to = new_file(run, j);
    FILE *f = list && to ? fopen(list, "w") : NULL;
    if (!list || !to) return RESTATE_ENDED;
    for (long long i = 0; f && i < j->count; i++) fprintf(f, "file '%05lld.ts'\n", i);
    if (!f || fclose(f) != 0) return restate_retry(run, NULL, "%s: %s", list, strerror(errno));
    const char *const words[] = { FFMPEG, "-nostdin", "-v", "error", "-y",
        "-f", "concat", "-i", list, "-i", j->input, "-map", "0:v", "-map", "1:a?", "-c:v", "copy",
        "-c:a", "aac", "-f", "mp4", "-movflags", "+faststart", to, NULL };
    return make_file(run, words, to, j->output);
}

static restate_status remove_parts(restate_ctx *run, void *arg) {
    const job *j = arg;
    DIR *dir = opendir(j->dir);
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.') unlink(restate_text(run, "%s/%s", j->dir, e->d_name));
    if (dir) closedir(dir);
    if (rmdir(j->dir) != 0 && errno != ENOENT) return restate_retry(run, NULL, "%s: %s", j->dir, strerror(errno));
    return RESTATE_OK;
}

/* ---- The workflow ------------------------------------------------------------------------------- */

static restate_status set_progress(restate_ctx *ctx, const job *j, const char *stage) {
    return restate_set(ctx, "progress", restate_json(ctx, "{'stage': %s, 'done': %lld, 'of': %lld}",
                                                     stage, j->number, j->count));
}

static restate_status read_job(restate_ctx *ctx, restate_bytes input, job *j) {
    RESTATE_TRY(restate_json_string(ctx, input, "input", &j->input));
    RESTATE_TRY(restate_json_string(ctx, input, "output", &j->output));
    RESTATE_TRY(restate_json_double(ctx, input, "segmentSeconds", &j->seconds));
    if (!j->input || !j->output) return restate_fail(ctx, 400, "input or output is missing");
    if (!(j->seconds >= 0.1)) return restate_fail(ctx, 400, "segmentSeconds is below 0.1");
    j->dir = restate_text(ctx, "%s.parts", j->output);
    return RESTATE_OK;
}

static restate_status transcode(restate_ctx *ctx, job *j) {
    double seconds = 0;
    restate_bytes probed;
    RESTATE_TRY(restate_run(ctx, "probe", probe, j, NULL, &probed));
    RESTATE_TRY(restate_json_double(ctx, probed, NULL, &seconds));
    j->count = seconds >= 2 * j->seconds ? (long long)(seconds / j->seconds) : 1;
    for (j->number = 0; j->number < j->count; j->number++) {
        RESTATE_TRY(set_progress(ctx, j, "transcoding"));
        RESTATE_TRY(restate_run(ctx, restate_text(ctx, "segment %lld", j->number), transcode_segment, j, NULL, NULL));
    }
    RESTATE_TRY(set_progress(ctx, j, "joining"));
    return restate_run(ctx, "join", join_segments, j, NULL, NULL);
}

/* Whatever it ends with, the parts are removed; a second cancellation does not prevent that. */
static restate_status run_job(restate_ctx *ctx, restate_bytes input) {
    job j = { .seconds = 10 };
    const restate_failure *why;
    restate_status s, removed;
    RESTATE_TRY(read_job(ctx, input, &j));
    s = transcode(ctx, &j);
    if (s == RESTATE_ENDED) return s;       /* the next attempt needs them */
    why = restate_failed(ctx);
    do removed = restate_run(ctx, "remove parts", remove_parts, &j, NULL, NULL);
    while (removed == RESTATE_CANCELLED);
    RESTATE_TRY(removed);
    RESTATE_TRY(set_progress(ctx, &j, s == RESTATE_OK ? "done" : s == RESTATE_CANCELLED ? "cancelled" : "failed"));
    if (s != RESTATE_OK) return restate_fail_with(ctx, why);
    return restate_reply(ctx, restate_json(ctx, "{'output': %s, 'segments': %lld}", j.output, j.count));
}

static restate_status progress(restate_ctx *ctx, restate_bytes input) {
    restate_bytes stored;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "progress", &stored));
    return restate_reply(ctx, stored.ptr ? stored : restate_json(ctx, "null"));
}

static const restate_service workflow = {
    .name = "Transcode", .kind = RESTATE_WORKFLOW, .handlers = RESTATE_HANDLERS(
        { .name = "run", .fn = run_job },
        { .name = "progress", .fn = progress, .shared = true, .input = RESTATE_VOID }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&workflow), .stop_on_signals = RESTATE_ON,
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
