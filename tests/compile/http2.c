/* A connection is opened and says its settings: what that takes of nghttp2 is there, or done without. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include "connection.h"

int main(void) {
    restate_endpoint *endpoint;
    restate_stream *stream = connection(&endpoint);
    restate_bytes out;
    bool said = restate_stream_take(stream, &out, NULL, NULL) == RESTATE_OK && out.len >= 9 && out.ptr[3] == 4;
    restate_endpoint_free(endpoint);
    return said ? 0 : 1;
}
