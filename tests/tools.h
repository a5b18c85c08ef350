/* Which tools a test runs under. Includes nothing, so that it may come before restate.h. */
#ifndef TOOLS_H
#define TOOLS_H

#ifndef __has_feature
#  define __has_feature(x) 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#  define TSAN 1
#else
#  define TSAN 0
#endif
#if TSAN || defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#  define SANITIZED 1
#else
#  define SANITIZED 0
#endif

#if defined(RESTATE_VALGRIND)
#  define SLOW 20                           /* how much slower than usual it may be */
#elif SANITIZED
#  define SLOW 4
#else
#  define SLOW 1
#endif

#endif
